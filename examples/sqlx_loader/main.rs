//! A loader that uses sqlx, with tokens of its own writes: `cargo run --package sqlx-loader --example sqlx_loader`.
//!
//! `CACHEFRONT_MYSQL_URL` (with a database) and `CACHEFRONT_REDIS_URL` name the servers.

#![expect(clippy::print_stdout, reason = "it shows what it does")]

use std::time::Duration;

use cachefront::binlog::BinlogSource;
use cachefront::redis::RedisStore;
use cachefront::{BoxError, Cache, Cdc, LoadCx, Loader, Local, Position};
use sqlx::mysql::{MySqlConnection, MySqlPool};

/// Loads names, one by one or many in one statement.
struct Names(MySqlPool);

impl Loader<u64, String> for Names {
    type Error = BoxError;

    async fn load(&self, id: &u64, cx: &LoadCx) -> Result<Option<String>, BoxError> {
        let mut conn = self.0.acquire().await?;
        report_position(&mut conn, cx).await?;
        let name = sqlx::query_scalar("SELECT name FROM example_names WHERE id = ?").bind(*id);
        Ok(name.fetch_optional(&mut *conn).await?)
    }

    async fn load_many(&self, ids: &[u64], cx: &LoadCx) -> Result<std::collections::HashMap<u64, String>, BoxError> {
        let mut conn = self.0.acquire().await?;
        report_position(&mut conn, cx).await?;
        let mut sql = sqlx::QueryBuilder::new("SELECT id, name FROM example_names WHERE id IN (");
        let mut values = sql.separated(", ");
        for id in ids {
            values.push_bind(*id);
        }
        values.push_unseparated(")");
        let rows: Vec<(u64, String)> = sql.build_query_as().fetch_all(&mut *conn).await?;
        Ok(rows.into_iter().collect())
    }
}

/// Reports what the server had executed before the SELECT, and which server it is, on the connection that reads: so each value
/// proves which commits it contains. It must not run in a transaction, whose snapshot may be older.
async fn report_position(conn: &mut MySqlConnection, cx: &LoadCx) -> Result<(), BoxError> {
    let (executed, server): (String, String) =
        sqlx::query_as("SELECT @@GLOBAL.gtid_executed, @@GLOBAL.server_uuid").fetch_one(conn).await?;
    cx.position(executed.parse()?);
    cx.origin(&server);
    Ok(())
}

/// Writes a name, and returns a token: a read with it contains this write, in any process.
async fn rename(pool: &MySqlPool, id: u64, name: &str) -> Result<Position, BoxError> {
    let mut conn = pool.acquire().await?;
    let update = sqlx::query("UPDATE example_names SET name = ? WHERE id = ?").bind(name).bind(id);
    update.execute(&mut *conn).await?;
    let executed: String = sqlx::query_scalar("SELECT @@GLOBAL.gtid_executed").fetch_one(&mut *conn).await?;
    Ok(executed.parse()?)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let url = setting("CACHEFRONT_MYSQL_URL", "mysql://root@127.0.0.1/shop");
    let redis = setting("CACHEFRONT_REDIS_URL", "redis://127.0.0.1/");
    let pool = MySqlPool::connect(&url).await?;
    let database: String = sqlx::query_scalar("SELECT DATABASE()").fetch_one(&pool).await?;
    for sql in [
        "CREATE TABLE IF NOT EXISTS example_names (id BIGINT UNSIGNED PRIMARY KEY, name VARCHAR(255) NOT NULL)",
        "REPLACE INTO example_names VALUES (1, 'Ada'), (2, 'Grace')",
    ] {
        sqlx::query(sql).execute(&pool).await?;
    }

    let names: Cache<u64, String> = Cache::builder("names")
        .local(Local::max_weight(64 << 20).ttl(Duration::from_secs(30)))
        .shared(RedisStore::builder(&redis).namespace(format!("sqlx-{database}")).connect().await?)
        .loader(Names(pool.clone()))
        .depends_on_columns(&format!("{database}.example_names"), &["id"], |row| Ok(vec![row.get::<u64>("id")?]))
        .build()?;
    let cdc = Cdc::new(BinlogSource::connect(&url).await?).bind(&names).spawn()?;
    cdc.ready().await?;

    println!("many: {:?}", names.get_many([1, 2, 3]).await?);
    println!("now cached: {:?}", names.get(&1).detailed().await?.tier);
    let token = rename(&pool, 1, "Ada King").await?;
    println!("with its token: {:?}", names.get(&1).at_least(&token).await?);

    cdc.shutdown().await;
    pool.close().await;
    Ok(())
}
