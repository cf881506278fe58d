//! Bodies and connections: a client that sends too much, too slowly or nothing at all gets a response and blocks no other
//! client.

use std::time::{Duration, Instant};

use cachefront_testkit::wait;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{PATIENCE, Place, World};

/// A connection of its own to the API.
async fn connect(world: &World) -> TcpStream {
    let address = world.api.base.strip_prefix("http://").expect("an address");
    TcpStream::connect(address).await.expect("a connection")
}

/// What comes until a pattern is there, or the connection ends.
async fn read_until(stream: &mut TcpStream, pattern: &str) -> String {
    let mut text = String::new();
    let mut chunk = [0; 4096];
    while !text.contains(pattern) {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut chunk)).await.expect("something in time");
        match read {
            Ok(0) | Err(_) => break,
            Ok(count) => text.push_str(&String::from_utf8_lossy(&chunk[..count])),
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_seen_whatever_is_still_on_its_way() {
    let world = World::start(Place::Embedded, |launch| launch.env("CACHEFRONT_API_TOKENS", "viewer:see,change")).await;
    for megabytes in [10, 40] {
        let body = format!("{{\"name\":\"{}\",\"email\":\"x\"}}", "a".repeat(megabytes << 20));
        for (method, path, token, status) in [
            (Method::POST, "/users", "change", 413),
            (Method::POST, "/users", "unknown", 401),
            (Method::POST, "/users", "see", 403),
            (Method::POST, "/nothing", "change", 404),
            (Method::PATCH, "/users", "change", 405),
            (Method::PUT, "/users/abc", "change", 422),
        ] {
            let request = world.api.request(method, path).bearer_auth(token).header("content-type", "application/json");
            let answer = world.api.send(request.body(body.clone())).await;
            assert!(answer.expect(status)["detail"] != json!(null), "{path}");
        }
    }
    let ok = world.api.request(Method::GET, "/users").bearer_auth("see");
    world.api.send(ok).await.expect(200);
}

/// A client that sends `Expect: 100-continue` is refused before it has sent its body.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_announced_is_refused_at_once() {
    let world = World::start(Place::Embedded, |launch| launch).await;
    let mut stream = connect(&world).await;
    let head = "POST /users HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\n\
                expect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("the head is sent");
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // A body that is not too large is asked for.
    let mut stream = connect(&world).await;
    let body = "{\"name\":\"a\",\"email\":\"b\"}";
    let head = format!(
        "POST /users HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         expect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("the head is sent");
    assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 100"));
    stream.write_all(body.as_bytes()).await.expect("the body is sent");
    assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 201"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_come_take_nobodys_place() {
    let world = World::start(Place::Embedded, |launch| launch.env("CACHEFRONT_API_IN_FLIGHT", "4")).await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        let mut stream = connect(&world).await;
        let head =
            "POST /users HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.expect("the head is sent");
        streams.push(stream);
    }
    let started = Instant::now();
    for n in 0..20 {
        world.api.get("/users").await.expect(200);
        world.api.add("Ada", &format!("{n}@example.org")).await;
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let answer = read_until(&mut streams[0], "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

/// More connections than there may be, on which nothing comes, or half a head: other clients are served.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_keep_other_clients_out() {
    let world = World::start(Place::Embedded, |launch| launch).await;
    let mut idle = Vec::new();
    for n in 0..2_200 {
        let mut stream = connect(&world).await;
        if n % 2 == 0 {
            let _ = stream.write_all(b"GET /users HTTP/1.1\r\nhost: loc").await;
        }
        idle.push(stream);
    }
    let started = Instant::now();
    for _ in 0..20 {
        world.api.get("/healthz").await.expect(200);
        world.api.get("/users").await.expect(200);
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // The first has waited longest: it had to make way.
    assert_eq!(read_until(&mut idle[0], "\n").await, "");
    wait::until_async("the rest of the contract holds", PATIENCE, async || {
        world.api.get("/readyz").await.status == 200
    })
    .await;
}
