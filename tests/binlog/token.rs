//! The token of one's own commit: one GTID where the server says which, and never an older one.

use cachefront_binlog::{commit_token, own_commit_token, read_upper_bound};
use cachefront_core::Position;
use cachefront_core::clock::{Entropy, SystemEntropy};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, TxOpts};

use crate::server::Database;

const ITEM: &str = "CREATE TABLE item (id INT PRIMARY KEY, value INT NOT NULL)";

/// The number of transactions of a position.
fn transactions(position: &Position) -> u64 {
    position.ranges().flat_map(|(_, ranges)| ranges.iter().map(|(start, end)| end - start + 1)).sum()
}

/// What the server has executed since `before`, which is more than one commit if other tests write too.
async fn executed(conn: &mut Conn) -> Position {
    commit_token(conn).await.expect("a token")
}

/// Runs the statements, and checks that the token is one GTID that was executed by them.
async fn is_own(conn: &mut Conn, statements: &[&str]) -> Position {
    let before = executed(conn).await;
    for statement in statements {
        conn.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let token = own_commit_token(conn).await.expect("a token");
    assert_eq!(transactions(&token), 1, "{statements:?}: {token}");
    assert!(!before.covers(&token), "{statements:?}: {token} was there before");
    assert!(executed(conn).await.covers(&token), "{statements:?}: {token} was not executed");
    token
}

#[tokio::test]
async fn the_token_of_a_commit_is_its_own_gtid() {
    let mut db = Database::create().await;
    db.run(&[
        ITEM,
        "CREATE PROCEDURE twice() BEGIN INSERT INTO item VALUES (5, 0); INSERT INTO item VALUES (6, 0); END",
    ])
    .await;
    let mut conn = db.another().await;
    let mut session = Position::new();
    for statements in [
        &["INSERT INTO item VALUES (1, 0)"][..],
        &["BEGIN", "UPDATE item SET value = 1", "INSERT INTO item VALUES (2, 0)", "COMMIT"],
        &["CALL twice()"],
        &["ALTER TABLE item COMMENT 'tables too'"],
        &["SET autocommit = 0", "UPDATE item SET value = 2", "COMMIT"],
        &[
            "SET autocommit = 1",
            "SET SESSION gtid_next = 'AUTOMATIC:a_tag_of_the_longest_kind_012345'",
            "DELETE FROM item",
        ],
    ] {
        let token = is_own(&mut conn, statements).await;
        assert!(token.to_string().len() <= 90, "{token}");
        session.union(&token);
    }
    assert_eq!(transactions(&session), 6, "a session has all of its commits, and no others: {session}");
}

#[tokio::test]
async fn the_drivers_transactions_and_prepared_statements_have_tokens() {
    let mut db = Database::create().await;
    db.run(&[ITEM]).await;
    let mut conn = db.another().await;
    for id in 1..=3 {
        let before = executed(&mut conn).await;
        conn.exec_drop("INSERT INTO item VALUES (?, 0)", (id,)).await.expect("inserted");
        let one = own_commit_token(&mut conn).await.expect("a token");
        let mut transaction = conn.start_transaction(TxOpts::default()).await.expect("a transaction");
        transaction.exec_drop("UPDATE item SET value = value + 1 WHERE id = ?", (id,)).await.expect("updated");
        transaction.commit().await.expect("committed");
        let other = own_commit_token(&mut conn).await.expect("a token");
        for token in [&one, &other] {
            assert_eq!(transactions(token), 1, "{token}");
            assert!(!before.covers(token));
        }
        assert_ne!(one, other);
    }
}

/// The statement that makes the server record what its connection does, or stop to.
fn record(instrumented: &str) -> String {
    format!(
        "UPDATE performance_schema.threads SET INSTRUMENTED = '{instrumented}' WHERE THREAD_ID = PS_CURRENT_THREAD_ID()"
    )
}

/// What the server does not say is never an older commit: the token is everything executed then.
#[tokio::test]
async fn a_commit_that_is_not_known_gives_everything_executed() {
    let mut db = Database::create().await;
    db.run(&[ITEM]).await;
    let mut conn = db.another().await;
    is_own(&mut conn, &["INSERT INTO item VALUES (1, 0)"]).await;
    for statements in [
        // Another statement came in between.
        &["INSERT INTO item VALUES (2, 0)", "SELECT COUNT(*) FROM item"][..],
        &["XA START 'x'", "INSERT INTO item VALUES (3, 0)", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'"],
        // Nothing was changed, or the change was rolled back.
        &["UPDATE item SET value = value"],
        &["BEGIN", "DELETE FROM item", "ROLLBACK"],
        // The server records neither the commit nor the request for its token; then the request, and not the commit.
        &["INSERT INTO item VALUES (4, 0)", &record("NO"), "INSERT INTO item VALUES (5, 0)"],
        &[
            &record("YES"),
            "INSERT INTO item VALUES (6, 0)",
            &record("NO"),
            "INSERT INTO item VALUES (7, 0)",
            &record("YES"),
        ],
    ] {
        db.run(&["INSERT INTO item VALUES (100, 0)", "DELETE FROM item WHERE id = 100"]).await;
        for statement in statements {
            conn.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        let executed = executed(&mut db.conn).await;
        // It is read after that, so it may contain more.
        let token = own_commit_token(&mut conn).await.expect("a token");
        assert!(token.covers(&executed), "{statements:?}: {token} lacks something of {executed}");
    }
}

#[tokio::test]
async fn a_user_without_the_rights_gets_everything_executed() {
    let mut db = Database::create().await;
    db.run(&[ITEM]).await;
    let grant = format!("INSERT ON {}.item", db.name());
    let user = db.user(&grant).await;
    let mut conn = Conn::from_url(&user.url).await.expect("a connection");
    let insert = format!("INSERT INTO {}.item VALUES", db.name());
    conn.query_drop(format!("{insert} (1, 0)")).await.expect("inserted");
    let executed = executed(&mut db.conn).await;
    assert!(own_commit_token(&mut conn).await.expect("a token").covers(&executed));
    for table in ["events_transactions_current", "events_statements_current"] {
        db.run(&[&format!("GRANT SELECT ON performance_schema.{table} TO {}", user.name)]).await;
    }
    is_own(&mut conn, &[&format!("{insert} (2, 0)")]).await;
}

#[tokio::test]
async fn an_upper_bound_has_commits_that_are_not_executed_yet() {
    let mut db = Database::create().await;
    let random = format!("{:032x}", SystemEntropy.random_u128());
    let other = format!("{}-71ca-11e1-9e33-{}", &random[..8], &random[8..20]);
    let owned = [format!("{other}:7"), format!("{other}:9"), format!("{other}:sale:3")];
    let mut owners = Vec::new();
    for gtid in &owned {
        // A session owns the GTID of the transaction that it is about to commit.
        let mut conn = db.another().await;
        conn.query_drop(format!("SET SESSION gtid_next = '{gtid}'")).await.expect("owned");
        owners.push(conn);
    }
    let owned: Position = owned.join(",").parse().expect("a position");
    let executed = executed(&mut db.conn).await;
    let (bound, server) = read_upper_bound(&mut db.conn).await.expect("an upper bound");
    assert!(!executed.covers(&owned), "{executed} has {owned}");
    assert!(bound.covers(&owned) && bound.covers(&executed), "{bound} lacks some of {owned} or {executed}");
    let uuid: Option<String> = db.conn.query_first("SELECT @@GLOBAL.server_uuid").await.expect("a UUID");
    assert_eq!(Some(server), uuid);
    for mut conn in owners {
        conn.query_drop("ROLLBACK").await.expect("given up");
    }
}
