//! The tour of the page: it starts at the first visit, points at one card after another by mouse and keyboard, and is remembered.

use serde_json::{Value, json};

use crate::accessible::assert_accessible;
use crate::chrome::{Chrome, PATIENCE};
use crate::scene::Scene;

const RIGHT: &str = "\u{e014}";
const LEFT: &str = "\u{e012}";
const ESCAPE: &str = "\u{e00c}";
const ENTER: &str = "\u{e007}";

/// The step that is shown and what it points at; null if there is none. What it points at is in sight, and so is the box.
const SHOWN: &str = "
    const box = document.getElementById('guide');
    if (box.hidden) return null;
    const mark = document.getElementById('guide-mark').getBoundingClientRect();
    const inSight = mark.width > 0 && mark.bottom > 0 && mark.top < innerHeight;
    const fits = box.getBoundingClientRect();
    return [Number(box.querySelector('[data-step]').textContent), inSight,
        fits.left >= 0 && fits.right <= innerWidth && fits.top >= 0 && fits.bottom <= innerHeight]";

async fn shown(chrome: &Chrome) -> Value {
    chrome.run(SHOWN).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_visit_begins_with_a_tour_that_can_be_skipped() {
    for (width, height, place) in [(1440, 900, "wide"), (390, 844, "phone")] {
        let scene = Scene::embedded(width, height, |launch| launch).await;
        let chrome = &scene.chrome;
        // As at a first visit.
        assert_eq!(shown(chrome).await, Value::Null, "the tests have seen it");
        chrome.run("localStorage.removeItem('cachefront-guide')").await;
        chrome.client.refresh().await.expect("reloaded");
        chrome.has("#guide", PATIENCE).await;
        for step in 1..=8 {
            assert_eq!(shown(chrome).await, json!([step, true, true]), "{place}");
            assert_accessible(chrome).await;
            chrome.screenshot(&format!("guide-{step}-{place}")).await;
            // By keyboard, and by mouse.
            if step % 2 == 0 {
                chrome.press(RIGHT).await;
            } else {
                chrome.click("[data-guide=next]").await;
            }
        }
        assert_eq!(shown(chrome).await, Value::Null);
        assert_eq!(chrome.run("return document.getElementById('guide-mark').hidden").await, true);
        chrome.client.refresh().await.expect("reloaded");
        chrome.shows("#connection", "live", PATIENCE).await;
        assert_eq!(shown(chrome).await, Value::Null, "it is remembered");
        // Again, by a button; it is left by a key, and the focus is where it was.
        chrome.run("document.querySelector('[data-guide=start]').focus()").await;
        chrome.press(ENTER).await;
        chrome.press(RIGHT).await;
        chrome.press(RIGHT).await;
        chrome.press(LEFT).await;
        assert_eq!(shown(chrome).await, json!([2, true, true]));
        chrome.press(ESCAPE).await;
        assert_eq!(shown(chrome).await, Value::Null);
        assert_eq!(chrome.run("return document.activeElement.dataset.guide").await, "start");
        assert_eq!(chrome.complaints().await, Vec::<String>::new());
    }
}
