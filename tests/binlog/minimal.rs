//! Sessions that log less of a row than a mapping needs (`binlog_row_image`): the table changed, and no row is missed.

use cachefront_core::source::{ChangeSource, Columns, TableFilter};

use crate::server::{Database, drain, lines, only};

#[tokio::test]
async fn a_row_of_defaults_changes_the_whole_table() {
    let mut db = Database::create().await;
    db.run(&["CREATE TABLE plain (id INT PRIMARY KEY DEFAULT 5, n INT DEFAULT 3)", "CREATE TABLE other (id INT)"])
        .await;
    let from = db.checkpoint().await;
    for columns in [only(&["id"]), only(&["n"]), only(&[]), Columns::All] {
        let mut filter: TableFilter = db.interest("other", columns.clone());
        filter.merge(&db.interest("plain", columns));
        let mut source = db.source().await;
        source.open(&from, &filter).await.expect("open");
        db.run(&["SET SESSION binlog_row_image = MINIMAL", "DELETE FROM plain", "INSERT INTO plain VALUES ()"]).await;
        let transactions = drain(&mut source, &mut db).await;
        let last = lines(&transactions[transactions.len() - 1..], "id");
        assert_eq!(last, ["tables plain"], "the log has no column of the row: its table is flushed, and no other");
    }
}

#[tokio::test]
async fn an_update_keeps_the_columns_that_its_second_image_lacks() {
    let mut db = Database::create().await;
    db.run(&["CREATE TABLE things (id INT PRIMARY KEY, n INT)"]).await;
    db.run(&["INSERT INTO things (id, n) VALUES (1, 10)", "SET SESSION binlog_row_image = MINIMAL"]).await;
    let from = db.checkpoint().await;
    let mut source = db.source().await;
    source.open(&from, &db.interest("things", only(&["id"]))).await.expect("open");
    db.run(&["UPDATE things SET n = 11", "UPDATE things SET id = 2", "DELETE FROM things"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), ["update 1>1", "update 1>2", "delete 2>"]);
}

#[tokio::test]
async fn a_generated_column_that_an_update_changes_is_in_its_second_image() {
    // Without a key the first image is whole, and a column that the second one lacked would be taken from it.
    let mut db = Database::create().await;
    db.run(&[
        "CREATE TABLE things (n INT, twice INT GENERATED ALWAYS AS (n * 2) VIRTUAL, thrice INT GENERATED ALWAYS AS (n * 3) STORED)",
        "INSERT INTO things (n) VALUES (10)",
        "SET SESSION binlog_row_image = MINIMAL",
    ])
    .await;
    let mut source = db.following("things").await;
    db.run(&["UPDATE things SET n = 11"]).await;
    let transactions = drain(&mut source, &mut db).await;
    assert_eq!(lines(&transactions, "twice"), ["update 20>22"]);
    assert_eq!(lines(&transactions, "thrice"), ["update 30>33"]);
}
