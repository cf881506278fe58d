//! XA transactions: what a gate promises holds for an `XA COMMIT` of another session than the one that prepared it.

use std::collections::HashMap;
use std::time::Duration;

use cachefront_core::event::{Change, RowImage};
use cachefront_core::source::ChangeSource;
use cachefront_core::{Gtid, Position};
use cachefront_testkit::server::mysql::MySql;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::time::Instant;

use crate::server::{Database, PATIENCE, limits};

const SHOP: &str = "CREATE TABLE item (id INT PRIMARY KEY, value INT NOT NULL)";
/// Sessions that prepare and commit at the same time, each its own row.
const WRITERS: i64 = 6;
/// How long they do.
const HAMMERING: Duration = Duration::from_secs(2);

async fn run(conn: &mut Conn, statements: &[&str]) {
    for statement in statements {
        conn.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

fn integer(image: &RowImage, column: &str) -> i64 {
    image.get(column).expect("an integer")
}

/// Prepares the row's next value in one session and commits it in another, again and again. Returns the last value.
async fn write(mut preparer: Conn, mut committer: Conn, id: i64, until: Instant) -> i64 {
    let mut value = 0;
    while Instant::now() < until {
        value += 1;
        let xid = format!("'row{id}','{value}'");
        let update = format!("UPDATE item SET value = {value} WHERE id = {id}");
        run(
            &mut preparer,
            &[&format!("XA START {xid}"), &update, &format!("XA END {xid}"), &format!("XA PREPARE {xid}")],
        )
        .await;
        run(&mut committer, &[&format!("XA COMMIT {xid}")]).await;
    }
    value
}

/// What the reader saw.
#[derive(Debug, Default)]
struct Seen {
    commits: usize,
    /// The event came before the row was visible.
    early: usize,
    /// The row was not visible although the server had the commit's GTID in its executed set.
    too_early: Vec<(Gtid, i64, i64)>,
}

/// Waits on the server for `gtid` and reads the row right after, without a round trip in between.
async fn value_after(conn: &mut Conn, gtid: &Gtid, id: i64) -> i64 {
    let sql = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{gtid}', 10); SELECT value FROM item WHERE id = {id}");
    let mut results = conn.query_iter(sql).await.expect("an answer");
    let timed_out: Vec<i64> = results.collect().await.expect("a row");
    assert_eq!(timed_out, [0], "{gtid}");
    let values: Vec<i64> = results.collect().await.expect("a row");
    values.first().copied().expect("the row is there")
}

async fn value_now(conn: &mut Conn, id: i64) -> i64 {
    let value: Option<i64> =
        conn.query_first(format!("SELECT value FROM item WHERE id = {id}")).await.expect("an answer");
    value.expect("the row is there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_detached_xa_commit_is_visible_once_its_gtid_is_executed() {
    hammer("--binlog-order-commits=ON").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_with_binlog_order_commits_off() {
    hammer("--binlog-order-commits=OFF").await;
}

async fn hammer(order: &str) {
    let mysql = MySql::start(&["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1", order]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[SHOP]).await;
    for id in 0..WRITERS {
        db.run(&[&format!("INSERT INTO item VALUES ({id}, 0)")]).await;
    }
    let mut source = db.following("item").await;
    let mut reader = db.another().await;
    let until = Instant::now() + HAMMERING;
    let mut writers = Vec::new();
    for id in 0..WRITERS {
        writers.push(tokio::spawn(write(db.another().await, db.another().await, id, until)));
    }
    let mut seen = Seen::default();
    // How often each new value of a row was delivered: at PREPARE, then at COMMIT.
    let mut deliveries: HashMap<(i64, i64), u32> = HashMap::new();
    let follow = async {
        loop {
            let batch = source.next_batch(&limits()).await.expect("a batch");
            let done = writers.iter().all(tokio::task::JoinHandle::is_finished);
            if batch.transactions.is_empty() && done {
                return;
            }
            for transaction in &batch.transactions {
                for change in &transaction.changes {
                    let Change::Row(row) = change else { continue };
                    let image = row.after.as_ref().expect("only updates");
                    let (id, value) = (integer(image, "id"), integer(image, "value"));
                    let delivery = deliveries.entry((id, value)).or_default();
                    *delivery += 1;
                    if *delivery == 2 {
                        seen.commits += 1;
                        seen.early += usize::from(value_now(&mut reader, id).await < value);
                        let visible = value_after(&mut reader, &transaction.gtid, id).await;
                        if visible < value {
                            seen.too_early.push((transaction.gtid.clone(), value, visible));
                        }
                    }
                }
            }
        }
    };
    tokio::time::timeout(HAMMERING + PATIENCE, follow).await.expect("everything is delivered");
    let mut written = 0;
    for writer in writers {
        written += writer.await.expect("a writer");
    }
    eprintln!("{written} detached commits, {} checked, {} events before the row", seen.commits, seen.early);
    assert!(seen.too_early.is_empty(), "{:?}", seen.too_early);
    assert_eq!(seen.commits, usize::try_from(written).expect("a count"), "each commit was checked");
}

#[tokio::test]
async fn a_detached_xa_commit_that_waits_for_a_replica_is_not_executed() {
    let mysql = MySql::start(&[]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[
        SHOP,
        "INSERT INTO item VALUES (1, 0)",
        "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
        "SET GLOBAL rpl_semi_sync_source_timeout = 2000",
        "SET GLOBAL rpl_semi_sync_source_wait_no_replica = ON",
    ])
    .await;
    let mut preparer = db.another().await;
    let mut source = db.following("item").await;
    run(&mut preparer, &["XA START 'x'", "UPDATE item SET value = 1 WHERE id = 1", "XA END 'x'", "XA PREPARE 'x'"])
        .await;
    crate::server::drain(&mut source, &mut db).await;
    // A commit waits for a replica that never comes: after it is in the log, before it is visible.
    db.run(&["SET GLOBAL rpl_semi_sync_source_enabled = ON"]).await;
    let gate = source.gate().expect("the source's own gate");
    let mut reader = db.another().await;
    let follow = async {
        let gtid = loop {
            let batch = source.next_batch(&limits()).await.expect("a batch");
            if let Some(transaction) = batch.transactions.into_iter().next() {
                break transaction.gtid;
            }
        };
        let mut position = Position::new();
        position.insert(&gtid);
        let open = gate.wait(&position, Duration::from_millis(1)).await.expect("a reply");
        let early = value_now(&mut reader, 1).await;
        assert!(gate.wait(&position, PATIENCE).await.expect("a reply"));
        (open, early, value_now(&mut reader, 1).await)
    };
    let commit = db.conn.query_drop("XA COMMIT 'x'");
    let (seen, committed) = tokio::join!(follow, commit);
    committed.expect("the commit ends without a replica");
    assert_eq!(seen, (false, 0, 1), "the gate is closed while the old value is visible, and then opens");
}
