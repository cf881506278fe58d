//! Both demo scenarios, by clicking.

use std::time::Duration;

use cachefront_testkit::{unique, wait};

use crate::chrome::{Chrome, PATIENCE};
use crate::scene::Scene;

/// How long entries live here: long enough to look at a stale one, short enough to wait for its end.
const TTL: &str = "8s";

#[tokio::test(flavor = "multi_thread")]
async fn both_demos_embedded() {
    let scene = Scene::embedded(1440, 900, |launch| launch.env("CACHEFRONT_TTL", TTL)).await;
    let chrome = &scene.chrome;
    chrome.title_is("cache empty", PATIENCE).await;
    for (name, email) in [("Grace Hopper", "grace@x"), ("Edsger Dijkstra", "edsger@x"), ("Alan Turing", "alan@x")] {
        scene.add(name, email).await;
    }
    ttl_stale_read(chrome, "embedded").await;
    cdc_invalidation(chrome, "embedded").await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_demos_on_servers() {
    let scene = Scene::on_servers(1440, 900, |launch| launch.env("CACHEFRONT_TTL", TTL)).await;
    let chrome = &scene.chrome;
    ttl_stale_read(chrome, "servers").await;
    cdc_invalidation(chrome, "servers").await;
    chrome.shows("[data-node=database]", "MySQL", PATIENCE).await;
    chrome.shows("[data-node=store]", "Redis", PATIENCE).await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_demos_over_debezium_and_kafka() {
    let user = unique::name("demo");
    let scene = Scene::over_kafka(1440, 1000, &format!("{user}:pw"), |launch| launch.env("CACHEFRONT_TTL", TTL)).await;
    let chrome = &scene.chrome;
    ttl_stale_read(chrome, "kafka").await;
    cdc_invalidation(chrome, "kafka").await;
    // Each part of the way was measured.
    for stage in 1..=5 {
        chrome.shows(&format!("[data-stage='{stage}'] b"), "ms", PATIENCE).await;
    }
    // The whole pipeline is shown, and every part of it is healthy.
    let nodes = "return [...document.querySelectorAll('[data-node] .box b')].map((name) => name.textContent).join(' ')";
    assert_eq!(chrome.run(nodes).await, "MySQL binlog Debezium Kafka consumer Redis L1");
    let ill = "return document.querySelectorAll('.node.x, .node.w, .node.off').length";
    assert_eq!(chrome.run(ill).await, 0);
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
    scene.execute(&format!("DROP USER '{user}'@'%'")).await;
}

/// Stale until the entry expires, then healthy; the pictures show it.
async fn ttl_stale_read(chrome: &Chrome, place: &str) {
    chrome.click("[data-post='/demo/ttl']").await;
    chrome.title_is("cache stale (1)", PATIENCE).await;
    chrome.has("[data-verdict=stale][data-differing='1']", PATIENCE).await;
    chrome.shows("tr[data-state=stale]", "stale", PATIENCE).await;
    chrome.shows(".steps .now", "Read again", PATIENCE).await;
    // The comparison is open inside the row, and marks what differs.
    chrome.shows("tr.cmp-row:not([hidden]) dd.ne", "Ada", PATIENCE).await;
    for (name, dark) in [("ttl-stale-light", false), ("ttl-stale-dark", true)] {
        chrome.dark(dark).await;
        chrome.screenshot(&format!("{name}-{place}")).await;
    }
    if place == "embedded" {
        chrome.dark(false).await;
        chrome.resize(390, 844).await;
        chrome.screenshot("ttl-stale-phone").await;
        chrome.resize(1440, 900).await;
    }
    finished(chrome, "ttl").await;
    chrome.title_is("cache healthy", PATIENCE).await;
    chrome.shows("[data-mode=ttl][aria-pressed=true]", "TTL", PATIENCE).await;
}

/// The change reaches the cache within milliseconds.
async fn cdc_invalidation(chrome: &Chrome, place: &str) {
    chrome.dark(false).await;
    chrome.click("[data-post='/demo/cdc']").await;
    finished(chrome, "cdc").await;
    chrome.title_is("cache healthy", PATIENCE).await;
    let took = chrome.text(".steps li:nth-child(4) .note").await;
    let millis = took.strip_suffix(" ms").and_then(|millis| millis.parse::<f64>().ok());
    let millis = millis.or_else(|| took.strip_suffix(" s")?.parse::<f64>().ok().map(|seconds| seconds * 1e3));
    eprintln!("{place}: the key was invalidated {took} after the commit");
    // Milliseconds on a machine that has time; how fast it is in general is measured elsewhere, over many commits.
    assert!(millis.is_some_and(|millis| millis < 2_000.0), "invalidated after {took}");
    chrome.shows("[data-mode=cdc][aria-pressed=true]", "CDC", PATIENCE).await;
    chrome.shows("[data-part=pipeline]", "consumer", PATIENCE).await;
    // The charts' newest sample is up to a second older than the rest.
    chrome.shows("#charts .chart:nth-of-type(4) b", "0 ms", PATIENCE).await;
    chrome.screenshot(&format!("cdc-healthy-light-{place}")).await;
}

async fn finished(chrome: &Chrome, scenario: &str) {
    let steps = format!(".steps[data-scenario={scenario}] li.done:nth-child(5)");
    wait::until_async("the last step is done", PATIENCE + Duration::from_secs(10), async || {
        let failed = chrome.text(".steps .failed").await;
        assert!(failed.is_empty(), "a step failed: {failed}");
        !chrome.text(&steps).await.is_empty()
    })
    .await;
}
