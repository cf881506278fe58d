//! Kept runs: a sweep is started, its curves are shown, and two measurements are compared by keyboard, wide and on a phone.

use cachefront_testkit::wait;
use serde_json::json;

use crate::accessible::assert_both_themes;
use crate::chrome::{Chrome, PATIENCE};
use crate::scene::Scene;

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const DOWN: &str = "\u{e015}";
const SPACE: &str = " ";

/// Goes on with the Tab key until the focus is on what matches.
async fn tab_to(chrome: &Chrome, selector: &str) {
    for _ in 0..60 {
        if chrome.run(&format!("return document.activeElement.matches(`{selector}`)")).await == json!(true) {
            return;
        }
        chrome.press(TAB).await;
    }
    panic!("the Tab key does not lead to {selector}");
}

async fn in_all_sizes(chrome: &Chrome, name: &str) {
    for (width, place) in [(1440, "wide"), (390, "phone")] {
        chrome.resize(width, 1600).await;
        assert_both_themes(chrome, &format!("{name}-{place}"), width).await;
    }
    chrome.resize(1440, 900).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_is_run_and_two_measurements_are_compared_by_keyboard() {
    let scene = Scene::embedded(1440, 900, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let chrome = &scene.chrome;
    chrome.click(".tabs a[href='/runs']").await;
    chrome.shows("[data-empty=runs]", "No run is kept yet", PATIENCE).await;
    chrome.shows("[data-explains=sweep]", "a longer TTL saves database reads", PATIENCE).await;
    chrome
        .run(
            "const { elements } = document.querySelector('[data-form=\"/sweep\"]');
            elements.preset.value = 'hot-key';
            for (const [name, value] of [['rate', 100], ['seconds', 1], ['ttls', '50ms,400ms,10s'], ['seeds', 2]])
                elements[name].value = value;
            elements.ttls.focus()",
        )
        .await;
    chrome.press(ENTER).await;
    chrome.has("[data-sweep=running]", PATIENCE).await;
    chrome.has("progress.bar", PATIENCE).await;
    in_all_sizes(chrome, "sweep-running").await;
    chrome.has("[data-sweep=finished]", PATIENCE * 2).await;
    chrome.click("[data-result]").await;
    chrome.has("figure[data-plot='Database reads a second'] svg path", PATIENCE).await;
    chrome.shows("[data-ttl='10000'] th", "*", PATIENCE).await;
    chrome.shows("[data-unexpired]", "nothing expired", PATIENCE).await;
    in_all_sizes(chrome, "sweep-result").await;

    // From the list: A is the first measurement, and B is moved by an arrow key.
    chrome.goto(&format!("{}/runs", scene.simulator.ui_url())).await;
    chrome.has("[data-kind=sweep] summary", PATIENCE).await;
    tab_to(chrome, "[data-run] summary").await;
    chrome.press(ENTER).await;
    in_all_sizes(chrome, "runs").await;
    let chosen = "return [...document.querySelectorAll('[data-run] input:checked')].map(one => one.ariaLabel.split(', seed ')[1])";
    assert_eq!(chrome.run(chosen).await, json!(["42", "42"]), "the same rows, in the same order");
    tab_to(chrome, "[data-run] input[name=a]").await;
    chrome.press(SPACE).await;
    tab_to(chrome, "[data-run] input[name=b]").await;
    chrome.press(DOWN).await;
    chrome.press(ENTER).await;
    chrome.shows("[data-side=A]", "TTL 50 ms", PATIENCE).await;
    chrome.shows("[data-side=B]", "CDC", PATIENCE).await;
    assert_eq!(chrome.run("return document.querySelectorAll('.plotted').length").await, json!(3));
    assert_eq!(chrome.run("return document.querySelectorAll('.plotted [d^=M]').length").await, json!(6));
    in_all_sizes(chrome, "runs-compared").await;
    // The address is the comparison.
    let address = chrome.run("return location.pathname + location.search").await;
    let address = address.as_str().expect("an address");
    assert!(address.starts_with("/runs/compare?a=") && address.contains("&b="), "{address}");
    chrome.client.delete_all_cookies().await.expect("no cookies");
    chrome.goto(&format!("{}{address}", scene.simulator.ui_url())).await;
    chrome.shows(".login", "Log in", PATIENCE).await;
    scene.enter_password().await;
    chrome.shows("[data-side=A]", "TTL 50 ms", PATIENCE).await;

    // Deleted, it is gone from the list.
    chrome.goto(&format!("{}/runs", scene.simulator.ui_url())).await;
    chrome.shows("#connection", "live", PATIENCE).await;
    chrome.click("[data-run] button.danger").await;
    chrome.shows("#ask[open]", "Delete this run?", PATIENCE).await;
    chrome.press(ENTER).await;
    wait::until_async("the list is empty", PATIENCE, async || !chrome.text("[data-empty=runs]").await.is_empty()).await;
    // Without its cookie the page was refused before the login.
    let complaints = chrome.complaints().await;
    assert!(complaints.iter().all(|line| line.contains("401")), "{complaints:?}");
}
