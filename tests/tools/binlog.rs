//! `binlog_dump`, on files and on a server.

use std::process::{Command, Stdio};
use std::time::Duration;

use cachefront_testkit::server::mariadb::{MariaDb, Release};
use cachefront_testkit::server::{MySql, Process, temporary_dir};
use cachefront_testkit::{stack, unique, wait};
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use crate::{Ran, golden, run, text};

const PATIENCE: Duration = Duration::from_secs(60);

fn dump(case: &str) -> Ran {
    run("binlog_dump", &[text(&golden(&format!("data/{case}.binlog")))])
}

#[test]
fn rows_are_shown_with_both_images_and_their_transaction() {
    let ran = dump("01basic");
    assert_eq!((ran.code, ran.errors.as_str()), (Some(0), ""), "{:?}", ran.lines);
    assert_eq!((ran.count("insert"), ran.count("update"), ran.count("delete")), (4, 6, 1));
    assert_eq!(
        ran.lines[0],
        json!({
            "table": "cf.basic",
            "op": "insert",
            "before": null,
            "after": {"id": 1, "name": "a", "v": 10},
            "gtid": "e46a3358-e6d8-11f1-9b40-02fc00000001:4",
        })
    );
    assert_eq!(ran.lines[3]["before"], json!({"id": 1, "name": "a", "v": 10}));
    assert_eq!(ran.lines[3]["after"], json!({"id": 1, "name": "ä€😀", "v": 11}));
}

#[test]
fn every_type_has_its_form() {
    let ran = dump("02types");
    let row = ran.lines.iter().find(|line| line["op"] == "insert").expect("an insert");
    for (column, value) in [
        ("id", json!(u64::MAX)),
        ("bi", json!(i64::MIN)),
        ("de", json!("-12345.678901")),
        ("fl", json!(1.5)),
        ("dt", json!("2026-11-23 01:02:03.123456")),
        ("bl", json!("0x00ff80")),
        ("nul", Value::Null),
    ] {
        assert_eq!(row["after"][column], value, "{column}");
    }
    let document = dump("05json_my");
    let row = document.lines.iter().find(|line| line["op"] == "insert").expect("an insert");
    assert_eq!(row["after"]["j"]["b"], json!([1, 2, {"c": "x"}]));
}

#[test]
fn definitions_are_shown_though_no_table_was_asked_for() {
    let ran = dump("00setup");
    let shown: Vec<(&Value, &Value)> = ran.lines.iter().map(|line| (&line["op"], &line["table"])).collect();
    assert_eq!(shown.last(), Some(&(&json!("ddl"), &json!("cf.basic"))), "{shown:?}");
    let dropped = ran.lines.iter().any(|line| line["op"] == "ddl" && line["table"].is_null());
    assert!(dropped, "DROP DATABASE concerns any table: {:?}", ran.lines);
    let lacking = dump("04minimal");
    assert_eq!(lacking.lines[0]["before"], json!({"id": 2}), "columns that the log lacks are left out");
}

#[test]
fn one_table_is_shown_with_the_keys_of_its_caches() {
    let (file, other) = (golden("data/01basic.binlog"), golden("data/26mariadb_transactions.binlog"));
    let keys = run("binlog_dump", &["--table", "cf.basic", "--columns", "id", "--as-mapping", text(&file)]);
    assert_eq!(keys.code, Some(0), "{}", keys.errors);
    assert_eq!((keys.count("insert"), keys.count("none")), (0, 0));
    assert_eq!(
        keys.lines[0],
        json!({"table": "cf.basic", "op": "invalidate", "key": {"id": 1}, "gtid": "e46a3358-e6d8-11f1-9b40-02fc00000001:4"})
    );
    let names = run("binlog_dump", &["--table", "cf.basic", "--columns", "name", text(&file)]);
    assert_eq!(names.lines.iter().find(|line| line["op"] == "insert").expect("a row")["after"], json!({"name": "a"}));
    let elsewhere = run("binlog_dump", &["--table", "cf.other", text(&file)]);
    assert_eq!(elsewhere.count("insert") + elsewhere.count("update"), 0);
    let dotted = golden("data/20dotted_names.binlog");
    for (table, shown) in
        [("`shop.example.org`.users", "shop.example.org.users"), ("shop.`example.org.users`", "shop.example.org.users")]
    {
        let ran = run("binlog_dump", &["--table", table, text(&dotted)]);
        assert!(
            ran.count("insert") > 0 && ran.lines.iter().all(|line| line["table"].is_null() || line["table"] == shown),
            "{table}: {:?}",
            ran.lines
        );
    }
    let mariadb = run("binlog_dump", &[text(&other)]);
    assert_eq!(mariadb.code, Some(0), "{}", mariadb.errors);
    assert!(
        mariadb.lines.iter().any(|line| line["op"] == "insert" && line["gtid"] == "0-101:7"),
        "{:?}",
        mariadb.lines
    );
}

#[test]
fn after_a_gap_the_next_transaction_is_shown() {
    let ran = dump("12stmt");
    assert_eq!((ran.code, ran.count("gap")), (Some(3), 2), "one for each transaction: {:?}", ran.lines);
    for line in ran.lines.iter().filter(|line| line["op"] == "gap") {
        assert!(line["reason"].as_str().is_some_and(|reason| reason.contains("binlog_format=ROW")), "{line}");
        assert!(line["gtid"].is_string(), "{line}");
    }
}

#[test]
fn a_damaged_file_is_shown_up_to_the_damage() {
    let dir = temporary_dir("dump");
    let whole = std::fs::read(golden("data/01basic.binlog")).expect("a log");
    let file = dir.path().join("damaged");
    let show = |bytes: &[u8]| {
        std::fs::write(&file, bytes).expect("a file");
        run("binlog_dump", &[text(&file)])
    };
    let mut changed = whole.clone();
    let at = whole.len() - 40;
    changed[at] ^= 0x40;
    for bytes in [&whole[..whole.len() - 10], &changed] {
        let ran = show(bytes);
        assert_eq!((ran.code, ran.count("gap")), (Some(3), 1), "{:?}", ran.lines);
        assert!(ran.count("insert") == 4 && ran.lines.last().is_some_and(|line| line["op"] == "gap"));
    }
    let foreign = show(b"no log at all");
    assert_eq!((foreign.code, foreign.count("gap")), (Some(3), 1));
    let absent = run("binlog_dump", &[text(&dir.path().join("absent"))]);
    assert_eq!((absent.code, absent.lines.len()), (Some(1), 0));
    assert!(absent.errors.contains("absent"), "{}", absent.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_followed_from_what_it_has_to_what_comes() {
    // A server of its own: the shared one has the log of all other tests.
    let mysql = MySql::start(&[]).await;
    let database = unique::database_on(&mysql.url(), "dump").await;
    database.execute("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20))").await;
    database.execute("INSERT INTO t VALUES (1, 'before')").await;
    let dir = temporary_dir("dump");
    let mut command = Command::new(stack::example("binlog_dump"));
    command.arg(mysql.url()).stderr(Stdio::null());
    let mut process = Process::start("dump", command, dir.path()).expect("the program starts");
    let table = format!("{}.t", database.name());
    let rows = || -> Vec<Value> {
        let lines = process.log();
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["table"] == table.as_str() && line["op"] != "ddl").collect()
    };
    wait::until("the row that was there is shown", PATIENCE, || rows().len() == 1).await;
    database.execute("UPDATE t SET name = 'after' WHERE id = 1").await;
    wait::until("the change is shown", PATIENCE, || rows().len() == 2).await;
    let rows = rows();
    assert_eq!(rows[0]["after"], json!({"id": 1, "name": "before"}));
    assert_eq!((&rows[1]["op"], &rows[1]["after"]["name"]), (&json!("update"), &json!("after")));
    assert!(process.is_running(), "it waits for more");
    process.kill();

    let ended = run("binlog_dump", &["--until-now", &mysql.url()]);
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    assert!(ended.lines.iter().filter(|line| line["table"] == table.as_str()).count() >= 3);
    let refused = run("binlog_dump", &["mysql://unknown:secret-word@127.0.0.1:1/"]);
    assert_eq!((refused.code, refused.lines.len()), (Some(1), 0));
    assert!(!refused.errors.contains("secret-word"), "{}", refused.errors);
}

/// The one line of a server whose log cannot be followed so, and the exit code.
fn refusal(arguments: &[&str]) -> String {
    let ran = run("binlog_dump", arguments);
    assert_eq!((ran.code, ran.count("gap"), ran.lines.len()), (Some(3), 1, 1), "{:?} {}", ran.lines, ran.errors);
    ran.lines[0]["reason"].as_str().expect("a reason").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_followed_says_why_and_what_helps() {
    let mut mysql = MySql::start(&[]).await;
    let database = unique::database_on(&mysql.url(), "dump").await;
    database.execute("CREATE TABLE t (id INT PRIMARY KEY, doc TEXT)").await;
    mysql.purge_binlogs().await;
    let nothing = "00000000-0000-0000-0000-000000000001:1";
    let purged = refusal(&["--from", nothing, &mysql.url()]);
    assert!(purged.contains("has purged changes") && purged.contains("binlog_expire_logs_seconds"), "{purged}");
    let foreign = refusal(&["--from", "0-101-57", &mysql.url()]);
    assert!(foreign.contains("`0-101`"), "{foreign}");
    let column = ["--table", &format!("{}.t", database.name()), "--columns", "uid", "--as-mapping", &mysql.url()];
    let absent = refusal(&column);
    assert!(absent.contains("`uid`") && absent.contains("id, doc"), "{absent}");
    let unread = run("binlog_dump", &["--from", "yesterday", &mysql.url()]);
    assert_eq!((unread.code, unread.lines.len()), (Some(1), 0), "{}", unread.errors);
    drop(database);
    mysql.restart_with(&["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"]).await;
    let anonymous = refusal(&[&mysql.url()]);
    assert!(anonymous.contains("gtid_mode=OFF") && anonymous.contains("SET PERSIST gtid_mode=ON"), "{anonymous}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_mariadb_is_followed_from_its_own_form_of_a_position() {
    let server = MariaDb::start(Release::ALL[0], &[]).await;
    let database = unique::database_on(&server.url(), "dump").await;
    database.execute("CREATE TABLE t (id INT PRIMARY KEY)").await;
    let mut conn = database.connect().await;
    let before: String = conn.query_first("SELECT @@GLOBAL.gtid_binlog_pos").await.expect("a position").expect("one");
    conn.query_drop("INSERT INTO t VALUES (7)").await.expect("a row");
    let ran = run("binlog_dump", &["--from", &before, "--until-now", &server.url()]);
    assert_eq!((ran.code, ran.count("insert"), ran.count("ddl")), (Some(0), 1, 0), "{:?} {}", ran.lines, ran.errors);
    let ahead = format!("{}-1000000", before.rsplit_once('-').expect("a GTID").0);
    let unknown = refusal(&["--from", &ahead, &server.url()]);
    assert!(unknown.contains("does not have"), "{unknown}");
    let foreign = refusal(&["--from", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5", &server.url()]);
    assert!(foreign.contains("not a domain and server of MariaDB"), "{foreign}");
}
