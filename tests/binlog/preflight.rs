//! The preflight names what is wrong, why it matters, and the SQL that mends it. Each mend is tried.

use cachefront_binlog::{BinlogSource, Collations};
use cachefront_core::source::{ChangeSource, Columns, Interests};
use cachefront_core::{ErrorKind, Result};
use cachefront_tests::server::mysql::MySql;

use crate::server::{Database, USERS, only};

async fn check(db: &Database, interests: &Interests) -> Result<Vec<String>> {
    db.source().await.preflight(interests).await
}

async fn refusal(db: &Database, interests: &Interests) -> String {
    let error = check(db, interests).await.expect_err("a refusal");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    error.to_string()
}

/// The SQL that a finding ends with.
fn mend(finding: &str) -> &str {
    finding.rsplit_once("To mend it: ").expect("a mend").1
}

#[tokio::test]
async fn each_wrong_setting_is_refused_until_its_mend_is_run() {
    let mysql = MySql::start(&[]).await;
    let mut db = Database::on_private(&mysql).await;
    db.run(&[USERS]).await;
    let interests = db.interest("users", Columns::All);
    assert_eq!(check(&db, &interests).await.expect("all is well"), Vec::<String>::new());
    for (setting, value) in [
        ("binlog_format", "STATEMENT"),
        ("binlog_row_image", "MINIMAL"),
        ("binlog_row_image", "NOBLOB"),
        ("binlog_row_value_options", "PARTIAL_JSON"),
        ("gtid_mode", "ON_PERMISSIVE"),
    ] {
        db.run(&[&format!("SET GLOBAL {setting} = '{value}'")]).await;
        let text = refusal(&db, &interests).await;
        assert!(text.contains(&format!("{setting}={value}")), "{text}");
        let sql = mend(&text).split(", then").next().expect("SQL");
        db.run(&[sql]).await;
        check(&db, &interests).await.unwrap_or_else(|error| panic!("after {sql}: {error}"));
    }
    for wrong in ["binlog_row_metadata = MINIMAL", "binlog_expire_logs_seconds = 600"] {
        db.run(&[&format!("SET GLOBAL {wrong}")]).await;
        let warnings = check(&db, &interests).await.expect("only a warning");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        db.run(&[mend(&warnings[0])]).await;
        assert_eq!(check(&db, &interests).await.expect("all is well"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_server_without_log_or_gtids_is_refused() {
    let mut mysql = MySql::start(&["--skip-log-bin"]).await;
    let interests = Interests::new();
    let mut db = Database::on_private(&mysql).await;
    assert!(refusal(&db, &interests).await.contains("--log-bin"));
    drop(db);
    mysql.restart_with(&["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"]).await;
    db = Database::on_private(&mysql).await;
    let text = refusal(&db, &interests).await;
    for step in mend(&text).split("; ") {
        db.run(&[step]).await;
    }
    check(&db, &interests).await.expect("the steps turn GTIDs on");
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
        let interests = db.interest("users", columns);
        let text = check(&db, &interests).await.err().map(|error| error.to_string()).unwrap_or_default();
        let found: Vec<bool> =
            ["email", "padded", "note"].iter().map(|name| text.contains(&format!("`{name}` of"))).collect();
        let expected: Vec<bool> = ["email", "padded", "note"].iter().map(|name| names.contains(name)).collect();
        assert_eq!(found, expected, "{text}");
    }
    let interests = db.interest("users", only(&["email"]));
    let source = BinlogSource::builder(&db.url).collations(Collations::Warn).connect();
    let warnings = source.await.expect("a source").preflight(&interests).await.expect("only a warning");
    assert_eq!(warnings.len(), 1);
    let text = refusal(&db, &interests).await;
    db.run(&[mend(&text)]).await;
    assert_eq!(check(&db, &interests).await.expect("mended"), Vec::<String>::new());
    db.run(&["INSERT INTO users (id) VALUES (1)", "INSERT INTO users (id, email) VALUES (2, 'IT''S')"]).await;
}

#[tokio::test]
async fn a_mapping_that_can_not_work_is_refused() {
    let mut db = Database::create().await;
    db.run(&[USERS, "CREATE VIEW people AS SELECT * FROM users"]).await;
    let text = refusal(&db, &db.interest("users", only(&["id", "uid"]))).await;
    assert!(text.contains("`uid`") && text.contains("id, email, age"), "{text}");
    let text = refusal(&db, &db.interest("people", Columns::All)).await;
    assert!(text.contains("is a view"), "{text}");
    let mut nowhere = Interests::new();
    nowhere.add("users".into(), &Columns::All);
    assert!(refusal(&db, &nowhere).await.contains("names no database"));
    let warnings = check(&db, &db.interest("later", Columns::All)).await.expect("it may come later");
    assert!(warnings[0].contains("does not exist"), "{warnings:?}");
    let user = db.user("REPLICATION SLAVE, REPLICATION CLIENT ON *.*").await;
    let mut source = BinlogSource::connect(&user.url).await.expect("a login");
    let warnings = source.preflight(&db.interest("users", Columns::All)).await.expect("only a warning");
    db.run(&[mend(&warnings[0]).strip_prefix("create it, or ").expect("a grant")]).await;
    let warnings = source.preflight(&db.interest("users", Columns::All)).await.expect("all is well");
    assert_eq!(warnings, Vec::<String>::new());
}

#[tokio::test]
async fn cascades_past_the_log_are_told() {
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
