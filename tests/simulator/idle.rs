//! What a tab costs while nothing happens: only what changed is sent, and what is not sent again is current all the same.

use std::time::{Duration, Instant};

use cachefront_testkit::wait;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::panel::{Reader, panel_of, with_accounts};
use crate::world::{PATIENCE, Place, World};

/// Number of heartbeats over which a tab is measured: about ten seconds.
const BEATS: usize = 11;

/// Maximum number of bytes per second of an idle tab.
const RATE_MAX: f64 = 1_000.0;

/// The stream of one tab.
struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    async fn open(reader: &Reader, path: &str) -> Self {
        let request = reader.panel.request(Method::GET, path).header("cookie", reader.cookie());
        let response = request.send().await.expect("a stream");
        assert_eq!(response.status(), 200);
        Self { response, text: String::new() }
    }

    /// Receives the next events; returns the number of bytes.
    async fn more(&mut self) -> usize {
        let chunk = self.response.chunk().await.expect("a chunk").expect("the stream goes on");
        self.text += &String::from_utf8_lossy(&chunk);
        chunk.len()
    }

    /// The data of all events of this name, without one that has not arrived as a whole.
    fn events(&self, name: &str) -> Vec<Value> {
        let whole = self.text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
        let data = |event: &str| {
            let data = event.strip_prefix(&format!("event: {name}\ndata: "))?;
            Some(serde_json::from_str(data).expect("JSON"))
        };
        whole.split("\n\n").filter_map(data).collect()
    }

    /// Receives this many heartbeats from now on; returns the number of bytes.
    async fn beats(&mut self, count: usize) -> usize {
        self.text.clear();
        let mut bytes = 0;
        wait::until_async("the tab is sent heartbeats", PATIENCE * 2, async || {
            bytes += self.more().await;
            self.events("beat").len() >= count
        })
        .await;
        bytes
    }
}

/// In CDC mode with entries in the cache, whose bounds and ages change all the time.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_tab_is_sent_less_than_a_kilobyte_a_second() {
    let configure = |launch| with_accounts(launch).env("CACHEFRONT_MODE", "cdc");
    let world = World::start(Place::Embedded, configure).await;
    let reader = Reader::log_in(&panel_of(&world), "viewer", "v secret").await;
    let mut ids = Vec::new();
    for number in 1..=5 {
        ids.push(world.api.add(&format!("User {number}"), &format!("user{number}@x")).await);
    }
    for page in ["live", "cache", "faults", "audit"] {
        let mut stream = Stream::open(&reader, &format!("/live?tab={page}")).await;
        // From the time at which the reads have made the entries.
        wait::until_async("the entries are kept", PATIENCE, async || {
            for id in &ids {
                world.api.name_of(*id).await;
            }
            stream.more().await;
            stream.text.contains("data-compared=\\\"5\\\"") || stream.text.contains("All 5 cached")
        })
        .await;
        stream.beats(3).await;
        let began = Instant::now();
        let bytes = stream.beats(BEATS).await;
        let rate = bytes as f64 / began.elapsed().as_secs_f64();
        let of = |name: &str| stream.events(name).iter().map(|event| event.to_string().len()).sum::<usize>();
        let [patches, charts, beats] = ["patch", "chart", "beat"].map(of);
        eprintln!("{page}: {rate:.0} bytes/s; patches {patches}, charts {charts}, beats {beats} of {bytes}");
        assert!(rate < RATE_MAX, "{page}: {rate:.0} bytes/s: {}", stream.text);
        assert_eq!(stream.events("chart").is_empty(), page != "live", "{page}");
        if page == "live" {
            let edits_users = |patch: &Value| patch["edits"]["users"].is_array();
            assert!(stream.events("patch").iter().any(edits_users), "the time that entries have left: {}", stream.text);
        }
        for patch in stream.events("patch") {
            let is_empty = |name: &str| patch[name].as_object().is_none_or(serde_json::Map::is_empty);
            assert!(!is_empty("parts") || !is_empty("edits"), "an empty patch: {patch}");
        }
    }
}

/// A tab to which nothing is sent but heartbeats knows from them of when the things are that it shows.
#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_say_of_when_the_things_are_that_a_tab_shows() {
    let world = World::start(Place::Embedded, with_accounts).await;
    let reader = Reader::log_in(&panel_of(&world), "viewer", "v secret").await;
    let mut stream = Stream::open(&reader, "/live?tab=audit").await;
    // The first ones may come before the first snapshot.
    stream.beats(2).await;
    stream.beats(5).await;
    let beats = stream.events("beat");
    let number = |beat: &Value, name: &str| beat[name].as_u64().unwrap_or_else(|| panic!("no {name}: {beat}"));
    let times: Vec<u64> = beats.iter().map(|beat| number(beat, "at")).collect();
    assert!(times.is_sorted() && times.first() < times.last(), "{times:?}");
    assert!(beats.iter().any(|beat| number(beat, "age") < 1_000), "{beats:?}");
    // Snapshots are no longer complete: the tab has to know.
    world.api.put("/faults", &json!({ "store_delay_ms": 5_000 })).await.expect(200);
    wait::until_async("the tab knows that nothing is known", Duration::from_secs(10), async || {
        stream.more().await;
        stream.text.contains("cache unknown")
    })
    .await;
}
