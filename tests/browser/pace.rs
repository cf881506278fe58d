//! The guided demos in slow motion and step by step.

use std::time::Duration;

use cachefront_testkit::wait;
use serde_json::json;

use crate::accessible::assert_accessible;
use crate::chrome::PATIENCE;
use crate::scene::Scene;

const ENTER: &str = "\u{e007}";

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_goes_step_by_step_and_in_slow_motion() {
    let scene = Scene::embedded(1440, 1000, |launch| launch.env("CACHEFRONT_TTL", "4s")).await;
    let chrome = &scene.chrome;
    chrome.click("[data-body='pace=step']").await;
    chrome.has("[data-body='pace=step'][aria-pressed=true]", PATIENCE).await;
    // Each step waits for its button, longer than an entry lives.
    chrome.click("[data-post='/demo/ttl']").await;
    for (step, done) in [(2, 1), (3, 2), (5, 4)] {
        chrome.shows("[data-demo-state]", &format!("before step {step} of 5"), PATIENCE).await;
        assert_eq!(chrome.run("return document.querySelectorAll('.steps .done').length").await, json!(done));
        if step == 3 {
            assert_accessible(chrome).await;
            chrome.screenshot("demo-step").await;
            chrome.resize(390, 844).await;
            chrome.run("document.querySelector('.demo').scrollIntoView({ block: 'center' })").await;
            assert_eq!(chrome.run("return document.documentElement.scrollWidth").await, json!(390));
            chrome.screenshot("demo-step-phone").await;
            chrome.resize(1440, 1000).await;
            let id = scene.api(reqwest::Method::GET, "/users", None).await[0]["id"].clone();
            wait::until_async("the entry has expired", PATIENCE, async || {
                scene.api(reqwest::Method::GET, &format!("/cache/users/{id}"), None).await["state"] == "absent"
            })
            .await;
        }
        chrome.run("document.querySelector('[data-post=\"/demo/next\"]').focus()").await;
        chrome.press(ENTER).await;
    }
    chrome.shows("[data-demo-state]", "done", PATIENCE).await;
    // One that waits can be stopped.
    chrome.click("[data-post='/demo/cdc']").await;
    chrome.shows("[data-demo-state]", "before step 2 of 5", PATIENCE).await;
    chrome.click("[data-post='/demo/stop']").await;
    chrome.shows("[data-demo-state]", "stopped", PATIENCE).await;
    // Slow motion goes on by itself.
    chrome.click("[data-body='pace=slow']").await;
    chrome.click("[data-post='/demo/cdc']").await;
    chrome.shows("[data-demo-state]", "before step 3 of 5", PATIENCE).await;
    chrome.shows("[data-demo-state]", "done", PATIENCE + Duration::from_secs(10)).await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}
