//! The inspector: a verdict over all entries, without false alarms, for people and for programs.

use std::time::Duration;

use cachefront_testkit::process::Simulator;
use cachefront_testkit::wait;
use serde_json::{Value, json};

use crate::world::{Other, PATIENCE, Place, World, on_servers};

/// Runs `simulator inspect` against a world; its exit code and what it printed.
async fn inspect(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let mut launch = Simulator::role("inspect").env("CACHEFRONT_API_URL", world.simulator.api_url());
    if let Other::Mysql(database) = &world.other {
        launch = on_servers(launch, database);
    }
    for argument in arguments {
        launch = launch.arg(*argument);
    }
    // No log, so that what is printed is the outcome alone.
    let mut inspector = launch.env("CACHEFRONT_LOG", "off").spawn();
    let status = inspector.ended(PATIENCE).await;
    (status.code(), inspector.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_finds_repairs_and_says_so_embedded() {
    a_pass_finds_repairs_and_says_so(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_finds_repairs_and_says_so_on_servers() {
    a_pass_finds_repairs_and_says_so(Place::Servers).await;
}

async fn a_pass_finds_repairs_and_says_so(place: Place) {
    let world = World::start(place, |launch| launch.env("CACHEFRONT_TTL", "10m").env("CACHEFRONT_MODE", "ttl")).await;
    let (code, text) = inspect(&world, &[]).await;
    assert_eq!((code, text.starts_with("cache empty")), (Some(0), true), "{text}");
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(world.api.add(&format!("Ada {n}"), &format!("ada{n}@x")).await);
        world.api.name_of(ids[n]).await;
    }
    world.api.get("/users?email=ada1@x").await.expect(200);
    assert_eq!(inspect(&world, &[]).await.0, Some(0));
    // One row is changed, one is removed, one takes another address: both of its entries are wrong then.
    world.other.execute(&format!("UPDATE users SET name = 'Other' WHERE id = {}", ids[0])).await;
    world.other.execute(&format!("UPDATE users SET email = 'new@x' WHERE id = {}", ids[1])).await;
    let (code, text) = inspect(&world, &["--json"]).await;
    let found: Value = serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!((code, &found["verdict"], &found["aging"]), (Some(1), &json!("stale"), &found["stale"]), "{found}");
    let keys: Vec<&str> =
        found["entries"].as_array().expect("entries").iter().filter_map(|e| e["key"].as_str()).collect();
    assert!(keys.contains(&format!("users:{}", ids[0]).as_str()), "{keys:?}");
    assert!(keys.contains(&format!("users:{}", ids[1]).as_str()), "{keys:?}");

    let (code, text) = inspect(&world, &["--repair"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("cache stale") && text.contains("cache healthy"), "{text}");
    assert_eq!(world.api.name_of(ids[0]).await, "Other");
    let page = world.api.get("/cache/users?limit=2").await.expect(200);
    assert_eq!(
        (page[0]["id"].as_u64(), page[1]["id"].as_u64(), page.as_array().map(Vec::len)),
        (Some(ids[0]), Some(ids[1]), Some(2))
    );
    let rest = world.api.get(&format!("/cache/users?after={}", ids[1])).await.expect(200);
    assert_eq!((rest[0]["id"].as_u64(), &rest[0]["state"]), (Some(ids[2]), &json!("healthy")));
}

/// The background pass follows: a user that is gone, and an address that a user gave up, are stale entries, too.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_went_away_are_not_forgotten() {
    let world =
        World::start(Place::Embedded, |launch| launch.env("CACHEFRONT_TTL", "10m").env("CACHEFRONT_MODE", "ttl")).await;
    let (gone, moved) = (world.api.add("Gone", "gone@x").await, world.api.add("Moved", "moved@x").await);
    world.api.name_of(gone).await;
    world.api.get("/users?email=moved@x").await.expect(200);
    wait::until_async("both were seen", PATIENCE, async || {
        world.api.get("/consistency").await.expect(200)["compared"].as_u64() >= Some(2)
    })
    .await;
    world.other.execute(&format!("DELETE FROM users WHERE id = {gone}")).await;
    world.other.execute(&format!("UPDATE users SET email = 'away@x' WHERE id = {moved}")).await;
    wait::until_async("both are found", PATIENCE, async || {
        let found = world.api.get("/consistency").await.expect(200);
        let keys: Vec<_> = found["entries"].as_array().expect("entries").iter().map(|e| e["key"].clone()).collect();
        keys.contains(&json!(format!("users:{gone}"))) && keys.contains(&json!("users_by_email:moved@x"))
    })
    .await;
}

/// In CDC mode writers and readers do what they like for a while, and not one pass calls anything lost.
#[tokio::test(flavor = "multi_thread")]
async fn traffic_raises_no_false_alarm() {
    let world = World::start(Place::Embedded, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(world.api.add("Ada", &format!("ada{n}@x")).await);
    }
    let until = tokio::time::Instant::now() + Duration::from_secs(5);
    let writers = ids.iter().enumerate().map(|(n, id)| {
        let (api, path) = (world.api.clone(), format!("/users/{id}"));
        tokio::spawn(async move {
            let mut round = 0;
            while tokio::time::Instant::now() < until {
                round += 1;
                let user = json!({ "name": format!("Ada {round}"), "email": format!("ada{n}@x") });
                api.put(&path, &user).await.expect(200);
                api.get(&path).await.expect(200);
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut passes = 0;
    while tokio::time::Instant::now() < until {
        let found = world.api.get("/consistency?fresh=true").await.expect(200);
        assert!(found["lost"] == 0 && found["verdict"] != "unknown", "{found}");
        passes += 1;
    }
    for writer in writers {
        writer.await.expect("a writer");
    }
    assert!(passes > 3, "only {passes} passes");
    wait::until_async("all is healthy in the end", PATIENCE, async || {
        world.api.get("/consistency?fresh=true").await.expect(200)["verdict"] != "stale"
    })
    .await;
}
