//! Several tabs and another program: all show the same, and nobody's change is lost unseen.

use std::time::Duration;

use cachefront_tests::wait;
use fantoccini::wd::WindowHandle;

use crate::chrome::{Chrome, PATIENCE};
use crate::scene::Scene;

/// All show the same after this.
const SAME: Duration = Duration::from_secs(1);

struct Tabs<'a> {
    chrome: &'a Chrome,
    handles: Vec<WindowHandle>,
}

impl Tabs<'_> {
    /// Both show the text within a second: they are asked in turns.
    async fn show(&self, selector: &str, text: &str) {
        let what = format!("all tabs: {selector} shows {text:?}");
        wait::until_async(&what, SAME, async || {
            for handle in &self.handles {
                self.chrome.client.switch_to_window(handle.clone()).await.expect("a tab");
                if !self.chrome.text(selector).await.contains(text) {
                    return false;
                }
            }
            true
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_and_another_program_see_the_same_within_a_second() {
    let scene = Scene::embedded(1280, 800, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let chrome = &scene.chrome;
    let first = chrome.client.window().await.expect("a tab");
    let second = chrome.client.new_window(true).await.expect("a second tab").handle;
    chrome.client.switch_to_window(second.clone()).await.expect("a tab");
    chrome.goto(&format!("{}/", scene.simulator.ui_url())).await;
    let tabs = Tabs { chrome, handles: vec![first.clone(), second] };

    let id = scene.add("Ada", "ada@x").await;
    let row = format!("tr[data-id='{id}']");
    tabs.show(&row, "Ada").await;
    scene.set_mode("ttl").await;
    tabs.show("[data-mode=ttl][aria-pressed=true]", "TTL").await;
    scene.read(id).await;
    tabs.show("[data-verdict] h1", "cache healthy").await;
    scene.rename(id, "Ada King", "ada@x").await;
    tabs.show("[data-verdict] h1", "cache stale (1)").await;
    tabs.show(&row, "stale").await;
    scene.set_mode("cdc").await;
    tabs.show("[data-mode=cdc][aria-pressed=true]", "CDC").await;
    tabs.show(&format!("{row}[data-state=absent]"), "Ada King").await;

    // A reload shows what was there before.
    chrome.client.switch_to_window(first.clone()).await.expect("a tab");
    chrome.client.refresh().await.expect("reloaded");
    tabs.show(&row, "Ada King").await;
    nobody_overwrites_unseen(&scene).await;
    assert_eq!(chrome.complaints().await.iter().filter(|line| !line.contains("409")).count(), 0);
}

/// While a question is open somebody else switches: the answer says so, and nothing is switched.
async fn nobody_overwrites_unseen(scene: &Scene) {
    let chrome = &scene.chrome;
    chrome.click("[data-mode=ttl]").await;
    chrome.shows("#ask[open]", "Switch to TTL?", PATIENCE).await;
    scene.set_mode("ttl").await;
    scene.set_mode("cdc").await;
    chrome.click("#ask-yes").await;
    chrome.shows("#ask .error", "Somebody else changed the mode", PATIENCE).await;
    chrome.click("#ask button[value=no]").await;
    chrome.shows("[data-mode=cdc][aria-pressed=true]", "CDC", PATIENCE).await;
    // Asked again, it is switched.
    chrome.click("[data-mode=ttl]").await;
    chrome.click("#ask-yes").await;
    chrome.shows("[data-mode=ttl][aria-pressed=true]", "TTL", SAME).await;
}
