//! Several tabs and another program: all show the same, and no change is overwritten unseen.

use std::time::Duration;

use cachefront_testkit::process::Launch;
use cachefront_testkit::wait;
use fantoccini::wd::WindowHandle;

use crate::chrome::{Chrome, PATIENCE};
use crate::scene::Scene;

/// All show the same after this.
const SAME: Duration = Duration::from_secs(1);

struct Tabs<'a> {
    chrome: &'a Chrome,
    handles: Vec<WindowHandle>,
}

impl Tabs<'_> {
    /// Both show the text within a second: they are asked in turns.
    async fn show(&self, selector: &str, text: &str) {
        let what = format!("all tabs: {selector} shows {text:?}");
        wait::until_async(&what, SAME, async || {
            for handle in &self.handles {
                self.chrome.client.switch_to_window(handle.clone()).await.expect("a tab");
                if !self.chrome.text(selector).await.contains(text) {
                    return false;
                }
            }
            true
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_and_another_program_see_the_same_within_a_second() {
    let scene = Scene::embedded(1280, 800, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let chrome = &scene.chrome;
    let first = chrome.client.window().await.expect("a tab");
    let second = chrome.client.new_window(true).await.expect("a second tab").handle;
    chrome.client.switch_to_window(second.clone()).await.expect("a tab");
    chrome.goto(&format!("{}/", scene.simulator.ui_url())).await;
    let tabs = Tabs { chrome, handles: vec![first.clone(), second] };

    let id = scene.add("Ada", "ada@x").await;
    let row = format!("tr[data-id='{id}']");
    tabs.show(&row, "Ada").await;
    scene.set_mode("ttl").await;
    tabs.show("[data-mode=ttl][aria-pressed=true]", "TTL").await;
    scene.read(id).await;
    tabs.show("[data-verdict=healthy] h1", "cache").await;
    scene.rename(id, "Ada King", "ada@x").await;
    tabs.show("[data-verdict=stale][data-differing='1'] h1", "cache").await;
    tabs.show(&row, "stale").await;
    scene.set_mode("cdc").await;
    tabs.show("[data-mode=cdc][aria-pressed=true]", "CDC").await;
    tabs.show(&format!("{row}[data-state=absent]"), "Ada King").await;

    // A reload shows what was there before.
    chrome.client.switch_to_window(first.clone()).await.expect("a tab");
    chrome.client.refresh().await.expect("reloaded");
    tabs.show(&row, "Ada King").await;
    a_late_confirmation_overwrites_no_change(&scene).await;
    assert_eq!(chrome.complaints().await.iter().filter(|line| !line.contains("409")).count(), 0);
}

/// Another user switches while a confirmation is open: the response says so, and the mode is not switched.
async fn a_late_confirmation_overwrites_no_change(scene: &Scene) {
    let chrome = &scene.chrome;
    chrome.click("[data-mode=ttl]").await;
    chrome.shows("#ask[open]", "Switch to TTL?", PATIENCE).await;
    scene.set_mode("ttl").await;
    scene.set_mode("cdc").await;
    chrome.click("#ask-yes").await;
    chrome.has("#ask .error:not([hidden])", PATIENCE).await;
    chrome.click("#ask button[value=no]").await;
    chrome.shows("[data-mode=cdc][aria-pressed=true]", "CDC", PATIENCE).await;
    // Asked again, it is switched.
    chrome.click("[data-mode=ttl]").await;
    chrome.click("#ask-yes").await;
    chrome.shows("[data-mode=ttl][aria-pressed=true]", "TTL", SAME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_users_are_turned_forth_and_back_and_stay_live() {
    let configure = |launch: Launch| launch.env("CACHEFRONT_MODE", "ttl").env("CACHEFRONT_TTL", "10m");
    let scene = Scene::embedded(1280, 1000, configure).await;
    let chrome = &scene.chrome;
    let mut ids = Vec::new();
    for number in 1..=45 {
        ids.push(scene.add(&format!("User {number}"), &format!("user{number}@x")).await);
    }
    let row = |at: usize| format!("tr[data-id='{}']", ids[at]);
    chrome.shows(&row(19), "User 20", PATIENCE).await;
    chrome.click("[data-part=users] [data-want^='after=']:last-child").await;
    chrome.shows(&row(20), "User 21", PATIENCE).await;
    assert_eq!(chrome.text(&row(19)).await, "");
    // It goes on being pushed: what is written now is shown.
    scene.rename(ids[25], "Another name", "user26@x").await;
    chrome.shows(&row(25), "Another name", PATIENCE).await;
    chrome.shows("#connection", "live", PATIENCE).await;
    chrome.screenshot("users-second-page").await;
    chrome.click("[data-part=users] [data-want^='after=']:last-child").await;
    chrome.shows(&row(44), "User 45", PATIENCE).await;
    chrome.click("[data-part=users] [data-want^='after=&before=']:last-child").await;
    chrome.shows(&row(20), "User 21", PATIENCE).await;
    // A reload shows the same page, and so does the cache browser with keys.
    chrome.client.refresh().await.expect("reloaded");
    chrome.shows(&row(20), "User 21", PATIENCE).await;
    for id in &ids {
        scene.read(*id).await;
    }
    chrome.goto(&format!("{}/cache", scene.simulator.ui_url())).await;
    chrome.shows(".pager", "of 45 keys", PATIENCE).await;
    chrome.click("[data-want='page=1']").await;
    chrome.shows(".pager", "21 to 40", PATIENCE).await;
    chrome.click("[data-want='page=2']").await;
    chrome.shows(".pager", "41 to 45", PATIENCE).await;
    chrome.click("[data-want='page=1']").await;
    chrome.shows(".pager", "21 to 40", PATIENCE).await;
    chrome.click("tr.u [data-toggle]").await;
    chrome.shows("tr.cmp-row:not([hidden])", "Value as JSON", PATIENCE).await;
    chrome.screenshot("cache-second-page").await;
    // One entry goes, the row stays.
    chrome.click("tr.u [data-action='/cache/evict']").await;
    chrome.click("#ask-yes").await;
    chrome.shows(".pager", "of 44 keys", PATIENCE).await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_button_that_is_pressed_twice_posts_once() {
    let scene = Scene::embedded(1280, 800, |launch| launch).await;
    let chrome = &scene.chrome;
    chrome.title_is("cache empty", PATIENCE).await;
    chrome
        .run(
            "window.posts = 0; const real = fetch; window.fetch = (...all) => {
                if (all[1]?.method === 'POST') { window.posts += 1; }
                return real(...all);
            };
            const button = document.querySelector('[data-post=\"/users/read\"]'); button.click(); button.click();",
        )
        .await;
    chrome.shows("#toasts", "were read", PATIENCE).await;
    assert_eq!(
        chrome.run("return [window.posts, document.querySelectorAll('.toast').length]").await,
        serde_json::json!([1, 1])
    );
    // A form that the server's framework refuses before the panel sees it.
    chrome.run("const button = document.querySelector('[data-post=\"/users/read\"]'); button.dataset.post = '/mode'; button.click()").await;
    chrome.shows("#toasts .bad", "form", PATIENCE).await;
    // A session that is over leads to the login.
    chrome.client.delete_all_cookies().await.expect("no cookies");
    chrome.run("document.querySelector('[data-fault=store_cut]').click()").await;
    chrome.shows("h1", "cachefront", PATIENCE).await;
    chrome.shows("form", "Log in", PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_out_of_sight_gives_its_connection_back() {
    let scene =
        Scene::embedded(1280, 800, |launch| launch.env("CACHEFRONT_TTL", "10m").env("CACHEFRONT_MODE", "ttl")).await;
    let chrome = &scene.chrome;
    let id = scene.add("Ada", "ada@x").await;
    scene.warm(id).await;
    chrome.title_is("cache healthy", PATIENCE).await;
    let turn = |hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }});
             document.dispatchEvent(new Event('visibilitychange'))"
        )
    };
    chrome.run(&turn(true)).await;
    chrome.title_is("cache unknown", PATIENCE).await;
    scene.rename(id, "Ada King", "ada@x").await;
    chrome.shows("#lost", "not in sight", PATIENCE).await;
    assert_eq!(chrome.text("[data-verdict] h1").await, "cache unknown");
    chrome.run(&turn(false)).await;
    chrome.title_is("cache stale (1)", PATIENCE).await;
    chrome.shows("#connection", "live", PATIENCE).await;
    assert_eq!(chrome.run("return document.getElementById('lost').hidden").await, true);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_came_while_held_are_shown_when_released() {
    let scene = Scene::embedded(1280, 800, |launch| launch).await;
    let chrome = &scene.chrome;
    scene.add("Ada", "ada@x").await;
    chrome.shows("[data-part=events]", "users:1", PATIENCE).await;
    chrome.click("[data-hold]").await;
    scene.add("Grace", "grace@x").await;
    chrome.shows(".users tbody", "Grace", PATIENCE).await;
    assert!(!chrome.text("[data-part=events]").await.contains("users:2"));
    chrome.click("[data-hold]").await;
    chrome.shows("[data-part=events]", "users:2", PATIENCE).await;
}
