//! The charts: the values of a moment by pointer, keyboard and touch, and a closer look at a stretch of time.

use std::time::Duration;

use cachefront_testkit::wait;
use fantoccini::Locator;
use fantoccini::actions::{Actions, InputSource, MOUSE_BUTTON_LEFT, MouseActions, PointerAction, TouchActions};
use serde_json::{Value, json};

use crate::accessible::assert_accessible;
use crate::chrome::{Chrome, PATIENCE};
use crate::scene::Scene;

const LEFT: &str = "\u{e012}";
const RIGHT: &str = "\u{e014}";
const ESCAPE: &str = "\u{e00c}";

/// What is said of a chart, by its place: the moment and its values.
async fn said(chrome: &Chrome, place: usize) -> String {
    let script = format!("return document.querySelectorAll('.plot')[{place}].getAttribute('aria-valuetext') ?? ''");
    chrome.run(&script).await.as_str().unwrap_or_default().to_owned()
}

/// The time at the left end of each chart's axis, and the stretch that is shown.
const TIMES: &str =
    "return [[...new Set([...document.querySelectorAll('.chart .k :first-child')].map((end) => end.textContent))],
    document.querySelector('[data-shown]').textContent]";

async fn times(chrome: &Chrome) -> (Vec<String>, String) {
    serde_json::from_value(chrome.run(TIMES).await).expect("times")
}

/// Waits until the charts have this many samples.
async fn samples(chrome: &Chrome, count: u64) {
    let script = "return Number(document.querySelector('.plot')?.getAttribute('aria-valuemax') ?? 0)";
    wait::until_async("the charts have samples", PATIENCE, async || {
        chrome.run(script).await.as_u64().is_some_and(|last| last + 1 >= count)
    })
    .await;
}

async fn focus(chrome: &Chrome, place: usize) {
    chrome.run(&format!("document.querySelectorAll('.plot')[{place}].focus()")).await;
}

/// What a pointer does on the first chart.
#[derive(Clone, Copy)]
enum Step {
    /// Moves to this many pixels from the chart's middle.
    To(f64),
    Down,
    Up,
}

use Step::{Down, To, Up};

async fn pointer(chrome: &Chrome, source: &str, steps: &[Step]) {
    let plot = chrome.client.find(Locator::Css(".plot")).await.expect("a chart");
    let steps = steps.iter().map(|step| match *step {
        To(x) => {
            let (element, duration) = (plot.clone(), Some(Duration::from_millis(50)));
            PointerAction::MoveToElement { element, duration, x, y: 0.0 }
        }
        Down => PointerAction::Down { button: MOUSE_BUTTON_LEFT },
        Up => PointerAction::Up { button: MOUSE_BUTTON_LEFT },
    });
    let actions: Actions = match source {
        "mouse" => steps.fold(MouseActions::new("mouse".into()), MouseActions::then).into(),
        _ => steps.fold(TouchActions::new("touch".into()), TouchActions::then).into(),
    };
    chrome.client.perform_actions(actions).await.expect("the pointer moves");
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_are_read_and_zoomed_by_mouse_and_keyboard() {
    let scene = Scene::embedded(1440, 1000, |launch| launch.env("CACHEFRONT_MODE", "ttl")).await;
    let chrome = &scene.chrome;
    samples(chrome, 8).await;
    assert_eq!(times(chrome).await, (vec!["60 s".to_owned()], "last 60 s".to_owned()));
    assert!(said(chrome, 1).await.starts_with("now: "), "{}", said(chrome, 1).await);

    // By mouse: all charts are at the same moment, and show its values.
    pointer(chrome, "mouse", &[To(60.0), To(75.0)]).await;
    wait::until_async("a moment is shown", PATIENCE, async || said(chrome, 1).await.contains("UTC: ")).await;
    let (at, _) = times(chrome).await;
    assert!(at.len() == 1 && at[0].len() == "00:00:00".len(), "{at:?}");
    assert_eq!(chrome.run("return document.querySelectorAll('.chart b.then').length").await, 5);
    assert!(chrome.run("return document.querySelectorAll('.plot .cursor:not([hidden])').length").await == 5);
    chrome.screenshot("charts-moment").await;

    // Dragging zooms, and a double click goes back.
    pointer(chrome, "mouse", &[To(30.0), Down, To(78.0), Up]).await;
    wait::until_async("a stretch is shown", PATIENCE, async || times(chrome).await.1.contains(" to ")).await;
    chrome.screenshot("charts-stretch").await;
    assert_accessible(chrome).await;
    let stretch = times(chrome).await.1;
    samples(chrome, 2).await;
    assert_eq!(times(chrome).await.1, stretch, "it stays while samples come");
    pointer(chrome, "mouse", &[To(60.0), Down, Up, Down, Up]).await;
    wait::until_async("the present is shown", PATIENCE, async || times(chrome).await.1 == "last 60 s").await;

    // By keyboard, too.
    focus(chrome, 1).await;
    for keys in [LEFT, LEFT, LEFT] {
        chrome.press(keys).await;
    }
    let third = said(chrome, 1).await;
    chrome.press(RIGHT).await;
    let second = said(chrome, 1).await;
    assert!(third.contains("UTC: 0.0 /s") && third < second, "{third} and then {second}");
    chrome.press("+").await;
    let (_, closer) = times(chrome).await;
    assert!(closer.contains(" to "), "{closer}");
    chrome.press(ESCAPE).await;
    assert_eq!(times(chrome).await.1, "last 60 s");
    assert!(said(chrome, 1).await.starts_with("now: "));

    // Ten minutes, by button.
    chrome.click("[data-span='600']").await;
    assert_eq!(times(chrome).await, (vec!["10 min".to_owned()], "last 10 min".to_owned()));
    assert_eq!(chrome.run("return document.querySelector('[data-span=\"600\"]').ariaPressed").await, "true");
    chrome.screenshot("charts-ten-minutes").await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_are_read_and_zoomed_by_touch_on_a_phone() {
    let scene = Scene::embedded(390, 844, |launch| launch.env("CACHEFRONT_MODE", "ttl")).await;
    let chrome = &scene.chrome;
    samples(chrome, 8).await;
    chrome.run("document.querySelector('.plot').scrollIntoView({ block: 'center' })").await;
    // A tap shows a moment, and it stays.
    pointer(chrome, "touch", &[To(60.0), Down, Up]).await;
    wait::until_async("a moment is shown", PATIENCE, async || said(chrome, 0).await.contains("UTC: ")).await;
    assert_eq!(chrome.run("return [document.documentElement.scrollWidth, innerWidth]").await, json!([390, 390]));
    assert_accessible(chrome).await;
    chrome.screenshot("charts-phone-moment").await;
    pointer(chrome, "touch", &[To(20.0), Down, To(45.0), To(70.0), Up]).await;
    wait::until_async("a stretch is shown", PATIENCE, async || times(chrome).await.1.contains(" to ")).await;
    chrome.screenshot("charts-phone-stretch").await;
    let fits = "return [...document.querySelectorAll('.chart .k, .chart figcaption')].every((line) => line.scrollWidth <= line.clientWidth)";
    assert_eq!(chrome.run(fits).await, Value::Bool(true));
    chrome.click("[data-follow]").await;
    assert_eq!(times(chrome).await.1, "last 60 s");
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}
