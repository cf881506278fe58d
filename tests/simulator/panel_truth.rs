//! The panel says what is, also while parts are slow, cut off or gone, and it serves no more than it can.

use std::time::{Duration, Instant};

use cachefront_testkit::process::Simulator;
use cachefront_testkit::server::mysql::MySql;
use cachefront_testkit::server::redis::Redis;
use cachefront_testkit::{stack, unique, wait};
use serde_json::json;

use crate::client::Client;
use crate::panel::{Reader, panel_of, with_accounts};
use crate::world::{PATIENCE, Place, World, on_servers};

/// Waits until the page has all of these attributes, and returns it.
async fn until(reader: &Reader, path: &str, attributes: &[&str]) -> String {
    let mut text = String::new();
    wait::until_async(&format!("{path} has {attributes:?}"), PATIENCE, async || {
        // sleep: pages are bounded for each session.
        tokio::time::sleep(Duration::from_millis(100)).await;
        text = reader.get(path).await.text;
        attributes.iter().all(|attribute| text.contains(attribute))
    })
    .await;
    text
}

const HEALTHY: &str = "data-verdict=\"healthy\"";
const STALE: &str = "data-verdict=\"stale\"";
const UNKNOWN: &str = "data-verdict=\"unknown\"";
const EMPTY: &str = "data-verdict=\"empty\"";

/// Nothing is cached, and then nothing is known of what is cached.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_cut_off_is_unknown_and_never_empty() {
    let world = World::start(Place::Embedded, with_accounts).await;
    let reader = Reader::log_in(&panel_of(&world), "viewer", "v secret").await;
    until(&reader, "/", &[EMPTY]).await;
    world.api.put("/faults", &json!({ "store_cut": true })).await.expect(200);
    let page = until(&reader, "/", &[UNKNOWN, "data-cause=\"store_cut\""]).await;
    assert!(page.contains("store_cut.</p>"), "the cause is named: {page}");
    let said = world.api.get("/consistency?fresh=true").await.expect(200);
    assert!(said["verdict"] == "unknown" && said["cause"].as_str().is_some_and(|cause| cause.contains("store_cut")));
    let id = world.api.add("Ada", "ada@x").await;
    assert_eq!(world.api.state(id).await, "unknown");
    until(&reader, "/", &[UNKNOWN, "data-state=\"unknown\""]).await;
    world.api.delete("/faults").await.expect(200);
    until(&reader, "/", &[EMPTY, "data-state=\"absent\""]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_store_is_slow_and_the_verdict_stays_true() {
    let world = World::start(Place::Embedded, |launch| with_accounts(launch).env("CACHEFRONT_TTL", "10m")).await;
    let values: Vec<String> =
        (1..=240).map(|number| format!("('U{number}', 'u{number}@x', '2026-01-01T00:00:00.000000Z')")).collect();
    world.other.execute(&format!("INSERT INTO users (name, email, updated_at) VALUES {}", values.join(","))).await;
    for id in 1..=240 {
        world.api.name_of(id).await;
    }
    let reader = Reader::log_in(&panel_of(&world), "viewer", "v secret").await;
    until(&reader, "/", &[HEALTHY, "data-compared=\"240\""]).await;
    world.api.put("/faults", &json!({ "store_delay_ms": 200 })).await.expect(200);
    until(&reader, "/", &["data-cause=\"store_delay_ms\""]).await;
    let page = until(&reader, "/", &[HEALTHY]).await;
    assert!(!page.contains("data-cause=\"store_away\"") && !page.contains("data-cause=\"database_away\""), "{page}");
    world.other.execute("UPDATE users SET name = 'Other' WHERE id = 200").await;
    until(&reader, "/", &[STALE, "data-differing=\"1\""]).await;
    until(&reader, "/?only=stale", &["data-id=\"200\""]).await;
    world.other.execute("UPDATE users SET name = 'Others'").await;
    until(&reader, "/", &[STALE, "data-differing=\"240\""]).await;
    // Beyond a client's patience nothing is known, and nothing is called empty.
    world.api.put("/faults", &json!({ "store_delay_ms": 5_000 })).await.expect(200);
    // What this process holds itself is known for some seconds more.
    let page = until(&reader, "/", &["data-state=\"unknown\""]).await;
    assert!(page.contains(UNKNOWN) && !page.contains("data-cause=\"store_away\""), "{page}");
    assert!(until(&reader, "/cache", &["data-empty=\"unlisted\""]).await.contains(UNKNOWN));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_named_before_what_it_causes_and_switches_are_events() {
    let world = World::start(Place::Embedded, with_accounts).await;
    let reader = Reader::log_in(&panel_of(&world), "operator", "o secret").await;
    let id = world.api.add("Ada", "ada@x").await;
    world.api.name_of(id).await;
    // By the API, not by the panel.
    world.api.put("/faults", &json!({ "store_cut": true, "freeze_stream": true })).await.expect(200);
    let page = until(&reader, "/", &["data-cause=\"store_cut\"", "data-cause=\"freeze_stream\""]).await;
    assert!(!page.contains("data-cause=\"store_away\""), "{page}");
    until(&reader, "/", &["data-switch=\"freeze\" data-on=\"true\"", "data-switch=\"cut\" data-on=\"true\""]).await;
    until(&reader, "/cache", &["data-empty=\"unlisted\""]).await;
    world.api.delete("/faults").await.expect(200);
    until(&reader, "/", &["data-switch=\"cut\" data-on=\"false\""]).await;
    reader.post("/flush", "").await.expect(200);
    until(&reader, "/", &["data-button"]).await;
    // The event names who switched, if that is known.
    reader.post("/mode", "mode=cdc&version=1").await.expect(200);
    until(&reader, "/", &["<b>operator</b>"]).await;
}

/// While an invalidator is silent, plain reads follow the settings of the caches, and the API and the panel show what they do.
#[tokio::test(flavor = "multi_thread")]
async fn a_missed_freshness_objective_is_shown_with_what_plain_reads_do() {
    for (on_lag, reads, x_cache) in [("bypass", "load", "miss"), ("1m", "by_age", "hit"), ("serve", "served", "hit")] {
        let world = World::start(Place::Embedded, |launch| {
            let launch = launch.env("CACHEFRONT_FRESHNESS_OBJECTIVE", "2s").env("CACHEFRONT_ON_LAG", on_lag);
            with_accounts(launch).env("CACHEFRONT_MODE", "cdc").env("CACHEFRONT_TTL", "10m")
        })
        .await;
        let reader = Reader::log_in(&panel_of(&world), "viewer", "v secret").await;
        let id = world.api.add("Ada", "ada@x").await;
        until(&reader, "/", &["data-freshness=\"met\"", "data-plain-reads=\"served\"", "data-objective-ms=\"2000\""])
            .await;
        wait::until_async("the entry is kept", PATIENCE, async || {
            world.api.get(&format!("/users/{id}")).await.header("x-cache") == "hit"
        })
        .await;
        let freshness = async || world.api.get("/pipeline").await.expect(200)["freshness"].clone();
        assert_eq!(freshness().await["missed_since"], json!(null));
        world.api.put("/faults", &json!({ "pause_consumer": true })).await.expect(200);
        until(&reader, "/", &["data-freshness=\"missed\"", &format!("data-plain-reads=\"{reads}\"")]).await;
        let missed = freshness().await;
        assert_eq!((&missed["state"], &missed["plain_reads"]), (&json!("missed"), &json!(reads)), "{missed}");
        assert!(missed["missed_since"].is_string() && missed == freshness().await, "{missed}");
        wait::until_async("plain reads do what is said", PATIENCE, async || {
            world.api.get(&format!("/users/{id}")).await.header("x-cache") == x_cache
        })
        .await;
        world.api.delete("/faults").await.expect(200);
        until(&reader, "/", &["data-freshness=\"met\"", "data-plain-reads=\"served\""]).await;
        world.api.set_mode("ttl").await;
        until(&reader, "/", &["data-freshness=\"off\""]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_stale_under_an_address_is_found_in_the_rows() {
    let world = World::start(Place::Embedded, |launch| with_accounts(launch).env("CACHEFRONT_TTL", "10m")).await;
    let reader = Reader::log_in(&panel_of(&world), "viewer", "v secret").await;
    let id = world.api.add("Ada", "ada@x").await;
    world.api.get("/users?email=ada@x").await.expect(200);
    until(&reader, "/", &[HEALTHY]).await;
    world.other.execute(&format!("UPDATE users SET name = 'Ada King' WHERE id = {id}")).await;
    until(&reader, "/", &[STALE, "data-differing=\"1\""]).await;
    let page = until(&reader, "/?only=stale", &["users_by_email:ada@x"]).await;
    assert!(page.contains("data-state=\"stale\""), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_database_makes_everything_unknown_within_seconds() {
    let mut mysql = MySql::start(&[]).await;
    let launch = with_accounts(Simulator::role("up"))
        .env("CACHEFRONT_MYSQL_URL", format!("{}/{}", mysql.url().trim_end_matches('/'), unique::name("shop")))
        .env("CACHEFRONT_REDIS_URL", stack::redis_url())
        .env("CACHEFRONT_TTL", "10m");
    let simulator = launch.start().await;
    let api = Client::new(simulator.api_url());
    let id = api.add("Ada", "ada@x").await;
    api.name_of(id).await;
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let panel = Client { http: http.build().expect("a client"), base: simulator.ui_url() };
    let reader = Reader::log_in(&panel, "admin", "a secret").await;
    until(&reader, "/", &[HEALTHY]).await;
    // A tab that follows: what it is sent must not be an old green.
    let cookie = reader.cookie().to_owned();
    let mut stream =
        panel.request(reqwest::Method::GET, "/live").header("cookie", cookie).send().await.expect("a stream");
    mysql.freeze();
    let frozen = Instant::now();
    let mut text = String::new();
    while !text.contains("\"title\":\"cache unknown\"") {
        let chunk = tokio::time::timeout(Duration::from_secs(5), stream.chunk()).await.expect("the stream goes on");
        text += &String::from_utf8_lossy(&chunk.expect("a chunk").expect("the stream goes on"));
        assert!(frozen.elapsed() < Duration::from_secs(5), "{text}");
    }
    let page = until(&reader, "/", &["data-cause=\"database_away\""]).await;
    assert!(page.contains("data-state=\"unknown\""), "rows are kept: {page}");
    assert!(until(&reader, "/audit", &["data-empty=\"unreadable\""]).await.contains(UNKNOWN));
    mysql.resume();
    until(&reader, "/", &[HEALTHY]).await;
    until(&reader, "/audit", &["data-outcome=\"ok\""]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_the_panel_asks_the_api_for_what_only_its_process_holds() {
    let redis = Redis::start().await;
    let database = unique::database("sim").await;
    let of = |role: &str| {
        on_servers(with_accounts(Simulator::role(role)), &database).env("CACHEFRONT_REDIS_URL", redis.url())
    };
    let mut api_process = of("api").env("CACHEFRONT_TTL", "10m").start().await;
    let alone = of("ui").env("CACHEFRONT_TTL", "10m").env("CACHEFRONT_API_URL", api_process.api_url()).spawn();
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let panel = Client { http: http.build().expect("a client"), base: alone.ui_url() };
    wait::until_async("the panel replies", PATIENCE, async || {
        panel.request(reqwest::Method::GET, "/healthz").send().await.is_ok_and(|answer| answer.status().is_success())
    })
    .await;
    let reader = Reader::log_in(&panel, "viewer", "v secret").await;
    let api = Client::new(api_process.api_url());
    let id = api.add("Ada", "ada@x").await;
    wait::until_async("only the API's process holds an old entry, and the panel says so", PATIENCE, async || {
        // The process-local tier keeps a value for seconds: from the start, if the panel was too late.
        api.name_of(id).await;
        let keys = redis.command("KEYS *users:*").await.expect("keys");
        for key in keys.split_whitespace().filter(|key| key.contains("}users:")) {
            redis.command(&format!("DEL {key}")).await.expect("removed");
        }
        crate::world::mysql(&database, &format!("UPDATE users SET name = CONCAT(name, '.') WHERE id = {id}")).await;
        // sleep: a snapshot may be shared for a moment, and the API's passes are a second apart.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let page = reader.get("/").await.text;
        page.contains(STALE) && page.contains("data-elsewhere")
    })
    .await;
    api_process.kill();
    until(&reader, "/", &["data-cause=\"api_silent\"", UNKNOWN]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_hears_a_sign_of_life_also_while_rows_change_all_the_time() {
    let world = World::start(Place::Embedded, with_accounts).await;
    let reader = Reader::log_in(&panel_of(&world), "viewer", "v secret").await;
    let id = world.api.add("Ada", "ada@x").await;
    let request = reader.panel.request(reqwest::Method::GET, "/live?after=20").header("cookie", reader.cookie());
    let mut stream = request.send().await.expect("a stream");
    assert_eq!(stream.status(), 200);
    let (api, mut text) = (world.api.clone(), String::new());
    let changes = tokio::spawn(async move {
        for round in 0_u64.. {
            api.put(&format!("/users/{id}"), &json!({ "name": format!("Ada {round}"), "email": "ada@x" })).await;
        }
    });
    // Four beats take three times the interval between two of them.
    wait::until_async("four beats", Duration::from_secs(10), async || {
        text += &String::from_utf8_lossy(&stream.chunk().await.expect("a chunk").expect("the stream goes on"));
        text.matches("event: beat").count() >= 4
    })
    .await;
    changes.abort();
    assert!(text.contains("event: patch") && text.contains("\"age\":"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_asks_too_much_is_held_back_and_another_is_not() {
    let world = World::start(Place::Embedded, with_accounts).await;
    let panel = panel_of(&world);
    let reader = Reader::log_in(&panel, "viewer", "v secret").await;
    let other = Reader::log_in(&panel, "operator", "o secret").await;
    let responses = futures_util::future::join_all((0..400).map(|_| reader.get_once("/"))).await;
    let count = |status: u16| responses.iter().filter(|response| response.status.as_u16() == status).count();
    let held_back =
        responses.iter().filter(|response| response.status.as_u16() == 429 || response.status.as_u16() == 503);
    assert!(held_back.clone().all(|answer| answer.header("retry-after").parse::<u32>().is_ok()));
    assert!(count(200) > 0 && count(429) > 0 && count(200) + held_back.count() == 400, "{} {}", count(200), count(429));
    other.get("/").await;
    assert_eq!(other.get("/session").await.status, 204);
    until(&reader, "/", &["data-verdict"]).await;
}
