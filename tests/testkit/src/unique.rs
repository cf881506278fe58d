//! Names that no other test uses, and a database that goes away with its test.

use mysql_async::{Conn, Opts, Pool, prelude::Queryable};

use crate::stack;

/// A name of its own: `prefix` and 16 hexadecimal digits, joined by `_`.
///
/// # Panics
/// If the system has no randomness.
pub fn name(prefix: &str) -> String {
    let number = getrandom::u64().expect("the system has randomness");
    format!("{prefix}_{number:016x}")
}

/// A namespace of a shared store that no other test uses.
///
/// # Panics
/// If the system has no randomness.
pub fn namespace() -> String {
    name("t")
}

/// A fresh, empty database on the shared MySQL, dropped together with the value.
///
/// # Panics
/// If there is no stack, or the server refuses.
pub async fn database(prefix: &str) -> Database {
    database_on(&stack::mysql_url(), prefix).await
}

/// A fresh, empty database on the server of `url`, dropped together with the value.
///
/// # Panics
/// If the server refuses.
pub async fn database_on(url: &str, prefix: &str) -> Database {
    let name = name(prefix);
    let database = Database { url: url_of_database(url, &name), server: url.to_owned(), name };
    let mut conn = connect(url).await;
    conn.query_drop(format!("CREATE DATABASE `{}`", database.name))
        .await
        .unwrap_or_else(|err| panic!("could not create the database {}: {err}", database.name));
    conn.disconnect().await.expect("the connection closes without an error");
    database
}

/// A database of one test. Dropping the value drops the database.
#[derive(Debug)]
pub struct Database {
    name: String,
    url: String,
    server: String,
}

impl Database {
    /// The name, unquoted: it needs no quotes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// URL of the server with this database chosen.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A connection with this database chosen.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn connect(&self) -> Conn {
        connect(&self.url).await
    }

    /// A pool of connections with this database chosen.
    pub fn pool(&self) -> Pool {
        Pool::new(self.url.as_str())
    }

    /// Runs one statement on a connection of its own.
    ///
    /// # Panics
    /// If the server refuses it.
    pub async fn execute(&self, sql: &str) {
        let mut conn = self.connect().await;
        conn.query_drop(sql).await.unwrap_or_else(|err| panic!("{sql}: {err}"));
        conn.disconnect().await.expect("the connection closes without an error");
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, sql) = (self.server.clone(), format!("DROP DATABASE IF EXISTS `{}`", self.name));
        // A test's runtime may be gone or busy by now: the statement runs on a runtime of its own.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut conn = Conn::new(Opts::from_url(&server)?).await?;
                conn.query_drop(sql).await?;
                conn.disconnect().await
            })?;
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        })
        .join();
        if let Ok(Err(err)) = dropped {
            eprintln!("the database {} stays: {err}", self.name);
        }
    }
}

pub(crate) async fn connect(url: &str) -> Conn {
    let opts = Opts::from_url(url).expect("the URL of MySQL is well-formed");
    Conn::new(opts).await.unwrap_or_else(|err| panic!("MySQL does not respond: {err}"))
}

/// `url` with `database` in place of whatever database it names; the query part stays.
fn url_of_database(url: &str, database: &str) -> String {
    let (address, query) = match url.split_once('?') {
        Some((address, query)) => (address, format!("?{query}")),
        None => (url, String::new()),
    };
    let authority = address.find("://").map_or(0, |at| at + 3);
    let end = address[authority..].find('/').map_or(address.len(), |at| authority + at);
    format!("{}/{database}{query}", &address[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_the_database_into_any_url() {
        for (url, expected) in [
            ("mysql://u:p@h:1", "mysql://u:p@h:1/d"),
            ("mysql://u:p@h:1/", "mysql://u:p@h:1/d"),
            ("mysql://u:p@h:1/old?require_ssl=true", "mysql://u:p@h:1/d?require_ssl=true"),
            ("mysql://u:p@h:1?require_ssl=true", "mysql://u:p@h:1/d?require_ssl=true"),
        ] {
            assert_eq!(url_of_database(url, "d"), expected);
        }
    }

    #[tokio::test]
    async fn a_database_lives_as_long_as_its_value() {
        const FIND: &str = "SELECT schema_name FROM information_schema.schemata WHERE schema_name = ?";
        let database = database("unique").await;
        database.execute("CREATE TABLE t (id INT PRIMARY KEY)").await;
        let name = database.name().to_owned();
        drop(database);
        let found: Option<String> =
            connect(&stack::mysql_url()).await.exec_first(FIND, (&name,)).await.expect("a reply");
        assert_eq!(found, None);
    }
}
