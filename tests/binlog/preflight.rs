//! The preflight names what is wrong, why it matters, and the SQL that fixes it. Each fix is tried.

use std::time::Duration;

use cachefront_binlog::{BinlogSettings, BinlogSource, Collations};
use cachefront_core::source::{ChangeSource, Checkpoint, Columns, TableFilter};
use cachefront_core::{ErrorKind, Result};
use cachefront_testkit::server::mysql::MySql;
use mysql_async::prelude::Queryable;

use crate::server::{Database, PATIENCE, USERS, drain, lines, only};

async fn check(db: &Database, filter: &TableFilter) -> Result<Vec<String>> {
    db.source().await.preflight(filter).await
}

async fn refusal(db: &Database, filter: &TableFilter) -> String {
    let error = check(db, filter).await.expect_err("a refusal");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    error.to_string()
}

/// The SQL that a finding ends with.
fn fix(finding: &str) -> &str {
    finding.rsplit_once("To fix it: ").expect("a fix").1
}

#[tokio::test]
async fn each_wrong_setting_is_refused_until_its_fix_is_run() {
    let mysql = MySql::start(&[]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[USERS]).await;
    let filter = db.interest("users", Columns::All);
    assert_eq!(check(&db, &filter).await.expect("all is well"), Vec::<String>::new());
    for (setting, value) in [
        ("binlog_format", "STATEMENT"),
        ("binlog_row_image", "MINIMAL"),
        ("binlog_row_image", "NOBLOB"),
        ("gtid_mode", "ON_PERMISSIVE"),
    ] {
        db.run(&[&format!("SET GLOBAL {setting} = '{value}'")]).await;
        let text = refusal(&db, &filter).await;
        assert!(text.contains(&format!("{setting}={value}")), "{text}");
        let sql = fix(&text).split(", then").next().expect("SQL");
        db.run(&[sql]).await;
        check(&db, &filter).await.unwrap_or_else(|error| panic!("after {sql}: {error}"));
    }
    for wrong in [
        "binlog_row_metadata = MINIMAL",
        "binlog_expire_logs_seconds = 600",
        "binlog_row_value_options = 'PARTIAL_JSON'",
        "binlog_checksum = NONE",
    ] {
        db.run(&[&format!("SET GLOBAL {wrong}")]).await;
        let warnings = check(&db, &filter).await.expect("only a warning");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        db.run(&[fix(&warnings[0])]).await;
        assert_eq!(check(&db, &filter).await.expect("all is well"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_server_without_log_or_gtids_is_refused() {
    let mut mysql = MySql::start(&["--skip-log-bin"]).await;
    let filter = TableFilter::new();
    let mut db = Database::on_private(&mysql).await;
    assert!(refusal(&db, &filter).await.contains("--log-bin"));
    drop(db);
    mysql.restart_with(&["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"]).await;
    db = Database::on_private(&mysql).await;
    let text = refusal(&db, &filter).await;
    // And without the preflight.
    let error = db.source().await.open(&Checkpoint::default(), &filter).await.expect_err("no GTIDs");
    assert_eq!(error.kind(), ErrorKind::Config, "{}", error.chain());
    assert!(error.to_string().contains("SET PERSIST gtid_mode=ON"), "{error}");
    for step in fix(&text).split("; ") {
        db.run(&[step]).await;
    }
    check(&db, &filter).await.expect("the steps turn GTIDs on");
    drop(db);
    mysql.restart_with(&["--binlog-do-db=elsewhere"]).await;
    db = Database::on_private(&mysql).await;
    let text = refusal(&db, &db.interest("users", Columns::All)).await;
    assert!(text.contains("leaves out") && text.contains("--binlog-do-db"), "{text}");
}

#[tokio::test]
async fn a_collation_that_takes_different_bytes_for_equal_is_refused() {
    let mut db = Database::create().await;
    db.run(&["CREATE TABLE users (id INT PRIMARY KEY, email VARCHAR(255) COLLATE utf8mb4_0900_ai_ci NOT NULL DEFAULT 'it''s' \
              UNIQUE COMMENT 'where to', padded VARCHAR(20) COLLATE utf8mb4_bin, note TEXT COLLATE utf8mb4_0900_ai_ci, \
              hash BINARY(16) UNIQUE, bin VARCHAR(20) COLLATE utf8mb4_0900_bin UNIQUE)"])
        .await;
    // All columns: what is unique counts. Named columns: those count.
    for (columns, names) in [
        (Columns::All, vec!["email"]),
        (only(&["id", "hash", "bin"]), vec![]),
        (only(&["EMAIL", "padded", "note"]), vec!["email", "padded", "note"]),
    ] {
        let filter = db.interest("users", columns);
        let text = check(&db, &filter).await.err().map(|error| error.to_string()).unwrap_or_default();
        let found: Vec<bool> =
            ["email", "padded", "note"].iter().map(|name| text.contains(&format!("`{name}` of"))).collect();
        let expected: Vec<bool> = ["email", "padded", "note"].iter().map(|name| names.contains(name)).collect();
        assert_eq!(found, expected, "{text}");
    }
    // A mapping of all columns does not hide what another one names.
    let mut both = db.interest("users", only(&["note"]));
    both.merge(&db.interest("users", Columns::All));
    let text = refusal(&db, &both).await;
    assert!(text.contains("`note` of") && text.contains("`email` of") && !text.contains("`padded` of"), "{text}");
    assert_eq!(text.matches("`email` of").count(), 1, "{text}");
    let filter = db.interest("users", only(&["email"]));
    let source = BinlogSource::builder(&db.url).collations(Collations::Warn).connect();
    let warnings = source.await.expect("a source").preflight(&filter).await.expect("only a warning");
    assert_eq!(warnings.len(), 1);
    assert!(!warnings[0].contains("Collations::Warn"), "it is set already: {warnings:?}");
    let text = refusal(&db, &filter).await;
    assert!(text.contains("Collations::Warn") && text.contains("the same function"), "{text}");
    db.run(&[fix(&text)]).await;
    assert_eq!(check(&db, &filter).await.expect("it is exact now"), Vec::<String>::new());
    db.run(&["INSERT INTO users (id) VALUES (1)", "INSERT INTO users (id, email) VALUES (2, 'IT''S')"]).await;
}

#[tokio::test]
async fn a_server_without_backslash_escapes_is_read_as_any_other() {
    let mysql = MySql::start(&["--sql-mode=NO_BACKSLASH_ESCAPES"]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[USERS]).await;
    let filter = db.interest("users", Columns::All);
    assert_eq!(check(&db, &filter).await.expect("all is well"), Vec::<String>::new());
    db.run(&["SET GLOBAL binlog_row_image = MINIMAL"]).await;
    assert!(refusal(&db, &filter).await.contains("binlog_row_image=MINIMAL"));
}

#[tokio::test]
async fn a_merge_table_over_a_mapped_one_is_reported() {
    let mysql = MySql::start(&[]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[
        "CREATE TABLE users (id INT PRIMARY KEY) ENGINE=MyISAM",
        "CREATE TABLE all_users (id INT NOT NULL, INDEX (id)) ENGINE=MERGE UNION=(users) INSERT_METHOD=FIRST",
    ])
    .await;
    let warnings = check(&db, &db.interest("users", Columns::All)).await.expect("only a warning");
    assert!(warnings.len() == 1 && warnings[0].contains("all_users` is a MERGE table"), "{warnings:?}");
    let text = refusal(&db, &db.interest("all_users", Columns::All)).await;
    assert!(text.contains("ENGINE=MRG_MYISAM"), "{text}");
    // What the warning is about.
    let mut source = db.following("users").await;
    db.run(&["INSERT INTO all_users VALUES (1)", "INSERT INTO users VALUES (2)"]).await;
    assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), ["insert >2"]);
}

#[tokio::test]
async fn a_mapping_that_cannot_work_is_refused() {
    let mut db = Database::create().await;
    db.run(&[USERS, "CREATE VIEW people AS SELECT * FROM users"]).await;
    let text = refusal(&db, &db.interest("users", only(&["id", "uid"]))).await;
    assert!(text.contains("`uid`") && text.contains("id, email, age"), "{text}");
    let text = refusal(&db, &db.interest("people", Columns::All)).await;
    assert!(text.contains("is a view"), "{text}");
    let mut nowhere = TableFilter::new();
    nowhere.add("users".into(), &Columns::All);
    assert!(refusal(&db, &nowhere).await.contains("names no database"));
}

/// A source that starts although a mapped table is missing.
async fn lenient(url: &str) -> BinlogSource {
    BinlogSource::builder(url).allow_missing_tables(true).connect().await.expect("a source")
}

#[tokio::test]
async fn a_missing_table_is_refused_with_similar_names() {
    let mut db = Database::create().await;
    db.run(&[USERS, "CREATE TABLE orders (id INT PRIMARY KEY)"]).await;
    let text = refusal(&db, &db.interest("user", Columns::All)).await;
    for part in [
        &format!("the mapped table `{}` does not exist", db.table("user")),
        &format!("`{}`", db.table("users")),
        "allow_missing_tables",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(&db.table("orders")), "it is not like it: {text}");
    // The right table of a wrong database.
    let mut elsewhere = TableFilter::new();
    let orders = format!("orders_{}", db.name());
    db.run(&[&format!("CREATE TABLE {orders} (id INT PRIMARY KEY)")]).await;
    elsewhere.add(format!("no_such_database.{orders}").as_str().into(), &Columns::All);
    let text = refusal(&db, &elsewhere).await;
    assert!(text.contains(&format!("`{}`", db.table(&orders))), "{text}");

    let filter = db.interest("user", Columns::All);
    let findings = lenient(&db.url).await.preflight(&filter).await.expect("only a finding");
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].contains("does not exist"), "{findings:?}");
}

#[tokio::test]
async fn a_missing_column_is_refused_with_a_similar_name() {
    let mut db = Database::create().await;
    db.run(&[USERS]).await;
    let filter = db.interest("users", only(&["id", "e_mail"]));
    let text = refusal(&db, &filter).await;
    for part in [&format!("column `e_mail` of `{}`", db.table("users")), "`email`", "allow_missing_tables"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let findings = lenient(&db.url).await.preflight(&filter).await.expect("only a finding");
    assert!(findings.len() == 1 && findings[0].contains("`e_mail`"), "{findings:?}");
}

#[tokio::test]
async fn a_table_that_the_user_may_not_see_is_refused_with_the_grant() {
    let mut db = Database::create().await;
    db.run(&[USERS]).await;
    let user = db.user("REPLICATION SLAVE, REPLICATION CLIENT ON *.*").await;
    let filter = db.interest("users", Columns::All);
    let findings = lenient(&user.url).await.preflight(&filter).await.expect("only findings");
    assert_eq!(findings.len(), 2, "{findings:?}");
    let mut source = BinlogSource::connect(&user.url).await.expect("a login");
    let error = source.preflight(&filter).await.expect_err("the table is invisible");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let text = error.to_string();
    assert!(text.contains("lacks the right SELECT on") && !text.contains("does not exist"), "{text}");

    // A right to one column shows this column only.
    db.run(&[&format!("GRANT SELECT (id) ON {} TO {}", db.table("users"), user.name)]).await;
    source.preflight(&db.interest("users", only(&["id"]))).await.expect("the column is visible");
    let error = source.preflight(&filter).await.expect_err("all columns are mapped");
    assert!(error.to_string().contains("lacks the right SELECT on"), "{error}");
    let named = source.preflight(&db.interest("users", only(&["email"]))).await.expect_err("it is invisible");
    assert!(named.to_string().contains("GRANT SELECT ON"), "{named}");

    db.run(&[fix(&text)]).await;
    let hidden = source.preflight(&filter).await.expect("the table is visible");
    assert!(hidden.len() == 1 && hidden[0].contains("SELECT and TRIGGER on all tables"), "{hidden:?}");
    db.run(&[fix(&hidden[0])]).await;
    assert_eq!(source.preflight(&filter).await.expect("all is well"), Vec::<String>::new());
}

#[tokio::test]
async fn a_mapped_column_that_may_be_null_is_a_finding() {
    let mut db = Database::create().await;
    db.run(&[USERS]).await;
    let findings = check(&db, &db.interest("users", only(&["email", "age"]))).await.expect("only a finding");
    assert_eq!(findings.len(), 1, "{findings:?}");
    for part in [&format!("column `age` of `{}` may be NULL", db.table("users")), "row.get::<Option<_>>(\"age\")"] {
        assert!(findings[0].contains(part), "{part}: {findings:?}");
    }
}

#[tokio::test]
async fn a_running_source_can_be_checked_again() {
    let mut db = Database::create().await;
    db.run(&[USERS, "CREATE TABLE orders (id INT PRIMARY KEY)"]).await;
    let from = db.checkpoint().await;
    let (users, orders) = (db.interest("users", only(&["id", "email"])), db.interest("orders", Columns::All));
    let mut both = users.clone();
    both.merge(&orders);
    let mut source = db.source().await;
    assert_eq!(source.preflight(&both).await.expect("all is well"), Vec::<String>::new());
    source.open(&from, &both).await.expect("the log opens");
    db.run(&[
        "INSERT INTO users VALUES (1, 'a@x', 1)",
        "ALTER TABLE users MODIFY email VARCHAR(255) COLLATE utf8mb4_0900_ai_ci NOT NULL",
    ])
    .await;
    let error = source.preflight(&users).await.expect_err("the collation is another now");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains(&format!("column `email` of `{}`", db.table("users"))), "{error}");
    assert_eq!(source.preflight(&orders).await.expect("the other table is as it was"), Vec::<String>::new());
    // A check that is dropped half-way disturbs neither the log nor the next check.
    for _ in 0..5 {
        let _ = tokio::time::timeout(Duration::from_millis(3), source.preflight(&both)).await;
    }
    db.run(&[fix(&error.to_string())]).await;
    assert_eq!(source.preflight(&both).await.expect("it is exact again"), Vec::<String>::new());
    assert_eq!(lines(&drain(&mut source, &mut db).await, "id"), ["insert >1", "tables users", "tables users"]);
}

#[tokio::test]
async fn a_table_that_is_locked_is_checked_without_waiting_for_it() {
    let mut db = Database::create().await;
    db.run(&[USERS]).await;
    let mut other = db.another().await;
    other.query_drop("LOCK TABLES users WRITE").await.expect("the lock");
    let findings = check(&db, &db.interest("users", Columns::All)).await;
    // First of all: whatever the test finds, the database must be dropped.
    other.query_drop("UNLOCK TABLES").await.expect("the lock ends");
    assert_eq!(findings.expect("the lock is not waited for"), Vec::<String>::new());
}

#[tokio::test]
async fn a_check_of_a_frozen_server_ends_in_time() {
    let mut mysql = MySql::start(&[]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[USERS]).await;
    let mut settings = BinlogSettings::default();
    settings.preflight_timeout = Duration::from_millis(300);
    let mut source = BinlogSource::builder(&db.url).settings(settings).connect().await.expect("a source");
    let filter = db.interest("users", Columns::All);
    mysql.freeze();
    let checked = tokio::time::timeout(PATIENCE, source.preflight(&filter)).await;
    mysql.resume();
    let error = checked.expect("the check ends").expect_err("the server is frozen");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.to_string().contains("300ms: if the server is only slow, raise `preflight_timeout`"), "{error}");
}

#[tokio::test]
async fn cascades_past_the_log_are_reported() {
    let mut db = Database::create().await;
    db.run(&[
        USERS,
        "CREATE TABLE orders (id INT PRIMARY KEY, user BIGINT UNSIGNED, CONSTRAINT fk FOREIGN KEY (user) \
                     REFERENCES users (id) ON DELETE CASCADE)",
    ])
    .await;
    let warnings = check(&db, &db.interest("orders", Columns::All)).await.expect("at most a warning");
    let mut source = db.following("orders").await;
    db.run(&[
        "INSERT INTO users VALUES (1, 'a@x', 1)",
        "INSERT INTO orders VALUES (10, 1)",
        "DELETE FROM users WHERE id = 1",
    ])
    .await;
    let lines = crate::server::lines(&crate::server::drain(&mut source, &mut db).await, "id");
    match warnings.is_empty() {
        true => assert_eq!(lines, ["insert >10", "delete 10>"], "no warning, so the cascade is in the log"),
        false => assert_eq!(lines, ["insert >10"], "the cascade is not in the log, and was warned of"),
    }
}
