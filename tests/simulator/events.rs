//! `/events`: changes, the mode and the pipeline as they happen.

use std::time::Duration;

use cachefront_testkit::wait;
use reqwest::{Method, Response};
use serde_json::Value;

use crate::client::Client;
use crate::world::{PATIENCE, Place, World};

/// A stream of server-sent events.
pub(crate) struct Stream {
    response: Response,
    read: String,
}

impl Stream {
    pub(crate) async fn open(api: &Client) -> Self {
        let response = api.request(Method::GET, "/events").send().await.expect("a stream");
        let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Self { response, read: String::new() }
    }

    /// The data of the next event of this type; others are skipped.
    pub(crate) async fn next(&mut self, name: &str) -> Value {
        let head = format!("event: {name}\ndata: ");
        loop {
            let block = self.block().await;
            if let Some(data) = block.strip_prefix(&head) {
                return serde_json::from_str(data).expect("JSON");
            }
        }
    }

    /// The next event or comment.
    async fn block(&mut self) -> String {
        loop {
            if let Some((block, rest)) = self.read.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.read = rest;
                return block;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("an event in time");
            let chunk = chunk.expect("a chunk").expect("the stream goes on");
            self.read.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_other_programs_the_mode_and_the_pipeline_are_reported() {
    for place in [Place::Embedded, Place::Servers] {
        let world = World::start(place, |launch| launch).await;
        let id = world.api.add("Ada", "ada@example.org").await;
        let mut stream = Stream::open(&world.api).await;
        assert_eq!(stream.next("mode").await["mode"], "cdc", "the mode comes first");

        world.other.execute(&format!("UPDATE users SET email = 'new@example.org' WHERE id = {id}")).await;
        let change = loop {
            // The INSERT may come before it.
            let change = stream.next("change").await;
            if change["op"] == "update" {
                break change;
            }
        };
        assert!(change["table"].as_str().is_some_and(|table| table.ends_with(".users")), "{change}");
        let keys: Vec<&str> = change["keys"].as_array().expect("keys").iter().filter_map(Value::as_str).collect();
        let expected =
            [format!("users:{id}"), "users_by_email:ada@example.org".into(), "users_by_email:new@example.org".into()];
        assert_eq!(keys, expected, "{place:?}");
        assert!(change["position"].as_str().is_some_and(|position| position.contains(':')), "{change}");
        assert!(change["lag_ms"].is_number(), "{change}");
        assert_eq!(change.as_object().map(serde_json::Map::len), Some(6));
        let times =
            ["committed_us", "received_us", "visible_us", "applied_us"].map(|name| change["times"][name].as_u64());
        assert!(times.iter().all(Option::is_some) && times.is_sorted(), "{change}");

        world.other.execute(&format!("DELETE FROM users WHERE id = {id}")).await;
        assert_eq!(stream.next("change").await["op"], "delete");
        world.api.set_mode("ttl").await;
        assert_eq!(stream.next("mode").await["mode"], "ttl");
        assert!(stream.next("pipeline").await["running"].is_boolean());
    }
}

/// No switch is left out, and none waits for another event or for a store that hangs.
#[tokio::test(flavor = "multi_thread")]
async fn every_switch_of_the_mode_is_reported_at_once() {
    let world = World::start(Place::Embedded, |launch| launch).await;
    let mut stream = Stream::open(&world.api).await;
    assert_eq!(stream.next("mode").await["mode"], "cdc");
    world.api.put("/faults", &serde_json::json!({ "store_delay_ms": 5_000 })).await.expect(200);
    let started = std::time::Instant::now();
    for mode in ["ttl", "cdc", "ttl"] {
        let api = world.api.clone();
        // The answer waits for the consumer; the event does not.
        tokio::spawn(async move { api.put("/mode", &serde_json::json!({ "mode": mode })).await });
        let event = stream.next("mode").await;
        assert_eq!(event["mode"], mode);
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_has_a_comment_every_ten_seconds() {
    let mut world = World::start(Place::Embedded, |launch| launch).await;
    let mut stream = Stream::open(&world.api).await;
    let mut comments = 0;
    let started = std::time::Instant::now();
    while comments < 2 {
        if stream.block().await.starts_with(':') {
            comments += 1;
        }
    }
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    // A client that follows the events does not hold the program up.
    assert!(world.simulator.stop().await.success(), "{}", world.simulator.log());
    wait::until("the log says why", PATIENCE, || world.simulator.log().contains("shutting down")).await;
}
