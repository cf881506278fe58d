//! Hooks of the read side.

use std::time::Duration;

use crate::cache::hit::Tier;
use crate::error::Error;

/// Is notified of what a cache does, for logs, audits and statistics of your own; see
/// [`CacheBuilder::observer`](crate::CacheBuilder::observer). Metrics need no observer.
///
/// # Contract
/// Methods run in the task of a read or of a load: they must not block, and must not panic. All of them do nothing by default.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use cachefront::{Cache, CacheObserver, LoadReport, loader_fn};
///
/// /// Counts slow loads.
/// #[derive(Default)]
/// struct SlowLoads(AtomicU64);
///
/// impl CacheObserver<u64> for SlowLoads {
///     fn loaded(&self, key: &u64, report: &LoadReport) {
///         if report.took.as_millis() > 100 {
///             println!("the load of {key} took {:?}", report.took);
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
/// let slow = Arc::new(SlowLoads::default());
/// let users: Cache<u64, String> = Cache::builder("users")
///     .observer(Arc::clone(&slow))
///     .loader(loader_fn(|id: u64| async move { Ok::<_, std::io::Error>(Some(format!("user {id}"))) }))
///     .build()?;
/// users.get(&7).await?;
/// assert_eq!(slow.0.load(Ordering::Relaxed), 0);
/// # Ok::<(), cachefront::Error>(())
/// # }).expect("the example runs");
/// ```
pub trait CacheObserver<K>: Send + Sync + 'static {
    /// Returns true if plain hits in the process-local tier are to be reported too, which costs each of them a copy of its
    /// key and the call. It is asked once, when the cache is built.
    ///
    /// Default: false.
    fn wants_local_hits(&self) -> bool {
        false
    }

    /// A read had this outcome in the tiers. A read that loads several times has several.
    fn read(&self, _key: &K, _outcome: ReadOutcome) {}

    /// A load of this key ended: of a read, or in the background.
    fn loaded(&self, _key: &K, _report: &LoadReport) {}

    /// In [`ServingMode::Shadow`](crate::ServingMode::Shadow) a cached value was not the one of the database.
    fn differed(&self, _key: &K) {}
}

/// The outcome of a read in the tiers: the label `outcome` of `cachefront_reads_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReadOutcome {
    /// A value of this tier was served: process-local or shared.
    Hit(Tier),
    /// There was no value that may be served.
    Miss,
    /// There was a value that did not prove the read's level.
    Unproven,
    /// There was a value that was older than the freshness objective allows.
    Outdated,
    /// There was a value that one of its tags has invalidated.
    TagInvalidated,
    /// A stale value was served, because its load failed or was slow.
    Stale,
    /// The tiers were not read.
    Bypass,
}

impl ReadOutcome {
    /// Returns the outcome as one lower-case word, for labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit(tier) => tier.as_str(),
            Self::Miss => "miss",
            Self::Unproven => "unproven",
            Self::Outdated => "outdated",
            Self::TagInvalidated => "tag_invalidated",
            Self::Stale => "stale",
            Self::Bypass => "bypass",
        }
    }
}

/// What is known about a load that has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoadReport {
    /// How long it took, with the wait for a permit and a lease, and without the fill.
    pub took: Duration,
    /// True if the database has no such row.
    pub absent: bool,
    /// True if the shared store accepted the value. It refuses one whose key was invalidated since the load began.
    pub stored: bool,
    /// The error, if it failed.
    pub error: Option<Error>,
}
