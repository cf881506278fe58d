//! Debezium's events on Kafka as the source, Redis as the shared store: `cargo run --example redis_kafka`.
//!
//! Besides `CACHEFRONT_MYSQL_URL` (with a database) and `CACHEFRONT_REDIS_URL`, `CACHEFRONT_KAFKA_BROKERS` names Kafka
//! and `CACHEFRONT_TOPIC_PREFIX` the connector's `topic.prefix`. `docs/connector.md` describes the connector's
//! settings. Its connector must capture `<database>.example_users` (the simulator's captures other tables), and the table
//! `<database>.cachefront_heartbeat`: until then nothing says how far the changes have come, and the program waits.

#![expect(clippy::print_stdout, reason = "it shows what it does")]

#[path = "wiring/mod.rs"]
mod wiring;

use cachefront::Cdc;
use cachefront::binlog::BinlogSource;
use cachefront::kafka::KafkaSource;
use mysql_async::Pool;
use wiring::{Outcome, cache, database_of, prepare, setting, walk};

#[tokio::main]
async fn main() -> Outcome {
    let url = setting("CACHEFRONT_MYSQL_URL", "mysql://root@127.0.0.1/shop");
    let brokers = setting("CACHEFRONT_KAFKA_BROKERS", "127.0.0.1:29092");
    let prefix = setting("CACHEFRONT_TOPIC_PREFIX", "cachefront");
    let database = database_of(&url)?;
    let pool = Pool::from_url(&url)?;
    prepare(&pool).await?;
    let users = cache(&pool, &database).await?;
    // The server behind the connector, used for its position and to check whether commits can be read.
    let mysql = BinlogSource::connect(&url).await?;
    let source = KafkaSource::builder(&brokers, &prefix)
        .group("cachefront-wiring")
        .marker(&format!("{database}.cachefront_heartbeat"), "executed")
        .build(mysql)?;
    let cdc = Cdc::new(source).bind(&users);
    walk(users, cdc, pool).await
}
