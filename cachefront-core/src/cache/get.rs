//! The builder that [`Cache::get`](crate::Cache::get) returns: options by method, then `.await`.

use std::borrow::Borrow;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::cache::hit::Hit;
use crate::cache::inner::Inner;
use crate::cache::level::{Level, read_levels};
use crate::cache::plan::Work;
use crate::error::Result;
use crate::key::CacheKey;

/// A read in progress.
pub(super) type HitFuture<V> = Pin<Box<dyn Future<Output = Result<Hit<V>>> + Send + 'static>>;

/// A read that has not begun yet; `.await` begins it, as [`into_future`](IntoFuture::into_future) does. See
/// [`Cache::get`](crate::Cache::get).
///
/// ```
/// use std::time::Duration;
/// use cachefront::{Cache, Tier, loader_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
/// let users: Cache<u64, String> = Cache::builder("users")
///     .loader(loader_fn(|id: u64| async move { Ok::<_, std::io::Error>(Some(format!("user {id}"))) }))
///     .build()?;
///
/// // Eventual: as fresh as the newest applied invalidation.
/// let name = users.get(&7).await?;
/// // Bounded: current at some moment within the last second.
/// let recent = users.get(&7).max_staleness(Duration::from_secs(1)).detailed().await?;
/// assert_eq!((recent.value, recent.tier), (name, Tier::Shared));
/// // Strong: from the database.
/// assert_eq!(users.get(&7).bypass().detailed().await?.tier, Tier::Database);
/// # Ok::<(), cachefront::Error>(())
/// # }).expect("the example runs");
/// ```
#[must_use = "a read does nothing until it is awaited"]
pub struct Get<'a, K, V, Q: ?Sized> {
    cache: &'a Arc<Inner<K, V>>,
    key: &'a Q,
    /// `None` for a plain read, so that its hit in the process-local tier has no other cost.
    level: Option<Box<Level>>,
}

/// A read that returns everything that is known about the value; see [`Get::detailed`].
#[must_use = "a read does nothing until it is awaited"]
pub struct GetDetailed<'a, K, V, Q: ?Sized>(Get<'a, K, V, Q>);

impl<'a, K, V, Q: ?Sized> Get<'a, K, V, Q> {
    pub(super) fn new(cache: &'a Arc<Inner<K, V>>, key: &'a Q) -> Self {
        Self { cache, key, level: None }
    }

    read_levels!();

    /// Returns a [`Hit`]: the value, where it came from, and how fresh it is known to be.
    pub fn detailed(mut self) -> GetDetailed<'a, K, V, Q> {
        self.level().detailed = true;
        GetDetailed(self)
    }

    pub(super) fn level(&mut self) -> &mut Level {
        self.level.get_or_insert_default()
    }
}

impl<'a, K, V, Q> Get<'a, K, V, Q>
where
    K: Borrow<Q> + CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
{
    /// Returns the value of the process-local tier, for a read without requirements.
    #[inline(always)]
    pub(super) fn local(&self) -> Option<Option<V>> {
        if self.level.is_none() { self.cache.local_get(self.key) } else { None }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn slow(self, work: Work<V>) -> HitFuture<V> {
        let inner = Arc::clone(self.cache);
        let (key, level) = (self.key.to_owned(), self.level);
        if level.is_none()
            && let Some(joined) = inner.flight_after_miss(self.key)
        {
            return Box::pin(inner.read_joined(key, joined, work));
        }
        Box::pin(async move {
            let level = level.as_deref().unwrap_or(&Level::EVENTUAL);
            Inner::read(inner, key, level, work).await
        })
    }
}

impl<'a, K, V, Q> IntoFuture for Get<'a, K, V, Q>
where
    K: Borrow<Q> + CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
{
    type Output = Result<Option<V>>;
    type IntoFuture = GetFuture<V>;

    #[inline(always)]
    fn into_future(self) -> GetFuture<V> {
        match self.local() {
            Some(value) => GetFuture::ready(value),
            None => GetFuture::slow(self.slow(Work::Registered)),
        }
    }
}

impl<'a, K, V, Q> IntoFuture for GetDetailed<'a, K, V, Q>
where
    K: Borrow<Q> + CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
{
    type Output = Result<Hit<V>>;
    type IntoFuture = HitFuture<V>;

    fn into_future(self) -> HitFuture<V> {
        self.0.slow(Work::Registered)
    }
}

/// The future of a plain read. A hit in the process-local tier is ready at once, without an allocation: it is the value of the moment at
/// which the future was made. One that is kept for later may return a value that was invalidated since.
///
/// # Panics
/// If it is polled again after it has returned a value.
#[must_use = "a future does not run until it is polled"]
pub struct GetFuture<V>(State<V>);

enum State<V> {
    Ready(Option<Option<V>>),
    Slow(HitFuture<V>),
}

impl<V> GetFuture<V> {
    /// A read that found its value.
    #[inline(always)]
    pub(super) fn ready(value: Option<V>) -> Self {
        Self(State::Ready(Some(value)))
    }

    /// A read that is still to be made.
    pub(super) fn slow(read: HitFuture<V>) -> Self {
        Self(State::Slow(read))
    }
}

// A value is moved out as a whole and never pinned.
impl<V> Unpin for GetFuture<V> {}

impl<V> Future for GetFuture<V> {
    type Output = Result<Option<V>>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(value) => Poll::Ready(Ok(value.take().expect("a read that has ended is not polled again"))),
            State::Slow(read) => read.as_mut().poll(cx).map(|hit| hit.map(|hit| hit.value)),
        }
    }
}

impl<V> fmt::Debug for GetFuture<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GetFuture")
    }
}

impl<K, V, Q: ?Sized> fmt::Debug for Get<'_, K, V, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Get").field("level", &self.level).finish_non_exhaustive()
    }
}

impl<K, V, Q: ?Sized> fmt::Debug for GetDetailed<'_, K, V, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetDetailed").field("level", &self.0.level).finish_non_exhaustive()
    }
}
