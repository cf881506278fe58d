//! Many keys of one moment: no half of a transaction ("One moment").
//!
//! Cached values are of one moment if none of them changes until everything that was committed before they were read is applied:
//! each then is what its row was at that position. If one is missing, or changes meanwhile, all keys are loaded by one batch,
//! which the loader reads in one snapshot. So they are if one was loaded from a replica, which may show a commit before the
//! primary does, or is kept correct by time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;

use crate::cache::hit::{Hit, Tier};
use crate::cache::inner::Inner;
use crate::cache::level::Level;
use crate::cache::load_gate::Fresh;
use crate::cache::observer::ReadOutcome;
use crate::cache::plan::{LoadPlan, Purpose};
use crate::cache::serving::ServingMode;
use crate::cache::shared::{Lease, Leased, Lookup, Stored};
use crate::clock::{Stopwatch, Timestamp};
use crate::entry::{HEADER_BYTES, TOKEN_OFFSET};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{CacheKey, StoreKey};
use crate::loader::LoadNotes;
use crate::mode::InvalidationMode;
use crate::position::Position;
use crate::store::Reading;

/// Number of times that cached values are tried before all keys are loaded.
const ROUNDS_MAX: usize = 3;

/// The key of a value in its stored form, and whether a valid value is loaded over.
type Place = (StoreKey, bool);

/// What came of the cached values of many keys.
enum Cached<V> {
    /// All are cached, and of one moment.
    Hits(Vec<Hit<V>>),
    /// One changed meanwhile.
    Changed,
    /// One is not cached, or nothing can be proven. Of these keys the store has a value that does not satisfy the read: it is
    /// loaded over.
    Missing(Vec<bool>),
}

/// Everything that readers of a database server may have seen.
struct Executed {
    position: Position,
    /// Which server, if the loader says it.
    notes: LoadNotes,
}

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Reads many keys at one moment. The result has the order of `keys`, of which some may be equal.
    pub(super) async fn read_consistent(self: Arc<Self>, keys: Vec<K>, level: Level) -> Vec<Result<Hit<V>>> {
        if keys.is_empty() {
            return Vec::new();
        }
        let mut places: HashMap<K, usize> = HashMap::with_capacity(keys.len());
        let mut unique = Vec::with_capacity(keys.len());
        for key in &keys {
            places.entry(key.clone()).or_insert_with(|| {
                unique.push(key.clone());
                unique.len() - 1
            });
        }
        let read = Box::pin(self.read_unique(&unique, &level)).await;
        let of = |key: &K| match &read {
            Ok(hits) => {
                places.get(key).and_then(|place| hits.get(*place)).cloned().ok_or_else(|| lost(&self.shared.cache))
            }
            Err(error) => Err(error.clone()),
        };
        keys.iter().map(of).collect()
    }

    async fn read_unique(self: &Arc<Self>, keys: &[K], level: &Level) -> Result<Vec<Hit<V>>> {
        let encode = |key: &K| StoreKey::encode_short(&self.shared.cache, key);
        let store_keys = keys.iter().map(encode).collect::<Result<Option<Vec<_>>>>()?;
        let cached = matches!(self.subscription.serving(), ServingMode::Normal | ServingMode::ReadOnly)
            && self.shared.mode() == InvalidationMode::Cdc
            && !self.shared.tagged
            && !level.bypass;
        let Some(store_keys) = store_keys.filter(|_| cached) else { return self.load_all(keys, &[], level).await };
        let mut reload = Vec::new();
        for _ in 0..ROUNDS_MAX {
            match self.cached_at_one_moment(&store_keys, level).await? {
                Cached::Hits(hits) => {
                    keys.iter().for_each(|key| self.note_read(key, ReadOutcome::Hit(Tier::Shared)));
                    return Ok(hits);
                }
                Cached::Changed => {}
                Cached::Missing(unsuitable) => {
                    reload = unsuitable;
                    break;
                }
            }
        }
        let reload = reload.into_iter().chain(std::iter::repeat(false));
        let places: Vec<Place> = store_keys.into_iter().zip(reload).collect();
        self.load_all(keys, &places, level).await
    }

    /// Returns the cached values, if all are there and stay until everything that they may contain is applied.
    ///
    /// # Errors
    /// `Timeout` after `load_hard_timeout`.
    async fn cached_at_one_moment(&self, keys: &[StoreKey], level: &Level) -> Result<Cached<V>> {
        let Some(first) = self.shared.guarded("get_many", self.shared.store.get_many(keys)).await else {
            return Ok(Cached::Missing(Vec::new()));
        };
        let before: Vec<Option<Bytes>> = first.iter().map(|reading| reading.entry.clone()).collect();
        let now = self.clock.now();
        let found: Vec<Lookup<V>> =
            first.into_iter().map(|reading| self.shared.evaluate(reading, level, now)).collect();
        if !found.iter().all(|lookup| matches!(lookup, Lookup::Hit(stored) if is_of_primary(stored))) {
            return Ok(Cached::Missing(found.iter().map(is_unsuitable).collect()));
        }
        // Asked for after the values were read, so it contains everything that their loads can have seen.
        let Some(executed) = self.within_hard_timeout(self.executed()).await? else {
            return Ok(Cached::Missing(Vec::new()));
        };
        let mut waited = Stopwatch::begin(&*self.clock);
        let mut pause = self.settings.lease_poll_min;
        loop {
            let Some(second) = self.shared.guarded("get_many", self.shared.store.get_many(keys)).await else {
                return Ok(Cached::Missing(Vec::new()));
            };
            if !second.iter().zip(&before).all(|(now, before)| is_same(now.entry.as_ref(), before.as_ref())) {
                return Ok(Cached::Changed);
            }
            if second.iter().any(|reading| is_elsewhere(reading, &executed)) {
                return Ok(Cached::Missing(Vec::new()));
            }
            if second.iter().all(|reading| has_applied(reading, &executed.position)) {
                return Ok(self.hits_of(second, level).map_or(Cached::Changed, Cached::Hits));
            }
            let (over, now) = (waited.passed(&*self.clock) >= self.settings.proof_wait, self.clock.now());
            if over || second.iter().any(|reading| self.is_stalled(reading, now)) {
                return Ok(Cached::Missing(Vec::new()));
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(self.settings.lease_poll_max);
        }
    }

    /// Returns true if the watermark is too old for a wait to be worth it: no invalidator works.
    fn is_stalled(&self, reading: &Reading, now: Timestamp) -> bool {
        let source_time = reading.meta.as_ref().map_or(Timestamp::UNKNOWN, |meta| meta.source_time);
        source_time.is_known() && now.since(source_time) > self.settings.proof_wait
    }

    fn hits_of(&self, readings: Vec<Reading>, level: &Level) -> Option<Vec<Hit<V>>> {
        let now = self.clock.now();
        let hit = |reading| match self.shared.evaluate(reading, level, now) {
            Lookup::Hit(stored) if is_of_primary(&stored) => Some(self.stored_hit(stored)),
            _ => None,
        };
        readings.into_iter().map(hit).collect()
    }

    /// Returns everything that readers of the server that commits may have seen by now, if the loader can say it.
    async fn executed(&self) -> Result<Option<Executed>> {
        let Some(loader) = self.loader.as_ref() else { return Ok(None) };
        // A statement like a load: within the same bounds.
        let Ok(_permit) = self.gate.permit().await else { return Ok(None) };
        let cx = self.gate.context(std::iter::empty());
        let position = tokio::select! {
            biased;
            executed = loader.executed(&cx) => match executed {
                Ok(executed) => executed,
                Err(error) => {
                    tracing::debug!(cache = %self.shared.cache, error = %error, "the executed position cannot be read");
                    None
                }
            },
            () = self.clock.sleep(self.settings.load_timeout) => None,
        };
        // A server without a commit has no rows either: an empty position is one that could not be read.
        let position = position.filter(|position| !position.is_empty());
        Ok(position.map(|position| Executed { position, notes: cx.notes() }))
    }

    /// Loads all keys by one batch, in a task of its own: a reader that goes away leaves no lease behind.
    async fn load_all(self: &Arc<Self>, keys: &[K], places: &[Place], level: &Level) -> Result<Vec<Hit<V>>> {
        let outcome = if places.is_empty() { ReadOutcome::Bypass } else { ReadOutcome::Miss };
        keys.iter().for_each(|key| self.note_read(key, outcome));
        let (inner, level) = (Arc::clone(self), level.clone());
        let (keys, places) = (keys.to_vec(), places.to_vec());
        let load = async move { inner.load_batch(&keys, &places, &level).await };
        self.within_hard_timeout(self.apart(load)).await
    }

    /// Loads all keys by one batch. Those whose lease is free are stored.
    async fn load_batch(&self, keys: &[K], places: &[Place], level: &Level) -> Result<Vec<Hit<V>>> {
        let mut proof_wait = self.proof_wait();
        loop {
            let began = self.clock.now();
            let permit = self.gate.permit().await?;
            let leases = join_all(places.iter().map(|(key, reload)| self.free_lease(key, *reload))).await;
            let fences = leases.iter().filter_map(|lease| lease.as_ref()?.fence.as_ref());
            let each = self.load_many(permit, keys, fences).await;
            if places.is_empty() {
                self.note_each(keys, began, &each);
            }
            let fresh: Vec<_> = match each.and_then(|each| each.into_iter().collect()) {
                Ok(fresh) => fresh,
                Err(error) => {
                    for ((key, _), lease) in places.iter().zip(&leases) {
                        self.release_lease(key, lease.as_ref()).await;
                    }
                    // The others report that they are not stored.
                    let failed = keys.iter().filter(|_| !places.is_empty());
                    failed.for_each(|key| self.note_load(key, began, Err(&error)));
                    return Err(error);
                }
            };
            let mut leases = leases.into_iter();
            let stored = keys.iter().zip(fresh).enumerate().map(|(index, (key, fresh))| {
                self.store_of_batch((key, places.get(index)), leases.next().flatten(), fresh, (level, began))
            });
            let hits = join_all(stored.collect::<Vec<_>>()).await;
            // A database that was read may lag behind the token.
            let permanent = hits.iter().any(|hit| matches!(hit, Err(true)));
            if let Ok(hits) = hits.into_iter().collect::<Result<Vec<_>, _>>() {
                // Storing one value takes a round trip in which the values before it grow older.
                let now = self.clock.now();
                return Ok(hits.into_iter().map(|(at, hit): (Timestamp, Hit<V>)| hit.later(now.since(at))).collect());
            }
            self.wait_for_proof(&mut proof_wait, permanent).await?;
        }
    }

    /// Offers one value of a batch to the store, if it has a place there. If the value is known not to satisfy the level, returns whether
    /// another load will not either.
    async fn store_of_batch(
        &self,
        (key, place): (&K, Option<&Place>),
        lease: Option<Lease>,
        fresh: Fresh<V>,
        (level, began): (&Level, Timestamp),
    ) -> Result<(Timestamp, Hit<V>), bool> {
        let Some((store_key, _)) = place.cloned() else {
            return self.strong_hit(fresh, level).map(|hit| (self.clock.now(), hit));
        };
        let plan = LoadPlan { store_key, ticket: None, purpose: Purpose::Miss, served_until: Timestamp::UNKNOWN };
        let loaded = self.store_loaded(key, &plan, lease, fresh).await;
        self.note_load(key, began, Ok(&loaded));
        if !level.accepts_loaded(loaded.position.as_ref(), loaded.primary) {
            return Err(loaded.known_primary);
        }
        Ok((self.clock.now(), self.loaded_hit(&loaded)))
    }

    /// Returns the lease of a key, if nothing is cached or it is to be loaded over, and no other load holds it.
    async fn free_lease(&self, key: &StoreKey, reload: bool) -> Option<Lease> {
        match self.shared.lease(key, reload).await {
            Leased::Granted(lease) => Some(lease),
            _ => None,
        }
    }
}

/// Returns true if two readings of an entry differ in the lease at most.
fn is_same(one: Option<&Bytes>, other: Option<&Bytes>) -> bool {
    let parts =
        |entry: &'_ Bytes| (entry.slice(..TOKEN_OFFSET.min(entry.len())), entry.slice(HEADER_BYTES.min(entry.len())..));
    one.map(parts) == other.map(parts)
}

/// Returns true if the shard that was read has applied everything up to `executed`.
fn has_applied(reading: &Reading, executed: &Position) -> bool {
    reading.meta.as_ref().is_some_and(|meta| meta.is_live() && meta.applied().covers(executed))
}

/// Returns true if the position is known to be of another server than the one whose log is followed: it says nothing about what
/// that one shows.
fn is_elsewhere(reading: &Reading, executed: &Executed) -> bool {
    executed.notes.replica || reading.meta.as_ref().is_some_and(|meta| executed.notes.is_elsewhere(&meta.origin))
}

/// Returns true for a value that was loaded from the primary, and is kept correct by the log: the mode may have changed since the
/// read began, and a value that is kept correct by its age is of no known moment.
fn is_of_primary<V>(stored: &Stored<V>) -> bool {
    stored.meta.is_some() && stored.filled_at.is_known()
}

/// Returns true if the store has a valid value that does not satisfy the read.
fn is_unsuitable<V>(lookup: &Lookup<V>) -> bool {
    matches!(lookup, Lookup::Unproven | Lookup::Outdated)
}

fn lost(cache: &str) -> Error {
    Error::new(ErrorKind::Load, format!("a batch load of cache `{cache}` returned no value for one of its keys"))
}
