//! Read your writes, and bounded reads: what cannot be proven goes to the database and is never an error.

use std::time::Duration;

use cachefront_testkit::wait;
use mysql_async::prelude::Queryable;
use reqwest::Method;
use serde_json::json;

use crate::world::{Other, PATIENCE, Place, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_read_by_every_holder_of_its_token_embedded() {
    a_write_is_read_by_every_holder_of_its_token(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_read_by_every_holder_of_its_token_on_servers() {
    a_write_is_read_by_every_holder_of_its_token(Place::Servers).await;
}

async fn a_write_is_read_by_every_holder_of_its_token(place: Place) {
    let world = World::start(place, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let api = &world.api;
    let id = api.add("start", "ada@example.org").await;
    for mode in ["cdc", "ttl"] {
        api.set_mode(mode).await;
        for round in 0..100 {
            api.get(&format!("/users/{id}")).await.expect(200);
            let name = format!("{mode} {round}");
            let written = api.put(&format!("/users/{id}"), &json!({ "name": name, "email": "ada@example.org" })).await;
            written.expect(200);
            let token = ("cachefront-token", written.header("cachefront-token"));
            assert_eq!(api.get_with(&format!("/users/{id}"), token).await.expect(200)["name"], name);
            let by_email = api.get_with("/users?email=ada@example.org", token).await.expect(200);
            assert_eq!(by_email[0]["name"], name);
        }
        let gone = api.add("gone", "gone@example.org").await;
        api.get(&format!("/users/{gone}")).await.expect(200);
        let deleted = api.delete(&format!("/users/{gone}")).await;
        let token = ("cachefront-token", deleted.header("cachefront-token"));
        api.get_with(&format!("/users/{gone}"), token).await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_database_is_answered_by_this_one() {
    for place in [Place::Embedded, Place::Servers] {
        let world = World::start(place, |launch| launch.env("CACHEFRONT_MODE", "ttl")).await;
        let id = world.api.add("old", "ada@example.org").await;
        world.api.get(&format!("/users/{id}")).await.expect(200);
        world.other.execute(&format!("UPDATE users SET name = 'new' WHERE id = {id}")).await;
        assert_eq!(world.api.name_of(id).await, "old");
        let unknown = "3E11FA47-71CA-11E1-9E33-C80AA9429562:1-5:sale:7, 4e11fa47-71ca-11e1-9e33-c80aa9429562:1-9:11";
        let read = world.api.get_with(&format!("/users/{id}"), ("Cachefront-Token", unknown)).await;
        assert_eq!(read.expect(200)["name"], "new", "{place:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_gtid_set_is_a_token() {
    let world = World::start(Place::Servers, |launch| launch.env("CACHEFRONT_MODE", "ttl")).await;
    let Other::Mysql(database) = &world.other else { panic!("a server") };
    let id = world.api.add("old", "ada@example.org").await;
    world.api.get(&format!("/users/{id}")).await.expect(200);
    world.other.execute(&format!("UPDATE users SET name = 'new' WHERE id = {id}")).await;
    assert_eq!(world.api.name_of(id).await, "old");
    let mut connection = database.connect().await;
    let executed: Option<String> = connection.query_first("SELECT @@GLOBAL.gtid_executed").await.expect("an answer");
    let token = executed.expect("a set").replace('\n', " ");
    let read = world.api.get_with(&format!("/users/{id}"), ("Cachefront-Token", &token)).await;
    assert_eq!(read.expect(200)["name"], "new");
    connection.disconnect().await.expect("the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_on_staleness_is_kept() {
    for place in [Place::Embedded, Place::Servers] {
        let world = World::start(place, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
        let api = &world.api;
        let id = api.add("old", "ada@example.org").await;
        api.set_mode("ttl").await;
        api.get(&format!("/users/{id}")).await.expect(200);
        world.other.execute(&format!("UPDATE users SET name = 'new' WHERE id = {id}")).await;
        assert_eq!(api.name_of(id).await, "old", "{place:?}");
        // In TTL mode only the age of the entry proves anything, and this one is older than a millisecond by now.
        let strict = api.get(&format!("/users/{id}?max_staleness_ms=1")).await.expect(200);
        assert_eq!(strict["name"], "new", "{place:?}");
        let none = api.get(&format!("/users/{id}?max_staleness_ms=0")).await.expect(200);
        assert_eq!(none["name"], "new", "{place:?}");
        let huge = format!("/users/{id}?max_staleness_ms={}", u64::MAX);
        api.get(&huge).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_cdc_mode_an_old_entry_is_proven_fresh_by_the_change_log() {
    let world = World::start(Place::Embedded, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let api = &world.api;
    let id = api.add("Ada", "ada@example.org").await;
    let loads = async || -> f64 {
        let metrics = api.get("/metrics").await.text;
        let values =
            metrics.lines().filter(|line| line.starts_with("cachefront_loads_total{cache=\"users\",outcome=\"value\""));
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    wait::until_async("the entry has aged", PATIENCE, async || {
        // Read each time: the change that made the user may come late and end the first entry.
        api.get(&format!("/users/{id}")).await.expect(200);
        aged(api, id, Duration::from_secs(1)).await
    })
    .await;
    let before = loads().await;
    for _ in 0..20 {
        let read = api.send(api.request(Method::GET, &format!("/users/{id}?max_staleness_ms=1000"))).await;
        assert_eq!(read.expect(200)["name"], "Ada");
    }
    let loaded = loads().await - before;
    assert!(loaded <= 2.0, "{loaded} of 20 bounded reads went to the database");
}

/// True once an entry of ten minutes has lived so long.
async fn aged(api: &crate::client::Client, id: u64, age: Duration) -> bool {
    let left = api.look(id).await["ttl_ms"].as_u64().map(Duration::from_millis);
    left.is_some_and(|left| left + age < Duration::from_secs(600))
}
