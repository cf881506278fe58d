//! What each card shows, in words: seen at the first visit, hidden by one button, and remembered.

use serde_json::json;

use crate::accessible::assert_accessible;
use crate::chrome::PATIENCE;
use crate::scene::Scene;

/// The cards that are explained, and how many of these texts are visible.
const SHOWN: &str = "
    const texts = [...document.querySelectorAll('[data-explains]')];
    return [texts.map((text) => text.dataset.explains).sort().join(' '), texts.filter((text) => text.checkVisibility()).length]";

#[tokio::test(flavor = "multi_thread")]
async fn every_card_is_explained_until_that_is_switched_off() {
    let scene = Scene::embedded(1440, 1400, |launch| launch).await;
    let chrome = &scene.chrome;
    let live = "charts demo events experiment load mode pipeline users verdict";
    chrome.shows("[data-explains=pipeline]", "database's own log", PATIENCE).await;
    assert_eq!(chrome.run(SHOWN).await, json!([live, 9]));
    // A term is defined, for the keyboard too.
    let defined = "
        const term = document.querySelector('[data-explains=pipeline] .term');
        term.focus();
        return [term.textContent, term.title.length > 40, document.activeElement === term]";
    assert_eq!(chrome.run(defined).await, json!(["gate", true, true]));
    assert_accessible(chrome).await;
    chrome.screenshot("explained").await;

    chrome.click("#explain").await;
    assert_eq!(chrome.run(SHOWN).await, json!([live, 0]));
    assert_eq!(chrome.run("return document.getElementById('explain').ariaPressed").await, "false");
    for (page, cards) in [
        ("/cache", "cache mode verdict"),
        ("/faults", "faults mode pipeline verdict"),
        ("/audit", "audit mode verdict"),
    ] {
        chrome.goto(&format!("{}{page}", scene.simulator.ui_url())).await;
        chrome.shows("#explain", "Explain", PATIENCE).await;
        assert_eq!(chrome.run(SHOWN).await, json!([cards, 0]), "the choice is kept");
    }
    chrome.click("#explain").await;
    assert_eq!(chrome.run(SHOWN).await, json!(["audit mode verdict", 3]));
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn explanations_fit_a_phone() {
    let scene = Scene::embedded(390, 844, |launch| launch).await;
    let chrome = &scene.chrome;
    chrome.shows("[data-explains=demo]", "Each demo changes one row", PATIENCE).await;
    assert_eq!(chrome.run("return [document.documentElement.scrollWidth, innerWidth]").await, json!([390, 390]));
    assert_accessible(chrome).await;
    chrome.screenshot("explained-phone").await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}
