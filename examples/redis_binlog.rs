//! MySQL's binary log as the source, Redis as the shared store: `cargo run --example redis_binlog`.
//!
//! `CACHEFRONT_MYSQL_URL` (with a database) and `CACHEFRONT_REDIS_URL` name the servers.

#![expect(clippy::print_stdout, reason = "it shows what it does")]

#[path = "wiring/mod.rs"]
mod wiring;

use cachefront::Cdc;
use cachefront::binlog::BinlogSource;
use mysql_async::Pool;
use wiring::{Outcome, cache, database_of, prepare, setting, walk};

#[tokio::main]
async fn main() -> Outcome {
    let url = setting("CACHEFRONT_MYSQL_URL", "mysql://root@127.0.0.1/shop");
    let database = database_of(&url)?;
    let pool = Pool::from_url(&url)?;
    prepare(&pool).await?;
    let users = cache(&pool, &database).await?;
    // Follows the log from the position in the store. A commit is applied once every loader can read it.
    let cdc = Cdc::new(BinlogSource::connect(&url).await?).bind(&users);
    walk(users, cdc, pool).await
}
