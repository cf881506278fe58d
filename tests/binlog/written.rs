//! Changes that the log has as statements, without their rows: what may have changed is flushed, and nothing else.

use cachefront_binlog::BinlogSource;
use cachefront_core::source::{ChangeSource, Columns};
use cachefront_testkit::server::mysql::MySql;
use mysql_async::prelude::Queryable;

use crate::server::{Database, USERS, drain, lines};

/// A session that logs statements.
const STATEMENTS: &str = "SET SESSION binlog_format = STATEMENT";

#[tokio::test]
async fn a_statement_flushes_what_it_may_have_changed() {
    let mysql = MySql::start(&["--log-bin-trust-function-creators=1"]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[
        USERS,
        "CREATE TABLE log (id INT PRIMARY KEY, n INT)",
        "CREATE TABLE countries (id INT PRIMARY KEY)",
        "CREATE TABLE people (id INT PRIMARY KEY, country INT, FOREIGN KEY (country) REFERENCES countries (id) ON DELETE CASCADE)",
        "CREATE TABLE audit (id INT)",
        "CREATE TRIGGER audited AFTER INSERT ON audit FOR EACH ROW UPDATE users SET age = NEW.id",
        "CREATE VIEW recent AS SELECT * FROM users",
        "CREATE FUNCTION touch() RETURNS INT MODIFIES SQL DATA BEGIN UPDATE users SET age = 1; RETURN 1; END",
        "CREATE VIEW touched AS SELECT touch() AS n",
        "CREATE PROCEDURE count_up(IN step INT) UPDATE log SET n = n + step",
    ])
    .await;
    // The least rights with which triggers, views and foreign keys are known.
    let user = db.user("SELECT, TRIGGER, REPLICATION SLAVE, REPLICATION CLIENT ON *.*").await;
    let from = db.checkpoint().await;
    let mut source = BinlogSource::connect(&user.url).await.expect("a source");
    source.open(&from, &db.interest("users", Columns::All)).await.expect("open");
    db.run(&[STATEMENTS]).await;
    // Each with what it flushes: nothing, the tables it names, or everything.
    for (statement, flushed) in [
        ("INSERT INTO log VALUES (1, 1)", vec![]),
        ("UPDATE log SET n = 2 WHERE id = 1", vec![]),
        ("DELETE FROM log", vec![]),
        ("REPLACE INTO log (id, n) SELECT 1, COUNT(*) FROM users", vec![]),
        ("CREATE TEMPORARY TABLE recent_log (id INT)", vec![]),
        ("INSERT INTO recent_log VALUES (1)", vec![]),
        ("DROP TEMPORARY TABLE recent_log", vec![]),
        ("INSERT INTO users VALUES (1, 'a@x', 1)", vec!["tables users"]),
        ("UPDATE users SET age = 5", vec!["tables users"]),
        ("INSERT INTO audit VALUES (7)", vec!["tables "]),
        ("UPDATE recent SET age = 6", vec!["tables "]),
        ("DELETE FROM countries", vec!["tables "]),
        ("INSERT INTO log VALUES (2, touch())", vec!["tables "]),
        ("INSERT INTO log SELECT 7, n FROM touched", vec!["tables "]),
        ("CREATE TEMPORARY TABLE copied SELECT id FROM log", vec![]),
        ("CREATE TABLE plain SELECT id FROM log", vec![]),
        ("CALL count_up(3)", vec![]),
        ("UPDATE log JOIN users SET users.age = 8", vec!["tables users"]),
        ("UPDATE log JOIN plain USING (id) SET log.n = 8", vec![]),
        ("DELETE log FROM log JOIN plain USING (id)", vec![]),
        ("DELETE users FROM users JOIN log", vec!["tables users"]),
        // Temporary tables, of which one has the name of a mapped table.
        ("CREATE TEMPORARY TABLE users (id INT)", vec![]),
        ("INSERT INTO users VALUES (1)", vec![]),
        ("ALTER TABLE users RENAME TO away", vec!["tables users"]),
        ("INSERT INTO users VALUES (2, 'b@x', 1)", vec!["tables users"]),
        ("DROP TEMPORARY TABLE away", vec![]),
        // The trigger comes after the source was opened.
        ("CREATE TRIGGER logged AFTER INSERT ON log FOR EACH ROW UPDATE users SET age = NEW.id", vec![]),
        ("INSERT INTO log VALUES (3, 3)", vec!["tables "]),
        ("DROP TRIGGER logged", vec![]),
    ] {
        db.run(&[statement]).await;
        assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), flushed, "{statement}");
    }
    // What was committed before the source has looked again still counts as changed by the trigger.
    let mut flushed = true;
    for id in 4..50 {
        db.run(&[&format!("INSERT INTO log VALUES ({id}, 4)")]).await;
        flushed = !drain(&mut source, &mut db).await.iter().all(|transaction| transaction.changes.is_empty());
        if !flushed {
            break;
        }
    }
    assert!(!flushed, "without the trigger nothing is flushed");
}

#[tokio::test]
async fn a_user_who_does_not_see_the_triggers_flushes_more() {
    let mysql = MySql::start(&[]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[USERS, "CREATE TABLE log (id INT PRIMARY KEY)"]).await;
    let user = db.user("SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.*").await;
    let from = db.checkpoint().await;
    let mut source = BinlogSource::connect(&user.url).await.expect("a source");
    source.open(&from, &db.interest("users", Columns::All)).await.expect("open");
    db.run(&[STATEMENTS, "INSERT INTO log VALUES (1)"]).await;
    let transactions = drain(&mut source, &mut db).await;
    assert_eq!(lines(&transactions, "id"), ["tables "]);
    let reason = format!("{:?}", transactions[0].changes);
    assert!(reason.contains("GRANT SELECT, TRIGGER ON *.*"), "{reason}");
}

#[tokio::test]
async fn load_data_flushes_its_table() {
    let mysql = MySql::start(&["--secure-file-priv="]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[USERS, "CREATE TABLE log (id INT PRIMARY KEY, email VARCHAR(9), age INT)"]).await;
    let file = mysql.dir().join("rows");
    std::fs::write(&file, "1\ta@x\t1\n").expect("a file");
    let mut source = db.following("users").await;
    let load = |table: &str| format!("LOAD DATA INFILE '{}' INTO TABLE {table}", file.display());
    db.run(&[STATEMENTS, &load("log"), &load("users")]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), ["tables users"]);
}

/// What servers of cloud providers, monitors and administrators write in a day.
#[tokio::test]
async fn a_day_of_a_managed_servers_own_statements_flushes_nothing() {
    let mysql = MySql::start(&[]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[
        USERS,
        "INSERT INTO users VALUES (1, 'a@x', 1)",
        "CREATE TABLE mysql.rds_heartbeat2 (id INT PRIMARY KEY, value BIGINT)",
        "CREATE TABLE mysql.ha_health_check (id BIGINT PRIMARY KEY, type CHAR(1) DEFAULT '0')",
        "CREATE DATABASE percona",
        "CREATE TABLE percona.checksums (db CHAR(64), tbl CHAR(64), chunk INT, this_crc CHAR(40), this_cnt INT, ts \
         TIMESTAMP DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (db, tbl, chunk))",
        "CREATE TABLE percona.heartbeat (ts VARCHAR(26), server_id INT PRIMARY KEY, file VARCHAR(255))",
    ])
    .await;
    let mut source = db.following("users").await;
    let table = db.table("users");
    // Every five minutes, and every hour; half of the sessions log statements.
    for tick in 0..288_u32 {
        let format = if tick % 2 == 0 { "STATEMENT" } else { "MIXED" };
        db.run(&[
            &format!("SET SESSION binlog_format = {format}"),
            &format!(
                "INSERT INTO mysql.rds_heartbeat2(id, value) VALUES (1,{tick}) ON DUPLICATE KEY UPDATE value = {tick}"
            ),
            &format!(
                "INSERT INTO mysql.ha_health_check(id, type) VALUES (1605, '0') ON DUPLICATE KEY UPDATE type = '{}'",
                tick % 10
            ),
            &format!("REPLACE INTO percona.heartbeat (ts, server_id, file) VALUES ('{tick}', 1, 'binlog.000001')"),
        ])
        .await;
        if tick % 12 == 0 {
            db.run(&[
                &format!("REPLACE INTO percona.checksums (db, tbl, chunk, this_cnt, this_crc) SELECT 'shop', 'users', {tick}, \
                    COUNT(*) AS cnt, COALESCE(LOWER(CONV(BIT_XOR(CAST(CRC32(CONCAT_WS('#', `id`, `email`, `age`)) AS UNSIGNED)), \
                    10, 16)), 0) AS crc FROM {table} /*checksum table*/"),
                &format!("UPDATE percona.checksums SET this_crc = 'x' WHERE db = 'shop' AND tbl = 'users' AND chunk = {tick}"),
                "FLUSH STATUS",
                &format!("ANALYZE TABLE {table}"),
                &format!("OPTIMIZE TABLE percona.checksums, {table}"),
                "CREATE TEMPORARY TABLE report (id INT)",
                "INSERT INTO report VALUES (1)",
                "UPDATE report SET id = 2",
                "DROP TEMPORARY TABLE report",
                "CREATE USER IF NOT EXISTS someone IDENTIFIED BY 'a password'",
                "GRANT SELECT ON percona.* TO someone",
                "ALTER USER someone ACCOUNT LOCK",
                "DROP USER someone",
                "FLUSH PRIVILEGES",
                "CREATE EVENT IF NOT EXISTS clean_up ON SCHEDULE EVERY 1 DAY DO DELETE FROM percona.checksums",
                "DROP EVENT clean_up",
            ])
            .await;
        }
        if tick % 96 == 0 {
            db.run(&["FLUSH BINARY LOGS"]).await;
        }
    }
    assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), [""; 0]);
}

#[tokio::test]
async fn the_servers_own_database_has_no_triggers() {
    let mysql = MySql::start(&[]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[USERS, "CREATE TABLE mysql.heartbeat (id INT PRIMARY KEY)"]).await;
    let mut conn = db.another().await;
    let trigger = "CREATE TRIGGER mysql.t AFTER INSERT ON mysql.heartbeat FOR EACH ROW SET @a = 1";
    conn.query_drop(trigger).await.expect_err("no triggers on system tables");
}

#[tokio::test]
async fn a_key_that_the_server_generated_is_a_column_of_its_table() {
    for metadata in ["FULL", "MINIMAL"] {
        let mysql = MySql::start(&[&format!("--binlog-row-metadata={metadata}")]).await;
        let mut db = Database::on_private(&mysql).await;
        db.run(&[
            "SET SESSION sql_generate_invisible_primary_key = ON",
            "SET SESSION show_gipk_in_create_table_and_information_schema = OFF",
            "CREATE TABLE things (name VARCHAR(20), n INT)",
        ])
        .await;
        let mut source = db.following("things").await;
        db.run(&["INSERT INTO things VALUES ('a', 5)", "UPDATE things SET n = 6"]).await;
        let transactions = drain(&mut source, &mut db).await;
        assert_eq!(lines(&transactions, "my_row_id"), ["insert >1", "update 1>1"], "{metadata}");
        assert_eq!(lines(&transactions, "n"), ["insert >5", "update 5>6"], "{metadata}");
    }
}
