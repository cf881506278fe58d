//! The service: its servers, its table, its namespace.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cachefront::Position;
use cachefront::redis::RedisStore;
use cachefront::store::Store;
use mysql_async::prelude::Queryable;
use tempfile::TempDir;

use super::setup::{CacheSpec, Setup};
use super::writer::Writer;
use crate::server::temporary_dir;
use crate::shop::{PATIENCE, applied};
use crate::{stack, unique, wait};

/// Rows of the table.
pub const ROWS: u64 = 8;

/// What is added to a row's id to make its code.
pub const CODES: u64 = 1_000;

/// The servers, the table and the namespace of a service.
#[derive(Debug)]
pub struct Fleet {
    /// The database with the table `item(id, code, value)`.
    pub database: unique::Database,
    /// The namespace in the store.
    pub namespace: String,
    /// Where processes find MySQL; without a database.
    pub mysql_url: String,
    /// Where invalidators find MySQL, if that is another URL.
    pub log_url: Option<String>,
    /// Where processes find Redis.
    pub redis_url: String,
    /// The file of the CA that signed the certificates of Redis, with TLS.
    pub redis_ca: Option<PathBuf>,
    /// [`Setup::wait_replicas`] of the processes: 0.
    pub wait_replicas: usize,
    dir: TempDir,
}

impl Fleet {
    /// On the stack's servers.
    ///
    /// # Panics
    /// If the stack is missing.
    pub async fn open() -> Self {
        Self::open_on(&stack::mysql_url(), &stack::redis_url()).await
    }

    /// On these servers.
    ///
    /// # Panics
    /// If they refuse.
    pub async fn open_on(mysql_url: &str, redis_url: &str) -> Self {
        let _ = tracing_subscriber::fmt()
            .with_test_writer()
            .with_env_filter(std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".into()))
            .try_init();
        let database = unique::database_on(mysql_url, "fleet").await;
        database
            .execute(
                "CREATE TABLE item (id BIGINT UNSIGNED PRIMARY KEY, code BIGINT UNSIGNED NOT NULL UNIQUE, \
                 value BIGINT UNSIGNED NOT NULL)",
            )
            .await;
        let rows: Vec<String> = (1..=ROWS).map(|id| format!("({id}, {}, 1)", id + CODES)).collect();
        database.execute(&format!("INSERT INTO item VALUES {}", rows.join(","))).await;
        Self {
            database,
            namespace: unique::namespace(),
            mysql_url: mysql_url.to_owned(),
            log_url: None,
            redis_url: redis_url.to_owned(),
            redis_ca: None,
            wait_replicas: 0,
            dir: temporary_dir("fleet"),
        }
    }

    /// A process with these caches, to be started.
    pub fn setup(&self, caches: &[CacheSpec]) -> Setup {
        Setup {
            mysql: self.mysql_database(),
            log: self.log_url.clone(),
            log_of_replica: false,
            redis: self.redis_url.clone(),
            redis_ca: self.redis_ca.clone(),
            namespace: Some(self.namespace.clone()),
            wait_replicas: self.wait_replicas,
            database: self.database.name().to_owned(),
            ledger: self.ledger().to_owned(),
            caches: caches.to_vec(),
            bind: None,
            gate_lag_ms: 0,
            drop_handle: false,
            quiet: false,
            allow_missing_tables: false,
            crowd: 0,
            lag: None,
            loads_max: 0,
            load_ms: 0,
            replica: None,
        }
    }

    /// URL of the table's database, for processes.
    pub fn mysql_database(&self) -> String {
        format!("{}/{}", self.mysql_url.trim_end_matches('/'), self.database.name())
    }

    fn ledger(&self) -> std::path::PathBuf {
        self.dir.path().join("ledger")
    }

    /// The folder for what processes write.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Begins to write to all rows.
    pub fn write(&self) -> Writer {
        Writer::start(&self.mysql_database(), &self.ledger(), ROWS)
    }

    /// Begins to write to all rows, with this pause between two commits.
    pub fn write_paced(&self, pace: Duration) -> Writer {
        Writer::paced(&self.mysql_database(), &self.ledger(), ROWS, pace)
    }

    /// A handle to the store.
    ///
    /// # Panics
    /// If Redis is away.
    pub async fn store(&self) -> Arc<dyn Store> {
        let store = self.connect().await;
        Arc::new(store.unwrap_or_else(|error| panic!("Redis at {}: {}", self.redis_url, error.chain())))
    }

    async fn connect(&self) -> cachefront::Result<RedisStore> {
        let mut builder = RedisStore::builder(&self.redis_url).namespace(&*self.namespace);
        if let Some(ca) = &self.redis_ca {
            builder = builder.tls_ca_file(ca);
        }
        builder.connect().await
    }

    /// Everything that the database has executed.
    ///
    /// # Panics
    /// If MySQL is away.
    pub async fn executed(&self) -> Position {
        let mut conn = unique::connect(&self.mysql_url).await;
        let executed: Option<String> = conn.query_first("SELECT @@GLOBAL.gtid_executed").await.expect("an answer");
        executed.expect("a set").parse().expect("a position")
    }

    /// Waits until the store has applied everything that the database has executed.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn settle(&self) {
        let executed = self.executed().await;
        let store = wait::until_some("the store is there", PATIENCE, async || self.connect().await.ok()).await;
        wait::until_async("everything committed is applied to the store", PATIENCE, async || {
            applied(&store).await.is_some_and(|applied| applied.covers(&executed))
        })
        .await;
    }
}
