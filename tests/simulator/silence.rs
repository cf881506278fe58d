//! Writes touch the database and nothing else: no invalidation, no write-through.

use std::collections::BTreeMap;

use cachefront_testkit::process::Simulator;
use cachefront_testkit::server::redis::Redis;
use cachefront_testkit::{unique, wait};
use serde_json::json;

use crate::client::Client;
use crate::world::{PATIENCE, on_servers};

/// What a reader of the bus and of the events asks for by itself, and what this test asks for.
const BACKGROUND: [&str; 6] = ["xread", "xrevrange", "xinfo", "info", "client", "ping"];

#[tokio::test(flavor = "multi_thread")]
async fn a_write_sends_nothing_to_the_store() {
    let redis = Redis::start().await;
    let database = unique::database("sim").await;
    // No consumer runs: whatever reaches Redis comes from the API.
    let simulator =
        on_servers(Simulator::role("api"), &database).env("CACHEFRONT_REDIS_URL", redis.url()).start().await;
    let api = Client::new(simulator.api_url());
    for mode in ["ttl", "cdc"] {
        api.set_mode(mode).await;
        let id = api.add("Ada", &format!("{mode}@example.org")).await;
        let before_read = calls(&redis).await;
        api.get(&format!("/users/{id}")).await.expect(200);
        let after_read = calls(&redis).await;
        assert_ne!(before_read, after_read, "a read is seen, so a write would be, too");
        for round in 0..20 {
            let user = json!({ "name": format!("Ada {round}"), "email": format!("{mode}@example.org") });
            api.put(&format!("/users/{id}"), &user).await.expect(200);
        }
        api.delete(&format!("/users/{id}")).await.expect(204);
        api.add("Eve", &format!("eve-{mode}@example.org")).await;
        assert_eq!(calls(&redis).await, after_read, "mode {mode}: a write has sent commands to the store");
    }
}

/// How often each command was called, background noise left out, once no more come.
async fn calls(redis: &Redis) -> BTreeMap<String, u64> {
    let look = async || -> BTreeMap<String, u64> {
        let text = redis.command("INFO commandstats").await.expect("statistics");
        let calls = text.lines().filter_map(|line| {
            let (name, figures) = line.trim().strip_prefix("cmdstat_")?.split_once(':')?;
            let calls = figures.strip_prefix("calls=")?.split(',').next()?.parse().ok()?;
            let command = name.split('|').next().unwrap_or(name);
            (!BACKGROUND.contains(&command)).then(|| (name.to_owned(), calls))
        });
        calls.collect()
    };
    let mut last = look().await;
    wait::until_some("the commands come to rest", PATIENCE, async || {
        let now = look().await;
        let rested = now == last;
        last.clone_from(&now);
        rested.then_some(now)
    })
    .await
}
