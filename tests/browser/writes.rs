//! An event opens the way of its write: bars on one time axis, by click and by keyboard.

use cachefront_testkit::wait;
use serde_json::json;

use crate::accessible::assert_both_themes;
use crate::chrome::PATIENCE;
use crate::scene::Scene;

const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";

#[tokio::test(flavor = "multi_thread")]
async fn an_event_opens_the_way_of_its_write() {
    let scene = Scene::embedded(1440, 900, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let chrome = &scene.chrome;
    let id = scene.add("Ada", "ada@example.org").await;
    scene.warm(id).await;
    scene.rename(id, "Ada King", "ada@example.org").await;
    let newest = format!("[data-part=events] li:first-child [data-write*='users%3A{id}']");
    chrome.has(&newest, PATIENCE).await;
    chrome.shows("[data-part=events] li:first-child", "update", PATIENCE).await;
    chrome.run(&format!("document.querySelector(\"{newest}\").focus()")).await;
    chrome.press(ENTER).await;
    chrome.has("#write[open] [data-hop=removal][data-measured] rect", PATIENCE).await;
    chrome.has("#write [data-hop=push][data-measured] rect", PATIENCE).await;
    assert_eq!(chrome.run("return document.querySelectorAll('#write [data-hop]').length").await, json!(7));
    // No read has come: it says so, and shows the read when it comes.
    chrome.shows("#write [data-hop=first_read]:not([data-measured])", "not measured", PATIENCE).await;
    wait::until_async("the read is shown", PATIENCE, async || {
        scene.read(id).await;
        !chrome.text("#write [data-hop=first_read][data-measured]").await.is_empty()
    })
    .await;
    for (width, place) in [(1440, "wide"), (390, "phone")] {
        chrome.resize(width, 900).await;
        assert_both_themes(chrome, &format!("write-{place}"), width).await;
    }
    chrome.resize(1440, 900).await;
    chrome.press(ESCAPE).await;
    wait::until_async("it is closed", PATIENCE, async || {
        chrome.run("return document.querySelectorAll('#write[open]').length").await == json!(0)
    })
    .await;
    // The focus is where it was.
    assert_eq!(chrome.run("return document.activeElement.dataset.write !== undefined").await, json!(true));
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}
