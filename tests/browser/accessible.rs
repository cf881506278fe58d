//! A phone's width, dark colours, the keyboard, and what checks for accessibility find.

use serde_json::json;

use crate::chrome::{Chrome, PATIENCE};
use crate::scene::Scene;

const AXE: &str = include_str!("vendor/axe.min.js");

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

/// How often the page is looked at before what is found counts: each look takes some hundred milliseconds.
const LOOKS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_needs_no_sideways_scrolling_and_names_are_text() {
    let scene = Scene::embedded(390, 844, |launch| launch.env("CACHEFRONT_MODE", "ttl")).await;
    let chrome = &scene.chrome;
    let name = "<script>document.title = 'owned'</script>";
    let id = scene.add(name, "<b>x</b>@x").await;
    scene.read(id).await;
    scene.rename(id, &"W".repeat(200), "long@x").await;
    chrome.title_is("cache stale (1)", PATIENCE).await;
    chrome.shows(&format!("tr[data-id='{id}'] .c3"), name, PATIENCE).await;
    chrome.click("[data-toggle]").await;
    chrome.shows("tr.cmp-row:not([hidden])", "Staleness bound", PATIENCE).await;
    for (dark, name) in [(false, "phone-light"), (true, "phone-dark")] {
        chrome.dark(dark).await;
        let size = chrome.run("return [document.documentElement.scrollWidth, innerWidth]").await;
        assert_eq!(size, json!([390, 390]));
        chrome.screenshot(name).await;
        assert_accessible(chrome).await;
    }
    // The verdict stays in sight.
    chrome.run("scrollTo(0, 1500)").await;
    let top = chrome.run("return document.querySelector('[data-verdict]').getBoundingClientRect().top").await;
    assert_eq!(top, json!(0));
    chrome.resize(390, 2400).await;
    chrome.run("scrollTo(0, 0)").await;
    chrome.screenshot("phone-whole").await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_done_by_keyboard() {
    let scene = Scene::embedded(1440, 900, |launch| launch).await;
    let chrome = &scene.chrome;
    chrome.title_is("cache empty", PATIENCE).await;
    assert_accessible(chrome).await;
    // The first stop leads past the head of the page.
    chrome.press(TAB).await;
    assert_eq!(chrome.run("return document.activeElement.className").await, "skip");
    // From button to button until the other mode: Enter asks, Enter switches.
    for _ in 0..20 {
        if chrome.run("return document.activeElement.dataset.mode ?? ''").await == "ttl" {
            break;
        }
        chrome.press(TAB).await;
    }
    assert_eq!(chrome.run("return document.activeElement.matches(':focus-visible')").await, true);
    chrome.press(ENTER).await;
    chrome.shows("#ask[open]", "Switch to TTL?", PATIENCE).await;
    chrome.press(ENTER).await;
    chrome.shows("[data-mode=ttl][aria-pressed=true]", "TTL", PATIENCE).await;
    // What is pushed does not take the focus away.
    assert_eq!(chrome.run("return document.activeElement.dataset.mode ?? ''").await, "ttl");

    chrome.run("document.querySelector('[data-user=new]').focus()").await;
    chrome.press(ENTER).await;
    for keys in ["Ada", TAB, "ada@x", ENTER] {
        chrome.press(keys).await;
    }
    chrome.shows(".users tbody", "Ada", PATIENCE).await;
    assert_accessible(chrome).await;
    chrome.dark(true).await;
    assert_accessible(chrome).await;
}

/// Runs axe-core in the page: nothing may be found. Colours that fade into each other are looked at again.
async fn assert_accessible(chrome: &Chrome) {
    chrome.client.execute(AXE, Vec::new()).await.expect("axe-core");
    let script = "const done = arguments[arguments.length - 1];
        axe.run({ resultTypes: ['violations'] }).then(({ violations }) => done(violations.map(({ id, help, nodes }) =>
            `${id}: ${help}: ${nodes.slice(0, 3).map(({ html }) => html).join(' | ')}`)), (error) => done([String(error)]))";
    let mut found = json!(null);
    for _ in 0..LOOKS {
        found = chrome.client.execute_async(script, Vec::new()).await.expect("axe-core ran");
        if found == json!([]) {
            return;
        }
    }
    panic!("{found:#}");
}
