//! A few users for a database that has none, so that there is something to look at.

use crate::domain::{Database, DbError, Status, UserInput};

/// The text that is kept once users were there: a user who deletes them all does not get them back.
const KEPT: &str = "users.sample";

const USERS: [(&str, &str, Status); 5] = [
    // The guided demo changes this one.
    ("Ada Lovelace", "ada@demo.example", Status::Active),
    ("Grace Hopper", "grace@demo.example", Status::Active),
    ("Alan Turing", "alan@demo.example", Status::Trial),
    ("Edsger Dijkstra", "edsger@demo.example", Status::Suspended),
    ("Barbara Liskov", "barbara@demo.example", Status::Closed),
];

/// Adds the users, unless there are others or were these before.
///
/// # Errors
/// Those of the database. What was added stays.
pub async fn add_users(database: &dyn Database) -> Result<(), DbError> {
    if database.kept(KEPT).await?.is_some() {
        return Ok(());
    }
    if database.list(0, 1).await?.is_empty() {
        for (name, email, status) in USERS {
            let input = UserInput { name: name.into(), email: email.into(), status: Some(status) };
            match database.create(None, &input).await {
                // Another process adds them at the same moment.
                Ok(_) | Err(DbError::EmailTaken) => {}
                Err(error) => return Err(error),
            }
        }
    }
    database.keep(KEPT, "added", None).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cachefront::clock::SystemClock;

    use super::*;
    use crate::db::sqlite::Sqlite;

    #[tokio::test]
    async fn users_are_added_once_and_only_where_there_are_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Sqlite::open(directory.path(), Arc::new(SystemClock::new())).expect("a database");
        let statuses = async || {
            let users = database.list(0, 10).await.expect("a list");
            users.into_iter().map(|user| user.status).collect::<Vec<_>>()
        };
        add_users(&database).await.expect("added");
        assert_eq!(statuses().await, ["active", "active", "trial", "suspended", "closed"]);
        for id in 1..=5 {
            database.delete(id).await.expect("deleted");
        }
        add_users(&database).await.expect("nothing to do");
        assert_eq!(statuses().await, [""; 0]);

        let directory = tempfile::tempdir().expect("a directory");
        let database = Sqlite::open(directory.path(), Arc::new(SystemClock::new())).expect("a database");
        let input = UserInput { name: "Ada".into(), email: "ada@x".into(), status: None };
        database.create(None, &input).await.expect("created");
        add_users(&database).await.expect("nothing to do");
        assert_eq!(database.list(0, 10).await.expect("a list").len(), 1);
    }
}
