//! A table, a cache in front of it and an invalidator behind it, on real servers: what the pipeline's laws are tried on.

use std::sync::Arc;
use std::time::Duration;

use cachefront::binlog::{BinlogSource, read_position};
use cachefront::kafka::KafkaSource;
use cachefront::redis::RedisStore;
use cachefront::settings::{CacheSettings, CdcSettings};
use cachefront::store::Store;
use cachefront::{Cache, CacheBuilder, Cdc, CdcHandle, LoadCx, Loader, Position};
use mysql_async::{Pool, prelude::Queryable};

use crate::connector::{Connector, MARKER_COLUMN, Servers};
use crate::{unique, wait};

/// How long anything healthy may take, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One table `item(id, value)` of a database of its own, cached in a namespace of its own.
#[derive(Debug)]
pub struct Shop {
    /// The database; dropped with the shop.
    pub database: unique::Database,
    /// Connections for loads and writes.
    pub pool: Pool,
    /// The namespace in the store.
    pub namespace: String,
    /// The connector that carries the changes to Kafka; without one the binary log is read. Removed with the shop.
    pub connector: Option<Connector>,
    server_url: String,
    redis_url: String,
}

/// Loads `item.value` by id, and says what the server had executed before.
#[derive(Clone, Debug)]
pub struct Items {
    pool: Pool,
    /// How long the server sleeps between the read of the position and the return of the row.
    delay: Duration,
}

impl Items {
    /// Loads over connections of `pool`.
    pub fn new(pool: Pool) -> Self {
        Self { pool, delay: Duration::ZERO }
    }

    /// Every load takes at least this long: the row is read first, then the server sleeps.
    #[must_use]
    pub fn slow(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

impl Loader<u64, u64> for Items {
    type Error = mysql_async::Error;

    async fn load(&self, key: &u64, cx: &LoadCx) -> Result<Option<u64>, mysql_async::Error> {
        let mut conn = self.pool.get_conn().await?;
        if let Ok((position, server)) = read_position(&mut conn).await {
            cx.position(position);
            cx.origin(&server);
        }
        // In the text protocol: the server counts only such statements by their digest.
        let value = conn.query_first(format!("SELECT value FROM item WHERE id = {key}")).await?;
        if !self.delay.is_zero() {
            conn.exec_drop("DO SLEEP(?)", (self.delay.as_secs_f64(),)).await?;
        }
        Ok(value)
    }
}

impl Shop {
    /// A shop on the stack's servers, with `rows` rows of value 1.
    ///
    /// # Panics
    /// If the stack is missing.
    pub async fn open(rows: u64) -> Self {
        Self::open_on(&crate::stack::mysql_url(), &crate::stack::redis_url(), rows).await
    }

    /// A shop on these servers.
    ///
    /// # Panics
    /// If they refuse.
    pub async fn open_on(mysql_url: &str, redis_url: &str, rows: u64) -> Self {
        // A failed test then shows what the library said; a program that has a log of its own keeps it.
        let _ = tracing_subscriber::fmt()
            .with_test_writer()
            .with_env_filter(std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into()))
            .try_init();
        let database = unique::database_on(mysql_url, "shop").await;
        database.execute("CREATE TABLE item (id BIGINT UNSIGNED PRIMARY KEY, value BIGINT UNSIGNED NOT NULL)").await;
        let pool = database.pool();
        let mut conn = pool.get_conn().await.expect("a connection");
        for chunk in (1..=rows).collect::<Vec<_>>().chunks(1000) {
            let values: Vec<String> = chunk.iter().map(|id| format!("({id}, 1)")).collect();
            conn.query_drop(format!("INSERT INTO item VALUES {}", values.join(","))).await.expect("rows are inserted");
        }
        drop(conn);
        let namespace = unique::namespace();
        let (server_url, redis_url) = (mysql_url.to_owned(), redis_url.to_owned());
        Self { database, pool, namespace, connector: None, server_url, redis_url }
    }

    /// Lets the changes come by Debezium and Kafka from now on.
    ///
    /// # Panics
    /// If the connector does not run.
    #[must_use]
    pub async fn over_kafka(mut self, servers: &Servers) -> Self {
        self.connector = Some(Connector::start(servers, &self.database, &["item"]).await);
        self
    }

    /// The environment that the program `actor` works on the same shop with.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("SHOP_MYSQL_URL", self.database.url().to_owned()),
            ("SHOP_REDIS_URL", self.redis_url.clone()),
            ("SHOP_NAMESPACE", self.namespace.clone()),
            ("SHOP_DATABASE", self.database.name().to_owned()),
        ];
        if let Some(connector) = &self.connector {
            environment.push(("SHOP_KAFKA_BROKERS", connector.brokers().to_owned()));
            environment.push(("SHOP_TOPIC_PREFIX", connector.name().to_owned()));
        }
        environment
    }

    /// A handle to the store, on connections of its own, as another process has.
    ///
    /// # Panics
    /// If Redis is away.
    pub async fn store(&self) -> Arc<dyn Store> {
        connect_store(&self.redis_url, &self.namespace).await
    }

    /// A cache over a store handle of its own.
    ///
    /// # Panics
    /// If Redis is away.
    pub async fn cache(&self) -> Cache<u64, u64> {
        self.builder().await.build().expect("a cache")
    }

    /// A cache to be finished.
    ///
    /// # Panics
    /// If Redis is away.
    pub async fn builder(&self) -> CacheBuilder<u64, u64> {
        builder(self.store().await, self.database.name()).loader(Items::new(self.pool.clone()))
    }

    /// An invalidator of `cache` over the shop's source, to be finished.
    ///
    /// # Panics
    /// If MySQL is away.
    pub async fn cdc(&self, cache: &Cache<u64, u64>) -> Cdc {
        match &self.connector {
            Some(connector) => self.kafka_cdc(cache, connector).await,
            None => connect_cdc(self.database.url(), cache).await,
        }
    }

    async fn kafka_cdc(&self, cache: &Cache<u64, u64>, connector: &Connector) -> Cdc {
        let stream = Stream { brokers: connector.brokers(), prefix: connector.name(), database: self.database.name() };
        connect_kafka_cdc(self.database.url(), &stream, None, cache).await
    }

    /// A running invalidator of `cache`.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn run(&self, cache: &Cache<u64, u64>) -> CdcHandle {
        let cdc = self.cdc(cache).await.spawn().expect("an invalidator");
        cdc.ready().await.expect("the invalidator runs");
        cdc
    }

    /// Adds 1 to the value of `id`; returns what the server had executed after it.
    ///
    /// # Panics
    /// If MySQL refuses.
    pub async fn increment(&self, id: u64) -> Position {
        let mut conn = self.pool.get_conn().await.expect("a connection");
        conn.exec_drop("UPDATE item SET value = value + 1 WHERE id = ?", (id,)).await.expect("the row is updated");
        read_position(&mut conn).await.expect("a position").0
    }

    /// The value of `id` in the database.
    ///
    /// # Panics
    /// If MySQL refuses, or there is no such row.
    pub async fn value(&self, id: u64) -> u64 {
        let mut conn = self.pool.get_conn().await.expect("a connection");
        let value: Option<u64> = conn.exec_first("SELECT value FROM item WHERE id = ?", (id,)).await.expect("a row");
        value.expect("the row is there")
    }

    /// Waits until the store has applied everything that the database has executed.
    ///
    /// # Panics
    /// If that takes longer than [`PATIENCE`].
    pub async fn settle(&self) {
        let mut conn = self.pool.get_conn().await.expect("a connection");
        let (executed, _) = read_position(&mut conn).await.expect("a position");
        let store = self.store().await;
        wait::until_async("everything committed is applied to the store", PATIENCE, async || {
            let applied = applied(&*store).await;
            let done = applied.as_ref().is_some_and(|applied| applied.covers(&executed));
            if !done {
                tracing::debug!(?applied, ?executed, "not everything is applied yet");
            }
            done
        })
        .await;
    }

    /// The entries of the store that a read would be served from and that differ from the database. Call it at rest.
    ///
    /// # Panics
    /// If a server refuses.
    pub async fn stale(&self, cache: &Cache<u64, u64>) -> Audit {
        let mut conn = self.pool.get_conn().await.expect("a connection");
        let rows: Vec<(u64, u64)> = conn.query("SELECT id, value FROM item").await.expect("the rows");
        let mut audit = Audit::default();
        for (id, value) in rows {
            // The first look after a restart of the store may find a dead connection.
            let peek = wait::until_some("the store can be read", PATIENCE, async || cache.peek(&id).await.ok());
            match peek.await {
                Some(hit) if hit.value == Some(value) => audit.fresh += 1,
                Some(hit) => audit.stale.push((id, hit.value, value)),
                None => audit.absent += 1,
            }
        }
        audit
    }

    /// How many loads the database itself has counted.
    ///
    /// # Panics
    /// If the server keeps no statement statistics.
    pub async fn loads_counted(&self) -> u64 {
        let mut conn = crate::unique::connect(&self.server_url).await;
        let counted: Option<Option<u64>> = conn
            .exec_first(
                "SELECT CAST(SUM(count_star) AS UNSIGNED) FROM performance_schema.events_statements_summary_by_digest \
                 WHERE schema_name = ? AND digest_text LIKE 'SELECT VALUE FROM `item` WHERE%'",
                (self.database.name(),),
            )
            .await
            .expect("statement statistics");
        counted.flatten().unwrap_or_default()
    }
}

/// What an audit found.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// Entries that equal the row.
    pub fresh: usize,
    /// Rows without an entry.
    pub absent: usize,
    /// Id, cached value, database value.
    pub stale: Vec<(u64, Option<u64>, u64)>,
}

/// What the store has applied, if its meta is live.
pub async fn applied(store: &dyn Store) -> Option<Position> {
    let key = cachefront::StoreKey::encode("item", &0_u64).ok()?;
    let meta = store.get(&key).await.ok()?.meta?;
    meta.is_live().then(|| meta.applied().clone())
}

/// A store handle of its own.
///
/// # Panics
/// If Redis is away.
pub async fn connect_store(redis_url: &str, namespace: &str) -> Arc<dyn Store> {
    let store = RedisStore::builder(redis_url).namespace(namespace).connect().await;
    Arc::new(store.unwrap_or_else(|error| panic!("Redis at {redis_url}: {}", error.chain())))
}

/// The cache of `item`, without a loader.
pub fn builder(store: Arc<dyn Store>, database: &str) -> CacheBuilder<u64, u64> {
    Cache::builder("item").shared(store).settings(CacheSettings::default()).depends_on_columns(
        &format!("{database}.item"),
        &["id"],
        |row| Ok(vec![row.get::<u64>("id")?]),
    )
}

/// What a connector writes, and where.
#[derive(Clone, Copy, Debug)]
pub struct Stream<'a> {
    /// Kafka's addresses.
    pub brokers: &'a str,
    /// The connector's topic prefix.
    pub prefix: &'a str,
    /// The database that it reads.
    pub database: &'a str,
}

/// An invalidator over Debezium's events, as a member of `group` if there is one.
///
/// # Panics
/// If MySQL is away.
pub async fn connect_kafka_cdc(
    mysql_url: &str,
    stream: &Stream<'_>,
    group: Option<&str>,
    cache: &Cache<u64, u64>,
) -> Cdc {
    let binlog = BinlogSource::connect(mysql_url).await;
    let binlog = binlog.unwrap_or_else(|error| panic!("MySQL: {}", error.chain()));
    let marker = format!("{}.cachefront_heartbeat", stream.database);
    let mut source = KafkaSource::builder(stream.brokers, stream.prefix).marker(&marker, MARKER_COLUMN);
    if let Some(group) = group {
        source = source.group(group);
    }
    Cdc::new(source.build(binlog).expect("a source")).bind(cache).settings(impatient())
}

/// An invalidator over the binary log.
///
/// # Panics
/// If MySQL is away.
pub async fn connect_cdc(mysql_url: &str, cache: &Cache<u64, u64>) -> Cdc {
    let source = BinlogSource::connect(mysql_url).await;
    let source = source.unwrap_or_else(|error| panic!("the binary log: {}", error.chain()));
    Cdc::new(source).bind(cache).settings(impatient())
}

fn impatient() -> CdcSettings {
    let mut settings = CdcSettings::default();
    settings.retry_max = Duration::from_millis(500);
    settings
}
