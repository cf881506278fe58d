//! A state of the model: a few bytes, so that millions of them can be compared.

/// A set of commits: bit `n` is commit `n + 1`.
pub type Commits = u8;

/// The position of a value whose loader did not report one.
pub const UNKNOWN: Commits = u8::MAX;

/// The first `count` commits.
pub fn first(count: u8) -> Commits {
    ((1_u16 << count) - 1) as Commits
}

/// An entry of the store. An absent one is the default.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Entry {
    /// It has a value.
    pub fresh: bool,
    /// The number of the last commit that the value has.
    pub value: u8,
    /// What the loader's server had executed, or [`UNKNOWN`].
    pub position: Commits,
    /// The generation that the reader knew before its load.
    pub generation: u8,
    /// The clock before the load; 0 if it proves nothing.
    pub filled_at: u8,
    /// The lease's token, 0 for none.
    pub token: u8,
}

/// The store's meta.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Meta {
    /// False if it was evicted, or never written.
    pub present: bool,
    /// The namespace's generation, and that of its one cache.
    pub generation: u8,
    /// The invalidator's term.
    pub term: u8,
    /// The high watermark.
    pub high: u8,
    /// The order of `applied`.
    pub order: u8,
    /// What is applied.
    pub applied: Commits,
    /// The source time; 0 if unknown.
    pub source_time: u8,
}

/// What a failover of the store takes back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Store {
    /// The entries of two keys.
    pub entries: [Entry; 2],
    /// The meta.
    pub meta: Meta,
    /// The last commit of each key whose invalidation was acknowledged: what a later read must not be older than.
    pub invalidated: [u8; 2],
}

/// A reader, and the load that it has in progress.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Reader {
    /// See [`crate::reader`].
    pub step: u8,
    /// Loads that it may still begin.
    pub left: u8,
    /// The key that is loaded.
    pub key: u8,
    /// The server that is read: 0 the primary, 1 the replica.
    pub server: u8,
    /// The lease's token.
    pub token: u8,
    /// The generation when the lease was granted.
    pub generation: u8,
    /// What the server must have executed.
    pub fence: Commits,
    /// What the server had executed before the SELECT.
    pub executed: Commits,
    /// The loaded value.
    pub value: u8,
    /// The clock before the load.
    pub clock: u8,
    /// A meta that was read earlier: only where metas are sampled.
    pub sample: Meta,
}

/// An invalidator's session with the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Invalidator {
    /// See [`crate::invalidator`].
    pub step: u8,
    /// True while it runs.
    pub on: bool,
    /// The highest order that was used or seen.
    pub next: u8,
    /// What the session expects the meta to be.
    pub generation: u8,
    /// Its term.
    pub term: u8,
    /// The order of `applied` that it expects.
    pub order: u8,
    /// What it has applied.
    pub applied: Commits,
    /// The last commit of the batch in hand.
    pub batch: u8,
    /// The keys of the batch that are not invalidated yet.
    pub keys: u8,
    /// What may have been sent and is not applied: no fence may be taken.
    pub sent: Commits,
    /// The head of a flush.
    pub head: Commits,
    /// The clock before the source's end was asked for, and that end.
    pub asked: [u8; 2],
}

/// A state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    /// Commits that are in the log.
    pub logged: u8,
    /// Commits that the primary shows.
    pub visible: Commits,
    /// Commits that the replica shows.
    pub replicated: u8,
    /// The true time.
    pub now: u8,
    /// When each commit became visible.
    pub visible_at: [u8; 4],
    /// The store's primary.
    pub store: Store,
    /// What its replica had when it lost the connection.
    pub copy: Store,
    /// 0: the replica follows, 1: it has stopped at `copy`, 2: it has taken over.
    pub failover: u8,
    /// The readers.
    pub readers: [Reader; 3],
    /// The invalidators.
    pub invalidators: [Invalidator; 2],
    /// Entries that may still be evicted.
    pub evictions: u8,
    /// Metas that may still be evicted.
    pub meta_evictions: u8,
    /// Losses of changes that may still occur.
    pub gaps: u8,
    /// Restarts of an invalidator that may still occur.
    pub crashes: u8,
    /// Invalidations by hand that may still occur.
    pub by_hand: u8,
    /// Failing commands that may still occur.
    pub failures: u8,
    /// The last generation that was used.
    pub generations: u8,
    /// What is wrong.
    pub wrong: Option<Wrong>,
}

/// Why a state is bad.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Wrong {
    /// E': older than an invalidation before it.
    OlderThanInvalidated,
    /// S: the proven position is not in the value.
    NotInValue,
    /// B: the value was not current at the proven time.
    NotCurrent,
}
