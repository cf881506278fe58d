//! The races: played by clicks and by keyboard, wide and on a phone.

use cachefront_testkit::wait;
use serde_json::json;

use crate::accessible::assert_accessible;
use crate::chrome::{Chrome, PATIENCE};
use crate::scene::Scene;

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const SHIFT: &str = "\u{e008}";

/// Waits until the page has played this many steps.
async fn at_step(chrome: &Chrome, step: usize) {
    chrome.has(&format!("[data-race][data-step='{step}']"), PATIENCE).await;
}

/// What the page says about the cache: the verdict and the value.
async fn state(chrome: &Chrome) -> serde_json::Value {
    let script = "return [document.querySelector('[data-race]').dataset.outcome, document.querySelector('[data-cached]').dataset.cached]";
    chrome.run(script).await
}

async fn play_to_the_end(chrome: &Chrome, steps: usize) {
    for step in 1..=steps {
        chrome.click("[data-go=next]").await;
        at_step(chrome, step).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_race_is_played_by_clicks_on_both_sides() {
    let scene = Scene::embedded(1440, 1000, |launch| launch).await;
    let chrome = &scene.chrome;
    // From the first page to the list, and from there to the first race.
    chrome.click("[data-part=demo] a[href='/race']").await;
    chrome.shows(".races h1", "Races", PATIENCE).await;
    assert_accessible(chrome).await;
    chrome.screenshot("race-list").await;
    chrome.click("a[href='/race/overtaken?side=naive&step=0']").await;
    at_step(chrome, 0).await;
    play_to_the_end(chrome, 5).await;
    assert_eq!(state(chrome).await, json!(["stale", "Ada"]));
    assert_accessible(chrome).await;
    chrome.screenshot("race-naive").await;
    // The address is that of the step, and Back in the browser is the step before.
    let address = "return location.pathname + location.search";
    assert_eq!(chrome.run(address).await, "/race/overtaken?side=naive&step=5");
    chrome.run("history.back()").await;
    at_step(chrome, 4).await;
    chrome.click("[data-go=next]").await;
    at_step(chrome, 5).await;
    chrome.click("[data-go=next]").await;
    at_step(chrome, 6).await;
    chrome.click("[data-other]").await;
    chrome.has("[data-race][data-side=cachefront][data-step='0']", PATIENCE).await;
    play_to_the_end(chrome, 4).await;
    chrome
        .shows(".race-board .now", "The cache refused \"Ada\", as reader A loaded it: its lease is gone.", PATIENCE)
        .await;
    chrome.screenshot("race-cachefront").await;
    chrome.click("[data-go=next]").await;
    at_step(chrome, 5).await;
    assert_eq!(state(chrome).await, json!(["current", "Ada King"]));
    // The gate, as a picture of its own.
    chrome.goto(&format!("{}/race/visibility?side=cachefront&step=4", scene.simulator.ui_url())).await;
    chrome.has("[data-at-gate]", PATIENCE).await;
    chrome.dark(true).await;
    assert_accessible(chrome).await;
    chrome.screenshot("race-gate-dark").await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_race_is_played_by_keyboard_and_the_focus_stays() {
    let scene = Scene::embedded(1440, 1000, |launch| launch).await;
    let chrome = &scene.chrome;
    chrome.goto(&format!("{}/race/joining?side=naive&step=0", scene.simulator.ui_url())).await;
    at_step(chrome, 0).await;
    let focused = "return document.activeElement.dataset.go ?? ''";
    for _ in 0..30 {
        if chrome.run(focused).await == "next" {
            break;
        }
        chrome.press(TAB).await;
    }
    assert_eq!(chrome.run("return document.activeElement.matches('[data-go=next]:focus-visible')").await, true);
    for step in 1..=6 {
        chrome.press(ENTER).await;
        at_step(chrome, step).await;
        assert_eq!(chrome.run(focused).await, "next", "step {step}");
    }
    assert_eq!(state(chrome).await, json!(["stale", "Ada"]));
    // What leads nowhere can be reached, and says why.
    assert_eq!(chrome.run("return document.activeElement.ariaDisabled").await, "true");
    chrome.press(&format!("{SHIFT}{TAB}")).await;
    assert_eq!(chrome.run(focused).await, "back");
    chrome.press(ENTER).await;
    at_step(chrome, 5).await;
    assert_accessible(chrome).await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_race_plays_by_itself_until_it_is_paused() {
    let scene = Scene::embedded(1440, 1000, |launch| launch).await;
    let chrome = &scene.chrome;
    let at = "return Number(document.querySelector('[data-race]').dataset.step)";
    chrome.goto(&format!("{}/race/own-write?side=cachefront&step=0&play=1", scene.simulator.ui_url())).await;
    chrome.has("[data-play][aria-pressed=true]", PATIENCE).await;
    wait::until_async("a step is played by itself", PATIENCE, async || chrome.run(at).await.as_u64() > Some(0)).await;
    chrome.click("[data-play]").await;
    chrome.has("[data-play][aria-pressed=false]", PATIENCE).await;
    // The button plays the next step at once, and goes on to the last one.
    chrome.click("[data-play]").await;
    at_step(chrome, 5).await;
    chrome.has("[data-play][aria-pressed=false]", PATIENCE).await;
    assert_eq!(state(chrome).await, json!(["current", "Ada King"]));
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn races_fit_a_phone() {
    let scene = Scene::embedded(390, 844, |launch| launch).await;
    let chrome = &scene.chrome;
    for (page, name) in [
        ("race", "list"),
        ("race/overtaken?side=naive&step=6", "naive"),
        ("race/visibility?side=cachefront&step=3", "gate"),
        ("race/replica?side=cachefront&step=4", "replica"),
    ] {
        chrome.goto(&format!("{}/{page}", scene.simulator.ui_url())).await;
        chrome.has(".race, .races", PATIENCE).await;
        for (dark, theme) in [(false, "light"), (true, "dark")] {
            chrome.dark(dark).await;
            let size = chrome.run("return [document.documentElement.scrollWidth, innerWidth]").await;
            assert_eq!(size, json!([390, 390]), "{page}");
            assert_accessible(chrome).await;
            chrome.screenshot(&format!("race-phone-{name}-{theme}")).await;
        }
        chrome.dark(false).await;
    }
    // A finger takes 40 pixels.
    let height =
        "return Math.min(...[...document.querySelectorAll('.race-bar .btn, .sides a')].map((one) => one.offsetHeight))";
    assert!(chrome.run(height).await.as_u64() >= Some(40));
    chrome.click("[data-go=next]").await;
    at_step(chrome, 5).await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_to_its_step_after_the_login() {
    let scene = Scene::embedded(1440, 900, |launch| launch).await;
    let chrome = &scene.chrome;
    let url = format!("{}/race/lost-log?side=naive&step=5", scene.simulator.ui_url());
    // A page of another site: the session's cookie does not come with its links.
    let link = format!("data:text/html,<a href='{url}'>race</a>").replace('&', "%26amp;");
    chrome.goto(&link).await;
    chrome.click("a").await;
    at_step(chrome, 5).await;
    chrome.client.delete_all_cookies().await.expect("no cookies");
    chrome.goto(&url).await;
    chrome.shows(".login", "Log in", PATIENCE).await;
    scene.enter_password().await;
    at_step(chrome, 5).await;
    assert_eq!(state(chrome).await, json!(["stale", "Ada"]));
}
