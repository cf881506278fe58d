//! The builder that [`Cache::get_or_load`](crate::Cache::get_or_load) returns.

use std::borrow::Borrow;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::hash::Hash;
use std::sync::Arc;

use crate::cache::get::{Get, GetFuture, HitFuture};
use crate::cache::hit::Hit;
use crate::cache::inner::Inner;
use crate::cache::level::{Level, read_levels};
use crate::cache::plan::Work;
use crate::error::{BoxError, Result};
use crate::key::CacheKey;
use crate::loader::LoadCx;

/// A read with a loader of its own that has not begun yet; `.await` begins it. See
/// [`Cache::get_or_load`](crate::Cache::get_or_load).
///
/// The loader runs once at most. If its value does not satisfy the level, because the database that it read lags, the cache's
/// own loader is tried again; without one the read fails with [`Unproven`](crate::ErrorKind::Unproven).
///
/// ```
/// use std::time::Duration;
/// use cachefront::{Cache, Tier};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
/// let squares: Cache<u64, u64> = Cache::builder("squares").build()?;
/// let square = |_cx| async { Ok::<_, std::io::Error>(Some(49)) };
/// assert_eq!(squares.get_or_load(&7, square).await?, Some(49));
/// let hit = squares.get_or_load(&7, square).max_staleness(Duration::from_secs(1)).detailed().await?;
/// assert_eq!((hit.value, hit.tier), (Some(49), Tier::Shared));
/// # Ok::<(), cachefront::Error>(())
/// # }).expect("the example runs");
/// ```
#[must_use = "a read does nothing until it is awaited"]
pub struct GetOrLoad<'a, K, V, Q: ?Sized, F> {
    get: Get<'a, K, V, Q>,
    load: F,
}

/// A [`GetOrLoad`] that returns everything that is known about the value.
#[must_use = "a read does nothing until it is awaited"]
pub struct GetOrLoadDetailed<'a, K, V, Q: ?Sized, F>(GetOrLoad<'a, K, V, Q, F>);

impl<'a, K, V, Q: ?Sized, F> GetOrLoad<'a, K, V, Q, F> {
    pub(super) fn new(cache: &'a Arc<Inner<K, V>>, key: &'a Q, load: F) -> Self {
        Self { get: Get::new(cache, key), load }
    }

    read_levels!();

    fn level(&mut self) -> &mut Level {
        self.get.level()
    }

    /// Returns a [`Hit`]: the value, where it came from, and how fresh it is known to be.
    pub fn detailed(mut self) -> GetOrLoadDetailed<'a, K, V, Q, F> {
        self.level().detailed = true;
        GetOrLoadDetailed(self)
    }
}

impl<'a, K, V, Q, F, Fut, E> IntoFuture for GetOrLoad<'a, K, V, Q, F>
where
    K: Borrow<Q> + CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    F: FnOnce(Arc<LoadCx>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
    E: Into<BoxError>,
{
    type Output = Result<Option<V>>;
    type IntoFuture = GetFuture<V>;

    fn into_future(self) -> GetFuture<V> {
        match self.get.local() {
            Some(value) => GetFuture::ready(value),
            None => GetFuture::slow(self.get.slow(Work::once(self.load))),
        }
    }
}

impl<'a, K, V, Q, F, Fut, E> IntoFuture for GetOrLoadDetailed<'a, K, V, Q, F>
where
    K: Borrow<Q> + CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    F: FnOnce(Arc<LoadCx>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
    E: Into<BoxError>,
{
    type Output = Result<Hit<V>>;
    type IntoFuture = HitFuture<V>;

    fn into_future(self) -> HitFuture<V> {
        self.0.get.slow(Work::once(self.0.load))
    }
}

impl<K, V, Q: ?Sized, F> fmt::Debug for GetOrLoad<'_, K, V, Q, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetOrLoad").field("get", &self.get).finish_non_exhaustive()
    }
}

impl<K, V, Q: ?Sized, F> fmt::Debug for GetOrLoadDetailed<'_, K, V, Q, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetOrLoadDetailed").field("get", &self.0.get).finish_non_exhaustive()
    }
}
