//! Many keys at once of which only the values are asked: what the tiers have goes straight into the result.
//!
//! The same as [`read_many`](Inner::read_many), but for what a plain read does not need: a [`Hit`](crate::Hit) and a time for each key.
//!
//! A hit in the store takes one allocation, the name of its key, besides those of the decoded value. There is one reading of the clock
//! and one count for all hits together. No task, flight or entry of a map is made unless a key has to be loaded.

use std::hash::Hash;
use std::sync::Arc;

use crate::cache::epochs::Ticket;
use crate::cache::hit::Tier;
use crate::cache::inner::Inner;
use crate::cache::level::Level;
use crate::cache::many::{Part, cancelled, set};
use crate::cache::observer::ReadOutcome;
use crate::cache::plan::Purpose;
use crate::cache::read::Read;
use crate::cache::serving::ServingMode;
use crate::error::Result;
use crate::key::{CacheKey, StoreKey};

/// The value of each key, once it is found.
type Values<V> = Vec<Option<Result<Option<V>>>>;

/// What is read from the store: the keys, and for each its place in the result and the ticket that was taken before.
struct Asked {
    store_keys: Vec<StoreKey>,
    places: Vec<(usize, Option<Ticket>)>,
}

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Reads the values of many keys at this level.
    ///
    /// # Errors
    /// The first error of any key, by the order of the keys.
    pub(super) async fn read_many_values(self: Arc<Self>, keys: Vec<K>, level: Level) -> Result<Vec<Option<V>>> {
        let plain = level.is_eventual() && !level.detailed && !level.bypass && !self.shared.tagged;
        let by_tiers = matches!(self.subscription.serving(), ServingMode::Normal | ServingMode::ReadOnly);
        if !plain || !by_tiers {
            let found = Box::pin(self.read_many(keys, level)).await;
            return found.into_iter().map(|hit| hit.map(|hit| hit.value)).collect();
        }
        let newest = self.flights.newest();
        let (asked, strong, mut values) = self.ask(&keys);
        let parts = self.take_stored(&keys, asked, &level, newest, &mut values).await;
        if !parts.is_empty() || !strong.is_empty() {
            for (index, (_, hit)) in Box::pin(self.load_parts(parts, strong, &level)).await {
                set(&mut values, index, hit.map(|hit| hit.value));
            }
        }
        values.into_iter().map(|value| value.unwrap_or_else(|| Err(cancelled()))).collect()
    }

    /// Takes what the process-local tier has, and returns what has to be read from the store, and what is too long for it.
    fn ask(&self, keys: &[K]) -> (Asked, Vec<(usize, K)>, Values<V>) {
        let mut asked = Asked { store_keys: Vec::with_capacity(keys.len()), places: Vec::with_capacity(keys.len()) };
        let (mut strong, mut values) = (Vec::new(), Values::with_capacity(keys.len()));
        for (index, key) in keys.iter().enumerate() {
            values.push(self.local_get(key).map(Ok));
            if values.last().is_some_and(Option::is_some) {
                continue;
            }
            match StoreKey::encode_short(&self.shared.cache, key) {
                Ok(Some(store_key)) => {
                    let ticket = || self.keepable(self.subscription.epochs.ticket(&store_key));
                    asked.places.push((index, self.local.as_ref().and_then(|_| ticket())));
                    asked.store_keys.push(store_key);
                }
                // A key that is too long to be stored is loaded every time.
                Ok(None) => {
                    self.note_read(key, ReadOutcome::Bypass);
                    strong.push((index, key.clone()));
                }
                Err(error) => set(&mut values, index, Err(error)),
            }
        }
        (asked, strong, values)
    }

    /// Reads the store once, takes the hits, and returns the reads that are left.
    async fn take_stored<'a>(
        self: &Arc<Self>,
        keys: &[K],
        asked: Asked,
        level: &'a Level,
        newest: u64,
        values: &mut Values<V>,
    ) -> Vec<Part<'a, K>> {
        let Asked { store_keys, places } = asked;
        if store_keys.is_empty() {
            return Vec::new();
        }
        let readings = self.shared.guarded_at("get_many", self.shared.store.get_many(&store_keys)).await;
        // What could not be read is a miss.
        let (readings, now) = readings.unwrap_or_default();
        let mut readings = readings.into_iter();
        let (mut parts, mut hits) = (Vec::new(), 0);
        for (store_key, (index, ticket)) in store_keys.into_iter().zip(places) {
            let Some(key) = keys.get(index) else { continue };
            // What is stored is large: it is used in place, and moved no further. A plain read judges freshness only.
            let (outcome, purpose) = match readings.next().map(|reading| self.shared.decode_of_many(reading, now)) {
                Some(Ok(stored)) if self.shared.is_fresh(&stored, now) => {
                    self.use_stored(key, &store_key, &stored, ticket);
                    hits += 1;
                    if let Some(observer) = &self.observer {
                        observer.read(key, ReadOutcome::Hit(Tier::Shared));
                    }
                    set(values, index, Ok(stored.value));
                    continue;
                }
                Some(Ok(_)) => (Some(ReadOutcome::Outdated), Purpose::Reload),
                Some(Err(_)) => (Some(ReadOutcome::Miss), Purpose::Miss),
                // The store could not be read: that is no outcome of the key.
                None => (None, Purpose::Miss),
            };
            if let Some(outcome) = outcome {
                self.note_read(key, outcome);
            }
            let read = Read { key: key.clone(), store_key, level, newest };
            parts.push(Part { index, read, purpose });
        }
        self.metrics.hit_shared.increment(hits);
        parts
    }
}
