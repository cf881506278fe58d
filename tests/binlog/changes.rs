//! Every kind of change of rows arrives, once, in order, and nothing else does.

use cachefront_core::source::{ChangeSource, Columns};
use cachefront_testkit::server::mysql::MySql;

use crate::server::{Database, USERS, drain, lines, only};

#[tokio::test]
async fn inserts_updates_and_deletes_arrive_with_their_keys() {
    let mut db = Database::create().await;
    db.run(&[USERS, "CREATE TABLE other (id INT PRIMARY KEY)"]).await;
    let from = db.checkpoint().await;
    let mut source = db.source().await;
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
        ["insert >1", "insert >2", "update 1>1", "update 2>7", "delete 1>", "update 7>7", "update 7>7"]
    );
    assert_eq!(lines(&transactions, "email")[0], "insert >skipped", "the filter leaves it out");
    assert!(transactions.iter().all(|transaction| transaction.complete && transaction.committed_at.is_known()));
}

#[tokio::test]
async fn rollbacks_leave_nothing_and_savepoints_their_part() {
    let mut db = Database::create().await;
    db.run(&[USERS]).await;
    let mut source = db.following("users").await;
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
    assert_eq!(lines(&transactions, "email"), ["insert >a@x", "insert >ä€😀"]);
}

#[tokio::test]
async fn a_transaction_over_several_tables_stays_one() {
    let mut db = Database::create().await;
    db.run(&[USERS, "CREATE TABLE orders (id INT PRIMARY KEY, user BIGINT)"]).await;
    let from = db.checkpoint().await;
    let mut filter = db.interest("users", Columns::All);
    filter.merge(&db.interest("orders", only(&["id"])));
    let mut source = db.source().await;
    source.open(&from, &filter).await.expect("open");
    db.run(&[
        "INSERT INTO users VALUES (1, 'a@x', 1), (2, 'b@x', 1)",
        "INSERT INTO orders VALUES (10, 1), (20, 2)",
        "BEGIN",
        "UPDATE users, orders SET users.age = 2, orders.user = 9 WHERE orders.user = users.id",
        "DELETE users, orders FROM users, orders WHERE users.id = 1 AND orders.id = 10",
        "COMMIT",
    ])
    .await;
    let transactions = drain(&mut source, &mut db).await;
    assert_eq!(transactions.len(), 3);
    let mut ids = lines(&transactions[2..], "id");
    ids.sort();
    assert_eq!(ids, ["delete 10>", "delete 1>", "update 10>10", "update 1>1", "update 20>20", "update 2>2"]);
}

#[tokio::test]
async fn rows_of_xa_transactions_come_again_when_they_become_visible() {
    let mut db = Database::create().await;
    db.run(&[USERS]).await;
    let mut source = db.following("users").await;
    let xid = format!("'{}'", db.name());
    let run = |verb: &str| format!("XA {verb} {xid}");
    db.run(&[&run("START"), "INSERT INTO users VALUES (1, 'a@x', 1)", &run("END"), &run("PREPARE"), &run("COMMIT")])
        .await;
    let transactions = drain(&mut source, &mut db).await;
    assert_eq!(lines(&transactions, "id"), ["insert >1", "insert >1"]);
    let parts: Vec<_> = transactions.iter().map(|part| (part.changes.len(), part.complete)).collect();
    assert_eq!(
        parts,
        [(1, false), (0, true), (1, true)],
        "images of the prepare give no values, those of the commit do"
    );

    let one_phase = format!("XA COMMIT {xid} ONE PHASE");
    db.run(&[&run("START"), "INSERT INTO users VALUES (2, 'b@x', 1)", &run("END"), &one_phase]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), ["insert >2"]);

    db.run(&[&run("START"), "INSERT INTO users VALUES (3, 'c@x', 1)", &run("END"), &run("PREPARE"), &run("ROLLBACK")])
        .await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), ["insert >3"], "only the prepare");
}

#[tokio::test]
async fn an_xa_commit_of_unknown_rows_may_be_any_table() {
    // It concerns every source, so not on the server that all tests share.
    let mysql = MySql::start(&[]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[USERS]).await;
    let run = |verb: &str, db: &Database| format!("XA {verb} '{}'", db.name());
    let prepare =
        [run("START", &db), "INSERT INTO users VALUES (1, 'a@x', 1)".into(), run("END", &db), run("PREPARE", &db)];
    db.run(&prepare.each_ref().map(String::as_str)).await;
    let mut source = db.following("users").await;
    let commit = run("COMMIT", &db);
    db.run(&[&commit]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), ["tables "]);
}

#[tokio::test]
async fn compressed_transactions_are_unpacked() {
    let mut db = Database::create().await;
    db.run(&[USERS]).await;
    let mut source = db.following("users").await;
    db.run(&[
        "SET SESSION binlog_transaction_compression = ON",
        "INSERT INTO users VALUES (1, REPEAT('a', 200), 1), (2, REPEAT('b', 200), 1)",
        "BEGIN",
        "UPDATE users SET age = 2 WHERE id = 1",
        "DELETE FROM users WHERE id = 2",
        "COMMIT",
        "SET SESSION binlog_transaction_compression = OFF",
        "DELETE FROM users WHERE id = 1",
    ])
    .await;
    let transactions = drain(&mut source, &mut db).await;
    assert_eq!(lines(&transactions, "id"), ["insert >1", "insert >2", "update 1>1", "delete 2>", "delete 1>"]);
}

#[tokio::test]
async fn tagged_gtids_have_a_place_of_their_own() {
    let mut db = Database::create().await;
    db.run(&[USERS]).await;
    let from = db.checkpoint().await;
    let mut source = db.following("users").await;
    db.run(&[
        "SET SESSION gtid_next = 'AUTOMATIC:sale'",
        "INSERT INTO users VALUES (1, 'a@x', 1)",
        "SET SESSION gtid_next = 'AUTOMATIC'",
        "INSERT INTO users VALUES (2, 'b@x', 1)",
    ])
    .await;
    let transactions = drain(&mut source, &mut db).await;
    assert_eq!(lines(&transactions, "id"), ["insert >1", "insert >2"]);
    assert!(transactions[0].gtid.origin.ends_with(":sale"));
    // And a stream goes on from a position with tags in it.
    let mut after = from;
    after.position.insert(&transactions[0].gtid);
    source.open(&after, &db.interest("users", Columns::All)).await.expect("open");
    assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), ["insert >2"]);
}

#[tokio::test]
async fn an_image_that_lacks_a_needed_column_changes_the_whole_table() {
    let mut db = Database::create().await;
    db.run(&[USERS, "INSERT INTO users VALUES (1, 'a@x', 1)"]).await;
    let from = db.checkpoint().await;
    let mut source = db.source().await;
    source.open(&from, &db.interest("users", only(&["email"]))).await.expect("open");
    db.run(&["SET SESSION binlog_row_image = MINIMAL", "UPDATE users SET age = 5 WHERE id = 1"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "email"), ["tables users"]);
}

#[tokio::test]
async fn a_json_difference_flushes_its_table_if_a_mapping_reads_it() {
    let mut db = Database::create().await;
    db.run(&[
        "CREATE TABLE docs (id INT PRIMARY KEY, other JSON, doc JSON, n INT)",
        "INSERT INTO docs VALUES (1, '[]', JSON_OBJECT('a', 1, 'pad', REPEAT('x', 500)), 5)",
        "SET SESSION binlog_row_value_options = PARTIAL_JSON",
    ])
    .await;
    let from = db.checkpoint().await;
    db.run(&["UPDATE docs SET doc = JSON_SET(doc, '$.a', 2), n = 6 WHERE id = 1"]).await;
    for (columns, expected) in [
        (only(&["doc"]), "tables docs"),
        (Columns::All, "tables docs"),
        (only(&["n"]), "update 5>6"),
        (only(&["other", "n"]), "update 5>6"),
    ] {
        let mut source = db.source().await;
        source.open(&from, &db.interest("docs", columns.clone())).await.expect("open");
        let transactions = drain(&mut source, &mut db).await;
        assert_eq!(lines(&transactions, "n"), [expected], "{columns:?}");
        if columns == only(&["other", "n"]) {
            assert_eq!(lines(&transactions, "other"), ["update []>[]"], "a document that is the same");
        }
    }
    // An update that leaves the documents as they are is none of them.
    let from = db.checkpoint().await;
    db.run(&["UPDATE docs SET n = 7", "UPDATE docs SET doc = JSON_SET(doc, '$.a', 2), n = 8"]).await;
    let mut source = db.source().await;
    source.open(&from, &db.interest("docs", Columns::All)).await.expect("open");
    let transactions = drain(&mut source, &mut db).await;
    assert_eq!(lines(&transactions, "n"), ["update 6>7", "update 7>8"]);
    let documents = lines(&transactions, "doc");
    assert!(documents.iter().all(|line| line.matches(r#""a": 2"#).count() == 2), "{documents:?}");
}
