//! Values that a change makes from its row equal those that the loaders return, whatever carries the change.

use cachefront_testkit::wait;
use serde_json::json;

use crate::faults::{verdict, warm_user};
use crate::world::{PATIENCE, Place, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_change_replaces_the_entry_by_what_a_load_returns_embedded() {
    a_change_replaces_the_entry_by_what_a_load_returns(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_replaces_the_entry_by_what_a_load_returns_on_servers() {
    a_change_replaces_the_entry_by_what_a_load_returns(Place::Servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_replaces_the_entry_by_what_a_load_returns_over_kafka() {
    a_change_replaces_the_entry_by_what_a_load_returns(Place::Kafka).await;
}

async fn a_change_replaces_the_entry_by_what_a_load_returns(place: Place) {
    let world =
        World::start(place, |launch| launch.env("CACHEFRONT_TTL", "10m").env("CACHEFRONT_REFRESH_IN_PLACE", "true"))
            .await;
    let id = warm_user(&world).await;
    let (mut round, mut seen) = (0, json!(null));
    // An entry whose load may contain more than the change is removed, as one among other commits of a shared server may be.
    wait::until_async("an entry is replaced by the new row", PATIENCE, async || {
        round += 1;
        wait::until_async("the entry is kept", PATIENCE, async || {
            world.api.name_of(id).await;
            world.api.state(id).await == "healthy"
        })
        .await;
        let name = format!("Ada {round}");
        world.other.execute(&format!("UPDATE users SET name = '{name}' WHERE id = {id}")).await;
        // Nothing reads meanwhile: an entry that was removed stays absent.
        wait::until_async("the change is handled", PATIENCE, async || {
            seen = world.api.look(id).await;
            seen["state"] == "absent" || seen["cached"]["name"] == name.as_str()
        })
        .await;
        seen["state"] != "absent"
    })
    .await;
    assert_eq!((&seen["state"], &seen["cached"]), (&json!("healthy"), &seen["database"]), "{seen}");
    assert_eq!(verdict(&world.api).await["stale"], 0);
    assert_eq!(world.api.get(&format!("/users/{id}")).await.header("x-cache"), "hit");
}
