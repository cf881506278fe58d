//! What every request passes: bounds, tokens and their roles, request ids, and what an answer says of itself.

use cachefront_testkit::wait;
use reqwest::Method;
use serde_json::json;

use crate::client::Client;
use crate::world::{PATIENCE, Place, World};

/// More than the server takes at once.
const FLOOD: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_turned_away_and_the_process_stays_up() {
    let world = World::start(Place::Embedded, |launch| launch.env("CACHEFRONT_API_IN_FLIGHT", "8")).await;
    world.api.put("/faults", &json!({ "database_delay_ms": 1_000 })).await.expect(200);
    let asked = (0..FLOOD).map(|_| {
        let api = world.api.clone();
        tokio::spawn(async move { api.get("/users").await })
    });
    let (mut answered, mut turned_away) = (0, 0);
    for task in asked.collect::<Vec<_>>() {
        let answer = task.await.expect("a task");
        match answer.status.as_u16() {
            200 => answered += 1,
            503 => {
                assert!(answer.header("retry-after").parse::<u32>().is_ok() && answer.json()["detail"].is_string());
                turned_away += 1;
            }
            other => panic!("{other}: {}", answer.text),
        }
    }
    assert!(answered >= 8 && turned_away > 0, "{answered} answered, {turned_away} turned away");
    world.api.delete("/faults").await.expect(200);
    world.api.get("/users").await.expect(200);
}

/// Health checks pass while all other requests are refused.
#[tokio::test(flavor = "multi_thread")]
async fn health_is_served_while_the_process_is_full() {
    let world = World::start(Place::Embedded, |launch| launch.env("CACHEFRONT_API_IN_FLIGHT", "1")).await;
    world.api.put("/faults", &json!({ "database_delay_ms": 5_000 })).await.expect(200);
    let slow = tokio::spawn({
        let api = world.api.clone();
        // It may be refused itself, by a health check below that came first.
        async move {
            loop {
                let answer = api.get("/users").await;
                if answer.status == 200 {
                    return;
                }
                answer.expect(503);
            }
        }
    });
    wait::until_async("the only place is taken", PATIENCE, async || world.api.get("/mode").await.status == 503).await;
    world.api.get("/healthz").await.expect(200);
    assert_eq!(world.api.get("/metrics").await.status, 200);
    slow.await.expect("a task");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_are_refused_and_markup_is_only_text() {
    let world = World::start(Place::Embedded, |launch| launch).await;
    let body = format!("{{\"name\":\"{}\",\"email\":\"x\"}}", "a".repeat(10 << 20));
    let request = world.api.request(Method::POST, "/users").header("content-type", "application/json").body(body);
    assert!(world.api.send(request).await.expect(413)["detail"].is_string());
    let name = "<script>alert(1)</script>";
    let id = world.api.add(name, "script@example.org").await;
    assert_eq!(world.api.name_of(id).await, name);
    let read = world.api.get(&format!("/users/{id}")).await;
    assert_eq!((read.header("content-type"), read.header("x-content-type-options")), ("application/json", "nosniff"));
    assert_eq!(world.api.get("/cache/users").await.expect(200)[0]["database"]["name"], name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_do_what_its_role_may() {
    let tokens = "bare-one, viewer:looker ,admin:boss";
    let world = World::start(Place::Embedded, |launch| launch.env("CACHEFRONT_API_TOKENS", tokens)).await;
    let api = &world.api;
    let send = async |method: Method, path: &str, token: &str| {
        let request = api.request(method, path).header("authorization", format!("Bearer {token}"));
        let user = json!({ "name": format!("by {token}"), "email": format!("{token}@example.org") });
        let request = if path == "/users" { request.json(&user) } else { request };
        api.send(request).await.status.as_u16()
    };
    for (token, reads, changes) in
        [("looker", 200, 403), ("bare-one", 200, 204), ("boss", 200, 204), ("viewer:looker", 401, 401), ("x", 401, 401)]
    {
        for path in ["/users", "/mode", "/faults", "/consistency", "/cache/users", "/metrics"] {
            assert_eq!(send(Method::GET, path, token).await, reads, "{token} {path}");
        }
        assert_eq!(send(Method::DELETE, "/cache", token).await, changes, "{token}");
        let faults = if changes == 204 { 200 } else { changes };
        assert_eq!(send(Method::DELETE, "/faults", token).await, faults, "{token}");
        assert_eq!(send(Method::POST, "/users", token).await, if changes == 204 { 201 } else { changes }, "{token}");
    }
    assert_eq!(api.get("/users").await.status, 401);
    assert_eq!(api.get("/users").await.header("www-authenticate"), "Bearer");
    // A browser that opens the page cannot send a token, and it holds no data.
    for open in ["/docs", "/docs/swagger-initializer.js", "/openapi.json"] {
        assert_eq!(api.get(open).await.status, 200, "{open}");
        assert_eq!(send(Method::POST, open, "looker").await, 405, "{open}");
    }
    for open in ["/healthz", "/readyz"] {
        // A store that was just emptied may not be ready yet: what counts is that no token is asked for.
        assert_ne!(api.get(open).await.status, 401);
    }
    assert!(!world.simulator.log().contains("looker"), "a token is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_says_where_it_comes_from() {
    let world = World::start(Place::Embedded, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let api = &world.api;
    let id = api.add("Ada", "ada@example.org").await;
    let path = format!("/users/{id}");
    let outcomes = async || api.get(&path).await.header("x-cache").to_owned();
    assert_ne!(outcomes().await, "hit");
    // Which tier serves a read may change from one to the next, and with it whether the commits are known.
    let hit = wait::until_some("the entry is kept, and its commits are known", PATIENCE, async || {
        let read = api.get(&path).await;
        let known = read.header("x-cache") == "hit" && read.headers.contains_key("x-cache-position");
        known.then_some(read)
    })
    .await;
    assert!(["local", "shared"].contains(&hit.header("x-cache-tier")));
    assert!(hit.header("x-cache-age").parse::<u64>().expect("ms") < 60_000);
    assert_eq!(hit.header("x-cache-position"), hit.header("cachefront-token"));
    let timings: Vec<_> = hit.headers.get_all("server-timing").iter().map(|t| t.to_str().expect("text")).collect();
    assert!(timings.iter().any(|t| t.starts_with("cache;desc=\"hit ")), "{timings:?}");
    assert!(timings.iter().any(|t| t.starts_with("total;dur=")), "{timings:?}");
    // The token of a read is good for another one.
    api.get_with(&path, ("cachefront-token", hit.header("cachefront-token"))).await.expect(200);
    assert_eq!(api.get("/users?email=unknown").await.header("x-cache-tier"), "database");
    assert!(api.get("/users").await.headers.get("x-cache").is_none());
    assert!(api.get("/users/424242").await.headers.contains_key("x-cache"));

    assert_eq!(api.get_with(&path, ("x-request-id", "mine-1.2")).await.header("x-request-id"), "mine-1.2");
    for unusable in ["a b", "<x>", &"x".repeat(65)] {
        let made = api.get_with(&path, ("x-request-id", unusable)).await.header("x-request-id").to_owned();
        assert!(made.len() == 32 && made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
    }
    let wrong = api.send(api.request(Method::PATCH, &path)).await;
    assert_eq!((wrong.status.as_u16(), wrong.json()["detail"].clone()), (405, json!("Method Not Allowed")));
    assert!(wrong.header("allow").contains("GET"), "{:?}", wrong.headers);
}

/// A request that is in progress when the program is asked to end gets its response.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_for_requests_in_progress() {
    let mut world = World::start(Place::Embedded, |launch| launch).await;
    world.api.put("/faults", &json!({ "database_delay_ms": 2_000 })).await.expect(200);
    wait::until_async("the database is slow", PATIENCE, async || {
        world.api.get("/metrics").await.text.contains("simulator_fault_active{fault=\"database_delay_ms\"} 1")
    })
    .await;
    let slow = tokio::spawn({
        let api = Client::new(world.api.base.clone());
        async move { api.get("/users").await }
    });
    // The request for the metrics is the other one.
    wait::until_async("the slow request is in its handler", PATIENCE, async || {
        world.api.get("/metrics").await.text.contains("simulator_http_requests_in_flight 2")
    })
    .await;
    let status = world.simulator.stop().await;
    assert!(status.success(), "{status}");
    slow.await.expect("a task").expect(200);
}

/// An API without tokens listens to this machine only: a page of another site does not reach it through a name of its
/// own.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_api_is_asked_for_by_a_name_of_this_machine() {
    let open = World::start(Place::Embedded, |launch| launch).await;
    let said = World::start(Place::Embedded, |launch| launch.arg("--insecure-open-api")).await;
    for (host, status) in
        [("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:1", 200), ("api:8000", 421), ("evil.example", 421)]
    {
        let answer = open.api.get_with("/users", ("host", host)).await;
        assert_eq!(answer.status.as_u16(), status, "{host}");
        assert!(status == 200 || answer.json()["detail"].is_string());
        said.api.get_with("/users", ("host", host)).await.expect(200);
    }
    open.api.get_with("/healthz", ("host", "evil.example")).await.expect(200);
    let closed = World::start(Place::Embedded, |launch| launch.env("CACHEFRONT_API_TOKENS", "known")).await;
    let request = closed.api.request(Method::GET, "/users").bearer_auth("known").header("host", "api:8000");
    closed.api.send(request).await.expect(200);
}

/// The page is there under the path that people type, and finds its files.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_api_is_served_where_people_look_for_it() {
    let world = World::start(Place::Embedded, |launch| launch).await;
    let plain = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
    let api = Client { http: plain.expect("a client"), base: world.api.base.clone() };
    for path in ["/docs", "/docs/"] {
        let page = api.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        let mut files = 0;
        for reference in page.text.split(['"']).filter(|text| text.starts_with("/docs/")) {
            assert_eq!(api.get(reference).await.status, 200, "{reference}");
            files += 1;
        }
        assert!(files >= 5 && !page.text.contains("\"./"), "{}", page.text);
    }
}
