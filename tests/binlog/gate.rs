//! The gate waits for what readers cannot see yet, and the probe never waits.

use std::time::{Duration, Instant};

use cachefront_binlog::{MySqlGate, commit_token, read_fenced_position, read_position};
use cachefront_core::gate::VisibilityGate;
use cachefront_core::source::ChangeSource;
use cachefront_core::{Gtid, LoadCx, Position, Timestamp};
use cachefront_testkit::server::mysql::MySql;
use mysql_async::prelude::Queryable;

use crate::server::{Database, PATIENCE, USERS, limits};

/// A transaction that this server has not executed, under an origin of its own.
fn ahead(number: u64) -> Gtid {
    let origin = cachefront_testkit::unique::name("x").replace(['x', '_'], "");
    let uuid = format!("{}-{}-4000-8000-{:012x}", &origin[..8], &origin[8..12], number);
    Gtid { origin: uuid.into(), number: 1 }
}

#[tokio::test]
async fn the_gate_opens_when_the_commit_is_executed() {
    let mut db = Database::create().await;
    let gate = MySqlGate::connect(&db.url).await.expect("a gate");
    let gtid = ahead(1);
    let mut position = Position::new();
    position.insert(&gtid);
    let begun = Instant::now();
    assert!(!gate.wait(&position, Duration::from_millis(700)).await.expect("a reply"));
    assert!(begun.elapsed() >= Duration::from_millis(700), "it waited");

    let wait = gate.wait(&position, Duration::from_secs(20));
    let execute = async {
        db.run(&[&format!("SET SESSION gtid_next = '{gtid}'"), "COMMIT", "SET SESSION gtid_next = 'AUTOMATIC'"]).await;
    };
    let (open, ()) = tokio::join!(wait, execute);
    assert!(open.expect("a reply"), "it is executed now");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_wait_outlasts_the_servers_limit_of_statements() {
    let mysql = MySql::start(&["--max-execution-time=100"]).await;
    let mut db = Database::on_private(&mysql).await;
    let limit: Option<u64> = db.conn.query_first("SELECT @@max_execution_time").await.expect("a row");
    assert_eq!(limit, Some(100));
    let gate = MySqlGate::connect(&db.url).await.expect("a gate");
    let mut position = Position::new();
    position.insert(&ahead(3));
    let wait = Duration::from_millis(400);
    for _ in 0..2 {
        let begun = Instant::now();
        assert!(!gate.wait(&position, wait).await.expect("no error"));
        assert!(begun.elapsed() >= wait, "it waited");
    }
    let cx = LoadCx::new(Timestamp::UNKNOWN).with_fence(Some(position), wait);
    let begun = Instant::now();
    read_fenced_position(&mut db.conn, &cx).await.expect("a value that is not kept");
    assert!(begun.elapsed() >= wait, "it waited");
}

#[tokio::test]
async fn a_wait_that_is_dropped_leaves_nothing_to_the_next() {
    let mut db = Database::create().await;
    let gate = MySqlGate::connect(&db.url).await.expect("a gate");
    let executed = commit_token(&mut db.conn).await.expect("a token");
    let mut future = executed.clone();
    future.insert(&ahead(2));
    for _ in 0..5 {
        let dropped =
            tokio::time::timeout(Duration::from_millis(30), gate.wait(&future, Duration::from_secs(30))).await;
        assert!(dropped.is_err());
        assert!(gate.wait(&executed, Duration::from_secs(1)).await.expect("a reply"));
    }
}

#[tokio::test]
async fn a_gate_whose_connection_was_killed_makes_another() {
    let mut db = Database::create().await;
    let user = db.user("").await;
    let gate = MySqlGate::connect(&user.url).await.expect("a gate, for a user without any rights");
    let executed = commit_token(&mut db.conn).await.expect("a token");
    for _ in 0..3 {
        assert!(gate.wait(&executed, Duration::from_secs(1)).await.expect("a reply"));
        db.kill_connections_of(&user.name).await;
    }
}

#[tokio::test]
async fn a_loaders_position_holds_every_commit_before_it() {
    let mut db = Database::create().await;
    db.run(&[USERS, "INSERT INTO users VALUES (1, 'a@x', 1)"]).await;
    let token = commit_token(&mut db.conn).await.expect("a token");
    let (position, server) = read_position(&mut db.conn).await.expect("a position");
    assert!(position.covers(&token));
    let head = db.source().await.probe().head().await.expect("the log's end");
    assert!(head.checkpoint.position.covers(&position));
    assert_eq!(&*head.origin, server);
}

#[tokio::test]
async fn the_gate_waits_until_the_row_of_an_event_is_visible() {
    let mysql = MySql::start(&[]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[
        USERS,
        "INSERT INTO users VALUES (1, 'old@x', 1)",
        "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
        // A commit waits for a replica that never comes: after it is in the log, before it is visible.
        "SET GLOBAL rpl_semi_sync_source_timeout = 2000",
        "SET GLOBAL rpl_semi_sync_source_wait_no_replica = ON",
        "SET GLOBAL rpl_semi_sync_source_enabled = ON",
    ])
    .await;
    let mut source = db.following("users").await;
    let gate = source.gate().expect("the source's own gate");
    let mut reader = db.another().await;
    let see = "SELECT email FROM users WHERE id = 1";
    let follow = async {
        let transaction = loop {
            let batch = source.next_batch(&limits()).await.expect("a batch");
            if let Some(transaction) = batch.transactions.into_iter().next() {
                break transaction;
            }
        };
        let early: Option<String> = reader.query_first(see).await.expect("a row");
        let mut position = Position::new();
        position.insert(&transaction.gtid);
        assert!(gate.wait(&position, PATIENCE).await.expect("a reply"));
        let late: Option<String> = reader.query_first(see).await.expect("a row");
        (early, late)
    };
    let update = db.conn.query_drop("UPDATE users SET email = 'new@x' WHERE id = 1");
    let ((early, late), updated) = tokio::join!(follow, update);
    updated.expect("the commit ends without a replica");
    assert_eq!(early.as_deref(), Some("old@x"), "the event came first");
    assert_eq!(late.as_deref(), Some("new@x"), "and the gate let no change through before");
}

/// The end of a replica's log is not the end of its primary's.
#[tokio::test]
async fn a_server_that_takes_no_writes_proves_no_time() {
    let mysql = MySql::start(&[]).await;
    let source = cachefront_binlog::BinlogSource::connect(&mysql.url()).await.expect("a source");
    let probe = source.probe();
    for (read_only, proves) in [("OFF", true), ("ON", false), ("OFF", true)] {
        mysql.execute(&format!("SET GLOBAL read_only = {read_only}")).await;
        probe.head().await.expect("a head");
        assert_eq!(probe.proves_time(), proves, "read_only = {read_only}");
    }
}
