//! A fault by one click, under the part that it breaks; and load by another.

use crate::chrome::PATIENCE;
use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_consumer_makes_the_cache_stale_and_everything_heals_when_it_goes_on() {
    let scene = Scene::embedded(1440, 900, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let chrome = &scene.chrome;
    let id = scene.add("Ada", "ada@x").await;
    scene.warm(id).await;
    chrome.title_is("cache healthy", PATIENCE).await;
    chrome.click("[data-fault=pause_consumer]").await;
    chrome.shows("[data-fault=pause_consumer][aria-pressed=true]", "Pause", PATIENCE).await;
    // Nothing ends the entry now but its time.
    scene.warm(id).await;
    scene.rename(id, "Ada King", "ada@x").await;
    chrome.title_is("cache stale (1)", PATIENCE).await;
    chrome.shows("[data-part=banner]", "The consumer is paused", PATIENCE).await;
    chrome.shows("[data-hop='1'].w", "changes wait", PATIENCE).await;
    chrome.screenshot("consumer-paused").await;
    chrome.click("[data-fault=pause_consumer]").await;
    chrome.title_is("cache empty", PATIENCE).await;
    chrome.click(&format!("[data-post='/users/{id}/read']")).await;
    chrome.title_is("cache healthy", PATIENCE).await;
    load_runs_and_ends(&scene).await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}

async fn load_runs_and_ends(scene: &Scene) {
    let chrome = &scene.chrome;
    chrome.run("document.querySelector('[data-form=\"/load\"] [name=seconds]').value = '2'").await;
    chrome.click("[data-form='/load'] button").await;
    chrome.shows("[data-part=load]", "stale reads", PATIENCE).await;
    chrome.shows("[data-part=load]", "finished", PATIENCE).await;
    chrome.screenshot("after-load").await;
    for page in ["cache", "faults", "audit"] {
        chrome.goto(&format!("{}/{page}", scene.simulator.ui_url())).await;
        chrome.shows("#connection", "live", PATIENCE).await;
        chrome.screenshot(&format!("page-{page}")).await;
    }
}
