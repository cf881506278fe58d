//! What clients see while a server is down: reads that can go on do, the rest is refused in the agreed form.

use std::time::{Duration, Instant};

use cachefront_testkit::process::Simulator;
use cachefront_testkit::server::{mysql::MySql, redis::Redis};
use cachefront_testkit::{stack, unique, wait};
use serde_json::json;

use crate::client::Client;
use crate::world::{PATIENCE, on_servers};

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_reads_and_writes_go_on() {
    let mut redis = Redis::start().await;
    let database = unique::database("sim").await;
    let simulator = on_servers(Simulator::role("up"), &database).env("CACHEFRONT_REDIS_URL", redis.url()).start().await;
    let api = Client::new(simulator.api_url());
    let id = api.add("Ada", "ada@example.org").await;
    api.get(&format!("/users/{id}")).await.expect(200);

    redis.kill();
    wait::until_async("the outage is seen", PATIENCE, async || api.get("/readyz").await.status == 503).await;
    assert_eq!(api.get("/readyz").await.json(), json!({ "status": "failing", "failing": ["store"] }));
    for round in 0..20 {
        let name = format!("Ada {round}");
        let user = json!({ "name": name, "email": "ada@example.org" });
        let written = api.put(&format!("/users/{id}"), &user).await;
        written.expect(200);
        let token = ("cachefront-token", written.header("cachefront-token"));
        assert_eq!(api.get_with(&format!("/users/{id}"), token).await.expect(200)["name"], name);
        api.get("/users?email=ada@example.org").await.expect(200);
        api.look(id).await;
    }
    wait::until_async("the pipeline is seen to stand still", PATIENCE, async || {
        api.get("/pipeline").await.expect(200)["running"] == json!(false)
    })
    .await;

    redis.restart().await;
    wait::until_async("all is well again", PATIENCE, async || {
        api.get("/readyz").await.status == 200 && api.get("/pipeline").await.expect(200)["running"] == json!(true)
    })
    .await;
    wait::until_async("the entry is kept again, and fresh", PATIENCE, async || {
        assert_eq!(api.name_of(id).await, "Ada 19");
        api.state(id).await == "healthy"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_the_api_says_so_and_when_to_come_back() {
    let mut mysql = MySql::start(&[]).await;
    let launch = Simulator::role("up")
        .env("CACHEFRONT_MYSQL_URL", format!("{}/{}", mysql.url().trim_end_matches('/'), unique::name("shop")));
    let simulator = launch.env("CACHEFRONT_REDIS_URL", stack::redis_url()).env("CACHEFRONT_TTL", "10m").start().await;
    let api = Client::new(simulator.api_url());
    let id = api.add("Ada", "ada@example.org").await;
    wait::until_async("the INSERT is done with", PATIENCE, async || {
        api.get("/pipeline").await.expect(200)["events_total"].as_u64() > Some(0)
    })
    .await;
    wait::until_async("the entry is kept", PATIENCE, async || {
        api.name_of(id).await;
        api.state(id).await == "healthy"
    })
    .await;

    mysql.kill();
    for refused in [
        api.get("/users").await,
        api.get("/users/4294967296").await,
        api.post("/users", &json!({ "name": "a", "email": "b" })).await,
        api.put(&format!("/users/{id}"), &json!({ "name": "a", "email": "b" })).await,
        api.delete(&format!("/users/{id}")).await,
        api.put("/mode", &json!({ "mode": "ttl" })).await,
    ] {
        assert!(refused.expect(503)["detail"].is_string());
        assert!(refused.header("retry-after").parse::<u32>().is_ok());
    }
    assert_eq!(api.get("/readyz").await.expect(503)["failing"], json!(["database"]));
    api.get("/healthz").await.expect(200);
    assert_eq!(api.get("/mode").await.expect(200)["mode"], "cdc");
    // What is cached is still served, and no part claims to know whether it is right.
    assert_eq!(api.name_of(id).await, "Ada");
    let look = api.look(id).await;
    assert_eq!((&look["state"], &look["cached"]["name"]), (&json!("unknown"), &json!("Ada")), "{look}");
    assert!(look["error"].is_string() && look["database"].is_null(), "{look}");
    let verdict = api.get("/consistency?fresh=true").await.expect(200);
    assert!(verdict["verdict"] == "unknown" && verdict["cause"].is_string(), "{verdict}");

    mysql.restart().await;
    wait::until_async("all is well again", PATIENCE, async || {
        api.get("/readyz").await.status == 200 && api.get("/pipeline").await.expect(200)["running"] == json!(true)
    })
    .await;
    api.put(&format!("/users/{id}"), &json!({ "name": "Back", "email": "ada@example.org" })).await.expect(200);
    wait::until_async("changes arrive again", PATIENCE, async || api.name_of(id).await == "Back").await;
}

/// While the database hangs, what is in force is reported all the same, and many who ask do not wait for each other.
#[tokio::test(flavor = "multi_thread")]
async fn the_mode_and_the_faults_are_reported_while_the_database_hangs() {
    let mut mysql = MySql::start(&[]).await;
    let url = format!("{}/shop", mysql.url());
    let simulator = Simulator::role("api")
        .env("CACHEFRONT_MYSQL_URL", url)
        .env("CACHEFRONT_REDIS_URL", stack::redis_url())
        .start()
        .await;
    let api = Client::new(simulator.api_url());
    api.get("/mode").await.expect(200);
    mysql.freeze();
    let asked = (0..16).map(|n| {
        let (api, started) = (api.clone(), Instant::now());
        let path = if n % 2 == 0 { "/mode" } else { "/faults" };
        tokio::spawn(async move {
            let answer = api.get(path).await;
            (answer, started.elapsed())
        })
    });
    for task in asked.collect::<Vec<_>>() {
        let (answer, spent) = task.await.expect("a task");
        answer.expect(200);
        assert!(spent < Duration::from_secs(2), "{spent:?}");
    }
    assert_eq!(api.get("/mode").await.expect(200)["mode"], "cdc");
    mysql.resume();
    wait::until_async("the mode can be set again", PATIENCE, async || {
        api.put("/mode", &json!({ "mode": "ttl" })).await.status == 200
    })
    .await;
    assert_eq!(api.get("/mode").await.expect(200)["mode"], "ttl");
}

/// While the store hangs, many who look at the pipeline wait at the same time, not one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn the_pipeline_is_reported_while_the_store_hangs() {
    let mut redis = Redis::start().await;
    let database = unique::database("sim").await;
    let simulator = on_servers(Simulator::role("up"), &database).env("CACHEFRONT_REDIS_URL", redis.url()).start().await;
    let api = Client::new(simulator.api_url());
    wait::until_async("the pipeline runs", PATIENCE, async || {
        api.get("/pipeline").await.expect(200)["running"] == json!(true)
    })
    .await;
    redis.freeze();
    for _ in 0..3 {
        let asked = (0..16).map(|_| {
            let (api, started) = (api.clone(), Instant::now());
            tokio::spawn(async move {
                let answer = api.get("/pipeline").await;
                (answer, started.elapsed())
            })
        });
        for task in asked.collect::<Vec<_>>() {
            let (answer, spent) = task.await.expect("a task");
            answer.expect(200);
            assert!(spent < Duration::from_secs(4), "{spent:?}");
        }
    }
    redis.resume();
    wait::until_async("the pipeline runs again", PATIENCE, async || {
        api.get("/pipeline").await.expect(200)["running"] == json!(true)
    })
    .await;
}
