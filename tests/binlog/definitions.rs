//! DDL: a table that changed as a whole says so, and rows are read right before and after.

use cachefront_core::source::{ChangeSource, Columns};

use crate::server::{Database, USERS, drain, lines, only};

#[tokio::test]
async fn a_table_that_changed_as_a_whole_is_named() {
    let mut db = Database::create().await;
    db.run(&[USERS, "CREATE TABLE other (id INT PRIMARY KEY)"]).await;
    let mut source = db.following("users").await;
    db.run(&[
        "TRUNCATE TABLE users",
        "TRUNCATE TABLE other",
        "ALTER TABLE users ADD COLUMN nick VARCHAR(20) FIRST",
        "INSERT INTO users VALUES ('nick', 1, 'a@x', 1)",
        "RENAME TABLE users TO people",
        "INSERT INTO people VALUES ('any name', 2, 'b@x', 1)",
        "ALTER TABLE people RENAME TO users",
        "INSERT INTO users VALUES ('back', 3, 'c@x', 1)",
        "DROP TABLE users",
        USERS,
        "INSERT INTO users VALUES (4, 'd@x', 1)",
    ])
    .await;
    let transactions = drain(&mut source, &mut db).await;
    assert_eq!(
        lines(&transactions, "id"),
        [
            "tables users",
            "tables users",
            "insert >1",
            "tables users",
            "tables users",
            "insert >3",
            // DROP, and CREATE of what may have another definition now.
            "tables users",
            "tables users",
            "insert >4"
        ]
    );
}

#[tokio::test]
async fn what_changes_no_row_changes_nothing() {
    let mut db = Database::create().await;
    db.run(&[USERS]).await;
    let mut source = db.following("users").await;
    let user = format!("u_{}", &db.name()[db.name().len() - 16..]);
    db.run(&[
        &format!("CREATE USER {user} IDENTIFIED BY 'x'"),
        &format!("GRANT SELECT ON {}.* TO {user}", db.name()),
        &format!("DROP USER {user}"),
        "CREATE TABLE IF NOT EXISTS users (id INT)",
        "CREATE TEMPORARY TABLE users (id INT)",
        "INSERT INTO users VALUES (9)",
        "DROP TEMPORARY TABLE users",
        "CREATE INDEX age ON users (age)",
        "CREATE PROCEDURE p() UPDATE users SET age = 1",
        "CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW SET NEW.age = 99",
        "CREATE VIEW v AS SELECT * FROM users",
        "ANALYZE TABLE users",
        "INSERT INTO users VALUES (1, 'a@x', 1)",
    ])
    .await;
    let transactions = drain(&mut source, &mut db).await;
    assert_eq!(lines(&transactions, "age"), ["insert >99"], "the trigger's work is in the row");
}

#[tokio::test]
async fn a_table_made_from_a_query_brings_its_rows() {
    let mut db = Database::create().await;
    db.run(&[USERS, "INSERT INTO users VALUES (1, 'a@x', 1), (2, 'b@x', 1)"]).await;
    let from = db.checkpoint().await;
    let mut source = db.source().await;
    source.open(&from, &db.interest("copy", only(&["id"]))).await.expect("open");
    db.run(&["CREATE TABLE copy AS SELECT id, email FROM users", "DELETE FROM copy WHERE id = 1"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), ["insert >1", "insert >2", "delete 1>"]);
}

#[tokio::test]
async fn a_dropped_database_takes_its_tables_with_it() {
    let mut db = Database::create().await;
    let inner = format!("{}_inner", db.name());
    db.run(&[&format!("CREATE DATABASE {inner}"), &format!("CREATE TABLE {inner}.users (id INT PRIMARY KEY)")]).await;
    let from = db.checkpoint().await;
    let mut filter = cachefront_core::source::TableFilter::new();
    filter.add(format!("{inner}.users").as_str().into(), &Columns::All);
    let mut source = db.source().await;
    source.open(&from, &filter).await.expect("open");
    db.run(&[&format!("DROP DATABASE {inner}")]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), ["tables users"]);
}

#[tokio::test]
async fn an_exchanged_partition_changes_both_tables() {
    let mut db = Database::create().await;
    db.run(&[
        "CREATE TABLE parted (id INT PRIMARY KEY, age INT) PARTITION BY RANGE (id) (PARTITION low VALUES LESS THAN (10), \
         PARTITION high VALUES LESS THAN MAXVALUE)",
        "CREATE TABLE loose (id INT PRIMARY KEY, age INT)",
        "INSERT INTO parted VALUES (1, 1), (11, 1)",
        "INSERT INTO loose VALUES (2, 2)",
    ])
    .await;
    let from = db.checkpoint().await;
    let mut sources = Vec::new();
    for table in ["parted", "loose"] {
        let mut source = db.source().await;
        source.open(&from, &db.interest(table, only(&["id"]))).await.expect("open");
        sources.push((table, source));
    }
    db.run(&[
        "ALTER TABLE parted EXCHANGE PARTITION low WITH TABLE loose",
        "INSERT INTO parted VALUES (3, 3)",
        "INSERT INTO loose VALUES (4, 4)",
        "ALTER TABLE parted EXCHANGE PARTITION high WITH TABLE loose WITHOUT VALIDATION",
        "ALTER TABLE parted TRUNCATE PARTITION high",
        "ALTER TABLE parted DROP PARTITION low",
    ])
    .await;
    for (table, mut source) in sources {
        let transactions = drain(&mut source, &mut db).await;
        let whole = format!("tables {table}");
        let expected = match table {
            "parted" => vec![&*whole, "insert >3", &whole, &whole, &whole],
            _ => vec![&whole, "insert >4", &whole],
        };
        assert_eq!(lines(&transactions, "id"), expected, "{table}");
    }
}
