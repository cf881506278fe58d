//! A log that does not name its columns (`binlog_row_metadata=MINIMAL`): they are looked up, and never guessed.

use cachefront_binlog::BinlogSource;
use cachefront_core::source::{ChangeSource, Columns};
use cachefront_testkit::server::mysql::MySql;

use crate::server::{Database, PATIENCE, drain, gap, limits, lines, text};

async fn server() -> (MySql, Database) {
    let mysql = MySql::start(&["--binlog-row-metadata=MINIMAL"]).await;
    let db = Database::on_private(&mysql).await;
    (mysql, db)
}

#[tokio::test]
async fn names_signs_and_labels_are_looked_up() {
    let (_mysql, mut db) = server().await;
    db.run(&[r"CREATE TABLE things (id BIGINT UNSIGNED PRIMARY KEY, small TINYINT UNSIGNED, plain TINYINT, kind ENUM('x','it''s','a,b'),
        tags SET('p','q'), bin BINARY(4), latin VARCHAR(20) CHARACTER SET latin1)"]).await;
    let mut source = db.following("things").await;
    db.run(&["INSERT INTO things VALUES (18446744073709551615, 200, -5, 'it''s', 'p,q', x'4100', 'café')"]).await;
    let transactions = drain(&mut source, &mut db).await;
    let cachefront_core::event::Change::Row(row) = &transactions[0].changes[0] else { panic!("a row") };
    let image = row.after.as_ref().expect("an image");
    let cells = ["id", "small", "plain", "kind", "tags", "bin", "latin"].map(|column| text(image, column));
    assert_eq!(cells, ["18446744073709551615", "200", "-5", "it's", "p,q", "41000000", "café"]);
}

#[tokio::test]
async fn hidden_keys_and_escaped_labels_are_looked_up_too() {
    let (_mysql, mut db) = server().await;
    db.run(&[
        "SET SESSION sql_generate_invisible_primary_key = ON",
        r"CREATE TABLE pairs (kind ENUM('b\\c','d\ne','f\'g'), latin ENUM('né') CHARACTER SET latin1)",
        "SET GLOBAL show_gipk_in_create_table_and_information_schema = OFF",
    ])
    .await;
    let mut source = db.following("pairs").await;
    db.run(&[r"INSERT INTO pairs VALUES ('b\\c', 'né'), ('d\ne', 'né'), ('f\'g', 'né')"]).await;
    let transactions = drain(&mut source, &mut db).await;
    assert_eq!(lines(&transactions, "kind"), [r"insert >b\c", "insert >d\ne", "insert >f'g"]);
    assert_eq!(lines(&transactions, "my_row_id"), ["insert >1", "insert >2", "insert >3"]);
    assert_eq!(lines(&transactions, "latin"), ["insert >né"; 3]);
}

#[tokio::test]
async fn rows_older_than_the_answer_are_a_gap_and_not_misread() {
    let (_mysql, mut db) = server().await;
    db.run(&["CREATE TABLE pairs (id INT PRIMARY KEY, a INT, b INT)"]).await;
    let old = db.checkpoint().await;
    // Only the names change: the log's own description of the table stays the same.
    db.run(&["INSERT INTO pairs VALUES (1, 10, 20)", "ALTER TABLE pairs RENAME COLUMN a TO b, RENAME COLUMN b TO a"])
        .await;
    let mut source = db.source().await;
    source.open(&old, &db.interest("pairs", Columns::All)).await.expect("open");
    let reason = gap(&mut source, &mut db).await;
    assert!(reason.contains("SET PERSIST binlog_row_metadata=FULL"), "{reason}");
    // From the end on, what was looked up holds.
    let head = source.probe().head().await.expect("the log's end").checkpoint;
    source.open(&head, &db.interest("pairs", Columns::All)).await.expect("open");
    db.run(&["INSERT INTO pairs (id, a, b) VALUES (2, 10, 20)"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "a"), ["insert >10"]);
}

#[tokio::test]
async fn columns_are_looked_up_again_when_the_table_is_altered() {
    let (_mysql, mut db) = server().await;
    db.run(&["CREATE TABLE pairs (id INT PRIMARY KEY, a INT, b INT)"]).await;
    let mut source = db.following("pairs").await;
    db.run(&["INSERT INTO pairs VALUES (1, 10, 20)"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "a"), ["insert >10"]);
    db.run(&["ALTER TABLE pairs RENAME COLUMN a TO b, RENAME COLUMN b TO a"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "a"), ["tables pairs"]);
    db.run(&["INSERT INTO pairs (id, a, b) VALUES (2, 10, 20)", "ALTER TABLE pairs ADD COLUMN c INT FIRST"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "a"), ["insert >10", "tables pairs"]);
    db.run(&["INSERT INTO pairs (id, a, b) VALUES (3, 11, 21)", "DROP TABLE pairs"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "a"), ["insert >11", "tables pairs"]);
    db.run(&["CREATE TABLE pairs (a INT PRIMARY KEY)"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "a"), ["tables pairs"]);
    db.run(&["INSERT INTO pairs VALUES (7)"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "a"), ["insert >7"]);
}

/// The reader fails, another one reads the alteration meanwhile, and this one goes on after it.
#[tokio::test]
async fn columns_are_looked_up_again_if_another_reader_saw_them_altered() {
    let (_mysql, mut db) = server().await;
    db.run(&["CREATE TABLE pairs (id INT PRIMARY KEY, a INT, b INT)"]).await;
    let user = db.user("REPLICATION SLAVE, REPLICATION CLIENT, SELECT ON *.*").await;
    let mut source = BinlogSource::connect(&user.url).await.expect("a source");
    let (from, filter) = (db.checkpoint().await, db.interest("pairs", Columns::All));
    source.open(&from, &filter).await.expect("open");
    db.run(&["INSERT INTO pairs VALUES (1, 10, 20)"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "a"), ["insert >10"]);
    db.kill_connections_of(&user.name).await;
    let failed = async { while source.next_batch(&limits()).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, failed).await.expect("the kill is noticed");
    // The types stay the same, so nothing in the log of later rows shows it.
    db.run(&["ALTER TABLE pairs RENAME COLUMN a TO b, RENAME COLUMN b TO a"]).await;
    let after = db.checkpoint().await;
    source.open(&after, &filter).await.expect("open");
    db.run(&["INSERT INTO pairs (id, a, b) VALUES (2, 10, 20)"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "a"), ["insert >10"]);
}

#[tokio::test]
async fn columns_are_looked_up_when_their_alteration_is_visible() {
    let (_mysql, mut db) = server().await;
    db.run(&["CREATE TABLE pairs (id INT PRIMARY KEY, a INT, b INT)"]).await;
    let mut source = db.following("pairs").await;
    // With sync_binlog=0 the log is sent before this delay, and commits are visible after it.
    db.run(&[
        "SET GLOBAL sync_binlog = 0",
        "SET GLOBAL binlog_group_commit_sync_delay = 400000",
        "ALTER TABLE pairs RENAME COLUMN a TO b, RENAME COLUMN b TO a",
        "SET GLOBAL binlog_group_commit_sync_delay = 0",
    ])
    .await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "a"), ["tables pairs"]);
    db.run(&["INSERT INTO pairs (id, a, b) VALUES (1, 10, 20)"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "a"), ["insert >10"]);
}

#[tokio::test]
async fn columns_that_only_indexes_have_are_not_in_the_log() {
    for metadata in ["MINIMAL", "FULL"] {
        let mysql = MySql::start(&[&format!("--binlog-row-metadata={metadata}")]).await;
        let mut db = Database::on_private(&mysql).await;
        db.run(&["CREATE TABLE things (id INT PRIMARY KEY, name VARCHAR(20), doc JSON, twice INT AS (id * 2) VIRTUAL, hidden INT \
                  DEFAULT 4 INVISIBLE, KEY ((LOWER(name))), KEY ((CAST(doc->'$[*]' AS UNSIGNED ARRAY))))"])
            .await;
        let mut source = db.following("things").await;
        db.run(&["INSERT INTO things (id, name, doc) VALUES (1, 'A', '[1, 2]')"]).await;
        let transactions = drain(&mut source, &mut db).await;
        for (column, value) in [("name", "insert >A"), ("twice", "insert >2"), ("hidden", "insert >4")] {
            assert_eq!(lines(&transactions, column), [value], "{metadata}, {column}");
        }
    }
}
