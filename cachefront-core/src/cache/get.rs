//! The builder that [`Cache::get`](crate::Cache::get) returns: options by method, then `.await`.

use std::borrow::Borrow;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::cache::hit::Hit;
use crate::cache::inner::Inner;
use crate::cache::level::Level;
use crate::cache::plan::Work;
use crate::error::Result;
use crate::key::CacheKey;
use crate::position::Position;

/// A read that has not begun yet; `.await` begins it. See [`Cache::get`](crate::Cache::get).
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

    /// Requires a value that contains the commits of `token`: read-your-writes, also across processes that hand on their
    /// tokens. A value without proof is loaded from the database. Default: no token.
    pub fn at_least(mut self, token: &Position) -> Self {
        self.level().at_least = Some(token.clone());
        self
    }

    /// Requires a value that was current at some moment within the last `duration`. A value without proof is loaded from
    /// the database. Default: no bound but the time to live.
    pub fn max_staleness(mut self, duration: Duration) -> Self {
        self.level().max_staleness = Some(duration);
        self
    }

    /// Reads the database without the tiers, and does not cache the value: the strong level. Tokens and bounds are not
    /// checked. Default: the tiers are read first.
    pub fn bypass(mut self) -> Self {
        self.level().bypass = true;
        self
    }

    /// Returns a [`Hit`]: the value, where it came from, and how fresh it is known to be.
    pub fn detailed(mut self) -> GetDetailed<'a, K, V, Q> {
        self.level().detailed = true;
        GetDetailed(self)
    }

    fn level(&mut self) -> &mut Level {
        self.level.get_or_insert_default()
    }
}

impl<'a, K, V, Q> Get<'a, K, V, Q>
where
    K: Borrow<Q> + CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
{
    #[cold]
    #[inline(never)]
    fn slow(self) -> Pin<Box<dyn Future<Output = Result<Hit<V>>> + Send + 'static>> {
        let inner = Arc::clone(self.cache);
        let (key, level) = (self.key.to_owned(), self.level);
        Box::pin(async move {
            let level = level.as_deref().unwrap_or(&Level::EVENTUAL);
            Inner::read(inner, key, level, Work::Registered).await
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
        if self.level.is_none()
            && let Some(value) = self.cache.local_get(self.key)
        {
            return GetFuture(State::Ready(Some(value)));
        }
        GetFuture(State::Slow(self.slow()))
    }
}

impl<'a, K, V, Q> IntoFuture for GetDetailed<'a, K, V, Q>
where
    K: Borrow<Q> + CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
{
    type Output = Result<Hit<V>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Hit<V>>> + Send + 'static>>;

    fn into_future(self) -> Self::IntoFuture {
        self.0.slow()
    }
}

/// The future of a plain read. A hit in the process-local tier is ready at once, without an allocation.
#[must_use = "a future does not run until it is polled"]
pub struct GetFuture<V>(State<V>);

enum State<V> {
    Ready(Option<Option<V>>),
    Slow(Pin<Box<dyn Future<Output = Result<Hit<V>>> + Send + 'static>>),
}

// A value is moved out as a whole and never pinned.
impl<V> Unpin for GetFuture<V> {}

impl<V> Future for GetFuture<V> {
    type Output = Result<Option<V>>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(value) => Poll::Ready(Ok(value.take().flatten())),
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
