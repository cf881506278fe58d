//! Loads from a replica that lags: without a fence an older row is cached after its invalidation and stays, with one it is not.

use std::time::Duration;

use cachefront_testkit::wait;
use serde_json::{Value, json};

use crate::experiment::experiment;
use crate::faults::{verdict, warm_user};
use crate::load::{finish, with};
use crate::panel::{Reader, panel_of, with_accounts};
use crate::world::{PATIENCE, Place, World};

/// Longer than a fence is waited for, and far shorter than anything that is waited for here.
const LAG_MS: u64 = 1_500;

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_keeps_the_older_row_of_a_replica_out_embedded() {
    a_fence_keeps_the_older_row_of_a_replica_out(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_keeps_the_older_row_of_a_replica_out_on_servers() {
    a_fence_keeps_the_older_row_of_a_replica_out(Place::Servers).await;
}

async fn a_fence_keeps_the_older_row_of_a_replica_out(place: Place) {
    let unfenced = write_and_read(place, false).await;
    assert_eq!(unfenced.name, "Ada", "the older row is served");
    assert!(unfenced.verdict["verdict"] == "stale" && unfenced.verdict["lost"].as_u64() > Some(0), "{unfenced:?}");
    let fenced = write_and_read(place, true).await;
    assert_eq!((fenced.name.as_str(), &fenced.verdict["stale"]), ("Ada King", &json!(0)), "{fenced:?}");
}

/// The experiment under a lag: in CDC mode reads that are late by more than the lag are seen without the fence only.
#[tokio::test(flavor = "multi_thread")]
async fn the_experiment_shows_what_the_fence_prevents() {
    let mut late = Vec::new();
    for fenced in ["false", "true"] {
        let world = World::start(Place::Embedded, |launch| {
            launch.env("CACHEFRONT_FENCED", fenced).env("CACHEFRONT_TTL", "10m")
        })
        .await;
        world.api.put("/faults", &json!({ "replica_lag_ms": 300 })).await.expect(200);
        let plan = ["--rate=80", "--duration=4s", "--grace=2s", "--seed=7", "--probe-rows=0"];
        let (_, result, log) = finish(with(experiment(&world), &plan)).await;
        assert_eq!(result["caches"]["fenced"].to_string(), fenced, "{log}");
        late.push(result["cdc"]["result"]["freshness"]["load"]["late"].as_u64().expect("a number"));
    }
    assert!(late[0] > 0 && late[1] == 0, "{late:?}");
}

/// What a plain read is served, and what the inspector says, after the replica has executed the write.
#[derive(Debug)]
struct Outcome {
    name: String,
    verdict: Value,
}

async fn write_and_read(place: Place, fenced: bool) -> Outcome {
    let world = World::start(place, |launch| {
        let launch = if fenced { launch.env("CACHEFRONT_FENCED", "true") } else { launch };
        with_accounts(launch).env("CACHEFRONT_MODE", "cdc").env("CACHEFRONT_TTL", "10m")
    })
    .await;
    let (api, id) = (&world.api, warm_user(&world).await);
    assert_eq!(api.get("/pipeline").await.expect(200)["built_with"]["fenced"], json!(fenced));
    let marker = api.add("Before", "marker@example.org").await;
    api.put("/faults", &json!({ "replica_lag_ms": LAG_MS })).await.expect(200);
    // The first load waits until the replica follows the log.
    load(&world, marker).await;
    assert_eq!(api.get("/readyz").await.expect(200)["faults"], json!(["replica_lag_ms"]));
    let reader = Reader::log_in(&panel_of(&world), "viewer", "v secret").await;
    let words = if fenced { "behind, fenced" } else { "behind, not fenced" };
    wait::until_async("the panel shows the replica", PATIENCE, async || {
        // sleep: pages are bounded for each session.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let page = reader.get("/").await.text;
        page.contains("data-cause=\"replica_lag_ms\"") && page.contains(words)
    })
    .await;

    world.other.execute(&format!("UPDATE users SET name = 'Ada King' WHERE id = {id}")).await;
    // Later in the log, so that the replica has executed both once it shows this one.
    world.other.execute(&format!("UPDATE users SET name = 'After' WHERE id = {marker}")).await;
    wait::until_async("the replica has executed the writes", PATIENCE, async || {
        api.name_of(id).await;
        load(&world, marker).await == "After"
    })
    .await;
    if !fenced {
        // Whether the change is lost is known once the watermark covers it.
        wait::until_async("the inspector calls the change lost", PATIENCE, async || {
            verdict(api).await["lost"].as_u64() > Some(0)
        })
        .await;
    }
    let outcome = Outcome { name: api.name_of(id).await, verdict: verdict(api).await };
    // A row of a replica proves no bound, and no cached one proves this short one: the primary is read.
    let written = api.put(&format!("/users/{id}"), &json!({ "name": "Ada L.", "email": "ada@example.org" })).await;
    written.expect(200);
    let bounded = api.get(&format!("/users/{id}?max_staleness_ms=1")).await;
    assert_eq!(bounded.expect(200)["name"], "Ada L.");
    outcome
}

/// Loads a user, whatever is cached.
async fn load(world: &World, id: u64) -> String {
    world.api.delete(&format!("/cache/users/{id}")).await.expect(204);
    world.api.name_of(id).await
}
