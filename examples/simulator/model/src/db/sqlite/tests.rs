use std::sync::Arc;

use cachefront::clock::SystemClock;
use rusqlite::Connection;

use super::*;
use crate::domain::CHOSEN_ID_MAX;

fn database() -> (tempfile::TempDir, Sqlite) {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Sqlite::open(directory.path(), Arc::new(SystemClock::new())).expect("a database");
    (directory, database)
}

fn input(name: &str, email: &str) -> UserInput {
    UserInput { name: name.into(), email: email.into(), status: None }
}

/// A connection as another program has it: none of our settings.
fn stranger(database: &Sqlite) -> Connection {
    Connection::open(database.file().path()).expect("a connection")
}

fn log(connection: &Connection) -> Vec<(i64, String, Option<String>, Option<String>)> {
    let mut statement = connection
        .prepare("SELECT seq, op, json_extract(before, '$.email'), json_extract(after, '$.email') FROM cachefront_log")
        .expect("a statement");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
    rows.expect("rows").collect::<Result<_, _>>().expect("rows")
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test]
async fn users_are_written_read_and_listed() {
    let (_directory, database) = database();
    let ada = database.create(None, &input("Ada", "ada@x")).await.expect("created");
    assert_eq!(ada.value.updated_at.len(), "2026-01-31T12:00:00.000000Z".len());
    let taken = database.create(None, &input("Other", "ada@x")).await.expect_err("taken");
    assert!(matches!(taken, DbError::EmailTaken));
    let grace = database.create(None, &input("Grace", "grace@x")).await.expect("created");

    let seen = database.get(ada.value.id).await.expect("read");
    assert_eq!(seen.value.as_ref(), Some(&ada.value));
    assert!(seen.position.expect("a position").covers(&grace.token.expect("a token")));
    assert_eq!(database.get_by_email("ada@x").await.expect("read").value, Some(ada.value.clone()));
    assert_eq!(database.get_by_email("ADA@x").await.expect("read").value, None);
    assert_eq!(database.list(ada.value.id, 10).await.expect("list"), std::slice::from_ref(&grace.value));

    assert!(matches!(database.update(grace.value.id, &input("G", "ada@x")).await, Err(DbError::EmailTaken)));
    assert!(database.update(99, &input("x", "y")).await.expect("no error").is_none());
    assert!(database.update(u64::MAX, &input("x", "y")).await.expect("no error").is_none());
    assert!(database.delete(ada.value.id).await.expect("deleted").is_some());
    assert!(database.delete(ada.value.id).await.expect("no error").is_none());
}

#[tokio::test]
async fn changes_by_any_program_are_logged_once_with_both_images() {
    let (_directory, database) = database();
    let stranger = stranger(&database);
    stranger
        .execute_batch(
            "INSERT INTO users (id, name, email) VALUES (7, 'Ada', 'a@x');
             UPDATE users SET email = 'b@x' WHERE id = 7;
             UPDATE users SET updated_at = '2020-01-01 00:00:00' WHERE id = 7;
             BEGIN; DELETE FROM users WHERE id = 7; ROLLBACK;
             DELETE FROM users;",
        )
        .expect("changes");
    let expected = [
        (1, "insert".to_owned(), None, text("a@x")),
        (2, "update".to_owned(), text("a@x"), text("b@x")),
        (3, "update".to_owned(), text("b@x"), text("b@x")),
        (4, "delete".to_owned(), text("b@x"), None),
    ];
    assert_eq!(log(&stranger), expected);
}

#[tokio::test]
async fn a_program_that_does_not_know_of_updated_at_moves_it() {
    let (_directory, database) = database();
    let ada = database.create(None, &input("Ada", "ada@x")).await.expect("created").value;
    stranger(&database)
        .execute_batch("UPDATE users SET updated_at = '2020-01-01 00:00:00' WHERE id = 1; UPDATE users SET name = 'B';")
        .expect("changes");
    let read = database.get(ada.id).await.expect("read").value.expect("a row");
    assert!(read.updated_at.as_str() > "2021", "{}", read.updated_at);
    assert_eq!(read.name, "B");
}

#[tokio::test]
async fn rows_that_a_replace_removes_are_in_the_log() {
    let (_directory, database) = database();
    let stranger = stranger(&database);
    stranger
        .execute_batch(
            "INSERT INTO users (id, name, email) VALUES (1, 'A', 'a@x'), (2, 'B', 'b@x'), (3, 'C', 'c@x');
             DELETE FROM cachefront_log;
             INSERT OR REPLACE INTO users (id, name, email) VALUES (1, 'A2', 'b@x');
             UPDATE OR REPLACE users SET email = 'c@x' WHERE id = 1;",
        )
        .expect("changes");
    let mentioned: Vec<String> =
        log(&stranger).into_iter().flat_map(|(_, _, before, after)| [before, after]).flatten().collect();
    for email in ["a@x", "b@x", "c@x"] {
        assert!(mentioned.iter().any(|mention| mention == email), "{email} is missing in {mentioned:?}");
    }
    let left: i64 = stranger.query_row("SELECT count(*) FROM users", [], |row| row.get(0)).expect("a count");
    assert_eq!(left, 1);
}

#[tokio::test]
async fn the_log_is_bounded_even_without_a_reader() {
    let (_directory, database) = database();
    let stranger = stranger(&database);
    stranger
        .execute_batch(
            "INSERT INTO users (id, name, email) VALUES (1, 'A', 'a@x');
             UPDATE sqlite_sequence SET seq = 200000 WHERE name = 'cachefront_log';
             UPDATE users SET name = 'B';",
        )
        .expect("changes");
    assert_eq!(log(&stranger).into_iter().map(|row| row.0).collect::<Vec<_>>(), [200_001]);
}

#[tokio::test]
async fn the_mode_is_kept_and_the_environment_wins_once() {
    let (directory, database) = database();
    assert_eq!(database.adopt_mode(None).await.expect("mode").mode, Mode::Cdc);
    let changed = database.set_mode(Mode::Ttl, Some(&[1])).await.expect("changed");
    assert_eq!((changed.mode, changed.version), (Mode::Ttl, 2));
    assert!(matches!(database.set_mode(Mode::Cdc, Some(&[1])).await, Err(DbError::VersionMismatch)));
    assert_eq!(database.set_mode(Mode::Ttl, None).await.expect("same").version, 2);
    drop(database);

    let again = Sqlite::open(directory.path(), Arc::new(SystemClock::new())).expect("a database");
    assert_eq!(again.adopt_mode(None).await.expect("mode"), changed);
    assert_eq!(again.adopt_mode(Some(Mode::Cdc)).await.expect("mode").mode, Mode::Cdc);
    again.set_mode(Mode::Ttl, None).await.expect("changed");
    assert_eq!(again.adopt_mode(Some(Mode::Cdc)).await.expect("mode").mode, Mode::Ttl);
}

#[tokio::test]
async fn the_last_id_is_given_once_and_then_there_is_none() {
    let (_directory, database) = database();
    assert_eq!(database.create(Some(CHOSEN_ID_MAX - 1), &input("A", "a@x")).await.expect("created").value.name, "A");
    assert_eq!(database.create(None, &input("B", "b@x")).await.expect("created").value.id, CHOSEN_ID_MAX);
    assert!(matches!(database.create(None, &input("C", "b@x")).await, Err(DbError::NoIdLeft | DbError::EmailTaken)));
    assert!(matches!(database.create(None, &input("C", "c@x")).await, Err(DbError::NoIdLeft)));
    // Another program uses the last id that there is.
    stranger(&database)
        .execute_batch(&format!("INSERT INTO users (id, name, email) VALUES ({}, 'D', 'd@x')", i64::MAX))
        .expect("a row");
    assert!(matches!(database.create(None, &input("C", "c@x")).await, Err(DbError::NoIdLeft)));
    assert_eq!(database.create(Some(7), &input("C", "c@x")).await.expect("a free one").value.id, 7);
    assert_eq!(database.list(0, 10).await.expect("a list").len(), 4);
}

#[tokio::test]
async fn an_id_can_be_chosen_once() {
    let (_directory, database) = database();
    assert_eq!(database.create(Some(42), &input("Ada", "ada@x")).await.expect("created").value.id, 42);
    assert!(matches!(database.create(Some(42), &input("Eve", "eve@x")).await, Err(DbError::IdTaken)));
    assert!(matches!(database.create(Some(43), &input("Eve", "ada@x")).await, Err(DbError::EmailTaken)));
    // What was refused is in no log, and the next id comes after the chosen one.
    assert_eq!(log(&stranger(&database)), [(1, "insert".to_owned(), None, text("ada@x"))]);
    assert_eq!(database.create(None, &input("Eve", "eve@x")).await.expect("created").value.id, 43);
}

/// Other users of the machine must not read the key that signs sessions.
#[cfg(unix)]
#[test]
fn the_files_are_the_users_alone_also_those_of_an_earlier_version() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a folder");
    let place = directory.path().join("data");
    let file = SqliteFile::create(&place).expect("a file");
    let mode = |path: &std::path::Path| path.metadata().expect("it exists").permissions().mode() & 0o777;
    assert_eq!((mode(&place), mode(file.path())), (0o700, 0o600));
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).expect("the user's own");
    let connection = file.connect().expect("a connection");
    SqliteFile::create(&place).expect("the same file");
    connection.execute("INSERT INTO users (name, email) VALUES ('a', 'b')", []).expect("a row");
    for file in std::fs::read_dir(&place).expect("a folder").map(|entry| entry.expect("a file").path()) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}
