//! Fault switches: each shows what it says, the inspector finds the one that lies, and everything heals.

use std::time::{Duration, Instant};

use cachefront_testkit::wait;
use serde_json::{Value, json};

use crate::client::Client;
use crate::world::{PATIENCE, Place, World};

/// Long enough that nothing heals by expiring.
const TTL: &str = "10m";

async fn start(place: Place) -> World {
    World::start(place, |launch| launch.env("CACHEFRONT_TTL", TTL)).await
}

async fn set(api: &Client, faults: Value) {
    api.put("/faults", &faults).await.expect(200);
}

pub(crate) async fn warm_user(world: &World) -> u64 {
    let id = world.api.add("Ada", "ada@example.org").await;
    // The row's own INSERT ends an entry that was kept before it came.
    wait::until_async("the row's insertion has been read", PATIENCE, async || {
        world.api.get("/pipeline").await.expect(200)["events_total"].as_u64() > Some(0)
    })
    .await;
    wait::until_async("the entry is kept", PATIENCE, async || {
        world.api.name_of(id).await;
        world.api.state(id).await == "healthy"
    })
    .await;
    id
}

/// The verdict of a pass that begins now.
pub(crate) async fn verdict(api: &Client) -> Value {
    api.get("/consistency?fresh=true").await.expect(200)
}

async fn until_kind(api: &Client, kind: &str) {
    wait::until_async("the inspector says so", PATIENCE, async || {
        let found = verdict(api).await;
        found["verdict"] == "stale" && found[kind].as_u64() > Some(0)
    })
    .await;
}

async fn until_healed(world: &World, id: u64, name: &str) {
    // A change that comes late may end an entry that was fresh already: what counts is that both agree at last.
    wait::until_async("the entry is fresh, kept again, and the inspector agrees", PATIENCE, async || {
        world.api.name_of(id).await == name
            && world.api.state(id).await == "healthy"
            && verdict(&world.api).await["verdict"] == "healthy"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_events_are_found_embedded() {
    dropped_events_are_found(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_events_are_found_on_servers() {
    dropped_events_are_found(Place::Servers).await;
}

/// No invalidation follows a change that was dropped: the entry stays stale, and only the inspector finds it.
async fn dropped_events_are_found(place: Place) {
    let world = start(place).await;
    let id = warm_user(&world).await;
    assert_eq!(verdict(&world.api).await["verdict"], "healthy");
    set(&world.api, json!({ "drop_events": true })).await;
    world.other.execute(&format!("UPDATE users SET name = 'Ada King' WHERE id = {id}")).await;
    until_kind(&world.api, "lost").await;
    let found = verdict(&world.api).await;
    assert_eq!((&found["entries"][0]["id"], &found["entries"][0]["cached"]["name"]), (&json!(id), &json!("Ada")));
    assert_eq!(world.api.name_of(id).await, "Ada", "a plain read serves it");
    let metrics = world.api.get("/metrics").await.text;
    wait::until_async("the gauges say so", PATIENCE, async || {
        let metrics = world.api.get("/metrics").await.text;
        metrics.contains("\ncachefront_consistency_healthy 0\n") && metrics.contains("\ncachefront_stale_entries 1\n")
    })
    .await;
    assert!(metrics.contains("simulator_fault_active{fault=\"drop_events\"} 1"), "{metrics}");
    assert_eq!(world.api.get("/readyz").await.json()["faults"], json!(["drop_events"]));

    // Switched off, what was lost stays lost, until the entry is removed.
    world.api.delete("/faults").await.expect(200);
    assert_eq!(verdict(&world.api).await["lost"], 1);
    world.api.delete(&format!("/cache/users/{id}")).await.expect(204);
    until_healed(&world, id, "Ada King").await;
    world.other.execute(&format!("UPDATE users SET name = 'Ada L.' WHERE id = {id}")).await;
    until_healed(&world, id, "Ada L.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_store_heals_embedded() {
    an_emptied_store_heals(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_store_heals_on_servers() {
    an_emptied_store_heals(Place::Servers).await;
}

async fn an_emptied_store_heals(place: Place) {
    for mode in ["ttl", "cdc"] {
        let world = start(place).await;
        world.api.set_mode(mode).await;
        let id = warm_user(&world).await;
        set(&world.api, json!({ "drop_events": true })).await;
        world.other.execute(&format!("UPDATE users SET name = 'Ada King' WHERE id = {id}")).await;
        until_kind(&world.api, if mode == "ttl" { "aging" } else { "lost" }).await;
        world.api.delete("/faults").await.expect(200);
        world.api.delete("/cache").await.expect(204);
        until_healed(&world, id, "Ada King").await;
    }
}

/// A consumer that is frozen, or receives nothing, loses nothing: it is late, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_and_a_frozen_stream_are_late_and_lose_nothing() {
    let world = start(Place::Embedded).await;
    let id = warm_user(&world).await;
    for (fault, runs) in [("pause_consumer", false), ("freeze_stream", true)] {
        wait::until_async("nothing of the fault before is left", PATIENCE, async || {
            let view = world.api.get("/pipeline").await.expect(200);
            view["running"] == true && view["lag_ms"].as_f64().is_some_and(|lag| lag < 1_500.0)
        })
        .await;
        set(&world.api, json!({ fault: true })).await;
        world.other.execute(&format!("UPDATE users SET name = 'during {fault}' WHERE id = {id}")).await;
        wait::until_async("the pipeline shows it", PATIENCE, async || {
            let view = world.api.get("/pipeline").await.expect(200);
            view["running"] == json!(runs) && view["lag_ms"].as_f64() > Some(3_500.0)
        })
        .await;
        let found = verdict(&world.api).await;
        assert!(found["lost"] == 0 && found["late"].as_u64() > Some(0), "{fault}: {found}");
        // What must be fresh is read from the database meanwhile.
        let fresh = world.api.get(&format!("/users/{id}?max_staleness_ms=1000")).await;
        assert_eq!(fresh.expect(200)["name"], format!("during {fault}"));
        world.api.delete("/faults").await.expect(200);
        until_healed(&world, id, &format!("during {fault}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_cut_off_costs_time_and_no_response() {
    let world = start(Place::Embedded).await;
    let id = warm_user(&world).await;
    set(&world.api, json!({ "store_cut": true })).await;
    assert_eq!(world.api.get("/readyz").await.expect(503)["failing"], json!(["store"]));
    world.api.put(&format!("/users/{id}"), &json!({ "name": "B", "email": "b@x" })).await.expect(200);
    wait::until_async("reads come from the database", PATIENCE, async || {
        let read = world.api.get(&format!("/users/{id}")).await;
        read.header("x-cache") == "bypass" && read.expect(200)["name"] == "B"
    })
    .await;
    assert_eq!(verdict(&world.api).await["verdict"], "unknown");
    assert!(world.api.get("/metrics").await.text.contains("\ncachefront_consistency_healthy NaN\n"));
    assert!(world.api.delete("/cache").await.expect(503)["detail"].is_string());
    world.api.delete("/faults").await.expect(200);
    until_healed(&world, id, "B").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delays_are_felt_and_never_survive_in_silence() {
    let mut world = start(Place::Embedded).await;
    let id = warm_user(&world).await;
    set(&world.api, json!({ "database_delay_ms": 300 })).await;
    let asked = Instant::now();
    world.api.get("/users").await.expect(200);
    assert!(asked.elapsed() >= Duration::from_millis(300), "{:?}", asked.elapsed());
    assert_eq!(world.api.get(&format!("/users/{id}")).await.header("x-cache"), "hit");

    world.simulator.restart().await;
    assert_eq!(world.api.get("/faults").await.expect(200)["database_delay_ms"], 300);
    assert_eq!(world.api.get("/readyz").await.expect(200)["faults"], json!(["database_delay_ms"]));
    assert!(world.simulator.log().contains("faults are switched on"), "the log does not warn");
    let cleared = world.api.delete("/faults").await.expect(200);
    assert_eq!(cleared["database_delay_ms"], 0);
    assert!(world.api.get("/readyz").await.expect(200).get("faults").is_none());
    for (wrong, kind) in [
        (json!({ "drop_events": 1 }), "bool_type"),
        (json!({ "store_delay_ms": -1 }), "greater_than_equal"),
        (json!({ "store_delay_ms": 10_001 }), "less_than_equal"),
        (json!({ "store_delay_ms": "1" }), "int_type"),
        (json!({ "other": true }), "extra_forbidden"),
    ] {
        assert_eq!(world.api.put("/faults", &wrong).await.expect(422)["detail"][0]["type"], kind, "{wrong}");
    }
}

/// The database is slow, and the entry was invalidated: its last value is served, and says what it is.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_value_is_served_while_the_database_is_slow() {
    let world = World::start(Place::Embedded, |launch| {
        launch.env("CACHEFRONT_TTL", TTL).env("CACHEFRONT_STALE_IF_ERROR", "10m")
    })
    .await;
    let id = warm_user(&world).await;
    assert_eq!(world.api.get("/pipeline").await.expect(200)["built_with"]["stale_if_error_ms"], 600_000);
    set(&world.api, json!({ "database_delay_ms": 5_000 })).await;
    world.other.execute(&format!("UPDATE users SET name = 'Ada King' WHERE id = {id}")).await;
    wait::until_async("the last value is served", PATIENCE, async || {
        let asked = Instant::now();
        let read = world.api.get(&format!("/users/{id}")).await;
        assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
        read.header("x-cache") == "stale" && read.expect(200)["name"] == "Ada"
    })
    .await;
    world.api.delete("/faults").await.expect(200);
    until_healed(&world, id, "Ada King").await;
}

/// A process that is cut off from the store cannot empty it.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_cut_off_is_not_emptied() {
    let world = World::start(Place::Embedded, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let id = world.api.add("Ada", "ada@example.org").await;
    wait::until_async("the entry is kept", PATIENCE, async || {
        world.api.name_of(id).await;
        world.api.state(id).await == "healthy"
    })
    .await;
    world.api.put("/mode", &json!({ "mode": "ttl" })).await.expect(200);
    world.api.name_of(id).await;
    assert_eq!(world.api.state(id).await, "healthy");
    world.api.put("/faults", &json!({ "store_cut": true })).await.expect(200);
    world.api.delete("/cache").await.expect(503);
    world.api.delete("/faults").await.expect(200);
    assert_eq!(world.api.state(id).await, "healthy", "it was emptied all the same");
    world.api.delete("/cache").await.expect(204);
    assert_eq!(world.api.state(id).await, "absent");
}
