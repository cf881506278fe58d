//! The mode: kept in the database, edited by the environment only when that was edited, in force at once.

use cachefront_redis::testing;
use cachefront_testkit::process::Simulator;
use cachefront_testkit::{stack, unique, wait};
use reqwest::Method;
use serde_json::json;

use crate::client::Client;
use crate::world::{Other, PATIENCE, Place, World, on_servers};

#[tokio::test(flavor = "multi_thread")]
async fn the_mode_survives_a_restart_and_a_flush_of_the_store() {
    for place in [Place::Embedded, Place::Servers] {
        let mut world = World::start(place, |launch| launch.env("CACHEFRONT_MODE", "cdc")).await;
        world.api.set_mode("ttl").await;
        if let Other::Mysql(database) = &world.other {
            flush(database.name()).await;
        }
        world.simulator.restart().await;
        let mode = world.api.get("/mode").await.expect(200);
        assert_eq!((&mode["mode"], &mode["version"]), (&json!("ttl"), &json!(2)), "{place:?}");
        assert_eq!(world.api.get("/pipeline").await.expect(200)["mode"], "ttl");
    }
}

/// Removes everything that a namespace has in Redis, as a flush of the store does for one that has it alone.
async fn flush(namespace: &str) {
    let client = redis::Client::open(stack::redis_url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let pattern = testing::pattern(namespace);
    let keys: Vec<String> = redis::cmd("KEYS").arg(&pattern).query_async(&mut connection).await.expect("keys");
    assert!(!keys.is_empty(), "nothing in Redis begins with {pattern}");
    let _: u64 = redis::cmd("DEL").arg(keys).query_async(&mut connection).await.expect("deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_environment_wins_over_the_row() {
    let database = unique::database("sim").await;
    let mode_after = async |environment: Option<&str>| -> String {
        let mut launch = on_servers(Simulator::role("api"), &database);
        if let Some(mode) = environment {
            launch = launch.env("CACHEFRONT_MODE", mode);
        }
        let simulator = launch.start().await;
        let api = Client::new(simulator.api_url());
        let mode = api.get("/mode").await.expect(200)["mode"].as_str().expect("a mode").to_owned();
        // Whatever it is, it is switched by hand before the end.
        api.set_mode(if mode == "cdc" { "ttl" } else { "cdc" }).await;
        mode
    };
    assert_eq!(mode_after(Some("cdc")).await, "cdc");
    assert_eq!(mode_after(Some("cdc")).await, "ttl", "the same environment: the row is kept");
    assert_eq!(mode_after(Some("ttl")).await, "ttl", "an edited one wins");
    assert_eq!(mode_after(Some("ttl")).await, "cdc", "and only once");
    assert_eq!(mode_after(None).await, "ttl", "none at all: the row is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_is_in_force_here_at_once_and_guarded_by_its_version() {
    for place in [Place::Embedded, Place::Servers] {
        let world = World::start(place, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
        let api = &world.api;
        let id = api.add("0", "ada@example.org").await;
        // A row that is cached in TTL mode and changed there is stale for ten minutes, but not in CDC mode.
        for round in 1..=10 {
            api.set_mode("ttl").await;
            let kept = api.name_of(id).await;
            world.other.execute(&format!("UPDATE users SET name = '{round}' WHERE id = {id}")).await;
            assert_eq!(api.name_of(id).await, kept, "{place:?}: TTL mode is stale");
            assert_eq!(api.state(id).await, "stale", "{place:?}");
            api.set_mode("cdc").await;
            assert_eq!(api.name_of(id).await, round.to_string(), "{place:?}: CDC mode is not");
            wait::until_async("the entry is healthy", PATIENCE, async || {
                api.name_of(id).await;
                api.state(id).await == "healthy"
            })
            .await;
        }
        let put = async |tag: &str| {
            let request = api.request(Method::PUT, "/mode").header("If-Match", tag).json(&json!({ "mode": "ttl" }));
            api.send(request).await
        };
        let tag = api.get("/mode").await.header("etag").to_owned();
        assert!(put("\"99999\"").await.expect(412)["detail"].is_string());
        assert!(put("nonsense").await.expect(412)["detail"].is_string());
        assert_eq!(api.get("/mode").await.header("etag"), tag);
        let switched = put(&format!("\"99999\", {tag}")).await;
        switched.expect(200);
        assert_ne!(switched.header("etag"), tag);
        // The same mode again is no change.
        assert_eq!(put("*").await.header("etag"), switched.header("etag"));
    }
}

/// A table that was emptied is no failure, and the tags of the row that was lost match nothing any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_removed_is_made_again_above_the_old_versions() {
    for place in [Place::Embedded, Place::Servers] {
        let world = World::start(place, |launch| launch).await;
        world.api.set_mode("ttl").await;
        world.api.set_mode("cdc").await;
        let old = world.api.get("/mode").await.header("etag").to_owned();
        assert_eq!(old, "\"3\"");
        for mode in ["ttl", "cdc"] {
            world.other.execute("DELETE FROM cachefront_settings WHERE name = 'mode'").await;
            let changed = world.api.put("/mode", &json!({ "mode": mode })).await;
            assert_eq!(changed.expect(200)["mode"], mode, "{place:?}");
            assert!(changed.json()["version"].as_u64() > Some(3), "{place:?}: {}", changed.text);
        }
        world.other.execute("DELETE FROM cachefront_settings WHERE name = 'mode'").await;
        let request = world.api.request(Method::PUT, "/mode").header("if-match", &old).json(&json!({ "mode": "ttl" }));
        world.api.send(request).await.expect(412);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn if_match_takes_the_very_tag_and_nothing_like_it() {
    let world = World::start(Place::Embedded, |launch| launch).await;
    let put = async |tag: &str| {
        let request = world.api.request(Method::PUT, "/mode").header("if-match", tag).json(&json!({ "mode": "cdc" }));
        world.api.send(request).await.status.as_u16()
    };
    for tag in ["\"+1\"", "\"01\"", "1", "W/\"1\"", "\"99\", *"] {
        assert_eq!(put(tag).await, 412, "{tag}");
    }
    for tag in ["\"1\"", "*", "\"99\", \"1\""] {
        assert_eq!(put(tag).await, 200, "{tag}");
    }
}
