//! Which faults a configuration has, and which mechanism is removed from it.

/// A configuration. The default one has every mechanism and no fault but evictions.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Number of commits, up to 4.
    pub commits: u8,
    /// The keys that each commit changes, as bits.
    pub touches: [u8; 4],
    /// Number of keys.
    pub keys: u8,
    /// Number of readers, and the loads that each begins.
    pub readers: usize,
    /// Loads of each reader.
    pub loads: u8,
    /// Evictions of entries.
    pub evictions: u8,
    /// A batch may have two commits.
    pub batches_of_two: bool,
    /// Commits of different rows become visible out of order (`binlog_order_commits=OFF`).
    pub unordered: bool,
    /// Loaders may read a replica that lags.
    pub replica: bool,
    /// The store fails over once, and forgets.
    pub failover: bool,
    /// Losses of changes.
    pub gaps: u8,
    /// The meta is evicted.
    pub meta_evictions: u8,
    /// A second invalidator takes the term.
    pub second: bool,
    /// Restarts of an invalidator.
    pub crashes: u8,
    /// Invalidations by hand, after COMMIT.
    pub by_hand: u8,
    /// One command of a batch fails.
    pub failures: u8,
    /// Readers load valid values again.
    pub early: bool,
    /// Ticks of the clock; 0 if nothing is proven by time.
    pub time: u8,

    /// A batch waits until its commits are visible on the primary.
    pub gate: bool,
    /// A batch waits until its commits are visible on the replica.
    pub gate_on_replica: bool,
    /// A fill must cover what was sent before its lease.
    pub fence: bool,
    /// The high watermark is raised before anything is sent.
    pub raises: bool,
    /// While something was sent that `applied` does not cover no fence is taken.
    pub fence_waits: bool,
    /// After a takeover everything up to the source's end counts as sent.
    pub fence_to_end: bool,
    /// A fill needs its lease.
    pub lease: bool,
    /// A lease has a token of its own, and not one for each reader.
    pub token_per_attempt: bool,
    /// An invalidation revokes the lease, also of an entry that survives.
    pub breaks_lease: bool,
    /// An entry that has seen the commit survives.
    pub survives: bool,
    /// Loaders report their position.
    pub positions: bool,
    /// A position is rounded down to what is complete.
    pub exact_positions: bool,
    /// `applied` is written after the invalidations.
    pub applied_last: bool,
    /// `applied` is written only if every command before it succeeded.
    pub applied_after_replies: bool,
    /// Writes compare generation, term and applied order.
    pub compares: bool,
    /// A batch ends with its connection.
    pub one_connection: bool,
    /// A reader proves with the meta that it reads with the value, and not with an earlier one.
    pub one_reading: bool,
    /// A flush reads the source's head before it writes a new generation.
    pub head_first: bool,
    /// The head of a flush is waited for at the gate.
    pub head_at_gate: bool,
    /// A fill carries the generation of its lease, and not the current one.
    pub generation_of_lease: bool,
    /// A generation is never used again.
    pub new_generations: bool,
    /// The source time is the clock before the source's end was asked for.
    pub asked_before: bool,
    /// A load's time is that before its SELECT, and proves nothing of a replica.
    pub load_times: LoadTimes,
    /// What an invalidation that a failover takes back counts for: only what survives.
    pub judges_survivors: bool,
}

/// What a load's time proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadTimes {
    /// The clock before the SELECT, on the primary only.
    BeforeSelect,
    /// The clock at the fill.
    AtFill,
    /// The clock before the SELECT, on a replica too.
    OfReplica,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            commits: 2,
            touches: [1; 4],
            keys: 1,
            readers: 2,
            loads: 2,
            evictions: 1,
            batches_of_two: false,
            unordered: false,
            replica: false,
            failover: false,
            gaps: 0,
            meta_evictions: 0,
            second: false,
            crashes: 0,
            by_hand: 0,
            failures: 0,
            early: false,
            time: 0,
            gate: true,
            gate_on_replica: false,
            fence: false,
            raises: true,
            fence_waits: true,
            fence_to_end: true,
            lease: true,
            token_per_attempt: true,
            breaks_lease: true,
            survives: true,
            positions: true,
            exact_positions: true,
            applied_last: true,
            applied_after_replies: true,
            compares: true,
            one_connection: true,
            one_reading: true,
            head_first: true,
            head_at_gate: true,
            generation_of_lease: true,
            new_generations: true,
            asked_before: true,
            load_times: LoadTimes::BeforeSelect,
            judges_survivors: true,
        }
    }
}

impl Config {
    /// With loads from a replica, kept right by fences.
    pub fn fenced() -> Self {
        Self { replica: true, fence: true, ..Self::default() }
    }

    /// The number of the last of these commits that changed the key; 0 for none.
    pub fn version(&self, commits: u8, key: u8) -> u8 {
        let changes = |commit: &u8| commits >> (commit - 1) & 1 == 1 && self.changes(*commit, key);
        (1..=self.commits).rev().find(changes).unwrap_or_default()
    }

    /// True if the commit changed the key.
    pub fn changes(&self, commit: u8, key: u8) -> bool {
        self.touches[usize::from(commit) - 1] >> key & 1 == 1
    }

    /// True if nothing may return an older value than was invalidated: a flush reaches a reader by its generation, which is no
    /// invalidation of a key.
    pub fn judges_invalidated(&self) -> bool {
        self.gaps == 0 && self.meta_evictions == 0
    }
}
