//! Names of tables and text of columns in every character set and case that a client may use.

use cachefront_binlog::BinlogSource;
use cachefront_core::ErrorKind;
use cachefront_core::event::{Change, TableName};
use cachefront_core::source::{ChangeSource, Columns, TableFilter};
use cachefront_testkit::server::mysql::MySql;
use mysql_async::prelude::Queryable;

use crate::server::{Database, drain, lines, only, text};

fn filter(tables: &[(&str, &str)]) -> TableFilter {
    let mut filter = TableFilter::new();
    for &table in tables {
        filter.add(table.into(), &Columns::All);
    }
    filter
}

#[tokio::test]
async fn a_server_that_folds_names_finds_mappings_in_any_case() {
    let mysql = MySql::start_folding().await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&["CREATE TABLE Users (id INT PRIMARY KEY)"]).await;
    let database = db.name().to_uppercase();
    let mapped = filter(&[(&database, "USERS"), (&database, "ÜBERSICHT")]);
    let mut source = BinlogSource::builder(&db.url).allow_missing_tables(true).connect().await.expect("a source");
    source.preflight(&mapped).await.expect("the case of a name is no finding");
    let from = db.checkpoint().await;
    source.open(&from, &mapped).await.expect("open");
    db.run(&[
        "INSERT INTO uSERS VALUES (1)",
        "TRUNCATE TABLE useRS",
        // A table that is created after the start.
        "CREATE TABLE `übersicht` (id INT PRIMARY KEY)",
        "INSERT INTO `Übersicht` VALUES (2)",
        "ALTER TABLE `üBERSICHT` ADD COLUMN n INT",
        "RENAME TABLE Users TO People",
    ])
    .await;
    let transactions = drain(&mut source, &mut db).await;
    assert_eq!(
        lines(&transactions, "id"),
        ["insert >1", "tables USERS", "tables ÜBERSICHT", "insert >2", "tables ÜBERSICHT", "tables USERS"]
    );
    for change in transactions.iter().flat_map(|transaction| &transaction.changes) {
        let Change::Row(row) = change else { continue };
        assert_eq!(row.table.database(), database, "changes come under the mapping's name");
    }
    let twice = filter(&[(&database, "users"), (&database, "USERS")]);
    let error = source.preflight(&twice).await.expect_err("one table under two names");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(source.open(&from, &twice).await.expect_err("the same").kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_mapping_in_the_wrong_case_is_refused_where_case_counts() {
    let mut db = Database::create().await;
    db.run(&["CREATE TABLE users (id INT PRIMARY KEY)"]).await;
    for allow in [false, true] {
        let mut source = BinlogSource::builder(&db.url).allow_missing_tables(allow).connect().await.expect("a source");
        let error = source.preflight(&filter(&[(db.name(), "Users")])).await.expect_err("another table");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(&format!("name it `{}.users`", db.name())), "{error}");
    }
}

#[tokio::test]
async fn statements_of_clients_in_any_character_set_name_their_tables() {
    let mut db = Database::create().await;
    // Each with a second byte that is a backslash, or none of ASCII.
    let clients: [(&str, &str, &[u8]); 6] = [
        ("latin1", "café", b"caf\xe9"),
        ("cp1251", "Жук", b"\xc6\xf3\xea"),
        ("gbk", "誠", b"\xd5\\"),
        ("sjis", "表", b"\x95\\"),
        ("big5", "功", b"\xa5\\"),
        ("ujis", "本", b"\xcb\xdc"),
    ];
    for (charset, name, bytes) in clients {
        db.run(&[
            "SET NAMES utf8mb4",
            &format!("CREATE TABLE `{name}` (id INT PRIMARY KEY)"),
            "CREATE TABLE plain (id INT)",
        ])
        .await;
        let mapped = filter(&[(db.name(), name), (db.name(), "plain")]);
        let from = db.checkpoint().await;
        let mut source = db.source().await;
        source.open(&from, &mapped).await.expect("open");
        db.run(&[&format!("SET NAMES {charset}")]).await;
        for (before, after) in [
            ("TRUNCATE TABLE `", "`"),
            ("ALTER TABLE `", "` COMMENT 'x'"),
            ("DROP TABLE `", "`"),
            ("CREATE TABLE `", "` AS SELECT 1 AS id"),
            ("RENAME TABLE `", "` TO gone"),
        ] {
            let statement = [before.as_bytes(), bytes, after.as_bytes()].concat();
            db.conn.query_drop(statement).await.unwrap_or_else(|error| panic!("{charset} {before}: {error}"));
        }
        let transactions = drain(&mut source, &mut db).await;
        let own = format!("tables {name}");
        assert_eq!(lines(&transactions, "id"), [&own, &own, &own, &own, "insert >1", &own], "{charset}");
        db.run(&["SET NAMES utf8mb4", "DROP TABLE gone", "DROP TABLE plain"]).await;
    }
}

#[tokio::test]
async fn a_database_whose_name_has_a_dot_is_no_other_one() {
    let mut db = Database::create().await;
    let dotted = format!("{}.example.org", db.name());
    db.run(&[
        &format!("CREATE DATABASE `{dotted}`"),
        &format!("CREATE TABLE `{dotted}`.users (id INT PRIMARY KEY)"),
        "CREATE TABLE `example.org.users` (id INT PRIMARY KEY)",
    ])
    .await;
    let from = db.checkpoint().await;
    let mapped = filter(&[(&dotted, "users")]);
    let mut source = db.source().await;
    source.preflight(&mapped).await.expect("the table is found");
    source.open(&from, &mapped).await.expect("open");
    db.run(&[
        "INSERT INTO `example.org.users` VALUES (1)",
        "TRUNCATE TABLE `example.org.users`",
        &format!("INSERT INTO `{dotted}`.users VALUES (2)"),
        &format!("DROP DATABASE `{dotted}`"),
    ])
    .await;
    let transactions = drain(&mut source, &mut db).await;
    assert_eq!(lines(&transactions, "id"), ["insert >2", "tables users"]);
    let Change::Row(row) = &transactions[0].changes[0] else { panic!("a row") };
    assert_eq!(row.table, TableName::new(&dotted, "users"));
    // The text does not show which of its dots separates the parts.
    let mut ambiguous = TableFilter::new();
    ambiguous.add(format!("{dotted}.users").as_str().into(), &Columns::All);
    let error = source.preflight(&ambiguous).await.expect_err("no database");
    assert!(error.to_string().contains("pair"), "{error}");
}

#[tokio::test]
async fn every_character_of_every_character_set_is_what_a_loader_reads() {
    let mut db = Database::create().await;
    let single = [
        "latin1", "armscii8", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "dec8", "geostd8",
        "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin2", "latin5", "latin7", "macce", "macroman",
        "swe7", "tis620",
    ];
    let bytes: String = (1..=255_u8).map(|byte| format!("{byte:02x}")).collect();
    let wide = "'aé表\u{1f600}'";
    let columns: Vec<String> = single.iter().map(|set| format!("{set} VARCHAR(255) CHARACTER SET {set}")).collect();
    db.run(&[&format!(
        "CREATE TABLE words (id INT PRIMARY KEY, {}, u16 TEXT CHARACTER SET utf16, u16le TEXT CHARACTER SET \
                  utf16le, u32 TEXT CHARACTER SET utf32, u2 TEXT CHARACTER SET ucs2)",
        columns.join(", ")
    )])
    .await;
    let mut source = db.following("words").await;
    let values: Vec<String> = single.iter().map(|set| format!("_{set} X'{bytes}'")).collect();
    db.run(&[&format!("INSERT INTO words VALUES (1, {}, {wide}, {wide}, {wide}, 'aé表')", values.join(", "))]).await;
    let transactions = drain(&mut source, &mut db).await;
    let Change::Row(row) = &transactions[0].changes[0] else { panic!("a row") };
    let image = row.after.as_ref().expect("an image");
    for column in single.into_iter().chain(["u16", "u16le", "u32", "u2"]) {
        let read: Option<String> = db.conn.query_first(format!("SELECT {column} FROM words")).await.expect("a row");
        assert_eq!(Some(text(image, column)), read, "{column}");
    }
}

#[tokio::test]
async fn a_column_that_cannot_be_decoded_is_refused_at_the_start() {
    let mut db = Database::create().await;
    db.run(&["CREATE TABLE words (id INT PRIMARY KEY, word VARCHAR(9) CHARACTER SET gbk COLLATE gbk_bin, kind ENUM('a', '表') CHARACTER SET sjis COLLATE sjis_bin)"])
        .await;
    let mut source = db.source().await;
    for (columns, refused) in
        [(Columns::All, true), (only(&["word"]), true), (only(&["kind"]), true), (only(&["id"]), false)]
    {
        let preflight = source.preflight(&db.interest("words", columns.clone())).await;
        assert_eq!(preflight.is_err(), refused, "{columns:?}: {preflight:?}");
        if let Err(error) = preflight {
            assert_eq!(error.kind(), ErrorKind::Config);
            let text = error.to_string();
            assert!(text.contains("CHARACTER SET utf8mb4") && text.contains("depends_on_columns"), "{text}");
        }
    }
    // The column may also get its character set after the start.
    let mut source = db.following("words").await;
    db.run(&["INSERT INTO words VALUES (1, '表', '表')"]).await;
    let transactions = drain(&mut source, &mut db).await;
    let Change::Row(row) = &transactions[0].changes[0] else { panic!("a row") };
    let image = row.after.as_ref().expect("an image");
    assert_eq!(image.get::<i32>("id").expect("the id"), 1);
    for column in ["word", "kind"] {
        let error = image.get::<Vec<u8>>(column).expect_err("no value");
        assert!(error.to_string().contains("convert it to utf8mb4"), "{error}");
    }
}
