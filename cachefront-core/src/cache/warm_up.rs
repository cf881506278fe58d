//! The builder that [`Cache::warm_up`](crate::Cache::warm_up) returns: fills the cache with a list of keys, at a rate.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::hit::{Hit, Tier};
use crate::cache::inner::Inner;
use crate::cache::level::Level;
use crate::clock::Sleep;
use crate::error::{Error, ErrorKind, Result};
use crate::key::CacheKey;

/// Number of batches in a row of which no key could be loaded, after which a warm-up gives up.
const FAILED_BATCHES_MAX: usize = 3;

/// A warm-up that has not begun yet; `.await` begins it. See [`Cache::warm_up`](crate::Cache::warm_up).
///
/// ```
/// use cachefront::{Cache, Tier, loader_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
/// let users: Cache<u64, String> = Cache::builder("users")
///     .loader(loader_fn(|id: u64| async move { Ok::<_, std::io::Error>((id < 50).then(|| format!("user {id}"))) }))
///     .build()?;
/// let report = users.warm_up(0..60_u64).rate(10_000).batch(20).await?;
/// assert_eq!((report.keys, report.loaded, report.absent), (60, 50, 10));
/// assert_eq!(users.get(&7).detailed().await?.tier, Tier::Shared);
/// assert_eq!(users.warm_up([7_u64, 8]).await?.present, 2);
/// # Ok::<(), cachefront::Error>(())
/// # }).expect("the example runs");
/// ```
#[must_use = "a warm-up does nothing until it is awaited"]
pub struct WarmUp<'a, K, V, I> {
    cache: &'a Arc<Inner<K, V>>,
    keys: I,
    rate: u32,
    batch: usize,
}

/// What a warm-up has done.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WarmUpReport {
    /// Number of keys that were asked for.
    pub keys: u64,
    /// Keys that were cached already.
    pub present: u64,
    /// Keys whose value was loaded.
    pub loaded: u64,
    /// Keys that the database has no row for; their absence is cached.
    pub absent: u64,
    /// Keys that could not be loaded.
    pub failed: u64,
    /// The last error of a key.
    pub last_error: Option<Error>,
}

impl<'a, K, V, I> WarmUp<'a, K, V, I> {
    pub(super) fn new(cache: &'a Arc<Inner<K, V>>, keys: I) -> Self {
        Self { cache, keys, rate: 1_000, batch: 100 }
    }

    /// Asks for at most this number of keys per second: a batch begins when the time of the one before has passed. Default: 1,000.
    pub fn rate(mut self, keys_per_second: u32) -> Self {
        self.rate = keys_per_second.max(1);
        self
    }

    /// Sets the number of keys of one [`get_many`](crate::Cache::get_many), and so of one batch load. Default: 100.
    pub fn batch(mut self, keys: usize) -> Self {
        self.batch = keys.max(1);
        self
    }
}

impl<'a, K, V, I> IntoFuture for WarmUp<'a, K, V, I>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    I: Iterator<Item = K> + Send + 'a,
{
    type Output = Result<WarmUpReport>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<WarmUpReport>> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(run(self))
    }
}

/// Reads batch after batch. One batch of keys is held at a time.
async fn run<K, V, I>(WarmUp { cache, mut keys, rate, batch }: WarmUp<'_, K, V, I>) -> Result<WarmUpReport>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    I: Iterator<Item = K> + Send,
{
    let share = |keys: u64| Duration::from_secs_f64(keys as f64 / f64::from(rate));
    let mut turn: Option<Sleep> = None;
    let mut report = WarmUpReport::default();
    let mut failed_batches = 0;
    loop {
        let next: Vec<K> = keys.by_ref().take(batch).collect();
        if next.is_empty() {
            return Ok(report);
        }
        let asked = next.len() as u64;
        let failed_before = report.failed;
        if let Some(turn) = turn.take() {
            turn.await;
        }
        // A timer, which a step of the clock does not move.
        turn = Some(cache.clock.sleep(share(asked)));
        for hit in Arc::clone(cache).read_many(next, Level::default()).await {
            let of_tier = |hit: Hit<V>| if hit.stale { Err(stale()) } else { Ok((hit.tier, hit.value.is_none())) };
            report.count(hit.and_then(of_tier));
        }
        report.keys += asked;
        failed_batches = if report.failed - failed_before == asked { failed_batches + 1 } else { 0 };
        if failed_batches == FAILED_BATCHES_MAX
            && let Some(error) = report.last_error
        {
            return Err(error);
        }
    }
}

/// The error of a key whose load failed, and that a reader would be served a stale value for.
fn stale() -> Error {
    Error::new(ErrorKind::Load, "the load of a key failed, of which a stale value is known")
}

impl WarmUpReport {
    /// Counts one key.
    fn count(&mut self, hit: Result<(Tier, bool)>) {
        match hit {
            Ok((Tier::Database, true)) => self.absent += 1,
            Ok((Tier::Database, false)) => self.loaded += 1,
            Ok(_) => self.present += 1,
            Err(error) => {
                self.failed += 1;
                self.last_error = Some(error);
            }
        }
    }
}

impl<K, V, I> fmt::Debug for WarmUp<'_, K, V, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WarmUp").field("rate", &self.rate).field("batch", &self.batch).finish_non_exhaustive()
    }
}
