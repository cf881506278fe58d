//! The binary log of MariaDB, on real servers of two releases.

use std::time::Duration;

use async_trait::async_trait;
use cachefront_binlog::{BinlogSource, MySqlGate, commit_token, own_commit_token, read_position, read_upper_bound};
use cachefront_core::gate::VisibilityGate;
use cachefront_core::source::{ChangeSource, Columns};
use cachefront_core::{ErrorKind, Position};
use cachefront_testkit::server::mariadb::{MariaDb, Release};
use mysql_async::prelude::Queryable;

use crate::server::{Database, PATIENCE, USERS, drain, limits, lines, only, text};
use crate::suite::{Logged, Users};

#[async_trait]
impl Logged for MariaDb {
    async fn purge(&self) {
        self.purge_binlogs().await;
    }
}

async fn prepared(release: Release) -> Users<MariaDb> {
    let server = MariaDb::start(release, &[]).await;
    let db = Database::on_mariadb(&server).await;
    Users::prepared(db, server).await
}

macro_rules! laws {
    ($($module:ident: $release:expr;)*) => {$(
        mod $module {
            use cachefront_testkit::server::mariadb::Release;

            use super::prepared;

            cachefront_core::source_suite!(prepared($release));
        }
    )*};
}

laws! {
    of_this_debian: Release::Machine;
    of_debian_unstable: Release::New;
}

#[tokio::test]
async fn rows_come_from_every_form_in_which_mariadb_logs_them() {
    for release in Release::ALL {
        for compress in ["OFF", "ON"] {
            let server =
                MariaDb::start(release, &[&format!("--log-bin-compress={compress}"), "--log-bin-compress-min-len=10"])
                    .await;
            let mut db = Database::on_mariadb(&server).await;
            db.run(&[
                "CREATE TABLE things (id INT UNSIGNED PRIMARY KEY, name VARCHAR(300), n MEDIUMINT, at DATETIME(3), e ENUM('x','é'))",
                "CREATE TABLE plain (id INT UNSIGNED) ENGINE=MyISAM",
                "CREATE SEQUENCE numbers",
            ])
            .await;
            let from = db.checkpoint().await;
            let mut source = db.following("things").await;
            db.run(&[
                "INSERT INTO things VALUES (1, REPEAT('é', 250), -5, '2026-01-02 03:04:05.678', 'é')",
                "UPDATE things SET id = 2",
                "INSERT INTO plain VALUES (7)",
                "BEGIN",
                "INSERT INTO things (id) VALUES (3), (4)",
                "SAVEPOINT s",
                "DELETE FROM things WHERE id = 3",
                "ROLLBACK TO s",
                "COMMIT",
                "XA START 'a'",
                "INSERT INTO things (id) VALUES (5)",
                "XA END 'a'",
                "XA PREPARE 'a'",
                "XA COMMIT 'a'",
                "SELECT NEXTVAL(numbers)",
                "ANALYZE TABLE things",
                "DELETE FROM things WHERE id > 2",
                "TRUNCATE things",
                "CREATE OR REPLACE TABLE things AS SELECT 9 AS id",
            ])
            .await;
            let transactions = drain(&mut source, &mut db).await;
            let expected = [
                "insert >1",
                "update 1>2",
                "insert >3",
                "insert >4",
                "insert >5",
                "insert >5",
                "delete 3>",
                "delete 4>",
                "delete 5>",
                "tables things",
                "tables things",
                "insert >9",
            ];
            assert_eq!(lines(&transactions, "id"), expected, "{release:?} compress {compress}");
            let first = lines(&transactions[..1], "n");
            assert_eq!(first, ["insert >-5"]);
            // Columns that are not mapped are skipped, and a log that is read again from an older position tells the same.
            source.open(&from, &db.interest("things", only(&["id"]))).await.expect("open");
            assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), expected);
        }
    }
}

#[tokio::test]
async fn columns_that_the_log_does_not_name_are_looked_up() {
    for release in Release::ALL {
        let server = MariaDb::start(release, &["--binlog-row-metadata=NO_LOG"]).await;
        let mut db = Database::on_mariadb(&server).await;
        db.run(&["CREATE TABLE things (id BIGINT UNSIGNED PRIMARY KEY, e ENUM('a','b'), t TEXT)"]).await;
        let mut source = db.following("things").await;
        db.run(&["INSERT INTO things VALUES (18446744073709551615, 'b', 'é')"]).await;
        let transactions = drain(&mut source, &mut db).await;
        for (column, value) in [("id", "insert >18446744073709551615"), ("e", "insert >b"), ("t", "insert >é")] {
            assert_eq!(lines(&transactions, column), [value], "{release:?}");
        }
    }
}

#[tokio::test]
async fn the_gate_waits_for_what_is_logged_and_not_visible() {
    for release in Release::ALL {
        // A commit waits for a replica that never acknowledges: after it is in the log, before it is visible.
        let server = MariaDb::start(
            release,
            &[
                "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
                "--rpl-semi-sync-master-timeout=2000",
                "--rpl-semi-sync-master-wait-no-slave=ON",
            ],
        )
        .await;
        let mut db = Database::on_mariadb(&server).await;
        db.run(&[USERS, "INSERT INTO users VALUES (1, 'old@x', 1)", "SET GLOBAL rpl_semi_sync_master_enabled = ON"])
            .await;
        let mut source = db.following("users").await;
        let gate = source.gate().expect("the source's own gate");
        let of_loaders = MySqlGate::connect(&db.url).await.expect("a gate");
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
            // What a loader reads now does not contain the commit, so its position must not.
            let (loaded_at, _) = read_position(&mut reader).await.expect("a position");
            let mut position = Position::new();
            position.insert(&transaction.gtid);
            let claimed = loaded_at.covers(&position);
            assert!(!gate.wait(&position, Duration::from_millis(50)).await.expect("a reply"), "not visible yet");
            assert!(of_loaders.wait(&position, PATIENCE).await.expect("a reply"));
            assert!(gate.wait(&position, PATIENCE).await.expect("a reply"));
            let late: Option<String> = reader.query_first(see).await.expect("a row");
            let (visible_at, _) = read_position(&mut reader).await.expect("a position");
            assert!(visible_at.covers(&position));
            (early, claimed, late)
        };
        let update = db.conn.query_drop("UPDATE users SET email = 'new@x' WHERE id = 1");
        let ((early, claimed, late), updated) = tokio::join!(follow, update);
        updated.expect("the commit ends without a replica");
        assert_eq!(early.as_deref(), Some("old@x"), "{release:?}: the event came first");
        assert!(!claimed, "a position that claims what cannot be seen");
        assert_eq!(late.as_deref(), Some("new@x"), "{release:?}: the gate let no change through before");
    }
}

#[tokio::test]
async fn tokens_and_positions_compare_as_on_mysql() {
    let server = MariaDb::start(Release::Machine, &[]).await;
    let mut db = Database::on_mariadb(&server).await;
    db.run(&[USERS]).await;
    let before = db.checkpoint().await.position;
    db.run(&["INSERT INTO users VALUES (1, 'a@x', 1)"]).await;
    let own = own_commit_token(&mut db.conn).await.expect("a token");
    assert!(!before.covers(&own));
    let mut other = db.another().await;
    assert!(own_commit_token(&mut other).await.expect("that of the server").covers(&own));
    assert!(commit_token(&mut other).await.expect("a token").covers(&own));
    let (position, origin) = read_position(&mut other).await.expect("a position");
    assert!(position.covers(&own));
    let (bound, server) = read_upper_bound(&mut other).await.expect("an upper bound");
    assert!(bound.covers(&position) && server == origin, "{bound} of {server}");
    let source = db.source().await;
    let head = source.probe().head().await.expect("the log's end");
    assert!(head.checkpoint.position.covers(&own));
    assert_eq!(*head.origin, *origin);
    let text = own.to_string();
    assert_eq!(text.parse::<Position>().expect("a token"), own, "{text}");
}

#[tokio::test]
async fn the_preflight_names_what_prevents_an_exact_reader() {
    let server = MariaDb::start(
        Release::Machine,
        &["--gtid-strict-mode=OFF", "--binlog-format=MIXED", "--binlog-row-metadata=NO_LOG"],
    )
    .await;
    let mut db = Database::on_mariadb(&server).await;
    db.run(&["CREATE TABLE things (id INT PRIMARY KEY, u UUID, z VARCHAR(50) COMPRESSED, email VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_bin DEFAULT 'it''s' UNIQUE)"]).await;
    let mut source = db.source().await;
    let refused = source.preflight(&db.interest("things", Columns::All)).await.expect_err("it is refused");
    assert_eq!(refused.kind(), ErrorKind::Config);
    let text = refused.to_string();
    for part in [
        "SET GLOBAL gtid_strict_mode=ON",
        "SET GLOBAL binlog_format=ROW",
        "has type uuid",
        "COMPRESSED",
        "utf8mb4_nopad_bin",
        "DEFAULT 'it''s'",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    db.run(&["SET GLOBAL gtid_strict_mode=ON", "SET GLOBAL binlog_format=ROW"]).await;
    let warnings = source.preflight(&db.interest("things", only(&["id"]))).await.expect("it starts");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("SET GLOBAL binlog_row_metadata=FULL"), "{warnings:?}");
    // A user who may not read the log, or not its end.
    for (rights, part) in
        [("SELECT, BINLOG MONITOR ON *.*", "REPLICATION SLAVE"), ("SELECT, REPLICATION SLAVE ON *.*", "BINLOG MONITOR")]
    {
        let user = db.user(rights).await;
        let mut source = BinlogSource::connect(&user.url).await.expect("a source");
        let refused = source.preflight(&db.interest("things", only(&["id"]))).await.expect_err("it is refused");
        assert!(refused.to_string().contains(part), "{refused}");
    }
}

#[tokio::test]
async fn what_is_compressed_in_a_column_is_skipped() {
    let server = MariaDb::start(Release::Machine, &[]).await;
    let mut db = Database::on_mariadb(&server).await;
    db.run(&["CREATE TABLE things (id INT PRIMARY KEY, u UUID, i INET6, z VARCHAR(50) COMPRESSED, b BLOB COMPRESSED, name VARCHAR(9))"]).await;
    let mut source = db.following("things").await;
    db.run(&["INSERT INTO things VALUES (1, UUID(), '::1', REPEAT('z', 50), REPEAT('b', 900), 'é')"]).await;
    let transactions = drain(&mut source, &mut db).await;
    assert_eq!(lines(&transactions, "name"), ["insert >é"]);
    let row = match &transactions[0].changes[0] {
        cachefront_core::event::Change::Row(row) => row.after.clone().expect("an image"),
        other => panic!("{other:?}"),
    };
    assert_eq!(text(&row, "z"), "unsupported");
}

#[tokio::test]
async fn a_statement_flushes_what_it_may_have_changed_on_mariadb() {
    for release in Release::ALL {
        let server = MariaDb::start(release, &["--log-bin-trust-function-creators=1"]).await;
        let mut db = Database::on_mariadb(&server).await;
        db.run(&[
            USERS,
            "CREATE TABLE log (id INT, n INT)",
            "CREATE TABLE audit (id INT)",
            "CREATE TRIGGER audited AFTER INSERT ON audit FOR EACH ROW UPDATE users SET age = NEW.id",
            "CREATE TABLE countries (id INT PRIMARY KEY)",
            "CREATE TABLE people (id INT PRIMARY KEY, country INT, FOREIGN KEY (country) REFERENCES countries (id) ON DELETE CASCADE)",
            "CREATE FUNCTION touch() RETURNS INT MODIFIES SQL DATA BEGIN UPDATE users SET age = 1; RETURN 1; END",
            "CREATE VIEW touched AS SELECT touch() AS n",
            "CREATE TABLE parted (id INT NOT NULL) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (5), PARTITION p1 VALUES LESS THAN (9))",
        ])
        .await;
        let user = db.user("SELECT, TRIGGER, REPLICATION SLAVE, BINLOG MONITOR ON *.*").await;
        let from = db.checkpoint().await;
        let mut source = BinlogSource::connect(&user.url).await.expect("a source");
        let mut filter = db.interest("users", Columns::All);
        filter.merge(&db.interest("freed", Columns::All));
        source.open(&from, &filter).await.expect("open");
        db.run(&["SET SESSION binlog_format = STATEMENT"]).await;
        for (statement, flushed) in [
            ("INSERT INTO log VALUES (1, 1)", vec![]),
            ("UPDATE users SET age = 5", vec!["tables users"]),
            ("INSERT INTO audit VALUES (7)", vec!["tables "]),
            ("DELETE FROM countries", vec!["tables "]),
            ("INSERT INTO log SELECT 7, n FROM touched", vec!["tables "]),
            ("CREATE TEMPORARY TABLE copied SELECT id FROM log", vec![]),
            ("CREATE TEMPORARY TABLE viewed SELECT n FROM touched", vec!["tables "]),
            ("CREATE TEMPORARY TABLE filled SELECT touch() AS n", vec!["tables "]),
            ("CREATE SEQUENCE numbers", vec![]),
            ("DROP SEQUENCE numbers", vec![]),
            ("ALTER TABLE parted CONVERT PARTITION p1 TO TABLE freed", vec!["tables freed"]),
            ("RENAME TABLE IF EXISTS freed WAIT 5 TO gone", vec!["tables freed"]),
        ] {
            db.run(&[statement]).await;
            assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), flushed, "{statement}");
        }
    }
}

#[tokio::test]
async fn a_table_with_system_versions_has_hidden_columns() {
    for release in Release::ALL {
        let server = MariaDb::start(release, &["--binlog-row-metadata=NO_LOG"]).await;
        let mut db = Database::on_mariadb(&server).await;
        db.run(&["CREATE TABLE things (id INT PRIMARY KEY, n INT) WITH SYSTEM VERSIONING"]).await;
        let mut source = db.following("things").await;
        // The log has the history as rows of the table: the last row of a key is not what readers get.
        let mut filter = db.interest("things", Columns::All);
        source.preflight(&filter).await.expect("its changes can be followed");
        filter.add_row_values(db.table("things").as_str().into());
        let refused = source.preflight(&filter).await.expect_err("its rows are no values");
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert!(refused.to_string().contains("`refresh_in_place`"), "{refused}");
        db.run(&["INSERT INTO things VALUES (1, 5)", "UPDATE things SET n = 6", "DELETE FROM things"]).await;
        let read = lines(&drain(&mut source, &mut db).await, "n");
        assert!(read.contains(&"insert >5".to_owned()) && read.contains(&"update 5>6".to_owned()), "{read:?}");
    }
}

#[tokio::test]
async fn columns_that_the_log_stores_in_its_own_way_are_read() {
    for release in Release::ALL {
        let server = MariaDb::start(release, &["--binlog-row-metadata=NO_LOG"]).await;
        let mut db = Database::on_mariadb(&server).await;
        // A UNIQUE key over a text is one over a hidden column with its hash.
        db.run(&["CREATE TABLE things (id INT PRIMARY KEY, n INT, t TEXT, b BLOB, UNIQUE (t), UNIQUE (b))"]).await;
        let mut source = db.following("things").await;
        db.run(&["INSERT INTO things VALUES (1, 5, 'a', 'b')", "UPDATE things SET n = 6", "DELETE FROM things"]).await;
        assert_eq!(lines(&drain(&mut source, &mut db).await, "n"), ["insert >5", "update 5>6", "delete 6>"]);
    }
}

#[tokio::test]
async fn text_behind_a_geometry_is_read() {
    for release in Release::ALL {
        for metadata in ["FULL", "MINIMAL"] {
            let server = MariaDb::start(release, &[&format!("--binlog-row-metadata={metadata}")]).await;
            let mut db = Database::on_mariadb(&server).await;
            // With a collation for each column, and with one for all but a few.
            db.run(&[
                "CREATE TABLE each_one (id INT PRIMARY KEY, loc POINT, a VARCHAR(20) CHARACTER SET latin1, b VARCHAR(20), c \
                 VARBINARY(9), d POLYGON, e TEXT)",
                "CREATE TABLE most (loc POINT, a VARCHAR(20), b VARCHAR(20), c VARCHAR(20), d VARCHAR(20) CHARACTER SET latin1, \
                 e VARCHAR(20))",
            ])
            .await;
            let (mut each, mut most) = (db.following("each_one").await, db.following("most").await);
            db.run(&[
                "INSERT INTO each_one VALUES (1, POINT(1, 2), 'é', 'é', x'c3a9', NULL, 'é')",
                "INSERT INTO most VALUES (POINT(1, 2), 'é', 'é', 'é', 'é', 'é')",
            ])
            .await;
            let transactions = drain(&mut each, &mut db).await;
            for (column, value) in [("a", "é"), ("b", "é"), ("c", "c3a9"), ("e", "é")] {
                let expected = [format!("insert >{value}")];
                assert_eq!(lines(&transactions, column), expected, "{release:?} {metadata} {column}");
            }
            let transactions = drain(&mut most, &mut db).await;
            for column in ["a", "b", "c", "d", "e"] {
                assert_eq!(lines(&transactions, column), ["insert >é"], "{release:?} {metadata} {column}");
            }
        }
    }
}

#[tokio::test]
async fn a_mariadb_without_backslash_escapes_is_read_as_any_other() {
    let server = MariaDb::start(Release::Machine, &["--sql-mode=NO_BACKSLASH_ESCAPES"]).await;
    let mut db = Database::on_mariadb(&server).await;
    db.run(&["CREATE TABLE things (id INT PRIMARY KEY, name VARCHAR(20) UNIQUE NOT NULL)"]).await;
    let mut source = db.source().await;
    let findings = source.preflight(&db.interest("things", only(&["id", "name"]))).await.expect("it starts");
    assert_eq!(findings, Vec::<String>::new());
    let (position, _) = read_position(&mut db.conn).await.expect("a position");
    assert!(!position.is_empty(), "all of it is visible");
}
