//! The wirings of the documentation, as a reader would start them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cachefront_testkit::connector::{Connector, Servers};
use cachefront_testkit::server::{MySql, Process, temporary_dir};
use cachefront_testkit::{stack, unique, wait};

const PATIENCE: Duration = Duration::from_secs(60);

fn printed(mut command: Command) -> String {
    let output = command.output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn the_quick_start_needs_no_server() {
    let text = printed(Command::new(stack::example("quickstart")));
    assert!(text.contains("user 1: Some(\"Ada\"), from database\nuser 1: Some(\"Ada\"), from local"), "{text}");
    assert!(text.contains("user 3: None, from database"), "{text}");
    assert!(text.contains("after a change: Some(\"Ada\")\nafter an invalidation: Some(\"Ada King\")"), "{text}");
}

#[test]
fn a_warm_up_loads_in_batches_and_needs_no_server() {
    let text = printed(Command::new(stack::example("warm_up")));
    assert!(text.contains("warm: 999 loaded, 10 absent, 1 failed\nstatements: 11\n"), "{text}");
    assert!(text.contains("again: 2 present, 1 failed"), "{text}");
    assert!(text.contains("\"product 4\")]\nstatements: 1\n"), "{text}");
}

fn walked(text: &str) {
    assert!(text.contains("first read: Some(\"Ada\")"), "{text}");
    assert!(text.contains("with its token: Some(\"Ada King\")"), "{text}");
    assert!(text.contains("bounded: Some(\"Ada King\")"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_binary_log() {
    let database = unique::database("wiring").await;
    let mut command = Command::new(stack::example("redis_binlog"));
    command.env("CACHEFRONT_MYSQL_URL", database.url()).env("CACHEFRONT_REDIS_URL", stack::redis_url());
    walked(&printed(command));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_follow_their_rows_and_another_process_reads_a_write() {
    let database = unique::database("wiring").await;
    let on_servers = |program: &str| {
        let mut command = Command::new(stack::example(program));
        command.env("CACHEFRONT_MYSQL_URL", database.url()).env("CACHEFRONT_REDIS_URL", stack::redis_url());
        printed(command)
    };
    let lists = on_servers("lists_and_tags");
    for line in [
        r#"which changes two lists: [Some(["lamp by Ada"]), Some(["desk by Grace", "chair by Grace"])]"#,
        r#"on all lists: [Some(["lamp by Ada"]), Some(["desk by Grace Hopper", "chair by Grace Hopper"])]"#,
        r#"on no list yet: [Some(["lamp by Ada", "shelf by Grace Hopper"])"#,
        "loads, because a tag of the entry was invalidated",
    ] {
        assert!(lists.contains(line), "{line}\n{lists}");
    }
    let names = on_servers("sqlx_loader");
    for line in [r#"many: [Some("Ada"), Some("Grace"), None]"#, r#"with its token: Some("Ada King")"#] {
        assert!(names.contains(line), "{line}\n{names}");
    }
    // What is loaded before the process has caught up with the bus is kept in the store only.
    assert!(["now cached: Local", "now cached: Shared"].iter().any(|line| names.contains(line)), "{names}");
    let writes = on_servers("read_your_writes");
    assert!(writes.contains("50 writes, each read by the other process with its token"), "{writes}");
}

/// The service of the examples over a database, and its address.
async fn service(mysql_url: &str, dir: &Path) -> (Process, String) {
    let mut command = Command::new(stack::example("axum_service"));
    command
        .env("CACHEFRONT_MYSQL_URL", mysql_url)
        .env("CACHEFRONT_REDIS_URL", stack::redis_url())
        .env("EXAMPLE_ADDR", "127.0.0.1:0");
    let process = Process::start("service", command, dir).expect("the program starts");
    let address = wait::until_some("it listens", PATIENCE, async || {
        process.log().lines().find_map(|line| Some(line.strip_prefix("listening on ")?.to_owned()))
    })
    .await;
    let url = format!("http://{address}/readyz");
    wait::until_async("it is ready", PATIENCE, async || {
        reqwest::get(&url).await.is_ok_and(|reply| reply.status().is_success())
    })
    .await;
    (process, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_stays_ready_while_its_database_is_away() {
    let mut mysql = MySql::start(&[]).await;
    let name = unique::name("wiring");
    mysql.execute(&format!("CREATE DATABASE `{name}`")).await;
    let dir = temporary_dir("service");
    let (_process, address) = service(&mysql.url_of_database(&name), dir.path()).await;
    let status_of = async |path: &str| {
        let reply = reqwest::get(format!("http://{address}{path}")).await.expect("a reply");
        (reply.status().as_u16(), reply.text().await.expect("text"))
    };
    assert_eq!(status_of("/users/1").await, (200, "Ada".to_owned()));
    mysql.kill();
    wait::until_async("the invalidator retries", PATIENCE, async || {
        status_of("/status").await.1.contains(r#""retrying""#)
    })
    .await;
    assert_eq!(status_of("/readyz").await.0, 200, "what is cached is served");
    assert_eq!(status_of("/users/1").await, (200, "Ada".to_owned()));
    assert_eq!(status_of("/users/2").await.0, 503, "the client may try again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_hands_tokens_over_http() {
    let database = unique::database("wiring").await;
    let dir = temporary_dir("service");
    let (_process, address) = service(database.url(), dir.path()).await;
    let client = reqwest::Client::new();
    let url = |path: &str| format!("http://{address}{path}");
    for number in 0..20 {
        let name = format!("Ada {number}");
        let written = client.put(url("/users/1")).body(name.clone()).send().await.expect("a reply");
        let token = written.headers()["x-consistency-token"].clone();
        let read = client.get(url("/users/1")).header("x-consistency-token", token).send().await.expect("a reply");
        assert_eq!(read.text().await.expect("text"), name);
    }
    database.execute("INSERT INTO example_orders VALUES (5, 1), (6, 1)").await;
    wait::until_async("the orders are read", PATIENCE, async || {
        let reply = client.get(url("/users/1/orders")).send().await.expect("a reply");
        reply.text().await.expect("text") == "[5,6]"
    })
    .await;
    let wrong = client.get(url("/users/1")).header("x-consistency-token", "?").send().await.expect("a reply");
    assert_eq!(wrong.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_debezium_and_kafka() {
    let database = unique::database("wiring").await;
    database.execute("CREATE TABLE example_users (id BIGINT UNSIGNED PRIMARY KEY, name VARCHAR(255) NOT NULL)").await;
    let connector = Connector::start(&Servers::shared(), &database, &["example_users"]).await;
    let mut command = Command::new(stack::example("redis_kafka"));
    command
        .env("CACHEFRONT_MYSQL_URL", database.url())
        .env("CACHEFRONT_REDIS_URL", stack::redis_url())
        .env("CACHEFRONT_KAFKA_BROKERS", stack::kafka_brokers())
        .env("CACHEFRONT_TOPIC_PREFIX", connector.name());
    walked(&tokio::task::spawn_blocking(move || printed(command)).await.expect("it ran"));
    connector.remove().await;
}
