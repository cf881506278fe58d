//! What a process of a service is to be.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One cache of a process: `value` of the row whose column `columns[0]` is the key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CacheSpec {
    /// Its name.
    pub name: String,
    /// The table that it says it depends on, in place of `item`.
    pub table: Option<String>,
    /// The columns that it depends on, the key's first: `id` or `code`.
    pub columns: Vec<String>,
    /// Its `mapping_version`.
    pub version: u32,
}

impl CacheSpec {
    /// A cache that depends on these columns, under version 0.
    pub fn new(name: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self { name: name.to_owned(), table: None, columns, version: 0 }
    }

    /// The same under another version of its mapping.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// The same with another table.
    #[must_use]
    pub fn table(mut self, table: &str) -> Self {
        self.table = Some(table.to_owned());
        self
    }
}

/// How a process is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setup {
    /// URL of MySQL with the database chosen.
    pub mysql: String,
    /// URL of the source, if it is another one.
    pub log: Option<String>,
    /// The source is a replica's log, while loaders read the server that commits.
    pub log_of_replica: bool,
    /// URL of Redis.
    pub redis: String,
    /// The file of the CA that signed the certificates of Redis.
    pub redis_ca: Option<PathBuf>,
    /// The namespace; `None` gives the store none.
    pub namespace: Option<String>,
    /// Replicas of the store that must have an invalidation before it counts as applied.
    pub wait_replicas: usize,
    /// The database's name.
    pub database: String,
    /// The file of the ledger.
    pub ledger: PathBuf,
    /// Its caches.
    pub caches: Vec<CacheSpec>,
    /// The caches that its invalidator binds; `None` for all, an empty list for no invalidator.
    pub bind: Option<Vec<String>>,
    /// A commit passes its gate that much later.
    pub gate_lag_ms: u64,
    /// It drops the invalidator's handle as soon as the invalidator works.
    pub drop_handle: bool,
    /// It reads nothing by itself.
    pub quiet: bool,
    /// The source starts without tables that are missing.
    pub allow_missing_tables: bool,
    /// Plain readers of each cache, whose values' ages are reported.
    pub crowd: usize,
    /// What plain reads do in lag; the library's default if `None`.
    pub lag: Option<LagPolicy>,
    /// Maximum number of concurrent loads of each cache; 0 for the library's default.
    pub loads_max: usize,
    /// A load takes that much longer.
    pub load_ms: u64,
    /// Loaders read a replica.
    pub replica: Option<ReplicaSpec>,
}

/// The replica that loaders read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReplicaSpec {
    /// Its URL with the database chosen.
    pub url: String,
    /// What keeps old values out of the cache.
    pub guard: Guard,
    /// How long a load waits for its fence.
    pub fence_wait_ms: u64,
    /// How long a lease is valid.
    pub lease_ms: u64,
}

/// What keeps the old values of a replica out of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guard {
    /// The fence of each lease.
    Fence,
    /// The gate waits on the replica too.
    Gate,
    /// Nothing: the gate waits on the server that commits only.
    Nothing,
}

/// When plain reads fall back, and how.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct LagPolicy {
    /// The freshness objective.
    pub objective_ms: u64,
    /// The shortened time to live.
    pub ttl_ms: u64,
}
