//! How one world differs from another: which faults it has, and how often.

use std::time::Duration;

use crate::clock::millis;
use crate::features::Features;
use crate::lives::Lives;
use crate::random::Random;

/// No release declares the replica.
const UNDECLARED: usize = usize::MAX;

#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Shards of the store.
    pub(crate) shards: usize,
    /// Keys of each cache that are used.
    pub(crate) keys: u16,
    /// Maximum difference between a clock and the true time.
    pub(crate) skew_micros: i64,
    /// Clocks step beyond what is allowed: nothing is judged by time.
    pub(crate) wild_clocks: bool,
    pub(crate) heartbeat: Duration,
    /// How many of a thousand calls of the store are lost, on the way there or back.
    pub(crate) lost_calls: u64,
    /// How many of a thousand readings of the bus lose a message.
    pub(crate) lost_messages: u64,
    /// How often a replica of the store copies its primary, compared with other faults.
    pub(crate) copies: u64,
    /// How many of a thousand opened logs have a delay before their first change.
    pub(crate) slow_logs: u64,
    /// The log notices by itself that the probe found another server.
    pub(crate) careful_log: bool,
    /// How many of a thousand ways are long.
    pub(crate) long_ways: u64,
    /// A slow store's calls take up to this many milliseconds more.
    pub(crate) slow_max: u64,
    /// The source's end is known up to this many milliseconds later.
    pub(crate) slow_probe: u64,
    /// Faults of the store's servers: failover, restart.
    pub(crate) store_faults: bool,
    /// Each shard is on a node of its own, as in a cluster: shards are copied to their replicas each at its own time, fail
    /// over one by one, and come back from old files.
    pub(crate) nodes: bool,
    /// Entries and metas vanish.
    pub(crate) evictions: bool,
    /// Processes and invalidators come, go, freeze and die.
    pub(crate) churn: bool,
    /// More than one release runs.
    pub(crate) releases: bool,
    /// The database fails over.
    pub(crate) database_faults: bool,
    /// Commits become visible late.
    pub(crate) slow_visibility: bool,
    /// Some processes load from a replica, which lags.
    pub(crate) replica: bool,
    /// It is behind by the same time always, and shows commits one after the other as the primary does.
    pub(crate) steady_lag: bool,
    /// It may show a commit before the primary does.
    pub(crate) eager_replica: bool,
    /// The first release that knows of the replica: its caches declare it, and its gate waits on it. If none does, loads from it
    /// are not declared.
    pub(crate) replica_from: usize,
    /// The gate does not wait on the replica: its loads have fences.
    pub(crate) fenced: bool,
    /// InvalidationMode and mode are switched.
    pub(crate) switches: bool,
    /// Whole tables change, rows cannot be mapped, logs are purged.
    pub(crate) odd_changes: bool,
    /// How many of a thousand changes of a definition leave a table whose changes the log lacks.
    pub(crate) partial_tables: u64,
    /// Applications invalidate by themselves.
    pub(crate) manual: bool,
    pub(crate) lives: Lives,
    pub(crate) features: Features,
    pub(crate) batch_changes_max: usize,
    pub(crate) keys_per_command_max: usize,
    pub(crate) compared_keys_max: usize,
    pub(crate) loads_max: usize,
    /// Messages that the bus keeps.
    pub(crate) bus_kept: usize,
    /// Milliseconds between two operations, at most.
    pub(crate) pace: u64,
    /// Share of writes among the operations, of a thousand.
    pub(crate) writes: u64,
    /// Share of faults among the operations, of a thousand.
    pub(crate) faults: u64,
}

impl Config {
    pub(crate) fn draw(random: &Random) -> Self {
        let some = |in_a_thousand| random.chance(in_a_thousand);
        Self {
            shards: [1, 1, 2, 3][random.index(4)],
            keys: random.between(2, 6) as u16,
            skew_micros: 10_000,
            wild_clocks: some(150),
            heartbeat: millis([10, 20, 40][random.index(3)]),
            lost_calls: [0, 0, 2, 10][random.index(4)],
            lost_messages: [0, 5, 50][random.index(3)],
            copies: [40, 40, 5][random.index(3)],
            slow_logs: [250, 900][random.index(2)],
            careful_log: some(500),
            long_ways: [0, 20, 200][random.index(3)],
            slow_max: [10, 100, 1_000][random.index(3)],
            slow_probe: [0, 0, 50][random.index(3)],
            store_faults: some(500),
            nodes: some(300),
            evictions: some(400),
            churn: some(600),
            releases: some(400),
            database_faults: some(350),
            slow_visibility: some(500),
            replica: some(300),
            switches: some(250),
            odd_changes: some(400),
            partial_tables: [0, 300][random.index(2)],
            manual: some(300),
            lives: Lives::draw(random),
            batch_changes_max: [1, 3, 100][random.index(3)],
            keys_per_command_max: [1, 100][random.index(2)],
            compared_keys_max: [0, 1, 64][random.index(3)],
            loads_max: [1, 4, 64][random.index(3)],
            bus_kept: [4, 16, 64][random.index(3)],
            pace: [0, 1, 2, 4][random.index(4)],
            writes: [50, 150, 300][random.index(3)],
            faults: [3, 10, 40][random.index(3)],
            // Of no effect without a replica.
            replica_from: [0, 0, 1, UNDECLARED][random.index(4)],
            fenced: some(500),
            features: Features::draw(random),
            eager_replica: some(300),
            steady_lag: some(300),
        }
    }

    /// True if this release declares that it loads from the replica.
    pub(crate) fn declares_replica(&self, release: usize) -> bool {
        self.replica && release >= self.replica_from
    }

    /// True if processes of this release may load from the replica.
    pub(crate) fn uses_replica(&self, release: usize) -> bool {
        self.declares_replica(release) || self.is_undeclared()
    }

    /// True if no release declares the replica.
    pub(crate) fn is_undeclared(&self) -> bool {
        self.replica && self.replica_from == UNDECLARED
    }

    pub(crate) fn silence(&self) -> Duration {
        self.heartbeat * 8
    }

    pub(crate) fn process_clock(&self, random: &Random) -> i64 {
        let within = random.below(2 * self.skew_micros as u64 + 1) as i64 - self.skew_micros;
        if self.wild_clocks && random.chance(300) { within * 500 } else { within }
    }

    /// The store's clock times leases only.
    pub(crate) fn server_clock(&self, random: &Random) -> i64 {
        self.process_clock(random)
    }
}
