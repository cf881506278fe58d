//! The wirings of the documentation, as a reader would start them.

use std::process::Command;

use cachefront_testkit::connector::{Connector, Servers};
use cachefront_testkit::{stack, unique};

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
