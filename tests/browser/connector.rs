//! The connector's card, on a live Kafka Connect with Debezium: it is paused, resumed, fails, and is started again.

use std::time::Duration;

use cachefront_testkit::{stack, unique, wait};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::chrome::{Chrome, PATIENCE};
use crate::scene::Scene;

/// A connector takes its time to start.
const STARTS: Duration = Duration::from_secs(90);

const PASSWORD: &str = "hidden-word";

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_is_paused_resumed_and_started_again_after_a_failure() {
    let user = unique::name("card");
    let login = format!("{user}:{PASSWORD}");
    let scene = Scene::over_kafka(1440, 1200, &login, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let chrome = &scene.chrome;
    let id = scene.add("Ada", "ada@x").await;
    // The event of the INSERT ends the entry once, and the first record of a topic may be found late.
    chrome.shows("[data-part=events]", "insert", PATIENCE).await;
    scene.warm(id).await;
    runs(chrome).await;
    the_configuration_is_shown_without_secrets(chrome).await;

    paused(&scene, id).await;
    chrome.click("[data-post='/connector/resume']").await;
    runs(chrome).await;
    // What waited comes now, and ends the entry.
    chrome.title_is("cache empty", STARTS).await;
    scene.warm(id).await;

    scene.execute(&format!("ALTER USER '{user}'@'%' ACCOUNT LOCK")).await;
    chrome.click("[data-post='/connector/restart']").await;
    failed(chrome).await;
    scene.execute(&format!("ALTER USER '{user}'@'%' ACCOUNT UNLOCK")).await;
    // By this button, unless the program itself was faster.
    chrome.run("document.querySelector(\"[data-post='/connector/tasks/0/restart']\")?.click()").await;
    runs(chrome).await;
    scene.rename(id, "Ada Byron", "ada@x").await;
    chrome.title_is("cache empty", STARTS).await;
    scene.warm(id).await;
    chrome.screenshot("connector-again").await;
    an_unreadable_record_is_reported(&scene, id).await;
    let complaints = chrome.complaints().await;
    assert!(complaints.iter().all(|line| line.contains("/connector/")), "{complaints:?}");
    scene.execute(&format!("DROP USER '{user}'@'%'")).await;
}

/// Another program writes to a topic of the connector: the cache is flushed, and the card names the record.
async fn an_unreadable_record_is_reported(scene: &Scene, id: u64) {
    let chrome = &scene.chrome;
    chrome.click("details[data-key=topics] summary").await;
    chrome.shows("[data-topic$='.users']", "0", PATIENCE).await;
    let topic = chrome.run("return document.querySelector(\"[data-topic$='.users']\").dataset.topic").await;
    let topic = topic.as_str().expect("a topic").to_owned();
    let value = format!("not JSON, and {PASSWORD}");
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", stack::kafka_brokers()).create().expect("a producer");
    let record = FutureRecord::<(), _>::to(&topic).payload(&value);
    let written = producer.send(record, PATIENCE).await.expect("written");
    chrome.click("details[data-key=gaps] summary").await;
    chrome.shows(".gaps li", &format!("{topic} [0] offset {}", written.offset), PATIENCE).await;
    chrome.shows(".gaps li", "the value is not the JSON that Debezium writes", PATIENCE).await;
    // Nothing stale is left behind, and reading goes on.
    chrome.title_is("cache empty", PATIENCE).await;
    scene.warm(id).await;
    scene.rename(id, "Ada Lovelace", "ada@x").await;
    chrome.title_is("cache empty", PATIENCE).await;
    chrome.screenshot("connector-not-understood").await;
    assert!(!chrome.client.source().await.expect("the page").contains("not JSON, and"));
}

/// The connector and its task run, and nothing waits.
async fn runs(chrome: &Chrome) {
    chrome.shows(".connector .row .chip.pass", "RUNNING", STARTS).await;
    chrome.shows("[data-task='0'] .chip.pass", "RUNNING", STARTS).await;
    wait::until_async("nothing waits", PATIENCE, async || {
        chrome.run("return document.querySelectorAll('[data-halt], .stage.w').length").await == 0
    })
    .await;
}

async fn the_configuration_is_shown_without_secrets(chrome: &Chrome) {
    chrome.click("details[data-key=configuration] summary").await;
    chrome.shows(".settings", "database.password", PATIENCE).await;
    chrome.screenshot("connector-running").await;
    let page = chrome.client.source().await.expect("the page");
    assert!(page.contains("<dd>***</dd>") && !page.contains(PASSWORD));
    chrome.click("details[data-key=configuration] summary").await;
}

/// A pause is on purpose: amber, changes wait before Debezium, and what is cached grows stale.
async fn paused(scene: &Scene, id: u64) {
    let chrome = &scene.chrome;
    chrome.click("[data-post='/connector/pause']").await;
    chrome.shows(".connector .row .chip.wait", "PAUSED", PATIENCE).await;
    chrome.shows("[data-task='0'] .chip.wait", "PAUSED", PATIENCE).await;
    chrome.shows("[data-halt]", "The connector is paused", PATIENCE).await;
    // Nothing ends the entry now but its time: what came before the pause has been applied.
    scene.warm(id).await;
    scene.rename(id, "Ada King", "ada@x").await;
    chrome.title_is("cache stale (1)", PATIENCE).await;
    chrome.shows("[data-stage='1'].w", "wait", PATIENCE).await;
    chrome.shows("[data-node=debezium].w", "paused", PATIENCE).await;
    chrome.shows("[data-part=pipeline] .hd", "the connector is paused", PATIENCE).await;
    for (name, dark) in [("connector-paused-light", false), ("connector-paused-dark", true)] {
        chrome.dark(dark).await;
        chrome.screenshot(name).await;
    }
    chrome.resize(390, 2400).await;
    chrome.screenshot("connector-paused-phone-dark").await;
    chrome.dark(false).await;
    let width = chrome.run("return document.documentElement.scrollWidth").await;
    assert_eq!(width, 390);
    chrome.screenshot("connector-paused-phone-light").await;
    chrome.resize(1440, 1200).await;
    // Pages without the pipeline say it at their top.
    chrome.goto(&format!("{}/cache", scene.simulator.ui_url())).await;
    chrome.shows("[data-part=banner]", "The connector is paused", PATIENCE).await;
    chrome.screenshot("connector-paused-cache").await;
    chrome.goto(&format!("{}/", scene.simulator.ui_url())).await;
    chrome.shows("#connection", "live", PATIENCE).await;
}

/// A failure is red, and says why without showing a secret.
async fn failed(chrome: &Chrome) {
    chrome.shows("[data-task='0'] .chip.miss", "FAILED", STARTS).await;
    chrome.shows("[data-halt].hard", "The connector has failed", PATIENCE).await;
    chrome.run("document.querySelector('details.trace').open = true").await;
    chrome.shows("details.trace pre", "locked", PATIENCE).await;
    chrome.screenshot("connector-failed").await;
    assert!(!chrome.client.source().await.expect("the page").contains(PASSWORD));
}
