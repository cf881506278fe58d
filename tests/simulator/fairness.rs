//! One client takes nothing away from the others: streams, lines of the audit list, logins.

use reqwest::{Method, Response};
use serde_json::json;

use crate::panel::{Reader, panel_of, with_accounts};
use crate::world::{Place, World};

/// Streams of one session; see `examples/simulator/panel/src/seats.rs`.
const SESSION_MAX: usize = 16;

/// Opens the stream of a tab.
async fn follow(reader: &Reader) -> Response {
    let request = reader.panel.request(Method::GET, "/live?tab=audit").header("cookie", reader.cookie());
    request.send().await.expect("a response")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_with_many_streams_shuts_out_no_other() {
    let world = World::start(Place::Embedded, with_accounts).await;
    let panel = panel_of(&world);
    let viewer = Reader::log_in(&panel, "viewer", "v secret").await;
    let mut streams = Vec::new();
    for _ in 0..SESSION_MAX {
        let stream = follow(&viewer).await;
        assert_eq!(stream.status(), 200);
        streams.push(stream);
    }
    let refused = viewer.get_once("/live?tab=audit").await;
    assert_eq!(refused.status, 429, "{}", refused.text);
    assert!(refused.text.contains("close some of them") && refused.headers.contains_key("retry-after"));
    for (name, password) in [("viewer", "v secret"), ("admin", "a secret")] {
        let other = Reader::log_in(&panel, name, password).await;
        assert_eq!(follow(&other).await.status(), 200, "{name}");
    }
    // A tab that is closed makes room.
    streams.clear();
    cachefront_testkit::wait::until_async("there is room again", crate::world::PATIENCE, async || {
        follow(&viewer).await.status() == 200
    })
    .await;
}

/// The row of the audit page that has this text.
fn row<'a>(audit: &'a str, what: &str) -> &'a str {
    audit.split("<tr>").find(|row| row.contains(what)).unwrap_or_else(|| panic!("no {what} in {audit}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_again_and_again_is_one_line_for_each_client() {
    for place in [Place::Embedded, Place::Servers] {
        let world = World::start(place, with_accounts).await;
        let panel = panel_of(&world);
        let operator = Reader::log_in(&panel, "operator", "o secret").await;
        assert_eq!(operator.get("/export").await.status, 403);
        let viewer = Reader::log_in(&panel, "viewer", "v secret").await;
        for _ in 0..5 {
            assert_eq!(viewer.get("/export").await.status, 403);
            let late =
                world.api.request(Method::PUT, "/mode").header("if-match", "\"99\"").json(&json!({ "mode": "cdc" }));
            assert_eq!(world.api.send(late).await.status, 412);
            let form = "name=admin&password=guessed";
            let guess = panel.request(Method::POST, "/login").body(form);
            let guess = guess.header("content-type", "application/x-www-form-urlencoded");
            assert_eq!(panel.send(guess).await.status, 401);
        }
        let admin = Reader::log_in(&panel, "admin", "a secret").await;
        let audit = admin.get("/audit").await.text;
        for (who, what) in
            [("viewer", ">export<"), ("API, open", ">mode cdc<"), ("address 127.0.0.1", ">login as admin<")]
        {
            let rows: Vec<&str> = audit.split("<tr>").filter(|row| row.contains(&format!(">{who}<"))).collect();
            let rows: Vec<&&str> = rows.iter().filter(|row| row.contains(what)).collect();
            let [row] = rows.as_slice() else { panic!("{place:?} {who}: {audit}") };
            assert!(row.contains("5 times"), "{place:?} {row}");
        }
        assert!(!row(&audit, ">operator<").contains("times"), "{place:?}");
        assert!(audit.contains("Kept are the last 500 actions and 100 refusals"), "{audit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_opens_no_session_and_changes_nothing() {
    let world = World::start(Place::Embedded, with_accounts).await;
    let panel = panel_of(&world);
    let login = |origin: &str| {
        let request =
            panel.request(Method::POST, "/login").header("origin", origin).body("name=viewer&password=v+secret");
        panel.send(request.header("content-type", "application/x-www-form-urlencoded"))
    };
    let foreign = login("http://evil.example").await;
    assert_eq!(foreign.status, 403, "{}", foreign.text);
    assert!(!foreign.headers.contains_key("set-cookie"));
    assert_eq!(login(&panel.base).await.status, 303);
    // The open API has no login that would tell its own programs from a page.
    let changes = |name: &'static str, value: &'static str| {
        let request = world.api.request(Method::DELETE, "/faults").header(name, value);
        world.api.send(request)
    };
    for (name, value) in [("origin", "http://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        assert_eq!(changes(name, value).await.status, 403, "{name}: {value}");
    }
    assert!(changes("sec-fetch-site", "same-origin").await.status.is_success());
}
