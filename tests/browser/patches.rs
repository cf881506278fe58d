//! A tab that was sent changes only shows the same as one that is opened now.

use cachefront_testkit::wait;
use reqwest::Method;
use serde_json::{Value, json};

use crate::chrome::{Chrome, PATIENCE};
use crate::scene::Scene;

/// The texts of the parts in this tab, and in the page as the program renders it now.
const TEXTS: &str = "
    const done = arguments[0];
    const names = ['banner', 'verdict', 'mode', 'history', 'users', 'demo', 'load', 'experiment', 'events'];
    const texts = (page) => names.map((name) => page.querySelector(`[data-part=${name}]`).textContent);
    fetch('/').then((answer) => answer.text())
        .then((text) => done([texts(document), texts(new DOMParser().parseFromString(text, 'text/html'))]));";

async fn same(chrome: &Chrome, after: &str) {
    let mut last = Value::Null;
    wait::until_async(&format!("after {after} both pages show the same"), PATIENCE, async || {
        last = chrome.client.execute_async(TEXTS, Vec::new()).await.expect("texts");
        last[0] == last[1]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_that_was_sent_changes_shows_what_a_new_one_shows() {
    // Entries live long enough that their time is shown in minutes.
    let scene = Scene::embedded(1440, 900, |launch| launch.env("CACHEFRONT_TTL", "20m")).await;
    let chrome = &scene.chrome;
    let mut ids = Vec::new();
    for number in 1..=4 {
        ids.push(scene.add(&format!("User {number}"), &format!("user{number}@x")).await);
        same(chrome, "an insert").await;
    }
    scene.rename(ids[1], "<b>&lt; \"two\" &", "user2@x").await;
    same(chrome, "an update").await;
    scene.set_mode("ttl").await;
    same(chrome, "another mode").await;
    scene.read(ids[2]).await;
    scene.rename(ids[2], "User three", "user3@x").await;
    chrome.title_is("cache stale (1)", PATIENCE).await;
    scene.api(Method::DELETE, &format!("/users/{}", ids[0]), None).await;
    scene.set_mode("cdc").await;
    chrome.title_is("cache empty", PATIENCE).await;
    same(chrome, "an invalidation").await;
    scene.api(Method::PUT, "/faults", Some(json!({ "store_delay_ms": 20, "freeze_stream": true }))).await;
    same(chrome, "two faults").await;
    scene.api(Method::DELETE, "/faults", None).await;
    same(chrome, "no fault").await;
    // A stream that is opened again begins with everything.
    chrome.run("document.dispatchEvent(new Event('panel:reconnect'))").await;
    scene.add("User 5", "user5@x").await;
    same(chrome, "another stream").await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}
