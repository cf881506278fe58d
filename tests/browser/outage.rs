//! The program dies and comes back.

use std::time::Duration;

use cachefront_testkit::process::Simulator;
use cachefront_testkit::server::mysql::MySql;
use cachefront_testkit::stack;
use cachefront_testkit::unique;

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
    chrome.has("[data-verdict=lost]", PATIENCE).await;
    chrome.shows("#lost", "as of", PATIENCE).await;
    chrome.shows(&format!("tr[data-id='{id}']"), "Ada", PATIENCE).await;
    let on = "button[data-post]:enabled, button[data-ask]:enabled, #ask-yes:enabled, #user-form [type=submit]:enabled";
    assert_eq!(chrome.run(&format!("return document.querySelectorAll('{on}').length")).await, 0);
    // The counting is for the eye only: what is said aloud is said once.
    let said = "return document.querySelector('#lost [role=alert]').textContent";
    let first = chrome.run(said).await;
    assert!(first.as_str().is_some_and(|words| words.contains("Connection lost.") && words.contains("UTC")), "{first}");
    chrome.shows("#lost", "5 s ago", PATIENCE).await;
    assert_eq!(chrome.run(said).await, first);
    chrome.shows("#charts", "as of", PATIENCE).await;
    chrome.screenshot("connection-lost").await;

    // It reconnects by itself, and no login is needed.
    scene.simulator.restart().await;
    let chrome = &scene.chrome;
    chrome.shows("#connection", "live", PATIENCE).await;
    chrome.title_is("cache empty", PATIENCE).await;
    chrome.shows(&format!("tr[data-id='{id}']"), "Ada", PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_only_pauses_is_believed_again_when_it_goes_on() {
    let mut scene =
        Scene::embedded(1280, 800, |launch| launch.env("CACHEFRONT_TTL", "10m").env("CACHEFRONT_MODE", "ttl")).await;
    let id = scene.add("Ada", "ada@x").await;
    scene.warm(id).await;
    scene.chrome.title_is("cache healthy", PATIENCE).await;
    // Nothing changes meanwhile, so that nothing but what silence changed has to be put back.
    scene.simulator.freeze();
    scene.chrome.has("[data-verdict=lost]", PATIENCE).await;
    scene.simulator.resume();
    scene.chrome.has("[data-verdict=healthy]", PATIENCE).await;
    scene.chrome.title_is("cache healthy", PATIENCE).await;
    assert_eq!(scene.chrome.run("return document.querySelectorAll('[data-was]').length").await, 0);
    // One that is silent for longer is asked by a new stream.
    scene
        .chrome
        .run(
            "window.streams = 0; const real = EventSource;
        window.EventSource = class extends real { constructor(...all) { super(...all); window.streams += 1; } };
        window.EventSource.OPEN = 1",
        )
        .await;
    scene.simulator.freeze();
    cachefront_testkit::wait::until_async("another stream is tried", PATIENCE, async || {
        scene.chrome.run("return window.streams").await.as_u64() > Some(0)
    })
    .await;
    scene.simulator.resume();
    scene.chrome.title_is("cache healthy", PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_database_leaves_no_outdated_verdict() {
    let mut mysql = MySql::start(&[]).await;
    let launch = Simulator::role("up")
        .env("CACHEFRONT_MYSQL_URL", format!("{}/{}", mysql.url().trim_end_matches('/'), unique::name("shop")))
        .env("CACHEFRONT_REDIS_URL", stack::redis_url())
        .env("CACHEFRONT_TTL", "10m");
    let scene = Scene::of(1440, 900, launch).await;
    let chrome = &scene.chrome;
    let id = scene.add("Ada", "ada@x").await;
    scene.warm(id).await;
    chrome.title_is("cache healthy", PATIENCE).await;
    mysql.freeze();
    chrome.title_is("cache unknown", Duration::from_secs(5)).await;
    chrome.has("[data-verdict=unknown]", PATIENCE).await;
    let row = format!("tr[data-id='{id}'][data-state=unknown]");
    chrome.has(&row, PATIENCE).await;
    chrome.shows("[data-part=users]", "As of", PATIENCE).await;
    chrome.has("[data-part=banner] [data-cause=database_away]", PATIENCE).await;
    // The program itself is heard all the while.
    chrome.shows("#connection", "live", PATIENCE).await;
    chrome.screenshot("database-frozen").await;
    mysql.resume();
    chrome.title_is("cache healthy", PATIENCE).await;
    chrome.shows(&format!("tr[data-id='{id}'][data-state=healthy]"), "Ada", PATIENCE).await;
}
