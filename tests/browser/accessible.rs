//! A phone's width, dark colours, the keyboard, and what checks for accessibility find.

use cachefront_testkit::process::Launch;
use cachefront_testkit::wait;
use serde_json::json;

use crate::chrome::{Chrome, PATIENCE};
use crate::scene::Scene;

const AXE: &str = include_str!("vendor/axe.min.js");

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

/// How often the page is checked before a finding counts: each check takes some hundred milliseconds.
const CHECKS: usize = 8;

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

#[tokio::test(flavor = "multi_thread")]
async fn every_page_and_dialog_is_accessible_wide_and_on_a_phone() {
    let configure = |launch: Launch| launch.env("CACHEFRONT_MODE", "ttl").env("CACHEFRONT_TTL", "10m");
    let scene = Scene::embedded(1440, 900, configure).await;
    let chrome = &scene.chrome;
    let id = scene.add("Ada Lovelace", "ada@example.org").await;
    scene.read(id).await;
    scene.rename(id, "Ada King", "ada@example.org").await;
    scene.api(reqwest::Method::PUT, "/faults", Some(json!({ "store_delay_ms": 20, "freeze_stream": true }))).await;
    for (width, place) in [(1440, "wide"), (390, "phone")] {
        chrome.resize(width, 900).await;
        for page in ["", "cache", "faults", "audit"] {
            chrome.goto(&format!("{}/{page}", scene.simulator.ui_url())).await;
            chrome.shows("#connection", "live", PATIENCE).await;
            chrome.has("[data-verdict=stale][data-differing='1']", PATIENCE).await;
            if page == "cache" {
                chrome.click("[data-toggle]").await;
                chrome.shows("tr.cmp-row:not([hidden])", "Value as JSON", PATIENCE).await;
            }
            // On a phone the row of tabs scrolls: the current one is in sight.
            let right =
                "return document.querySelector('.tabs [aria-current]').getBoundingClientRect().right <= innerWidth";
            assert_eq!(chrome.run(right).await, json!(true), "{page} {place}");
            let name = format!("{}-{place}", if page.is_empty() { "live" } else { page });
            assert_both_themes(chrome, &name, width).await;
        }
        chrome.goto(&format!("{}/", scene.simulator.ui_url())).await;
        chrome.click("[data-mode=cdc]").await;
        chrome.shows("#ask[open]", "Switch to CDC?", PATIENCE).await;
        assert_both_themes(chrome, &format!("dialog-{place}"), width).await;
        chrome.click("#ask button[value=no]").await;
        chrome.click("[data-open=history]").await;
        chrome.shows("#history[open]", "In force", PATIENCE).await;
        assert_both_themes(chrome, &format!("history-{place}"), width).await;
        chrome.click("#history [data-close]").await;
    }
    chrome.client.delete_all_cookies().await.expect("no cookies");
    for (width, place) in [(1440, "wide"), (390, "phone")] {
        chrome.resize(width, 900).await;
        chrome.goto(&format!("{}/login", scene.simulator.ui_url())).await;
        chrome.shows("form", "Log in", PATIENCE).await;
        assert_both_themes(chrome, &format!("login-{place}"), width).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_viewer_may_not_do_can_be_reached_and_says_why() {
    let scene = Scene::embedded(1440, 900, |launch| launch.env("CACHEFRONT_UI_VIEWER_PASSWORD", "v secret v")).await;
    let chrome = &scene.chrome;
    chrome.client.delete_all_cookies().await.expect("no cookies");
    chrome.goto(&format!("{}/login", scene.simulator.ui_url())).await;
    chrome
        .run(
            "document.querySelector('[name=name]').value = 'viewer';
              document.querySelector('[name=password]').value = 'v secret v'",
        )
        .await;
    chrome.click("form button").await;
    chrome.shows("#connection", "live", PATIENCE).await;
    let off = "return [...document.querySelectorAll('[data-fault], [data-user=new]')].every((control) =>
        !control.disabled && control.ariaDisabled === 'true' && control.getAttribute('aria-describedby') === 'why-off')";
    wait::until_async("what is off says why", PATIENCE, async || chrome.run(off).await == true).await;
    assert_ne!(chrome.text("#why-off:not([data-read-only])").await, "");
    chrome.run("document.querySelector('[data-fault=pause_consumer]').focus()").await;
    assert_eq!(chrome.run("return document.activeElement.dataset.fault ?? ''").await, "pause_consumer");
    chrome.press(ENTER).await;
    chrome.has("#toasts .bad", PATIENCE).await;
    chrome.click("[data-user=new]").await;
    assert_eq!(chrome.run("return document.querySelectorAll('dialog[open]').length").await, 0);
    // What is pushed leaves it so.
    scene.add("Ada", "ada@x").await;
    chrome.shows(".users tbody", "Ada", PATIENCE).await;
    assert_eq!(chrome.run(off).await, true);
    assert_accessible(chrome).await;
    chrome.screenshot("viewer").await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}

/// Light and dark: nothing is found, nothing has to be scrolled sideways, and a picture is kept.
pub(crate) async fn assert_both_themes(chrome: &Chrome, name: &str, width: u32) {
    for (dark, theme) in [(false, "light"), (true, "dark")] {
        chrome.dark(dark).await;
        let size = chrome.run("return document.documentElement.scrollWidth").await;
        assert_eq!(size, json!(width), "{name}");
        chrome.screenshot(&format!("page-{name}-{theme}")).await;
        assert_accessible(chrome).await;
    }
    chrome.dark(false).await;
}

/// Runs axe-core in the page: nothing may be found. Colours that fade into each other are checked again.
pub(crate) async fn assert_accessible(chrome: &Chrome) {
    chrome.client.execute(AXE, Vec::new()).await.expect("axe-core");
    let script = "const done = arguments[arguments.length - 1];
        axe.run({ resultTypes: ['violations'] }).then(({ violations }) => done(violations.map(({ id, help, nodes }) =>
            `${id}: ${help}: ${nodes.slice(0, 3).map(({ html }) => html).join(' | ')}`)), (error) => done([String(error)]))";
    let mut found = json!(null);
    for _ in 0..CHECKS {
        found = chrome.client.execute_async(script, Vec::new()).await.expect("axe-core ran");
        if found == json!([]) {
            return;
        }
    }
    panic!("{found:#}");
}
