//! What goes wrong on the way: nothing is lost, or it is said.

use std::time::{Duration, Instant};

use cachefront_binlog::{BinlogSettings, BinlogSource};
use cachefront_core::source::{ChangeSource, Checkpoint, Columns};
use cachefront_core::{Error, ErrorKind, Position, Retry};
use cachefront_testkit::server::mysql::MySql;
use mysql_async::prelude::Queryable;

use crate::server::{Database, PATIENCE, USERS, drain, limits, lines};

/// Fetches until an error comes; none if none comes in time.
async fn broken(source: &mut BinlogSource) -> Option<Error> {
    let fetch = async {
        loop {
            if let Err(error) = source.next_batch(&limits()).await {
                return error;
            }
        }
    };
    tokio::time::timeout(PATIENCE, fetch).await.ok()
}

#[tokio::test]
async fn after_a_killed_connection_everything_still_comes() {
    let mut db = Database::create().await;
    db.run(&[USERS]).await;
    let user = db.user("REPLICATION SLAVE, REPLICATION CLIENT, SELECT ON *.*").await;
    let mut checkpoint = db.checkpoint().await;
    let filter = db.interest("users", Columns::All);
    let mut source = BinlogSource::connect(&user.url).await.expect("a source");
    source.open(&checkpoint, &filter).await.expect("open");
    let mut ids = Vec::new();
    for round in 0..4 {
        for id in 0..25 {
            db.run(&[&format!("INSERT INTO users VALUES ({}, 'a@x', 1)", round * 25 + id)]).await;
        }
        db.kill_connections_of(&user.name).await;
        let fetch = async {
            loop {
                match source.next_batch(&limits()).await {
                    Ok(batch) => {
                        ids.extend(lines(&batch.transactions, "id"));
                        checkpoint = batch.checkpoint;
                    }
                    Err(error) => return error,
                }
            }
        };
        let error = tokio::time::timeout(PATIENCE, fetch).await.expect("the kill is noticed");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
        assert_eq!(error.retry(), Retry::Reconnect);
        source.open(&checkpoint, &filter).await.expect("open again");
    }
    ids.extend(lines(&drain(&mut source, &mut db).await, "id"));
    assert_eq!(ids, (0..100).map(|id| format!("insert >{id}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_frozen_server_is_noticed_by_its_silence() {
    let mut mysql = MySql::start(&[]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[USERS]).await;
    let mut settings = BinlogSettings::default();
    settings.heartbeat = Duration::from_millis(200);
    settings.read_deadline = Duration::from_millis(600);
    let from = db.checkpoint().await;
    let mut source = BinlogSource::builder(&db.url).settings(settings).connect().await.expect("a source");
    source.open(&from, &db.interest("users", Columns::All)).await.expect("open");
    // Idle for several deadlines: the heartbeats keep it alive.
    let idle_until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < idle_until {
        assert!(source.next_batch(&limits()).await.expect("it is only idle").transactions.is_empty());
    }
    mysql.freeze();
    let begun = Instant::now();
    let broken = broken(&mut source).await;
    // First of all: whatever the test finds, the server must be able to end.
    mysql.resume();
    let error = broken.expect("the silence is noticed");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{}", error.chain());
    assert!(error.to_string().contains("no event and no heartbeat for 600ms"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5), "after {:?}", begun.elapsed());
    source.open(&from, &db.interest("users", Columns::All)).await.expect("open again");
    db.run(&["INSERT INTO users VALUES (1, 'a@x', 1)"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), ["insert >1"]);
}

#[tokio::test]
async fn a_killed_and_a_stopped_server_are_waited_for() {
    let mut mysql = MySql::start(&["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[USERS]).await;
    let mut source = db.following("users").await;
    let mut checkpoint = db.checkpoint().await;
    let filter = db.interest("users", Columns::All);
    for (id, kill) in [(1, true), (2, false)] {
        db.run(&[&format!("INSERT INTO users VALUES ({id}, 'a@x', 1)")]).await;
        if kill {
            mysql.kill();
        } else {
            mysql.stop().await;
        }
        let mut ids = Vec::new();
        let error = loop {
            match tokio::time::timeout(PATIENCE, source.next_batch(&limits())).await.expect("the end is noticed") {
                Ok(batch) => {
                    ids.extend(lines(&batch.transactions, "id"));
                    checkpoint = batch.checkpoint;
                }
                Err(error) => break error,
            }
        };
        assert_eq!(error.retry(), Retry::Reconnect, "{}", error.chain());
        let error = source.open(&checkpoint, &filter).await.expect_err("the server is down");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
        mysql.restart().await;
        db.reconnect().await;
        source.open(&checkpoint, &filter).await.expect("open again");
        ids.extend(lines(&drain(&mut source, &mut db).await, "id"));
        assert_eq!(ids, [format!("insert >{id}")], "once, before or after");
        checkpoint = db.checkpoint().await;
    }
}

#[tokio::test]
async fn a_position_that_was_purged_or_never_was_is_a_gap() {
    let mysql = MySql::start(&[]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[USERS]).await;
    let old = db.checkpoint().await;
    let filter = db.interest("users", Columns::All);
    db.run(&["INSERT INTO users VALUES (1, 'a@x', 1)"]).await;
    mysql.purge_binlogs().await;
    let mut source = db.source().await;
    let error = source.open(&old, &filter).await.expect_err("it was purged");
    assert_eq!(error.kind(), ErrorKind::Gap, "{}", error.chain());
    let error = source.open(&Checkpoint::default(), &filter).await.expect_err("so was the beginning");
    assert_eq!(error.kind(), ErrorKind::Gap, "{}", error.chain());
    // More than the server has: it lost its end, or another server took its place.
    let mut ahead = db.checkpoint().await;
    let uuid: Option<String> = db.conn.query_first("SELECT @@GLOBAL.server_uuid").await.expect("a UUID");
    ahead.position.insert_range(&uuid.expect("a UUID").as_str().into(), 1, 1_000_000);
    let error = source.open(&ahead, &filter).await.expect_err("it never was");
    assert_eq!(error.kind(), ErrorKind::Gap, "{}", error.chain());
    // A position of some other source.
    let position: Position = "embedded:1-5".parse().expect("a position");
    let foreign = Checkpoint { position, ..Checkpoint::default() };
    assert_eq!(source.open(&foreign, &filter).await.expect_err("not MySQL's").kind(), ErrorKind::Gap);
    // From the end on it goes on.
    let head = source.probe().head().await.expect("the log's end");
    source.open(&head.checkpoint, &filter).await.expect("open");
    db.run(&["INSERT INTO users VALUES (2, 'b@x', 1)"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), ["insert >2"]);
}

#[tokio::test]
async fn another_server_in_its_place_has_another_name() {
    let (mut first, second) = tokio::join!(MySql::start(&[]), MySql::start(&[]));
    let source = BinlogSource::connect(&first.url()).await.expect("a source");
    let other = BinlogSource::connect(&second.url()).await.expect("a source");
    let before = source.probe().head().await.expect("the log's end").origin;
    assert_ne!(before, other.probe().head().await.expect("the log's end").origin);
    first.restart().await;
    assert_eq!(before, source.probe().head().await.expect("after a restart").origin, "a restart is no other server");
}

#[tokio::test]
async fn two_sources_do_not_end_each_other() {
    let mut db = Database::create().await;
    db.run(&[USERS]).await;
    let from = db.checkpoint().await;
    let filter = db.interest("users", Columns::All);
    let (mut first, mut second) = (db.source().await, db.source().await);
    first.open(&from, &filter).await.expect("open");
    second.open(&from, &filter).await.expect("open");
    db.run(&["INSERT INTO users VALUES (1, 'a@x', 1)"]).await;
    for source in [&mut first, &mut second] {
        assert_eq!(lines(&drain(source, &mut db).await, "id"), ["insert >1"]);
    }
}
