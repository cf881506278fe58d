//! The slider over the last ten minutes: by keyboard and by pointer, and back to now.

use cachefront_testkit::wait;
use serde_json::json;

use crate::accessible::assert_both_themes;
use crate::chrome::{Chrome, PATIENCE};
use crate::scene::Scene;

const ENTER: &str = "\u{e007}";
const LEFT: &str = "\u{e012}";
const END: &str = "\u{e010}";

/// Cards that show what is now.
const OF_NOW: &str = "return [...document.querySelectorAll('.strip [data-verdict], [data-part=users], [data-part=pipeline], \
                      [data-part=load], .strip [data-mode]')].filter((one) => one.checkVisibility()).length";

async fn until_stale(chrome: &Chrome) {
    chrome.has("#past-view [data-past][data-recorded] [data-verdict=stale]", PATIENCE).await;
}

/// A stale entry of some seconds, which is healed then.
async fn was_stale_for_some_seconds(scene: &Scene) {
    let chrome = &scene.chrome;
    let id = scene.add("Ada", "ada@example.org").await;
    scene.read(id).await;
    scene.rename(id, "Ada King", "ada@example.org").await;
    chrome.title_is("cache stale (1)", PATIENCE).await;
    // Some seconds of a stale entry, then it heals.
    wait::until_async("it was stale for some seconds", PATIENCE, async || {
        chrome.run("return Number.parseFloat(document.querySelector('[data-verdict=stale] p')?.textContent.split('oldest ')[1] ?? '0') > 4").await
            == json!(true)
    })
    .await;
    scene.set_mode("cdc").await;
    scene.api(reqwest::Method::DELETE, &format!("/cache/users/{id}"), None).await;
    scene.warm(id).await;
}

/// Back to now by button and by key; and by a jump to where nothing was recorded.
async fn back_to_now(chrome: &Chrome) {
    // Back by the button, and again by the key for the end of the slider.
    chrome.run("document.getElementById('past-end').focus()").await;
    chrome.press(ENTER).await;
    chrome.has(".strip [data-verdict]", PATIENCE).await;
    assert_eq!(
        chrome.run("return [document.activeElement.id, document.getElementById('past-view').hidden]").await,
        json!(["past", true])
    );
    chrome.press(LEFT).await;
    chrome.has("#past-view [data-past]", PATIENCE).await;
    chrome.press(END).await;
    chrome.has(".strip [data-verdict]", PATIENCE).await;
    wait::until_async("the title is of now", PATIENCE, async || {
        chrome.client.title().await.is_ok_and(|title| title.starts_with("cache "))
    })
    .await;

    // As a finger does: the slider jumps. Ten minutes ago nothing was recorded.
    let drag = "const slider = document.getElementById('past'); slider.value = -590;
        slider.dispatchEvent(new Event('input', { bubbles: true }))";
    chrome.run(drag).await;
    chrome.has("#past-view [data-empty=unrecorded]", PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_of_the_past_is_shown_as_a_whole_and_as_the_past() {
    let configure =
        |launch: cachefront_testkit::process::Launch| launch.env("CACHEFRONT_MODE", "ttl").env("CACHEFRONT_TTL", "10m");
    let scene = Scene::embedded(1440, 900, configure).await;
    let chrome = &scene.chrome;
    was_stale_for_some_seconds(&scene).await;

    // By keyboard, second by second, until the moment at which it was stale.
    chrome.run("document.getElementById('past').focus()").await;
    // Each step is shown before the next one, so that the entry is not passed by.
    let moment = "return Number(document.querySelector('[data-past]')?.dataset.past ?? 0)";
    wait::until_async("the slider has reached the stale entry", PATIENCE, async || {
        let last = chrome.run(moment).await;
        chrome.press(LEFT).await;
        wait::until_async("another moment is shown", PATIENCE, async || chrome.run(moment).await != last).await;
        !chrome.text("#past-view [data-verdict=stale]").await.is_empty()
    })
    .await;
    // One second earlier, so that it is a moment before the switch, however the two fell into the second.
    let last = chrome.run(moment).await.as_f64();
    wait::until_async("an earlier moment is shown", PATIENCE, async || {
        chrome.press(LEFT).await;
        let shown = chrome.run(moment).await.as_f64();
        shown > Some(0.0) && shown < last
    })
    .await;
    until_stale(chrome).await;
    chrome.shows("#past-time", "Nothing here is live", PATIENCE).await;
    chrome.shows("#past-view", "Mode TTL", PATIENCE).await;
    assert_eq!(chrome.run(OF_NOW).await, json!(0));
    let title = chrome.client.title().await.expect("a title");
    assert!(title.starts_with("as of "), "{title}");
    // The event that healed it had not happened; the write had.
    chrome.shows("#past-view .ev", "update", PATIENCE).await;
    assert!(!chrome.text("#past-view .ev").await.contains("switched to CDC"));
    // The charts end at that moment.
    let ends =
        "return [...document.querySelectorAll('#charts .k')].every((axis) => axis.textContent.includes('as of'))";
    assert_eq!(chrome.run(ends).await, json!(true));
    // What happens now changes nothing of it.
    let before = chrome.text("#past-view").await;
    scene.add("Grace", "grace@example.org").await;
    scene.set_mode("ttl").await;
    wait::until_async("the live page has noticed", PATIENCE, async || {
        chrome.run("return document.querySelector('.strip [data-mode=ttl]').ariaPressed === 'true'").await
            == json!(true)
    })
    .await;
    assert_eq!((chrome.text("#past-view").await, chrome.run(OF_NOW).await), (before, json!(0)));
    for (width, place) in [(1440, "wide"), (390, "phone")] {
        chrome.resize(width, 900).await;
        assert_both_themes(chrome, &format!("past-{place}"), width).await;
    }
    chrome.resize(1440, 900).await;

    back_to_now(chrome).await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}
