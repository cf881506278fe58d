//! What happened to a write, hop by hop: everything is measured or says why not.

use cachefront_testkit::wait;
use serde_json::{Value, json};

use crate::client::Client;
use crate::world::{PATIENCE, Place, World};

const HOPS: [&str; 7] = ["captured", "queued", "read", "gate", "removal", "push", "first_read"];

/// The newest write, if it is an update.
async fn newest(api: &Client) -> Option<Value> {
    let writes = api.get("/writes?limit=1").await.expect(200);
    Some(writes[0].clone()).filter(|write| write["op"] == "update")
}

fn hop<'a>(write: &'a Value, name: &str) -> &'a Value {
    let hops = write["hops"].as_array().expect("hops");
    hops.iter().find(|hop| hop["hop"] == name).unwrap_or_else(|| panic!("no hop {name}: {write}"))
}

fn is_measured(write: &Value, name: &str) -> bool {
    let hop = hop(write, name);
    assert_eq!(hop["to_ms"].is_number(), hop["not_measured"].is_null(), "{hop}");
    assert_eq!(hop["to_ms"].is_number(), hop["from_ms"].is_number(), "{hop}");
    hop["to_ms"].is_number()
}

/// Writes and reads until a write is there whose every hop is known that can be.
async fn whole_write(world: &World, id: u64) -> Value {
    let mut count = 0;
    wait::until_some("a write was watched on its whole way", PATIENCE, async || {
        count += 1;
        world.other.execute(&format!("UPDATE users SET name = 'Ada {count}' WHERE id = {id}")).await;
        let keys = json!([format!("users:{id}"), "users_by_email:ada@example.org"]);
        wait::until_async("the write is read", PATIENCE, async || {
            let read = world.api.name_of(id).await == format!("Ada {count}");
            read && newest(&world.api).await.is_some_and(|write| write["keys"] == keys)
        })
        .await;
        newest(&world.api).await.filter(|write| is_measured(write, "push") && is_measured(write, "first_read"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hop_of_a_write_is_measured_embedded() {
    let world = World::start(Place::Embedded, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let id = world.api.add("Ada", "ada@example.org").await;
    let write = whole_write(&world, id).await;
    let names: Vec<&str> =
        write["hops"].as_array().expect("hops").iter().filter_map(|hop| hop["hop"].as_str()).collect();
    assert_eq!(names, HOPS);
    let mut last = 0.0;
    for name in HOPS {
        assert!(is_measured(&write, name), "{write}");
        let (from, to) =
            (hop(&write, name)["from_ms"].as_f64().expect("ms"), hop(&write, name)["to_ms"].as_f64().expect("ms"));
        assert!(from <= to, "{write}");
        // The push is sent before all is applied, and reads come when they come: the others follow each other.
        if !["push", "first_read"].contains(&name) {
            assert!(from >= last, "{write}");
            last = to;
        }
    }
    let gate = hop(&write, "gate")["to_ms"].as_f64();
    assert!(hop(&write, "push")["from_ms"].as_f64() >= gate, "{write}");
    assert!(world.api.get("/writes?limit=101").await.expect(422)["detail"].is_array());
}

/// A replica that lags returns the older row long after the write: such a read is not the first one that has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_the_older_row_is_not_the_first_one_after_the_write() {
    const LAG_MS: f64 = 1_500.0;
    let world =
        World::start(Place::Embedded, |launch| launch.env("CACHEFRONT_TTL", "10m").env("CACHEFRONT_FENCED", "true"))
            .await;
    let api = &world.api;
    let id = api.add("Ada", "ada@example.org").await;
    let other = api.add("Bob", "bob@example.org").await;
    whole_write(&world, id).await;
    api.put("/faults", &json!({ "replica_lag_ms": LAG_MS as u64 })).await.expect(200);
    // A load waits until the replica follows the log: it lags with what is committed from then on.
    assert_eq!(api.name_of(other).await, "Bob");
    world.other.execute(&format!("UPDATE users SET name = 'Late' WHERE id = {id}")).await;
    let first_read = async || newest(api).await.and_then(|write| hop(&write, "first_read")["to_ms"].as_f64());
    let mut older = 0;
    wait::until_async("the replica has the write", PATIENCE, async || {
        let name = api.name_of(id).await;
        older += u32::from(name != "Late");
        name == "Late"
    })
    .await;
    assert!(older > 0, "no read returned the older row");
    let ms = wait::until_some("the first read that has it is measured", PATIENCE, async || first_read().await).await;
    assert!(ms > LAG_MS / 2.0, "{ms} ms after the commit, and the replica lags by {LAG_MS} ms");
}

/// From the binary log no connector and no queue is passed, and in TTL mode nothing is removed: that is no zero.
#[tokio::test(flavor = "multi_thread")]
async fn a_hop_that_is_not_there_says_so_on_servers() {
    let world = World::start(Place::Servers, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let id = world.api.add("Ada", "ada@example.org").await;
    let write = whole_write(&world, id).await;
    for (name, measured) in HOPS.into_iter().zip([false, false, true, true, true, true, true]) {
        assert_eq!(is_measured(&write, name), measured, "{name}: {write}");
    }
    world.api.set_mode("ttl").await;
    world.api.name_of(id).await;
    world.other.execute(&format!("UPDATE users SET name = 'late' WHERE id = {id}")).await;
    let position = write["position"].clone();
    let write = wait::until_some("the write is reported", PATIENCE, async || {
        newest(&world.api).await.filter(|newer| newer["position"] != position)
    })
    .await;
    for (name, measured) in HOPS.into_iter().zip([false, false, true, false, false, false, false]) {
        assert_eq!(is_measured(&write, name), measured, "{name}: {write}");
    }
    assert_ne!(world.api.name_of(id).await, "late", "the older value is served until it expires");
    assert!(!is_measured(&newest(&world.api).await.expect("the write"), "first_read"));
    world.api.delete(&format!("/cache/users/{id}")).await.expect(204);
    wait::until_async("the first read after it is measured", PATIENCE, async || {
        world.api.name_of(id).await == "late"
            && is_measured(&newest(&world.api).await.expect("the write"), "first_read")
    })
    .await;
}
