//! A fault by one click, under the part that it breaks; and load by another.

use cachefront_testkit::wait;
use reqwest::Method;
use serde_json::json;

use crate::chrome::{Chrome, PATIENCE};
use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_consumer_makes_the_cache_stale_until_it_goes_on() {
    let scene = Scene::embedded(1440, 900, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let chrome = &scene.chrome;
    let id = scene.add("Ada", "ada@x").await;
    scene.warm(id).await;
    chrome.title_is("cache healthy", PATIENCE).await;
    chrome.click("[data-fault=pause_consumer]").await;
    chrome.shows("[data-fault=pause_consumer][aria-pressed=true]", "Pause", PATIENCE).await;
    // Nothing ends the entry now but its time.
    scene.warm(id).await;
    scene.rename(id, "Ada King", "ada@x").await;
    chrome.title_is("cache stale (1)", PATIENCE).await;
    chrome.has("[data-part=banner] [data-cause=pause_consumer]", PATIENCE).await;
    chrome.shows("[data-part=pipeline] .stage.w", "wait", PATIENCE).await;
    chrome.screenshot("consumer-paused").await;
    chrome.click("[data-fault=pause_consumer]").await;
    chrome.title_is("cache empty", PATIENCE).await;
    chrome.click(&format!("[data-post='/users/{id}/read']")).await;
    chrome.title_is("cache healthy", PATIENCE).await;
    load_runs_and_ends(&scene).await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_cut_is_unknown_and_never_empty() {
    let scene = Scene::embedded(1440, 900, |launch| launch).await;
    let chrome = &scene.chrome;
    chrome.title_is("cache empty", PATIENCE).await;
    chrome.click("[data-fault=store_cut]").await;
    chrome.has("[data-part=banner] [data-cause=store_cut]", PATIENCE).await;
    chrome.title_is("cache unknown", PATIENCE).await;
    chrome.has("[data-verdict=unknown]", PATIENCE).await;
    chrome.screenshot("store-cut").await;
    chrome.click("[data-fault=store_cut]").await;
    chrome.title_is("cache empty", PATIENCE).await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_freshness_objective_is_shown_until_it_is_met_again() {
    let scene = Scene::embedded(1440, 900, |launch| launch.env("CACHEFRONT_FRESHNESS_OBJECTIVE", "2s")).await;
    let chrome = &scene.chrome;
    chrome.has("[data-freshness=met][data-plain-reads=served]", PATIENCE).await;
    chrome.click("[data-fault=pause_consumer]").await;
    chrome.has("[data-freshness=missed][data-plain-reads=by_age][data-missed-since]", PATIENCE).await;
    chrome.screenshot("objective-missed").await;
    chrome.click("[data-fault=pause_consumer]").await;
    chrome.has("[data-freshness=met][data-plain-reads=served]", PATIENCE).await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_leaves_a_stale_entry() {
    let scene = Scene::embedded(1440, 900, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let chrome = &scene.chrome;
    let id = scene.add("Ada", "ada@x").await;
    scene.warm(id).await;
    chrome.click("[data-fault=replica_lag_ms]").await;
    chrome.has("[data-part=banner] [data-cause=replica_lag_ms]", PATIENCE).await;
    chrome.shows("[data-node=database]", "not fenced", PATIENCE).await;
    // This load waits until the replica follows the log.
    scene.api(Method::DELETE, &format!("/cache/users/{id}"), None).await;
    scene.read(id).await;
    scene.rename(id, "Ada King", "ada@x").await;
    wait::until_async("the older row is cached", PATIENCE, async || {
        scene.read(id).await;
        !chrome.text("[data-verdict=stale]").await.is_empty()
    })
    .await;
    chrome.click("[data-fault=replica_lag_ms]").await;
    chrome.has("[data-fault=replica_lag_ms][aria-pressed=false]", PATIENCE).await;
    // It stays, also now that loads read the primary again.
    chrome.title_is("cache stale (1)", PATIENCE).await;
    chrome.screenshot("replica-stale").await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}

async fn load_runs_and_ends(scene: &Scene) {
    let chrome = &scene.chrome;
    // A preset brings its own rate and length.
    let choose = "const form = document.querySelector('[data-form=\"/load\"]');
        form.elements.preset.value = 'spike';
        form.elements.preset.dispatchEvent(new Event('change', { bubbles: true }));
        return [form.elements.rate.value, form.elements.seconds.value]";
    assert_eq!(chrome.run(choose).await, json!(["1000", "40"]));
    let change = "const form = document.querySelector('[data-form=\"/load\"]');
        form.elements.rate.value = '100';
        form.elements.seconds.value = '4'";
    chrome.run(change).await;
    chrome.click("[data-form='/load'] button").await;
    chrome.shows("[data-part=load]", "goals so far", PATIENCE).await;
    chrome.shows("[data-part=load] .numbers", "errors", PATIENCE).await;
    chrome.screenshot("load-runs").await;
    chrome.shows("[data-part=load]", "finished", PATIENCE).await;
    chrome.has("[data-part=load] [data-result=new][data-preset=spike]", PATIENCE).await;
    // What was chosen is there for the next run.
    let chosen = "return [...new FormData(document.querySelector('[data-form=\"/load\"]')).values()]";
    assert_eq!(chrome.run(chosen).await, json!(["spike", "100", "4"]));
    chrome.screenshot("after-load").await;
    both_modes_are_compared(chrome).await;
    for page in ["cache", "faults", "audit"] {
        chrome.goto(&format!("{}/{page}", scene.simulator.ui_url())).await;
        chrome.shows("#connection", "live", PATIENCE).await;
        chrome.screenshot(&format!("page-{page}")).await;
    }
}

/// The comparison has the mode for itself, and its result says of when it is.
async fn both_modes_are_compared(chrome: &Chrome) {
    let change = "const form = document.querySelector('[data-form=\"/experiment\"]');
        form.elements.rate.value = '50';
        form.elements.seconds.value = '2'";
    chrome.run(change).await;
    chrome.click("[data-form='/experiment'] button").await;
    chrome.has("[data-mode][data-comparing]", PATIENCE).await;
    // What is off for a reason can still be reached, to read the reason.
    let on = "return [...document.querySelectorAll('[data-mode], [data-post^=\"/demo/\"]')]
        .filter((button) => !button.disabled && button.ariaDisabled !== 'true').length";
    assert_eq!(chrome.run(on).await, 0);
    chrome.screenshot("ab-runs").await;
    chrome.has("[data-part=experiment] [data-result=new][data-preset=steady]", PATIENCE * 2).await;
    chrome.shows("[data-mode=ttl]:not(:disabled, [aria-disabled=true])", "TTL", PATIENCE).await;
    chrome.run("document.querySelector('[data-part=experiment]').scrollIntoView({ block: 'center' })").await;
    chrome.screenshot("ab-result").await;
}
