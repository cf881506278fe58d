//! The program dies and comes back.

use std::time::Duration;

use crate::chrome::PATIENCE;
use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_dies_is_noticed_and_found_again() {
    let mut scene = Scene::embedded(1280, 800, |launch| launch).await;
    let id = scene.add("Ada", "ada@x").await;
    scene.warm(id).await;
    scene.chrome.title_is("cache healthy", PATIENCE).await;
    scene.simulator.kill();

    // Never an old green: values stay with their time, and nothing can be changed.
    let chrome = &scene.chrome;
    chrome.title_is("cache unknown", Duration::from_secs(5)).await;
    chrome.shows("[data-verdict] h1", "cache unknown", PATIENCE).await;
    chrome.shows("#lost", "as of", PATIENCE).await;
    chrome.shows(&format!("tr[data-id='{id}']"), "Ada", PATIENCE).await;
    let on =
        chrome.run("return document.querySelectorAll('button[data-post]:enabled, button[data-ask]:enabled').length");
    assert_eq!(on.await, 0);
    chrome.screenshot("connection-lost").await;

    // It finds back by itself, and nobody has to log in again.
    scene.simulator.restart().await;
    let chrome = &scene.chrome;
    chrome.shows("#connection", "live", PATIENCE).await;
    chrome.title_is("cache empty", PATIENCE).await;
    chrome.shows(&format!("tr[data-id='{id}']"), "Ada", PATIENCE).await;
}
