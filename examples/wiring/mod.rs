//! Shared by `redis_binlog` and `redis_kafka`: a table of users, its loader, its cache, and a walk through the reads.

use std::time::Duration;

use cachefront::binlog::{commit_token, read_position};
use cachefront::redis::RedisStore;
use cachefront::{BoxError, Cache, Cdc, LoadCx, Loader, Local};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Pool, params};

/// Result of an example; `main` prints the error and exits.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Returns a setting from the environment, or its default.
pub(crate) fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Returns the database that the URL names.
pub(crate) fn database_of(url: &str) -> Outcome<String> {
    let name = mysql_async::Opts::from_url(url)?.db_name().map(str::to_owned);
    name.ok_or_else(|| "CACHEFRONT_MYSQL_URL must name a database: mysql://user:password@host/shop".into())
}

/// Loads a name. Reports the server's executed position from before the read, so that each value proves which commits
/// it contains.
pub(crate) struct Names(pub(crate) Pool);

impl Loader<u64, String> for Names {
    type Error = BoxError;

    async fn load(&self, id: &u64, cx: &LoadCx) -> Result<Option<String>, BoxError> {
        let mut conn = self.0.get_conn().await?;
        let (executed, server) = read_position(&mut conn).await?;
        cx.position(executed);
        cx.origin(&server);
        Ok(conn.exec_first("SELECT name FROM example_users WHERE id = :id", params! { "id" => *id }).await?)
    }
}

/// Creates the table and its first row.
pub(crate) async fn prepare(pool: &Pool) -> Outcome {
    let mut conn = pool.get_conn().await?;
    conn.query_drop(
        "CREATE TABLE IF NOT EXISTS example_users (id BIGINT UNSIGNED PRIMARY KEY, name VARCHAR(255) NOT NULL)",
    )
    .await?;
    conn.query_drop("REPLACE INTO example_users VALUES (1, 'Ada')").await?;
    Ok(())
}

/// Builds the cache: a process-local tier, Redis as the shared tier, the loader, and the rows that its keys depend on.
pub(crate) async fn cache(pool: &Pool, database: &str) -> Outcome<Cache<u64, String>> {
    let redis = setting("CACHEFRONT_REDIS_URL", "redis://127.0.0.1/");
    let store = RedisStore::builder(&redis).namespace(format!("wiring-{database}")).connect().await?;
    Ok(Cache::builder("users")
        .local(Local::max_weight(64 << 20).ttl(Duration::from_secs(30)))
        .shared(store)
        .ttl(Duration::from_secs(3600))
        .loader(Names(pool.clone()))
        .depends_on_columns(&format!("{database}.example_users"), &["id"], |row| Ok(vec![row.get::<u64>("id")?]))
        .build()?)
}

/// Reads a row, writes it in the database only, and reads the new value.
pub(crate) async fn walk(users: Cache<u64, String>, cdc: Cdc, pool: Pool) -> Outcome {
    let cdc = cdc.spawn()?;
    cdc.ready().await?;
    println!("first read: {:?}", users.get(&1).await?);
    println!("now cached: {:?}", users.get(&1).detailed().await?.tier);

    let token = rename(&mut pool.get_conn().await?, 1, "Ada King").await?;
    // Contains the write even if its event has not arrived yet.
    println!("with its token: {:?}", users.get(&1).at_least(&token).await?);
    // Was current at some moment of the last second; if no entry can prove that, it is read from the database.
    let hit = users.get(&1).max_staleness(Duration::from_secs(1)).detailed().await?;
    println!("bounded: {:?} from {:?}, at most {:?} old", hit.value, hit.tier, hit.staleness_bound);
    cdc.shutdown().await;
    pool.disconnect().await?;
    Ok(())
}

/// Changes a row. Returns a token that covers everything committed so far.
async fn rename(conn: &mut Conn, id: u64, name: &str) -> Outcome<cachefront::Position> {
    conn.exec_drop("UPDATE example_users SET name = :name WHERE id = :id", params! { "name" => name, "id" => id })
        .await?;
    Ok(commit_token(conn).await?)
}
