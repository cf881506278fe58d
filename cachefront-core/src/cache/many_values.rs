//! Many keys at once of which only the values are asked: what the tiers have goes straight into the result.
//!
//! The same as [`read_many`](Inner::read_many), but for what a plain read does not need: a [`Hit`](crate::Hit) and a time for each key.

use std::hash::Hash;
use std::sync::Arc;

use crate::cache::epochs::Ticket;
use crate::cache::hit::Tier;
use crate::cache::inner::Inner;
use crate::cache::level::Level;
use crate::cache::many::Part;
use crate::cache::observer::ReadOutcome;
use crate::cache::plan::Purpose;
use crate::cache::read::Read;
use crate::cache::serving::ServingMode;
use crate::error::{Error, Result};
use crate::key::{CacheKey, StoreKey};

/// The values so far, and the first error by the order of the keys.
struct Values<V> {
    values: Vec<Option<V>>,
    failed: Option<(usize, Error)>,
}

impl<V> Values<V> {
    fn set(&mut self, index: usize, value: Option<V>) {
        if let Some(place) = self.values.get_mut(index) {
            *place = value;
        }
    }

    fn fail(&mut self, index: usize, error: Error) {
        if self.failed.as_ref().is_none_or(|(first, _)| index < *first) {
            self.failed = Some((index, error));
        }
    }
}

/// What is read from the store: the keys, and for each its place in the result and the ticket that was taken before.
#[derive(Default)]
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
        let mut values = Values { values: Vec::with_capacity(keys.len()), failed: None };
        let (asked, strong) = self.ask(&keys, &mut values);
        let parts = self.take_stored(&keys, asked, &level, newest, &mut values).await;
        if !parts.is_empty() || !strong.is_empty() {
            for (index, (_, hit)) in Box::pin(self.load_parts(parts, strong, &level)).await {
                match hit {
                    Ok(hit) => values.set(index, hit.value),
                    Err(error) => values.fail(index, error),
                }
            }
        }
        match values.failed {
            Some((_, error)) => Err(error),
            None => Ok(values.values),
        }
    }

    /// Takes what the process-local tier has, and returns what has to be read from the store, and what is too long for it.
    fn ask(&self, keys: &[K], values: &mut Values<V>) -> (Asked, Vec<(usize, K)>) {
        let mut asked = Asked::default();
        asked.store_keys.reserve(keys.len());
        asked.places.reserve(keys.len());
        let mut strong = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let local = self.local_get(key);
            let is_found = local.is_some();
            values.values.push(local.flatten());
            if is_found {
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
                Err(error) => values.fail(index, error),
            }
        }
        (asked, strong)
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
        let part = |index: usize, store_key: StoreKey, purpose: Purpose| {
            let key = keys.get(index)?.clone();
            Some(Part { index, read: Read { key, store_key, level, newest }, purpose })
        };
        let readings = self.shared.guarded_at("get_many", self.shared.store.get_many(&store_keys)).await;
        let Some((readings, now)) = readings.filter(|(readings, _)| readings.len() == store_keys.len()) else {
            let unread = store_keys.into_iter().zip(places);
            return unread.filter_map(|(store_key, (index, _))| part(index, store_key, Purpose::Miss)).collect();
        };
        let (mut parts, mut hits) = (Vec::new(), 0);
        for ((store_key, (index, ticket)), reading) in store_keys.into_iter().zip(places).zip(readings) {
            let Some(key) = keys.get(index) else { continue };
            match self.hit_of_many(key, &store_key, self.shared.evaluate_of_many(reading, level, now), ticket) {
                Ok(stored) => {
                    hits += 1;
                    if let Some(observer) = &self.observer {
                        observer.read(key, ReadOutcome::Hit(Tier::Shared));
                    }
                    values.set(index, stored.value);
                }
                Err(purpose) => parts.extend(part(index, store_key, purpose)),
            }
        }
        self.metrics.hit_shared.increment(hits);
        parts
    }
}
