//! A snapshot of what a cache did in this process.

use serde::Serialize;

use crate::cache::inner::Inner;

/// What a cache did in this process since it was built; see [`Cache::stats`](crate::Cache::stats). For dashboards the
/// [`metrics`](crate::metrics) have more.
///
/// ```
/// use cachefront::{Cache, CacheSettings, Local, loader_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
/// let users: Cache<u64, String> = Cache::builder("users")
///     .local(Local::max_weight(64 << 20))
///     .settings(CacheSettings::default().with_count_local_hits(true))
///     .loader(loader_fn(|id: u64| async move { Ok::<_, std::io::Error>(Some(format!("user {id}"))) }))
///     .build()?;
/// for _ in 0..3 {
///     users.get(&7).await?;
/// }
/// let stats = users.stats();
/// assert_eq!((stats.misses, stats.loads, stats.hits_local), (1, 1, Some(2)));
/// assert_eq!(stats.local_entries, 1);
/// # Ok::<(), cachefront::Error>(())
/// # }).expect("the example runs");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CacheStats {
    /// Values from the process-local tier. `None` unless
    /// [`count_local_hits`](crate::CacheSettings::count_local_hits) is set: such a hit costs less than counting it.
    pub hits_local: Option<u64>,
    /// Values from the shared store.
    pub hits_shared: u64,
    /// Reads that found no value in the store.
    pub misses: u64,
    /// Reads that found a value in the store which did not prove their level, or was older than the freshness objective allows.
    pub unproven: u64,
    /// Reads that found a value which one of its tags had invalidated.
    pub tag_invalidated: u64,
    /// Reads in [`ServingMode::Shadow`](crate::ServingMode::Shadow) whose cached value was that of the database.
    pub shadow_equal: u64,
    /// Reads in that mode whose cached value was another one.
    pub shadow_different: u64,
    /// Reads that went to the database without the tiers.
    pub bypassed: u64,
    /// Values loaded from the database, absent rows and unchanged values included.
    pub loads: u64,
    /// Loads that failed or timed out.
    pub load_errors: u64,
    /// Entries that the process-local tier evicted because it was full.
    pub evictions: u64,
    /// Entries in the process-local tier, with those that were invalidated and not replaced yet.
    pub local_entries: u64,
    /// Weight of these entries in bytes, as [`Local::max_weight`](crate::Local::max_weight) counts it.
    pub local_bytes: u64,
}

impl<K: std::hash::Hash + Eq, V: Clone> Inner<K, V> {
    /// Returns the counts so far.
    pub(super) fn stats(&self) -> CacheStats {
        let metrics = &self.metrics;
        let (entries, bytes, evictions) = self.local.as_ref().map(|tier| tier.usage()).unwrap_or_default();
        CacheStats {
            hits_local: self.settings.count_local_hits.then(|| metrics.hits_local()),
            hits_shared: metrics.hit_shared.total(),
            misses: metrics.miss.total(),
            unproven: metrics.unproven.total() + metrics.outdated.total(),
            tag_invalidated: metrics.tag_invalidated.total(),
            shadow_equal: metrics.shadow_total("equal"),
            shadow_different: metrics.shadow_total("different"),
            bypassed: metrics.bypass.total(),
            loads: metrics.load_ok.total() + metrics.load_absent.total() + metrics.load_unchanged.total(),
            load_errors: metrics.load_failed.total(),
            evictions,
            local_entries: entries,
            local_bytes: bytes,
        }
    }
}
