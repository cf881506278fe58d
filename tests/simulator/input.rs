//! Bad input: each is refused with its place and its reason, and nothing is done.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::client::Client;
use crate::world::{Place, World};

/// The first problem of a 422: where, and of which type.
fn problem(body: &Value) -> (Value, &str) {
    let problem = &body["detail"][0];
    assert!(problem["msg"].as_str().is_some_and(|msg| !msg.is_empty()), "{body}");
    assert_eq!(problem.as_object().expect("an object").len(), 3, "{body}");
    (problem["loc"].clone(), problem["type"].as_str().expect("a type"))
}

async fn post_text(api: &Client, path: &str, kind: &str, text: impl Into<reqwest::Body>) -> crate::client::Answer {
    api.send(api.request(Method::POST, path).header(CONTENT_TYPE, kind).body(text)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_checked_field_by_field() {
    let world = World::start(Place::Embedded, |launch| launch).await;
    let api = &world.api;
    let long = "x".repeat(256);
    for (body, loc, kind) in [
        (json!({ "name": "a" }), json!(["body", "email"]), "missing"),
        (json!({ "name": "", "email": "b" }), json!(["body", "name"]), "string_too_short"),
        (json!({ "name": long, "email": "b" }), json!(["body", "name"]), "string_too_long"),
        (json!({ "name": "a", "email": "é".repeat(256) }), json!(["body", "email"]), "string_too_long"),
        (json!({ "name": 5, "email": "b" }), json!(["body", "name"]), "string_type"),
        (json!({ "name": null, "email": "b" }), json!(["body", "name"]), "string_type"),
        (json!({ "name": "a", "email": "b", "role": "x" }), json!(["body", "role"]), "extra_forbidden"),
        (json!(["name"]), json!(["body"]), "model_attributes_type"),
        (json!(null), json!(["body"]), "model_attributes_type"),
    ] {
        for path in ["/users", "/users/1"] {
            let method = if path == "/users" { Method::POST } else { Method::PUT };
            let answer = api.send(api.request(method, path).json(&body)).await;
            assert_eq!(problem(&answer.expect(422)), (loc.clone(), kind), "{body}");
        }
    }
    let several = api.post("/users", &json!({ "email": "", "more": 1 })).await.expect(422);
    assert_eq!(several["detail"].as_array().map(Vec::len), Some(3), "{several}");
    assert_eq!(api.get("/users").await.expect(200), json!([]));
    // 255 characters are allowed, whatever they weigh; so is anything that JSON can write.
    api.add(&"😀".repeat(255), &"é".repeat(255)).await;
    api.add("a\u{0}b\n", "\u{0}").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_json_are_refused_with_the_right_status() {
    let world = World::start(Place::Embedded, |launch| launch).await;
    let api = &world.api;
    for text in ["{", "{'name': 1}", "\u{feff}{}", "{\"name\":\"a\",}"] {
        let body = post_text(api, "/users", "application/json", text).await.expect(422);
        assert_eq!(problem(&body).1, "json_invalid", "{text}");
        assert_eq!(body["detail"][0]["loc"][0], "body");
    }
    let body = post_text(api, "/users", "application/json", vec![b'"', 0xff, b'"']).await.expect(422);
    assert_eq!(problem(&body).1, "json_invalid");
    assert_eq!(problem(&post_text(api, "/users", "application/json", "").await.expect(422)).1, "missing");
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
        let refused = post_text(api, "/users", kind, "{\"name\":\"a\",\"email\":\"b\"}").await;
        assert!(refused.expect(415)["detail"].is_string(), "{kind}");
    }
    let charset = post_text(api, "/users", "application/json; charset=utf-8", "{\"name\":\"a\",\"email\":\"b\"}").await;
    charset.expect(201);
    let large = json!({ "name": "a", "email": "b", "padding": " ".repeat(70_000) });
    assert!(api.post("/users", &large).await.expect(413)["detail"].is_string());
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    assert_eq!(problem(&post_text(api, "/users", "application/json", deep).await.expect(422)).1, "json_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_queries_and_headers_are_checked() {
    let world = World::start(Place::Embedded, |launch| launch).await;
    let api = &world.api;
    for (id, kind) in [
        ("0", "greater_than"),
        ("-1", "greater_than"),
        ("abc", "int_parsing"),
        ("1.5", "int_parsing"),
        ("%20", "int_parsing"),
        ("18446744073709551616", "less_than_equal"),
        ("-99999999999999999999999999999999999999999999", "greater_than"),
    ] {
        for path in [format!("/users/{id}"), format!("/cache/users/{id}")] {
            assert_eq!(problem(&api.get(&path).await.expect(422)), (json!(["path", "id"]), kind), "{path}");
        }
        assert_eq!(problem(&api.delete(&format!("/users/{id}")).await.expect(422)).1, kind);
    }
    for (query, name, kind) in [
        ("limit=0", "limit", "greater_than_equal"),
        ("limit=1001", "limit", "less_than_equal"),
        ("limit=x", "limit", "int_parsing"),
        ("after=-1", "after", "greater_than_equal"),
        ("email=", "email", "string_too_short"),
        ("email=a&max_staleness_ms=1s", "max_staleness_ms", "int_parsing"),
    ] {
        let body = api.get(&format!("/users?{query}")).await.expect(422);
        assert_eq!(problem(&body), (json!(["query", name]), kind), "{query}");
    }
    assert_eq!(problem(&api.get("/users/1?max_staleness_ms=-1").await.expect(422)).1, "greater_than_equal");
    for (path, known) in [
        ("/users/1?max_staleness=1000", "this route takes max_staleness_ms, revalidate, ttl_ms"),
        ("/users?page=2", "this route takes limit, after, email, max_staleness_ms"),
        ("/consistency?fresh=true&Fresh=true", "this route takes fresh"),
        ("/mode?x", "this route takes none"),
    ] {
        let refused = api.get(path).await.expect(400);
        let detail = refused["detail"].as_str().expect("a reason");
        assert!(detail.starts_with("Unknown query parameter `") && detail.ends_with(known), "{path}: {detail}");
    }
    for token in [
        "x",
        "1",
        "a:1",
        "3e11fa47-71ca-11e1-9e33-c80aa9429562",
        "3e11fa47-71ca-11e1-9e33-c80aa9429562:0-5",
        "3e11fa47-71ca-11e1-9e33-c80aa9429562:5-3",
        "3e11fa47-71ca-11e1-9e33-c80aa9429562:9223372036854775807",
    ] {
        let body = api.get_with("/users/1", ("Cachefront-Token", token)).await.expect(422);
        assert_eq!(problem(&body), (json!(["header", "Cachefront-Token"]), "token_malformed"), "{token}");
    }
    // A header that is sent several times is one set: all of it counts.
    let (good, bad) = ("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5", "4e11fa47-71ca-11e1-9e33-c80aa9429562:0");
    let twice = api.request(Method::GET, "/users/1").header("Cachefront-Token", good).header("Cachefront-Token", bad);
    assert_eq!(problem(&api.send(twice).await.expect(422)).1, "token_malformed");
    let long = format!("3e11fa47-71ca-11e1-9e33-c80aa9429562:1{}", ":9".repeat(10_000));
    assert_eq!(problem(&api.get_with("/users/1", ("Cachefront-Token", &long)).await.expect(422)).1, "token_malformed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mode_takes_two_words_and_nothing_else() {
    let world = World::start(Place::Embedded, |launch| launch).await;
    let api = &world.api;
    for (body, loc, kind) in [
        (json!({ "mode": "fast" }), json!(["body", "mode"]), "enum"),
        (json!({ "mode": null }), json!(["body", "mode"]), "enum"),
        (json!({}), json!(["body", "mode"]), "missing"),
        (json!({ "mode": "ttl", "why": 1 }), json!(["body", "why"]), "extra_forbidden"),
    ] {
        assert_eq!(problem(&api.put("/mode", &body).await.expect(422)), (loc, kind), "{body}");
    }
    assert_eq!(api.get("/mode").await.expect(200)["mode"], "cdc");
}
