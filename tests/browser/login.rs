//! The login page, and whether controls can be seen and hit.

use cachefront_testkit::wait;
use serde_json::json;

use crate::chrome::PATIENCE;
use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_reported_and_controls_can_be_seen_and_hit() {
    let scene = Scene::embedded(390, 844, |launch| launch).await;
    let chrome = &scene.chrome;
    // A finger takes 40 pixels.
    let height = "return Math.min(...[...document.querySelectorAll('.flt .btn')].map((button) => button.offsetHeight))";
    assert_eq!(chrome.run(height).await, json!(40));
    let border = "const button = document.querySelector('[data-user=new]');
        const control = document.querySelector('.search');
        return getComputedStyle(button).borderTopColor === getComputedStyle(control).borderTopColor";
    assert_eq!(chrome.run(border).await, true);
    chrome.click("[data-post='/logout']").await;
    chrome.shows(".login", "Log in", PATIENCE).await;
    chrome.run("document.querySelector('[name=password]').value = 'wrong'").await;
    chrome.click("form button").await;
    chrome.has(".login .error", PATIENCE).await;
    let style = "const { borderTopWidth, paddingTop } = getComputedStyle(document.querySelector('.login .error'));
        return [borderTopWidth, paddingTop]";
    assert_eq!(chrome.run(style).await, json!(["1px", "8px"]));
    chrome.screenshot("login-wrong").await;
    // The cookie of the session that was ended is none any more.
    wait::until_async("the way in is closed", PATIENCE, async || {
        chrome.goto(&format!("{}/", scene.simulator.ui_url())).await;
        chrome.text(".login").await.contains("Log in")
    })
    .await;
}
