//! `simulator bootstrap`, on a real Kafka Connect with Debezium.

use std::time::Duration;

use cachefront_testkit::connector::{Connector, Servers};
use cachefront_testkit::process::{Launch, Simulator};
use cachefront_testkit::server::connect::Rest;
use cachefront_testkit::server::{Connect, MySql};
use cachefront_testkit::{port, stack, unique, wait};
use mysql_async::prelude::Queryable;

/// How long anything healthy may take, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

fn bootstrap(database_url: &str, connect_url: &str, prefix: &str) -> Launch {
    Simulator::role("bootstrap")
        .env("CACHEFRONT_MYSQL_URL", database_url)
        .env("CACHEFRONT_CONNECT_URL", connect_url)
        .env("CACHEFRONT_KAFKA_BROKERS", stack::kafka_brokers())
        .env("CACHEFRONT_CONNECT_KAFKA_BROKERS", stack::connect_kafka_brokers())
        .env("CACHEFRONT_TOPIC_PREFIX", prefix)
        .env("CACHEFRONT_STARTUP_TIMEOUT", "60s")
}

/// The database's URL as Connect sees it.
fn worker_url(database: &unique::Database) -> String {
    format!("{}/{}", stack::connect_mysql_url().trim_end_matches('/'), database.name())
}

#[tokio::test]
async fn registers_waits_and_changes_nothing_the_second_time() {
    let database = unique::database("boot").await;
    let prefix = unique::name("boot");
    let launch = || {
        bootstrap(database.url(), &stack::connect_url(), &prefix)
            .env("CACHEFRONT_CONNECT_MYSQL_URL", worker_url(&database))
    };
    let mut first = launch().spawn();
    assert!(first.ended(PATIENCE).await.success(), "{}", first.log());
    assert!(first.log().contains("is registered"), "{}", first.log());
    let tasks = Rest::shared().tasks(&prefix).await;
    assert_eq!(tasks.iter().map(|task| task.state.as_str()).collect::<Vec<_>>(), ["RUNNING"]);

    // An idle database's position comes back through the log again and again.
    let mut conn = database.connect().await;
    let mut beats = async || -> u64 {
        let beat = conn.query_first("SELECT beat FROM cachefront_heartbeat").await.expect("the table is there");
        beat.unwrap_or_default()
    };
    wait::until_async("the connector's heart beats", PATIENCE, async || beats().await >= 2).await;

    let mut second = launch().spawn();
    assert!(second.ended(PATIENCE).await.success(), "{}", second.log());
    assert!(second.log().contains("is brought up to date"), "{}", second.log());
    Connector::adopt(&Servers::shared(), &prefix, &database).remove().await;
}

#[tokio::test]
async fn says_what_is_wrong_and_shows_no_password() {
    let database = unique::database("boot").await;
    let user = unique::name("u");
    let mut conn = database.connect().await;
    conn.query_drop(format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'hidden-word'")).await.expect("a user");
    let refused = worker_url(&database).replace("cachefront:cachefront@", &format!("{user}:hidden-word-2@"));
    let prefix = unique::name("boot");

    let mut wrong_password =
        bootstrap(database.url(), &stack::connect_url(), &prefix).env("CACHEFRONT_CONNECT_MYSQL_URL", refused).spawn();
    assert_eq!(wrong_password.ended(PATIENCE).await.code(), Some(1));
    let log = wrong_password.log();
    assert!(log.contains("error:") && log.contains("the log of Kafka Connect"), "{log}");
    assert!(!log.contains("hidden-word"), "{log}");

    // A user without the rights: the connector is taken, and its task fails.
    let granted = worker_url(&database).replace("cachefront:cachefront@", &format!("{user}:hidden-word@"));
    conn.query_drop(format!("GRANT SELECT, RELOAD ON *.* TO '{user}'@'%'")).await.expect("a right");
    let mut too_few_rights =
        bootstrap(database.url(), &stack::connect_url(), &prefix).env("CACHEFRONT_CONNECT_MYSQL_URL", granted).spawn();
    assert_eq!(too_few_rights.ended(PATIENCE).await.code(), Some(1));
    let log = too_few_rights.log();
    assert!(log.contains("error:"), "{log}");
    assert!(!log.contains("hidden-word"), "{log}");

    let unused = format!("http://127.0.0.1:{}", port::free());
    let mut no_worker = bootstrap(database.url(), &unused, &prefix).env("CACHEFRONT_STARTUP_TIMEOUT", "1s").spawn();
    assert_eq!(no_worker.ended(PATIENCE).await.code(), Some(1));
    let log = no_worker.log();
    assert!(log.contains("CACHEFRONT_CONNECT_URL") && log.contains("CACHEFRONT_STARTUP_TIMEOUT"), "{log}");

    conn.query_drop(format!("DROP USER '{user}'")).await.expect("the user goes");
    Connector::adopt(&Servers::shared(), &prefix, &database).remove().await;
}

#[tokio::test]
async fn the_watchdog_restarts_a_task_after_a_restart_of_the_database() {
    let mut mysql = MySql::start(&[]).await;
    let connect = Connect::start(&stack::kafka_brokers()).await;
    mysql.execute("SET GLOBAL binlog_row_value_options = 'PARTIAL_JSON'").await;
    let prefix = unique::name("watched");
    let url = format!("{}/shop", mysql.url());
    let mut watched = bootstrap(&url, &connect.url(), &prefix)
        .env("CACHEFRONT_CONNECT_KAFKA_BROKERS", stack::kafka_brokers())
        .arg("--watch")
        .spawn();
    wait::until("the watchdog follows", PATIENCE, || watched.log().contains("tasks [RUNNING]")).await;
    assert!(watched.log().contains("warning: binlog_row_value_options=PARTIAL_JSON"), "{}", watched.log());

    mysql.stop().await;
    wait::until("the watchdog sees the failure", PATIENCE, || watched.log().contains("tasks [FAILED]")).await;
    let before = watched.log().len();
    mysql.restart().await;
    wait::until("the task runs again", PATIENCE, || {
        watched.log().get(before..).is_some_and(|log| log.contains("tasks [RUNNING], restarts"))
    })
    .await;
    connect.rest().wait_running(&prefix).await;
    assert!(watched.stop().await.success());
    connect.rest().delete(&prefix).await;
}
