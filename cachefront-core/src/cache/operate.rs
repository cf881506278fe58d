//! What an operator does with a cache at run time: serving modes, an explanation of one key, a shutdown that drains.

use std::hash::Hash;
use std::sync::Arc;

use crate::cache::builder::CacheBuilder;
use crate::cache::explanation::Explanation;
use crate::cache::handle::Cache;
use crate::cache::observer::CacheObserver;
use crate::cache::serving::ServingMode;
use crate::error::Result;
use crate::key::CacheKey;

impl<K, V> Cache<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Sets what reads of this cache do with its tiers, in this process: from the next read on, and without a restart.
    ///
    /// Default: [`ServingMode::Normal`].
    ///
    /// ```
    /// use cachefront::{Cache, ServingMode, Tier, loader_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
    /// let users: Cache<u64, String> = Cache::builder("users")
    ///     .loader(loader_fn(|id: u64| async move { Ok::<_, std::io::Error>(Some(format!("user {id}"))) }))
    ///     .build()?;
    /// users.get(&7).await?;
    /// users.set_serving_mode(ServingMode::Shadow);
    /// assert_eq!(users.get(&7).detailed().await?.tier, Tier::Database);
    /// assert_eq!(users.stats().shadow_equal, 1);
    /// # Ok::<(), cachefront::Error>(())
    /// # }).expect("the example runs");
    /// ```
    pub fn set_serving_mode(&self, mode: ServingMode) {
        self.inner.subscription.set_serving(mode);
    }

    /// Returns what reads of this cache do with its tiers.
    pub fn serving_mode(&self) -> ServingMode {
        self.inner.subscription.serving()
    }

    /// Explains what a plain read of `key` would do now, and why: what each tier has, under which generation and position,
    /// who may load it, and the reason for a load. It changes nothing: no load, no lease, no effect on evictions.
    ///
    /// A store that cannot be reached is part of the explanation.
    ///
    /// ```
    /// use cachefront::{Cache, LoadReason, Tier, loader_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
    /// let users: Cache<u64, String> = Cache::builder("users")
    ///     .loader(loader_fn(|id: u64| async move { Ok::<_, std::io::Error>(Some(format!("user {id}"))) }))
    ///     .build()?;
    /// assert_eq!(users.explain(&7).await?.would_load, Some(LoadReason::Absent));
    /// users.get(&7).await?;
    /// let explanation = users.explain(&7).await?;
    /// assert_eq!((explanation.served_from, explanation.would_load), (Some(Tier::Shared), None));
    /// println!("{explanation}");
    /// # Ok::<(), cachefront::Error>(())
    /// # }).expect("the example runs");
    /// ```
    ///
    /// # Errors
    /// [`Config`](crate::ErrorKind::Config) if the key has no text form.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn explain(&self, key: &K) -> Result<Explanation> {
        self.inner.explain(key).await
    }

    /// Shuts the cache down, in this process and for all clones of the handle: no load begins any more, and those in progress,
    /// refreshes in the background included, may end, for up to [`drain_max`](crate::CacheSettings::drain_max). What they
    /// loaded is stored for other processes. Cached values are served as before.
    ///
    /// It is not necessary: dropping the last handle ends the cache's tasks, and a load in progress ends with its runtime. It
    /// comes after the last request was served, before the invalidator's [`shutdown`](crate::CdcHandle::shutdown).
    ///
    /// # Errors
    /// [`Timeout`](crate::ErrorKind::Timeout) if loads still run after that time. Reads that would load return
    /// [`Closed`](crate::ErrorKind::Closed) from now on.
    ///
    /// # Cancel safety
    /// Cancel safe: the cache stays shut down, and another call waits again.
    pub async fn shutdown(&self) -> Result<()> {
        let inner = &*self.inner;
        inner.tasks.drain(&inner.shared.cache, &*inner.clock, inner.settings.drain_max).await
    }
}

impl<K, V, C> CacheBuilder<K, V, C> {
    /// Sets what is notified of reads and loads. Default: none.
    pub fn observer(mut self, observer: Arc<impl CacheObserver<K>>) -> Self {
        self.observer = Some(observer);
        self
    }
}
