//! Executed sets that are longer than a token from outside may be: many servers, and many ranges of one.

use std::time::Duration;

use cachefront_binlog::{BinlogSource, commit_token, read_position};
use cachefront_core::source::{ChangeSource, Columns};
use cachefront_core::{Gtid, POSITION_TEXT_BYTES_MAX, Position};
use cachefront_testkit::server::mysql::MySql;

use crate::server::{Database, PATIENCE, USERS, drain, lines};

const LATE: &str = "0000ffff-71ca-11e1-9e33-c80aa9429562";

/// 500 servers, and 2,000 ranges of one.
fn long_set() -> String {
    let servers: Vec<String> = (0..500).map(|n| format!("{n:08x}-71ca-11e1-9e33-c80aa9429562:1-{}", n + 1)).collect();
    let ranges: String = (0..2000).map(|n| format!(":{}-{}", 1_000_000 + 10 * n, 1_000_005 + 10 * n)).collect();
    format!("{},ffffffff-71ca-11e1-9e33-c80aa9429562{ranges}", servers.join(","))
}

#[tokio::test]
async fn an_executed_set_of_many_servers_and_ranges_works_everywhere() {
    let mysql = MySql::start(&[]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[USERS, &format!("SET GLOBAL gtid_purged = '+{}'", long_set())]).await;
    let (read, server) = read_position(&mut db.conn).await.expect("a position");
    assert!(read.to_string().len() > 3 * POSITION_TEXT_BYTES_MAX, "{}", read.to_string().len());
    assert_eq!(read.ranges().count(), 502, "those and the server itself");
    assert_eq!(read.ranges().map(|(_, ranges)| ranges.len()).max(), Some(2000));
    assert_eq!(commit_token(&mut db.conn).await.expect("a token"), read);

    let mut source = BinlogSource::connect(&db.url).await.expect("a source");
    assert!(source.oldest().await.expect("the purged set").ranges().count() >= 501);
    let filter = db.interest("users", Columns::All);
    source.preflight(&filter).await.expect("all is well");
    let head = source.probe().head().await.expect("the log's end");
    assert_eq!((&head.checkpoint.position, &*head.origin), (&read, &*server));
    source.open(&head.checkpoint, &filter).await.expect("the log opens after a long position");
    db.run(&["INSERT INTO users VALUES (1, 'a@x', 1)"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), ["insert >1"]);

    let gate = source.gate().expect("a gate");
    let executed: Position = commit_token(&mut db.conn).await.expect("a token");
    assert!(gate.wait(&executed, PATIENCE).await.expect("the server takes a long set"));
    let mut ahead = executed.clone();
    ahead.insert(&Gtid { origin: LATE.into(), number: 1 });
    assert!(!gate.wait(&ahead, Duration::from_millis(50)).await.expect("one transaction is not executed"));
}
