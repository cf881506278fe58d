//! Several app servers in one process: one of them is cut off from the bus and stays honest, the others go on with hits.

use std::time::{Duration, Instant};

use cachefront_testkit::wait;
use serde_json::{Value, json};

use crate::client::Client;
use crate::panel::{Reader, panel_of, with_accounts};
use crate::world::{PATIENCE, Place, World};

/// A bound that a value of before the write cannot meet.
const BOUND_MS: u64 = 100;

async fn start(place: Place) -> World {
    World::start(place, |launch| launch.env("CACHEFRONT_TTL", "10m").env("CACHEFRONT_SERVERS", "2")).await
}

/// A read through one server.
async fn read(api: &Client, server: &str, id: u64, query: &str) -> Value {
    api.get(&format!("/servers/{server}/users/{id}{query}")).await.expect(200)
}

/// One server, and what it has of the user.
async fn look(api: &Client, server: &str, id: u64) -> Value {
    let all = api.get(&format!("/servers?user={id}")).await.expect(200);
    let found = all.as_array().expect("a list").iter().find(|view| view["server"] == server);
    found.unwrap_or_else(|| panic!("no server {server} in {all}")).clone()
}

async fn until_local_hit(api: &Client, server: &str, id: u64, name: &str) {
    wait::until_async(&format!("server {server} serves {name:?} from its own memory"), PATIENCE, async || {
        let read = read(api, server, id, "").await;
        read["tier"] == "local" && read["value"]["name"] == name
    })
    .await;
    let view = look(api, server, id).await;
    assert_eq!((&view["local_tier"], &view["bus_cut"]), (&json!("on"), &json!(false)), "{view}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hears_nothing_proves_nothing_embedded() {
    a_server_that_hears_nothing_proves_nothing(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hears_nothing_proves_nothing_on_servers() {
    a_server_that_hears_nothing_proves_nothing(Place::Servers).await;
}

async fn a_server_that_hears_nothing_proves_nothing(place: Place) {
    let world = start(place).await;
    let api = &world.api;
    let id = api.add("Ada", "ada@example.org").await;
    for server in ["A", "B"] {
        until_local_hit(api, server, id, "Ada").await;
    }
    api.put("/faults", &json!({ "bus_cut": "B" })).await.expect(200);
    assert_eq!(look(api, "B", id).await["bus_cut"], true);
    world.other.execute(&format!("UPDATE users SET name = 'Ada King' WHERE id = {id}")).await;
    let committed = Instant::now();

    // As long as B serves the older value, it says that this old a value is possible; with a bound it serves none.
    let mut older = 0;
    wait::until_async("the tier of B is off", PATIENCE, async || {
        let behind = committed.elapsed();
        let plain = read(api, "B", id, "").await;
        if plain["value"]["name"] == "Ada" {
            older += 1;
            let bound = plain["staleness_bound_ms"].as_u64();
            let too_small = bound.is_some_and(|bound| Duration::from_millis(bound + 1) < behind);
            assert!(!too_small, "{behind:?} after the commit: {plain}");
        }
        if behind > Duration::from_millis(2 * BOUND_MS) {
            let bounded = read(api, "B", id, &format!("?max_staleness_ms={BOUND_MS}")).await;
            assert_eq!(bounded["value"]["name"], "Ada King", "{behind:?} after the commit: {bounded}");
        }
        look(api, "B", id).await["local_tier"] == "off"
    })
    .await;
    assert!(older > 0, "B was not cut off: it has heard of the write");

    // A has heard of it, and goes on with hits.
    until_local_hit(api, "A", id, "Ada King").await;
    for _ in 0..20 {
        let plain = read(api, "B", id, "").await;
        assert_eq!((&plain["value"]["name"], plain["tier"] == "local"), (&json!("Ada King"), false), "{plain}");
        assert_ne!(read(api, "A", id, "").await["tier"], "database");
    }
    let view = look(api, "B", id).await;
    assert_eq!((&view["local_tier"], &view["local"], &view["handled"]), (&json!("off"), &json!(null), &json!(null)));

    api.delete("/faults").await.expect(200);
    until_local_hit(api, "B", id, "Ada King").await;
    world.other.execute(&format!("UPDATE users SET name = 'Ada L.' WHERE id = {id}")).await;
    for server in ["A", "B"] {
        until_local_hit(api, server, id, "Ada L.").await;
    }
}

/// What was sent while the subscription was cut arrives afterwards: a short cut loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_cut_off_for_a_moment_catches_up() {
    let world = start(Place::Embedded).await;
    let api = &world.api;
    let id = api.add("Ada", "ada@example.org").await;
    until_local_hit(api, "B", id, "Ada").await;
    api.put("/faults", &json!({ "bus_cut": "B" })).await.expect(200);
    world.other.execute(&format!("UPDATE users SET name = 'Ada King' WHERE id = {id}")).await;
    wait::until_async("A has heard of it", PATIENCE, async || {
        read(api, "A", id, "").await["value"]["name"] == "Ada King"
    })
    .await;
    api.put("/faults", &json!({ "bus_cut": null })).await.expect(200);
    until_local_hit(api, "B", id, "Ada King").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_there_is_one_server() {
    let world = World::start(Place::Embedded, |launch| launch).await;
    let api = &world.api;
    let all = api.get("/servers").await.expect(200);
    assert_eq!((all.as_array().map(Vec::len), &all[0]["server"]), (Some(1), &json!("A")));
    assert_eq!((&all[0]["local"], &all[0]["served_from"]), (&json!(null), &json!(null)));
    let id = api.add("Ada", "ada@example.org").await;
    assert_eq!(read(api, "A", id, "").await["value"]["name"], "Ada");
    for unknown in ["B", "E", "a"] {
        assert!(api.get(&format!("/servers/{unknown}/users/{id}")).await.expect(404)["detail"].is_string());
    }
    assert_eq!(api.get("/servers/A/users/0").await.expect(422)["detail"][0]["loc"], json!(["path", "id"]));
    for wrong in [json!("B"), json!("x"), json!(1)] {
        let refused = api.put("/faults", &json!({ "bus_cut": wrong })).await.expect(422);
        assert_eq!(refused["detail"][0]["loc"], json!(["body", "bus_cut"]));
    }
    assert_eq!(api.get("/faults").await.expect(200)["bus_cut"], json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_slow_the_page_says_how_old_its_figures_are() {
    let world = World::start(Place::Embedded, |launch| with_accounts(launch).env("CACHEFRONT_SERVERS", "2")).await;
    world.api.add("Ada", "ada@example.org").await;
    let reader = Reader::log_in(&panel_of(&world), "viewer", "v secret").await;
    let page = async || reader.get("/servers?user=1").await.text;
    wait::until_async("the servers are shown", PATIENCE, async || page().await.contains("data-server=\"B\"")).await;
    world.api.put("/faults", &json!({ "store_delay_ms": 2_000 })).await.expect(200);
    wait::until_async("the figures are old, and still shown", PATIENCE, async || {
        let page = page().await;
        assert!(page.contains("data-server=\"B\""), "{page}");
        page.contains("data-late")
    })
    .await;
    // What was looked up while every access took 2 s is at least as old once it is shown.
    let age = async || {
        let page = page().await;
        let (_, rest) = page.split_once("This is from ")?;
        rest.split_once(" s ago")?.0.parse::<f64>().ok()
    };
    let mut last = 0.0;
    let newer = wait::until_some("a later lookup is shown", PATIENCE, async || {
        let age = age().await?;
        let is_newer = age < last;
        last = age;
        is_newer.then_some(age)
    })
    .await;
    assert!(newer >= 1.9, "looked up within 2 s and {newer} s old");
}
