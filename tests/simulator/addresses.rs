//! Addresses that are as long as they may be, and heavier than a key of the store may be.

use cachefront_testkit::wait;
use serde_json::json;

use crate::world::{PATIENCE, Place, World};

#[tokio::test(flavor = "multi_thread")]
async fn every_address_is_cached_whatever_it_weighs_embedded() {
    every_address_is_cached_whatever_it_weighs(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_is_cached_whatever_it_weighs_on_servers() {
    every_address_is_cached_whatever_it_weighs(Place::Servers).await;
}

async fn every_address_is_cached_whatever_it_weighs(place: Place) {
    let world = World::start(place, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let api = &world.api;
    for count in [1, 252, 253, 255] {
        let address = "\u{1f600}".repeat(count);
        let id = api.add("Before", &address).await;
        let by_address = format!("/users?email={}", "%F0%9F%98%80".repeat(count));
        is_kept(&world, &by_address).await;
        is_kept(&world, &format!("/users/{id}")).await;
        assert_eq!(api.get(&by_address).await.expect(200)[0]["email"], address);

        // A change by another program ends both entries.
        world.other.execute(&format!("UPDATE users SET name = 'After' WHERE id = {id}")).await;
        wait::until_async("the change is seen under the address", PATIENCE, async || {
            api.get(&by_address).await.expect(200)[0]["name"] == "After"
        })
        .await;
        wait::until_async("the change is seen under the id", PATIENCE, async || api.name_of(id).await == "After").await;

        is_kept(&world, &by_address).await;
        let verdict = api.get("/consistency?fresh=true").await.expect(200);
        assert_eq!(verdict["verdict"], "healthy", "{verdict}");
        assert_eq!(api.delete(&format!("/cache/users/{id}")).await.expect(204), json!(null));
        assert_ne!(api.get(&by_address).await.header("x-cache"), "hit", "the entry was to be removed");
    }
    let log = world.simulator.log();
    assert!(!log.contains("could not be mapped"), "everything was voided: {log}");
}

/// Reads until the answer comes from a tier.
async fn is_kept(world: &World, path: &str) {
    wait::until_async("the entry is kept", PATIENCE, async || {
        let read = world.api.get(path).await;
        read.expect(200);
        read.header("x-cache") == "hit"
    })
    .await;
}
