//! Two app servers side by side: the bus of one is cut, by keyboard, and what each of them serves is shown.

use reqwest::Method;
use serde_json::json;

use crate::accessible::assert_both_themes;
use crate::chrome::PATIENCE;
use crate::scene::Scene;

const ENTER: &str = "\u{e007}";

#[tokio::test(flavor = "multi_thread")]
async fn the_server_that_is_cut_off_is_honest_and_the_other_goes_on() {
    let configure = |launch: cachefront_testkit::process::Launch| {
        launch.env("CACHEFRONT_SERVERS", "2").env("CACHEFRONT_TTL", "10m")
    };
    let scene = Scene::embedded(1440, 900, configure).await;
    let chrome = &scene.chrome;
    let id = scene.add("Ada", "ada@example.org").await;
    chrome.click(".tabs a[href='/servers']").await;
    for server in ["A", "B"] {
        let tile = format!("[data-server={server}][data-tier=on]");
        chrome.has(&format!("{tile} [data-read=local]"), PATIENCE).await;
        chrome.shows(&format!("{tile} [data-read]"), "Ada", PATIENCE).await;
    }
    chrome.screenshot("servers-both").await;

    // By keyboard: the button keeps the focus while the card is pushed again and again.
    let button = "document.querySelector('[data-server=B] button')";
    chrome.run(&format!("{button}.focus()")).await;
    chrome.press(ENTER).await;
    chrome.has("[data-server=B][data-cut] button[aria-pressed=true]", PATIENCE).await;
    chrome.has("[data-part=banner] [data-cause=bus_cut]", PATIENCE).await;
    scene.rename(id, "Ada King", "ada@example.org").await;
    chrome.shows("[data-server=A][data-tier=on]:not([data-cut]) [data-read=local]", "Ada King", PATIENCE).await;
    chrome.has("[data-server=B][data-tier=off] [data-read=shared]", PATIENCE).await;
    chrome.has("[data-server=B] [data-compared=equal]", PATIENCE).await;
    chrome.shows("[data-server=B] [data-read]", "Ada King", PATIENCE).await;
    for (width, place) in [(1440, "wide"), (390, "phone")] {
        chrome.resize(width, 900).await;
        assert_both_themes(chrome, &format!("servers-{place}"), width).await;
    }
    chrome.resize(390, 1600).await;
    chrome.screenshot("servers-phone-whole").await;
    chrome.resize(1440, 900).await;

    assert_eq!(chrome.run(&format!("return document.activeElement === {button}")).await, true);
    chrome.press(ENTER).await;
    chrome.has("[data-server=B][data-tier=on]:not([data-cut]) [data-read=local]", PATIENCE).await;

    // Another user is observed by its id; one that does not exist is said to be missing.
    let other = scene.add("Grace", "grace@example.org").await;
    chrome.goto(&format!("{}/servers?user={other}", scene.simulator.ui_url())).await;
    chrome.shows("[data-observed]", "Grace", PATIENCE).await;
    chrome.shows("[data-server=B] [data-read]", "Grace", PATIENCE).await;
    chrome.goto(&format!("{}/servers?user=4294967297", scene.simulator.ui_url())).await;
    chrome.shows("[data-server=B] [data-read]", "known to be missing", PATIENCE).await;

    chrome.goto(&format!("{}/faults", scene.simulator.ui_url())).await;
    chrome.has("[data-key=bus_cut] select", PATIENCE).await;
    chrome.run("document.querySelector('[data-key=bus_cut] select').value = 'B'").await;
    chrome.click("[data-key=bus_cut] button").await;
    chrome.shows("[data-key=bus_cut] .chip", "server B", PATIENCE).await;
    assert_eq!(scene.api(Method::GET, "/faults", None).await["bus_cut"], json!("B"));
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_has_no_page_of_its_own() {
    let scene = Scene::embedded(1440, 900, |launch| launch).await;
    assert_eq!(
        scene.chrome.run("return document.querySelectorAll('.tabs a[href=\"/servers\"]').length").await,
        json!(0)
    );
    scene.chrome.goto(&format!("{}/servers", scene.simulator.ui_url())).await;
    scene.chrome.shows("[data-part=servers] [data-empty=one]", "--servers 2", PATIENCE).await;
    assert_both_themes(&scene.chrome, "servers-one", 1440).await;
}
