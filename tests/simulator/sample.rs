//! Users for a database that has none, and databases of the time before users had a status.

use std::path::Path;

use cachefront_testkit::process::Simulator;
use cachefront_testkit::{unique, wait};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::client::Client;
use crate::world::{PATIENCE, Place, World, mysql};

async fn statuses(api: &Client) -> Vec<Value> {
    let users = api.get("/users").await.expect(200);
    users.as_array().expect("users").iter().map(|user| user["status"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_database_has_five_users_and_another_one_has_its_own() {
    for place in [Place::Embedded, Place::Servers] {
        let mut world = World::start(place, |launch| launch.env("CACHEFRONT_SAMPLE_USERS", "true")).await;
        assert_eq!(statuses(&world.api).await, ["active", "active", "trial", "suspended", "closed"], "{place:?}");
        world.api.delete("/users/1").await.expect(204);
        assert!(world.simulator.stop().await.success());
        world.simulator.restart().await;
        assert_eq!(statuses(&world.api).await.len(), 4, "{place:?}");
    }
}

/// What an earlier version has left: its table, its log and one of its triggers, and a row that is in the log.
const EARLIER: &str = "
    CREATE TABLE users (
        id INTEGER PRIMARY KEY AUTOINCREMENT CHECK (id > 0),
        name TEXT NOT NULL CHECK (typeof(name) = 'text' AND length(name) <= 255),
        email TEXT NOT NULL UNIQUE CHECK (typeof(email) = 'text' AND length(email) <= 255),
        updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'))
    );
    CREATE TABLE cachefront_log (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, tx INTEGER GENERATED ALWAYS AS (seq) VIRTUAL, tbl TEXT NOT NULL,
        op TEXT NOT NULL, before TEXT, after TEXT,
        at INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER) * 1000)
    );
    CREATE TRIGGER cachefront_users_insert AFTER INSERT ON users BEGIN
        INSERT INTO cachefront_log (tbl, op, after)
        VALUES ('users', 'insert',
            json_object('id', NEW.id, 'name', NEW.name, 'email', NEW.email, 'updated_at', NEW.updated_at));
    END;
    CREATE TABLE cachefront_audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, result TEXT NOT NULL
    );
    INSERT INTO cachefront_audit (at, who, what, result) VALUES ('2026-01-31T12:00:00.000000Z', 'admin', 'login', 'ok');
    INSERT INTO users (name, email) VALUES ('Ada', 'ada@x');";

fn connect(file: &Path) -> Connection {
    let connection = Connection::open(file).expect("the database's file");
    connection.busy_timeout(PATIENCE).expect("a timeout");
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_of_an_earlier_version_goes_on_with_a_status() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("simulator.sqlite3");
    connect(&file).execute_batch(EARLIER).expect("an earlier file");
    let launch = Simulator::role("up")
        .env("CACHEFRONT_DATA_DIR", directory.path().display().to_string())
        .env("CACHEFRONT_SAMPLE_USERS", "true")
        .env("CACHEFRONT_REFRESH_IN_PLACE", "true");
    let mut simulator = launch.start().await;
    let api = Client::new(simulator.api_url());
    assert_eq!(statuses(&api).await, ["active"]);
    let counted = connect(&file).query_row("SELECT times FROM cachefront_audit", [], |row| row.get::<_, i64>(0));
    assert_eq!(counted.expect("the entry is there, with a count"), 1);
    // Another program changes the status, and the change reaches the cache with it.
    follows(&api, async || {
        connect(&file).execute("UPDATE users SET status = 'closed' WHERE id = 1", []).expect("a change");
    })
    .await;
    let images = "SELECT json_extract(after, '$.status') FROM cachefront_log ORDER BY seq";
    let logged: Vec<Option<String>> = {
        let connection = connect(&file);
        let mut statement = connection.prepare(images).expect("a statement");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<Result<_, _>>().expect("texts")
    };
    assert_eq!(logged, [None, Some("closed".to_owned())]);
    // A second start finds nothing to do.
    assert!(simulator.stop().await.success());
    simulator.restart().await;
    assert_eq!(statuses(&api).await, ["closed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mysql_database_of_an_earlier_version_goes_on_with_a_status() {
    let database = unique::database("sim").await;
    let earlier = "CREATE TABLE users (
        id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
        name VARCHAR(255) NOT NULL,
        email VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL UNIQUE,
        updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)
    ) DEFAULT CHARACTER SET utf8mb4; INSERT INTO users (name, email) VALUES ('Ada', 'ada@x');
    CREATE TABLE cachefront_audit (
        id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, at TIMESTAMP(6) NOT NULL, who VARCHAR(255) NOT NULL,
        what VARCHAR(255) NOT NULL, result VARCHAR(255) NOT NULL
    ) DEFAULT CHARACTER SET utf8mb4";
    mysql(&database, earlier).await;
    let simulator = Simulator::role("up").on_servers(&database).start().await;
    let api = Client::new(simulator.api_url());
    assert_eq!(statuses(&api).await, ["active"]);
    mysql(&database, "SELECT times FROM cachefront_audit").await;
    follows(&api, async || mysql(&database, "UPDATE users SET status = 'closed' WHERE id = 1").await).await;
}

/// In CDC mode a cached user has the new status after the change, and no read is wrong.
async fn follows(api: &Client, change: impl AsyncFnOnce()) {
    wait::until_async("the user is cached", PATIENCE, async || {
        api.get("/users/1").await.expect(200)["status"] == "active" && api.state(1).await == "healthy"
    })
    .await;
    change().await;
    wait::until_async("the new status is read", PATIENCE, async || {
        api.get("/users/1").await.expect(200)["status"] == "closed" && api.state(1).await == "healthy"
    })
    .await;
    assert_eq!(api.look(1).await["cached"]["status"], json!("closed"));
}
