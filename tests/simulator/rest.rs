//! Readers and two kinds of writers at once; when they have come to rest, nothing is stale.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cachefront_testkit::wait;
use serde_json::json;

use crate::client::Client;
use crate::world::{PATIENCE, Place, World};

const USERS: u64 = 8;
const ROUNDS: u64 = 150;
const READERS: u64 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stale_at_rest_embedded() {
    nothing_is_stale_at_rest(Place::Embedded, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stale_at_rest_on_servers() {
    // The `mysql` client is started again for each change.
    nothing_is_stale_at_rest(Place::Servers, ROUNDS / 3).await;
}

async fn nothing_is_stale_at_rest(place: Place, rounds: u64) {
    let world = World::start(place, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let mut ids = Vec::new();
    for number in 0..USERS {
        ids.push(world.api.add("start", &format!("{number}@example.org")).await);
    }
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> =
        (0..READERS).map(|_| tokio::spawn(read(world.api.clone(), ids.clone(), Arc::clone(&done)))).collect();
    for round in 0..rounds {
        let (here, there) = (ids[(round % USERS) as usize], ids[((round + 3) % USERS) as usize]);
        world.other.execute(&format!("UPDATE users SET name = 'other {round}' WHERE id = {here}")).await;
        let email = format!("{}@example.org", (round + 3) % USERS);
        let user = json!({ "name": format!("api {round}"), "email": email });
        world.api.put(&format!("/users/{there}"), &user).await.expect(200);
    }
    done.store(true, Ordering::Relaxed);
    let mut reads = 0;
    for reader in readers {
        reads += reader.await.expect("a reader");
    }
    assert!(reads > rounds, "{reads} reads during {rounds} rounds of writes");

    for id in ids {
        wait::until_async("the last changes are applied", PATIENCE, async || world.api.state(id).await != "stale")
            .await;
        let read = world.api.get(&format!("/users/{id}")).await.expect(200);
        assert_eq!(read, world.api.look(id).await["database"], "{place:?}: user {id} is stale at rest");
    }
}

async fn read(api: Client, ids: Vec<u64>, done: Arc<AtomicBool>) -> u64 {
    let mut reads = 0;
    while !done.load(Ordering::Relaxed) {
        for id in &ids {
            api.get(&format!("/users/{id}")).await.expect(200);
            reads += 1;
        }
    }
    reads
}
