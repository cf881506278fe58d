//! One role for each process, on servers: they agree on the mode, the pipeline and what happens.

use std::time::Duration;

use cachefront_testkit::process::Simulator;
use cachefront_testkit::{unique, wait};
use serde_json::{Value, json};

use crate::client::Client;
use crate::events::Stream;
use crate::world::{PATIENCE, mysql, on_servers};

#[tokio::test(flavor = "multi_thread")]
async fn separate_roles_work_as_one() {
    let database = unique::database("sim").await;
    let role = |name: &str| on_servers(Simulator::role(name), &database).env("CACHEFRONT_TTL", "10m");
    let (first, second) = (role("api").start().await, role("api").start().await);
    let (one, other) = (Client::new(first.api_url()), Client::new(second.api_url()));
    assert_eq!(one.get("/pipeline").await.expect(200)["running"], false);
    let mut consumer = role("consumer").start().await;
    for api in [&one, &other] {
        wait::until_async("the pipeline is seen to run", PATIENCE, async || runs(api).await).await;
    }
    Client::new(consumer.consumer_url()).get("/readyz").await.expect(200);

    // Both keep the entry; one UPDATE by a third program ends it in both.
    let id = one.add("Ada", "ada@example.org").await;
    for api in [&one, &other] {
        wait::until_async("the entry is kept", PATIENCE, async || {
            api.name_of(id).await;
            api.state(id).await == "healthy"
        })
        .await;
    }
    let mut events = Stream::open(&other).await;
    mysql(&database, &format!("UPDATE users SET name = 'Ada King' WHERE id = {id}")).await;
    for api in [&one, &other] {
        wait::until_async("the change is seen", PATIENCE, async || api.name_of(id).await == "Ada King").await;
    }
    let change = events.next("change").await;
    assert_eq!(change["table"], format!("{}.users", database.name()));

    // A switch at one is in force at the other, and at the consumer, within a second.
    one.set_mode("ttl").await;
    let mode = async |api: &Client| api.get("/pipeline").await.expect(200)["mode"].clone();
    wait::until_async("the other follows", Duration::from_secs(1), async || mode(&other).await == "ttl").await;
    let invalidated = async || one.get("/pipeline").await.expect(200)["invalidations_total"].clone();
    let seen = async || one.get("/pipeline").await.expect(200)["events_total"].clone();
    wait::until(r"the consumer follows", PATIENCE, || consumer.log().contains("mode=Ttl")).await;
    let (invalidated_before, seen_before): (Value, Value) = (invalidated().await, seen().await);
    mysql(&database, &format!("UPDATE users SET name = 'Unseen' WHERE id = {id}")).await;
    wait::until_async("the consumer reads on", PATIENCE, async || seen().await != seen_before).await;
    assert_eq!(invalidated().await, invalidated_before, "nothing is invalidated in TTL mode");

    consumer.kill();
    wait::until_async("the silence is noticed", PATIENCE, async || !runs(&one).await).await;
    // Reads go on without a consumer.
    one.get(&format!("/users/{id}")).await.expect(200);
}

/// Of two consumers one works, and what it says of itself is not overwritten by the one that stands by.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_stands_by_says_nothing() {
    let database = unique::database("sim").await;
    let role = |name: &str| on_servers(Simulator::role(name), &database);
    let (first, second) = (role("consumer").start().await, role("consumer").start().await);
    let api = role("api").start().await;
    let client = Client::new(api.api_url());
    for mode in ["cdc", "ttl"] {
        client.set_mode(mode).await;
        let word = if mode == "cdc" { "mode=Cdc" } else { "mode=Ttl" };
        wait::until("both consumers follow", PATIENCE, || {
            // The one that stands by follows when it is its turn.
            first.log().contains(word) || second.log().contains(word)
        })
        .await;
        client.add("Counted", &format!("{mode}@example.org")).await;
        wait::until_async("the pipeline is seen to run, and to count", PATIENCE, async || {
            let pipeline = client.get("/pipeline").await.expect(200);
            pipeline["running"] == json!(true) && pipeline["events_total"].as_u64() > Some(0)
        })
        .await;
        let mut counted = 0;
        for _ in 0..40 {
            let pipeline = client.get("/pipeline").await.expect(200);
            assert_eq!(pipeline["running"], true, "in {mode} mode: {pipeline}");
            let events = pipeline["events_total"].as_u64().expect("a number");
            assert!(events >= counted, "in {mode} mode: {events} after {counted}");
            counted = events;
            // sleep: both consumers report four times a second, and for some seconds none may disturb the other.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let ready = [&first, &second].map(|consumer| Client::new(consumer.consumer_url()));
        for consumer in &ready {
            consumer.get("/readyz").await.expect(200);
        }
    }
}

async fn runs(api: &Client) -> bool {
    api.get("/pipeline").await.expect(200)["running"] == json!(true)
}
