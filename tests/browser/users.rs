//! The form of a user: an id can be chosen at the insert, and one that is taken is refused where it was typed.

use reqwest::Method;
use serde_json::json;

use crate::accessible::assert_accessible;
use crate::chrome::PATIENCE;
use crate::scene::Scene;

const SHIFT_TAB: &str = "\u{e008}\u{e004}\u{e008}";
const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_chosen_by_keyboard_and_a_taken_one_is_refused() {
    for (width, place) in [(1440, "wide"), (390, "phone")] {
        let scene = Scene::embedded(width, 900, |launch| launch).await;
        let chrome = &scene.chrome;
        scene.add("Ada", "ada@x").await;
        chrome.shows(".users tbody", "Ada", PATIENCE).await;
        chrome.run("document.querySelector('[data-user=new]').focus()").await;
        chrome.press(ENTER).await;
        chrome.has("#user-form[open] [name=name]", PATIENCE).await;
        chrome.press(SHIFT_TAB).await;
        for keys in ["1", TAB, "Lin", TAB, "lin@x", ENTER] {
            chrome.press(keys).await;
        }
        chrome.shows("#user-form .error:not([hidden])", "id is taken", PATIENCE).await;
        assert_eq!(chrome.run("return document.documentElement.scrollWidth").await, json!(width));
        assert_accessible(chrome).await;
        chrome.screenshot(&format!("user-id-taken-{place}")).await;
        // What was typed is still there, and only the id has to be another one.
        chrome.run("document.querySelector('#user-form [name=id]').select()").await;
        chrome.press("77").await;
        chrome.press(ENTER).await;
        chrome.shows("tr[data-id='77']", "Lin", PATIENCE).await;
        // A status is never cut, however long the name is.
        let grace = json!({ "name": "Grace Brewster Murray Hopper", "email": "grace@x", "status": "suspended" });
        let grace = scene.api(Method::POST, "/users", Some(grace)).await["id"].as_u64().expect("an id");
        scene.read(grace).await;
        chrome.shows(&format!("tr[data-id='{grace}'] .c3"), "suspended", PATIENCE).await;
        let whole = format!(
            "return [...document.querySelectorAll(`tr[data-id='{grace}'] .status`)].map((status) => {{
                const [cell, own] = [status.closest('td'), status].map((one) => one.getBoundingClientRect());
                return own.right <= cell.right && status.scrollWidth <= status.offsetWidth }})"
        );
        assert_eq!(chrome.run(&whole).await, json!([true, true]), "{place}");
        chrome.screenshot(&format!("user-status-{place}")).await;
        // A row keeps its id.
        if width < 720 {
            chrome.click("[data-toggle='77']").await;
        }
        chrome.click("[data-user='77']").await;
        chrome.has("#user-form[open] [name=name]", PATIENCE).await;
        assert_eq!(chrome.run("return document.querySelector('#user-form [name=id]').checkVisibility()").await, false);
        chrome.press("Lin Ada").await;
        chrome.press(ENTER).await;
        chrome.shows("tr[data-id='77']", "Lin Ada", PATIENCE).await;
        let complaints = chrome.complaints().await;
        assert!(complaints.iter().all(|line| line.contains("409")), "{complaints:?}");
    }
}
