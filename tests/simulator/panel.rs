//! The control panel's first page: nobody sees it without its key, and it says what the cache holds.

use std::time::Duration;

use cachefront_tests::wait;
use reqwest::Method;

use crate::client::Client;
use crate::world::{PATIENCE, Place, World};

#[tokio::test(flavor = "multi_thread")]
async fn the_panel_asks_for_a_login_and_shows_the_cache() {
    let world = World::start(Place::Embedded, |launch| launch.env("CACHEFRONT_MODE", "ttl")).await;
    let http =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let panel = Client { http, base: world.simulator.ui_url() };
    assert_eq!(panel.get("/").await.header("location"), "/login");
    assert!(panel.get("/login").await.text.contains("type=\"password\""));
    for closed in ["/live", "/events"] {
        assert_eq!(panel.get(closed).await.status, 401, "{closed}");
    }
    assert_eq!(panel.send(panel.request(Method::POST, "/users/1/delete")).await.status, 401);
    assert_eq!(panel.get("/login?key=wrong").await.status, 401);

    let link = wait::until_some("the link is printed", PATIENCE, async || {
        world.simulator.log().lines().find_map(|line| Some(line.split_once("/login?key=")?.1.trim().to_owned()))
    })
    .await;
    let entered = panel.get(&format!("/login?key={link}")).await;
    assert_eq!(entered.status, 303);
    let cookie = entered.header("set-cookie").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = ("cookie", cookie.split(';').next().expect("a pair").to_owned());

    let page = async || panel.get_with("/", (cookie.0, &cookie.1)).await;
    assert!(page().await.text.contains("cache empty"));
    assert!(page().await.header("content-security-policy").contains("script-src 'self'"));
    let id = world.api.add("Ada <b>", "ada@example.org").await;
    world.api.name_of(id).await;
    let healthy = page().await.text;
    assert!(healthy.contains("cache healthy") && healthy.contains("Ada &lt;b&gt;"), "{healthy}");
    world.other.execute(&format!("UPDATE users SET name = 'Ada King' WHERE id = {id}")).await;
    assert!(page().await.text.contains("cache stale (1)"));

    // A form of another site is not obeyed; one of its own is.
    let form = || {
        let body = format!("mode=cdc&version={}", 1);
        let request = panel.request(Method::POST, "/mode").header(cookie.0, &cookie.1);
        request.header("content-type", "application/x-www-form-urlencoded").body(body).timeout(Duration::from_secs(10))
    };
    assert_eq!(panel.send(form().header("origin", "http://evil.example")).await.status, 403);
    assert_eq!(world.api.get("/mode").await.expect(200)["mode"], "ttl");
    assert_eq!(panel.send(form().header("origin", panel.base.clone())).await.status, 303);
    assert_eq!(world.api.get("/mode").await.expect(200)["mode"], "cdc");
}
