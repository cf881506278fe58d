//! Every kind of change of rows arrives, once, in order, and nothing else does.

use std::time::Duration;

use cachefront_binlog::{BinlogSource, MySqlGate, read_position};
use cachefront_core::gate::VisibilityGate;
use cachefront_core::source::{ChangeSource, Columns};

use crate::server::{Database, drain, lines, only, url};

const USERS: &str = "CREATE TABLE users (id BIGINT UNSIGNED PRIMARY KEY, email VARCHAR(255) NOT NULL, age INT)";

#[tokio::test]
async fn inserts_updates_and_deletes_arrive_with_their_keys() {
    let mut db = Database::create("dml").await;
    db.run(&[USERS, "CREATE TABLE other (id INT PRIMARY KEY)"]).await;
    let from = db.checkpoint().await;
    let mut source = BinlogSource::connect(&url()).await.expect("a source");
    source.open(&from, &db.interest("users", only(&["id"]))).await.expect("open");
    db.run(&[
        "INSERT INTO users VALUES (1, 'a@x', 10), (2, 'b@x', NULL)",
        "INSERT INTO other VALUES (1)",
        "UPDATE users SET age = 11 WHERE id = 1",
        "UPDATE users SET id = 7 WHERE id = 2",
        "DELETE FROM users WHERE id = 1",
        "REPLACE INTO users VALUES (7, 'c@x', 1)",
        "INSERT INTO users VALUES (7, 'd@x', 1) ON DUPLICATE KEY UPDATE email = 'd@x'",
    ])
    .await;
    let transactions = drain(&mut source, &mut db).await;
    assert_eq!(
        lines(&transactions, "id"),
        [
            "insert >UInt 1",
            "insert >UInt 2",
            "update UInt 1>UInt 1",
            "update UInt 2>UInt 7",
            "delete UInt 1>",
            "update UInt 7>UInt 7",
            "update UInt 7>UInt 7",
        ]
    );
    assert!(transactions.iter().all(|transaction| transaction.complete && transaction.committed_at.is_known()));
    db.drop().await;
}

#[tokio::test]
async fn rollbacks_leave_nothing_and_savepoints_their_part() {
    let mut db = Database::create("rollback").await;
    db.run(&[USERS]).await;
    let from = db.checkpoint().await;
    let mut source = BinlogSource::connect(&url()).await.expect("a source");
    source.open(&from, &db.interest("users", Columns::All)).await.expect("open");
    db.run(&[
        "BEGIN",
        "INSERT INTO users VALUES (1, 'a@x', 1)",
        "ROLLBACK",
        "BEGIN",
        "INSERT INTO users VALUES (2, 'a@x', 1)",
        "SAVEPOINT s1",
        "INSERT INTO users VALUES (3, 'b@x', 1)",
        "ROLLBACK TO s1",
        "INSERT INTO users VALUES (4, 'ä€😀', 1)",
        "COMMIT",
    ])
    .await;
    let transactions = drain(&mut source, &mut db).await;
    assert_eq!(transactions.len(), 1);
    assert_eq!(lines(&transactions, "email"), ["insert >Text \"a@x\"", "insert >Text \"ä€😀\""]);
    db.drop().await;
}

#[tokio::test]
async fn the_gate_waits_for_what_is_not_executed_yet() {
    let mut db = Database::create("gate").await;
    db.run(&[USERS]).await;
    let gate = MySqlGate::connect(&url()).await.expect("a gate");
    let (executed, server) = read_position(&mut db.conn).await.expect("a position");
    assert!(gate.wait(&executed, Duration::from_secs(1)).await.expect("the server answers"));
    let mut future = executed.clone();
    future.insert_range(&server.as_str().into(), 1 << 50, 1 << 50);
    let begun = std::time::Instant::now();
    assert!(!gate.wait(&future, Duration::from_millis(700)).await.expect("the server answers"));
    assert!(begun.elapsed() >= Duration::from_millis(700));
    // A wait that is dropped half-way leaves nothing behind.
    let dropped = tokio::time::timeout(Duration::from_millis(50), gate.wait(&future, Duration::from_secs(30))).await;
    assert!(dropped.is_err());
    assert!(gate.wait(&executed, Duration::from_secs(1)).await.expect("the server answers"));
    db.drop().await;
}
