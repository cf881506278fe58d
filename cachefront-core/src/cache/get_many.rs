//! The builder that [`Cache::get_many`](crate::Cache::get_many) returns.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;

use crate::cache::hit::Hit;
use crate::cache::inner::Inner;
use crate::cache::level::{Level, read_levels};
use crate::error::Result;
use crate::key::CacheKey;

/// What was found of each key.
type Found<V> = Vec<Result<Hit<V>>>;

/// A read of many keys that has not begun yet; `.await` begins it. See [`Cache::get_many`](crate::Cache::get_many).
///
/// | awaited | returns, in the order of the keys |
/// |---|---|
/// | as it is | the values, or the first error of any key |
/// | [`detailed`](Self::detailed) | a [`Hit`] for each, or the first error |
/// | [`per_key`](Self::per_key) | a `Result<Hit>` for each: what was found, although other keys failed |
///
/// ```
/// use std::time::Duration;
/// use cachefront::{Cache, loader_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
/// let users: Cache<u64, String> = Cache::builder("users")
///     .loader(loader_fn(|id: u64| async move {
///         if id < 100 { Ok(Some(format!("user {id}"))) } else { Err(std::io::Error::other("out of range")) }
///     }))
///     .build()?;
///
/// let both = users.get_many([7, 8]).max_staleness(Duration::from_secs(1)).await?;
/// assert_eq!(both, [Some("user 7".to_owned()), Some("user 8".to_owned())]);
/// // What is cached is returned, though the database refuses the rest.
/// let found = users.get_many([7, 500, 7]).per_key().await;
/// assert_eq!(found[0].as_ref().expect("it is cached").value.as_deref(), Some("user 7"));
/// assert!(found[1].is_err() && found[2].is_ok());
/// # Ok::<(), cachefront::Error>(())
/// # }).expect("the example runs");
/// ```
#[must_use = "a read does nothing until it is awaited"]
pub struct GetMany<K, V> {
    cache: Arc<Inner<K, V>>,
    keys: Vec<K>,
    level: Level,
    /// All values are of one moment.
    consistent: bool,
}

/// A read in progress.
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A [`GetMany`] that returns everything that is known about each value.
#[must_use = "a read does nothing until it is awaited"]
pub struct GetManyDetailed<K, V>(GetMany<K, V>);

/// A [`GetMany`] that returns what was found of each key by itself.
#[must_use = "a read does nothing until it is awaited"]
pub struct GetManyPerKey<K, V>(GetMany<K, V>);

impl<K, V> GetMany<K, V> {
    pub(super) fn new(cache: Arc<Inner<K, V>>, keys: Vec<K>) -> Self {
        Self { cache, keys, level: Level::default(), consistent: false }
    }

    read_levels!();

    fn level(&mut self) -> &mut Level {
        &mut self.level
    }

    /// Requires values of one moment: no reader sees a part of a transaction that changed several of these keys. The level holds for
    /// all of them.
    ///
    /// Cached values are returned if none of them changes until everything that was committed before is applied, which takes as
    /// long as the invalidator needs (milliseconds), and if the loader says what that is, by
    /// [`Loader::executed`](crate::Loader::executed). Else all keys are loaded by one
    /// [`load_many`](crate::Loader::load_many), which must then read them in one snapshot: one SELECT, or one transaction. In TTL
    /// mode and in caches with tags they always are. Default: each value is of a moment of its own.
    pub fn consistent(mut self) -> Self {
        self.consistent = true;
        self
    }

    /// Returns a [`Hit`] for each key: the value, where it came from, and how fresh it is known to be.
    pub fn detailed(mut self) -> GetManyDetailed<K, V> {
        self.level.detailed = true;
        GetManyDetailed(self)
    }

    /// Returns a result for each key, so that one key that cannot be loaded does not hide the values of the others.
    pub fn per_key(mut self) -> GetManyPerKey<K, V> {
        self.level.detailed = true;
        GetManyPerKey(self)
    }
}

impl<K, V> GetMany<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Begins a read of everything that is known about each value, or its own error.
    async fn found(self) -> Found<V> {
        let Self { cache, keys, level, consistent } = self;
        if consistent { cache.read_consistent(keys, level).await } else { cache.read_many(keys, level).await }
    }
}

// Not futures themselves: what is required of a read cannot change once it has begun.
impl<K, V> IntoFuture for GetMany<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    type Output = Result<Vec<Option<V>>>;
    type IntoFuture = Boxed<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        if self.consistent {
            return Box::pin(async { self.found().await.into_iter().map(|hit| hit.map(|hit| hit.value)).collect() });
        }
        Box::pin(self.cache.read_many_values(self.keys, self.level))
    }
}

impl<K, V> IntoFuture for GetManyDetailed<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    type Output = Result<Vec<Hit<V>>>;
    type IntoFuture = Boxed<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.0.found().await.into_iter().collect() })
    }
}

impl<K, V> IntoFuture for GetManyPerKey<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    type Output = Found<V>;
    type IntoFuture = Boxed<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.0.found())
    }
}

impl<K, V> fmt::Debug for GetMany<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetMany").field("keys", &self.keys.len()).field("level", &self.level).finish_non_exhaustive()
    }
}

impl<K, V> fmt::Debug for GetManyDetailed<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GetManyDetailed").field(&self.0).finish()
    }
}

impl<K, V> fmt::Debug for GetManyPerKey<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GetManyPerKey").field(&self.0).finish()
    }
}
