//! Hits in a process-local cache, by one reader or by several at once: nanoseconds of each.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::keys::COUNT;
use crate::ours::{Ours, TTL};
use crate::times::{Failure, Payload, Times, payload};

const NAMES: [&str; 5] = ["cachefront", "quick_cache", "quick_cache_ttl", "moka_sync_ttl", "moka_future_ttl"];

/// Number of keys of one call that fills.
const FILL: usize = 500;

/// When a reader asks for the next key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// At once: the processor works on several reads at the same time.
    Overlapping,
    /// When it has used the value, as most callers do: the time of a read.
    OneByOne,
}

/// Counts the keys that this expression finds a value for.
macro_rules! count {
    ($keys:ident, $pace:ident, |$key:ident| $get:expr) => {{
        let (mut hits, mut after) = (0, 0);
        for key in $keys {
            let $key = key ^ after;
            let value = black_box($get);
            if let (Pace::OneByOne, Some(value)) = ($pace, &value) {
                // All bytes of a value are alike, so this is 0, which only a reader of the value knows.
                after = u64::from(value[0] ^ value[99]);
            }
            hits += usize::from(value.is_some());
        }
        hits
    }};
}

/// A value with the end of its life, which bare quick_cache does not know.
#[derive(Clone)]
struct Timed {
    value: Payload,
    until: Instant,
}

struct Contenders {
    ours: Ours,
    quick: quick_cache::sync::Cache<u64, Payload>,
    quick_ttl: quick_cache::sync::Cache<u64, Timed>,
    moka_sync: moka::sync::Cache<u64, Payload>,
    moka_future: moka::future::Cache<u64, Payload>,
}

impl Contenders {
    async fn filled() -> Result<Self, Failure> {
        let room = 2 * COUNT;
        let places = usize::try_from(room)?;
        let all = Self {
            ours: Ours::new(Duration::ZERO).await?,
            quick: quick_cache::sync::Cache::new(places),
            quick_ttl: quick_cache::sync::Cache::new(places),
            moka_sync: moka::sync::Cache::builder().max_capacity(room).time_to_live(TTL).build(),
            moka_future: moka::future::Cache::builder().max_capacity(room).time_to_live(TTL).build(),
        };
        let ids: Vec<u64> = (0..COUNT).collect();
        for ids in ids.chunks(FILL) {
            all.ours.cache.get_many(ids).await?;
        }
        for id in ids {
            all.quick.insert(id, payload(id));
            all.quick_ttl.insert(id, Timed { value: payload(id), until: Instant::now() + TTL });
            all.moka_sync.insert(id, payload(id));
            all.moka_future.insert(id, payload(id)).await;
        }
        all.moka_sync.run_pending_tasks();
        all.moka_future.run_pending_tasks().await;
        Ok(all)
    }

    /// Reads all keys. Returns how many were hits.
    async fn read(&self, contender: usize, keys: &[u64], pace: Pace) -> usize {
        match NAMES[contender] {
            "cachefront" => {
                count!(keys, pace, |key| self.ours.cache.get(&key).await.ok().flatten().map(|row| row.0))
            }
            "quick_cache" => count!(keys, pace, |key| self.quick.get(&key)),
            "quick_cache_ttl" => count!(keys, pace, |key| {
                let timed = self.quick_ttl.get(&key).filter(|timed| timed.until > Instant::now());
                timed.map(|timed| timed.value)
            }),
            "moka_sync_ttl" => count!(keys, pace, |key| self.moka_sync.get(&key)),
            _ => count!(keys, pace, |key| self.moka_future.get(&key).await),
        }
    }
}

/// Measures every cache with the same keys, which each of the readers reads. Who begins changes every round, and the first round
/// does not count.
pub(crate) async fn measure(rounds: usize, readers: usize, keys: &Arc<[u64]>, pace: Pace) -> Result<Times, Failure> {
    let contenders = Arc::new(Contenders::filled().await?);
    let mut times = Times::new("ns per hit of a reader", &NAMES);
    for round in 0..=rounds {
        for turn in 0..NAMES.len() {
            let contender = (round + turn) % NAMES.len();
            let began = Instant::now();
            let read = |_| {
                let (contenders, keys) = (Arc::clone(&contenders), Arc::clone(keys));
                tokio::spawn(async move { contenders.read(contender, &keys, pace).await })
            };
            let running: Vec<_> = (0..readers).map(read).collect();
            let mut hits = 0;
            for reader in running {
                hits += reader.await?;
            }
            let nanos = began.elapsed().as_nanos() as f64;
            let reads = readers * keys.len();
            if hits < reads && contender == 0 {
                return Err(format!("{} of {reads} reads of cachefront were no hits", reads - hits).into());
            }
            times.note(round, contender, nanos / keys.len() as f64);
        }
    }
    let contenders = Arc::into_inner(contenders).ok_or("a reader still runs")?;
    contenders.ours.stop().await;
    Ok(times)
}
