//! Many keys at once: one read of the store, and one batch load for the keys that this call has to load.
//!
//! Single-flight applies to each key: a key that another reader is loading is waited for, and the others are loaded
//! together under one permit. A key whose lease another process holds gets its own task, so that it does not delay the rest.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use futures_util::future::{join, join_all};
use tracing::Instrument;

use crate::cache::epochs::Ticket;
use crate::cache::expected_tags::Expected;
use crate::cache::flight::{Flight, Joined};
use crate::cache::hit::{Hit, Tier};
use crate::cache::inner::Inner;
use crate::cache::level::Level;
use crate::cache::load_gate::Fresh;
use crate::cache::merge::PendingLoad;
use crate::cache::observer::ReadOutcome;
use crate::cache::plan::{LoadPlan, Purpose, Work};
use crate::cache::read::{JoinOutcome, Read};
use crate::cache::serving::ServingMode;
use crate::cache::shared::{Lease, Leased, Lookup, Stored};
use crate::cache::tags::Look;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{CacheKey, StoreKey};

/// What was found of one key, and when: the read returns once the last key was found.
pub(super) type Found<V> = (Timestamp, Result<Hit<V>>);

/// One read of many.
pub(super) struct Part<'a, K> {
    /// Its place in the result.
    pub(super) index: usize,
    pub(super) read: Read<'a, K>,
    /// Why the key has to be loaded.
    pub(super) purpose: Purpose,
}

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Reads many keys: the process-local tier for each, one read of the store for the rest, and then single-flight loads of
    /// which those that this call leads run as one batch. The result has the order of `keys`, of which some may be equal.
    pub(super) async fn read_many(self: Arc<Self>, keys: Vec<K>, level: Level) -> Vec<Result<Hit<V>>> {
        let serving = self.subscription.serving();
        if serving == ServingMode::Shadow && !level.bypass {
            return self.read_many_shadowed(keys, &level).await;
        }
        let (newest, began) = (self.flights.newest(), self.clock.now());
        let mut found: Vec<Option<Found<V>>> =
            keys.iter().map(|key| Some((began, Ok(self.local_of_many(key, &level)?)))).collect();
        let (mut reads, mut strong) = (Vec::new(), Vec::new());
        let through = serving != ServingMode::Bypass && !level.bypass;
        for (index, key) in keys.into_iter().enumerate() {
            if found.get(index).is_some_and(Option::is_some) {
                continue;
            }
            match StoreKey::encode_short(&self.shared.cache, &key) {
                Ok(Some(store_key)) if through => {
                    let read = Read { key, store_key, level: &level, newest };
                    reads.push(Part { index, read, purpose: Purpose::Miss });
                }
                // A key that is too long to be stored is loaded every time.
                Ok(_) => strong.push((index, key)),
                Err(error) => set(&mut found, index, (began, Err(error))),
            }
        }
        strong.iter().for_each(|(_, key)| self.note_read(key, ReadOutcome::Bypass));
        self.lookup_many(&mut reads, &mut found).await;
        for (index, hit) in self.load_parts(reads, strong, &level).await {
            set(&mut found, index, hit);
        }
        let now = self.clock.now();
        let at_last = |(at, hit): Found<V>| hit.map(|hit| hit.later(now.since(at)));
        found.into_iter().map(|found| found.map_or_else(|| Err(cancelled()), at_last)).collect()
    }

    /// Reads the keys that no tier has: `reads` by single-flight loads of which those that this call leads run as one batch,
    /// `strong` from the database. Returns what was found of each, by its place in the result.
    pub(super) async fn load_parts(
        self: &Arc<Self>,
        mut reads: Vec<Part<'_, K>>,
        mut strong: Vec<(usize, K)>,
        level: &Level,
    ) -> Vec<(usize, Found<V>)> {
        if reads.is_empty() && strong.is_empty() {
            return Vec::new();
        }
        let mut copies = split_copies(&mut reads, |part| (part.index, &part.read.key));
        copies.extend(split_copies(&mut strong, |(index, key)| (*index, key)));
        let mut throttled = Vec::new();
        reads.retain(|part| match self.throttled(&part.read) {
            Some(stale) => {
                throttled.push((part.index, (self.clock.now(), Ok(stale))));
                false
            }
            None => true,
        });
        let loads = self.join_many(reads).into_iter().map(|(part, flight, leads)| self.await_load(part, flight, leads));
        let (mut loaded, strong) = join(join_all(loads), self.bypass_many(strong, level)).await;
        loaded.extend(strong);
        loaded.extend(throttled);
        if !copies.is_empty() {
            let of: HashMap<usize, usize> = loaded.iter().enumerate().map(|(at, (index, _))| (*index, at)).collect();
            let copied =
                copies.iter().filter_map(|(index, original)| Some((*index, loaded.get(*of.get(original)?)?.1.clone())));
            let copied: Vec<_> = copied.collect();
            loaded.extend(copied);
        }
        loaded
    }

    /// Returns the hit of one key in the process-local tier that satisfies the level.
    fn local_of_many(&self, key: &K, level: &Level) -> Option<Hit<V>> {
        if level.bypass || self.is_bypassed() {
            return None;
        }
        if level.is_eventual() && !level.detailed {
            return self.local_get(key).map(|value| Hit::plain(value, Tier::Local));
        }
        self.local_proven(key, level)
    }

    /// Joins or starts a load for each read; those that this call leads run in one task. Returns each read with its flight,
    /// and whether this call leads it.
    fn join_many<'a>(self: &Arc<Self>, parts: Vec<Part<'a, K>>) -> Vec<(Part<'a, K>, Arc<Flight<V>>, bool)> {
        let mut flights = Vec::with_capacity(parts.len());
        let mut pending = Vec::new();
        for part in parts {
            let (read, purpose) = (&part.read, part.purpose);
            let ticket = self.subscription.epochs.ticket(&read.store_key);
            if self.loader.is_none() {
                let flight = self.flight_of_others(&read.key, ticket);
                flights.push((part, flight, false));
                continue;
            }
            let (flight, leads) = match self.flights.join(&read.key, purpose, ticket, &self.subscription.epochs) {
                Joined::Waiter(flight) => (flight, false),
                Joined::Leader(leader) => {
                    let flight = leader.flight();
                    let plan = LoadPlan {
                        store_key: read.store_key.clone(),
                        ticket: self.keepable(ticket),
                        purpose,
                        served_until: Timestamp::UNKNOWN,
                    };
                    pending.push(PendingLoad { leader, plan });
                    (flight, true)
                }
            };
            flights.push((part, flight, leads));
        }
        if !pending.is_empty() {
            self.start_many(pending);
        }
        flights
    }

    /// Runs loads in one task.
    pub(super) fn spawn_loads(self: &Arc<Self>, pending: Vec<PendingLoad<K, V>>) {
        match self.tasks.begin(&self.shared.cache) {
            Ok(running) => {
                let span =
                    tracing::debug_span!("cachefront.load_many", cache = %self.shared.cache, keys = pending.len());
                running.spawn(Arc::clone(self).run_loads(pending).instrument(span));
            }
            Err(error) => pending.into_iter().for_each(|load| load.leader.complete(Err(error.clone()))),
        }
    }

    /// Reads the store once for all remaining reads, which have one level, and removes the hits from `parts`.
    async fn lookup_many(self: &Arc<Self>, parts: &mut Vec<Part<'_, K>>, found: &mut [Option<Found<V>>]) {
        let Some(level) = parts.first().map(|part| part.read.level) else { return };
        let tickets: Vec<_> =
            parts.iter().map(|part| self.keepable(self.subscription.epochs.ticket(&part.read.store_key))).collect();
        let store_keys: Vec<StoreKey> = parts.iter().map(|part| part.read.store_key.clone()).collect();
        let readings = self.shared.guarded_at("get_many", self.shared.store.get_many(&store_keys)).await;
        let Some((readings, now)) = readings else { return };
        if !level.is_eventual() {
            readings.iter().for_each(|reading| self.shared.note_origin(reading.meta.as_deref()));
        }
        if self.shared.tagged {
            let lookups = self.shared.evaluate_tagged(readings, level, Look::Read).await;
            self.take_hits(parts, lookups.into_iter().zip(tickets), now, found);
        } else {
            let lookups = readings.into_iter().map(|reading| self.shared.evaluate_of_many(reading, level, now));
            self.take_hits(parts, lookups.zip(tickets), now, found);
        }
    }

    /// Removes the hits from `parts`, whose lookups these are.
    fn take_hits(
        self: &Arc<Self>,
        parts: &mut Vec<Part<'_, K>>,
        mut lookups: impl Iterator<Item = (Lookup<V>, Option<Ticket>)>,
        now: Timestamp,
        found: &mut [Option<Found<V>>],
    ) {
        parts.retain_mut(|part| {
            let Some((lookup, ticket)) = lookups.next() else { return true };
            let read = &part.read;
            match self.hit_of_many(&read.key, &read.store_key, lookup, ticket) {
                Ok(stored) => set(found, part.index, (now, Ok(self.shared_hit(&read.key, stored, read.level)))),
                Err(purpose) => part.purpose = purpose,
            }
            found.get(part.index).is_some_and(Option::is_none)
        });
    }

    /// Keeps a value that was read from the store in the process-local tier, and refreshes it if that is due.
    #[inline]
    pub(super) fn use_stored(
        self: &Arc<Self>,
        key: &K,
        store_key: &StoreKey,
        stored: &Stored<V>,
        ticket: Option<Ticket>,
    ) {
        self.refresh_if_due(key, store_key, stored);
        if let Some(ticket) = ticket {
            self.keep_read(key, store_key, stored, ticket);
        }
    }

    /// Returns the value of a hit, which is kept in the process-local tier; else notes the miss, and returns why the key has to
    /// be loaded.
    fn hit_of_many(
        self: &Arc<Self>,
        key: &K,
        store_key: &StoreKey,
        lookup: Lookup<V>,
        ticket: Option<Ticket>,
    ) -> Result<Stored<V>, Purpose> {
        let (outcome, purpose) = match lookup {
            Lookup::Hit(stored) => {
                self.use_stored(key, store_key, &stored, ticket);
                return Ok(stored);
            }
            Lookup::Miss => (ReadOutcome::Miss, Purpose::Miss),
            Lookup::Unproven => (ReadOutcome::Unproven, Purpose::Reload),
            Lookup::Outdated => (ReadOutcome::Outdated, Purpose::Reload),
            Lookup::TagInvalidated => (ReadOutcome::TagInvalidated, Purpose::Retag),
        };
        self.note_read(key, outcome);
        Err(purpose)
    }

    /// Waits for one load of many; if this reader may not take the value, it reads the key by itself.
    async fn await_load(
        self: &Arc<Self>,
        Part { index, read, .. }: Part<'_, K>,
        flight: Arc<Flight<V>>,
        leads: bool,
    ) -> (usize, Found<V>) {
        let hit = match self.or_stale(&read, self.landed(&read, &flight, leads)).await {
            Ok(JoinOutcome::Hit(hit)) => Ok(hit),
            Ok(JoinOutcome::Unsuitable | JoinOutcome::Lagging { .. }) => {
                Arc::clone(self).read(read.key, read.level, Work::Registered).await
            }
            Err(error) => Err(error),
        };
        (index, (self.clock.now(), hit))
    }

    /// Runs the loads that one call leads, as one batch load.
    pub(super) async fn run_loads(self: Arc<Self>, pending: Vec<PendingLoad<K, V>>) {
        let began = self.clock.now();
        // Before the leases, as for one key.
        let expected = self.expect_tags(pending.iter().map(|load| load.leader.key())).await;
        let permit = match self.gate.permit().await {
            Ok(permit) => permit,
            Err(error) => {
                pending.into_iter().for_each(|load| load.leader.complete(Err(error.clone())));
                return;
            }
        };
        let loads = self.lease_many(pending).await;
        if loads.is_empty() {
            return;
        }
        let keys: Vec<K> = loads.iter().map(|(load, _)| load.leader.key().clone()).collect();
        let fences = loads.iter().filter_map(|(_, lease)| lease.as_ref()?.fence.as_ref());
        match self.load_many(permit, &keys, fences).await {
            Ok(fresh) => {
                let stored = loads
                    .into_iter()
                    .zip(fresh)
                    .map(|((load, lease), fresh)| self.store_one(load, lease, fresh, (&expected, began)));
                join_all(stored.collect::<Vec<_>>()).await;
            }
            Err(error) => {
                let failed = loads.into_iter().map(|(load, lease)| self.fail_one(load, lease, error.clone(), began));
                join_all(failed.collect::<Vec<_>>()).await;
            }
        }
    }

    /// Requests a lease for each load, and returns the loads that are still necessary.
    async fn lease_many(self: &Arc<Self>, pending: Vec<PendingLoad<K, V>>) -> Vec<(PendingLoad<K, V>, Option<Lease>)> {
        let leases = join_all(
            pending.iter().map(|load| self.shared.lease(&load.plan.store_key, load.plan.purpose != Purpose::Miss)),
        );
        let mut loads = Vec::with_capacity(pending.len());
        let leases = leases.await;
        for (leased, load) in leases.into_iter().zip(pending) {
            match leased {
                Leased::Present(loaded) => load.leader.complete(Ok(loaded)),
                Leased::Granted(lease) => {
                    self.note_lease(&load.leader, Some(&lease));
                    loads.push((load, Some(lease)));
                }
                Leased::Without => loads.push((load, None)),
                // It is waited for in a task of its own: a task that waits for a lease holds none ("Permit before lease").
                Leased::Held(_) => {
                    self.spawn_load(load.leader, load.plan, Work::Registered);
                }
            }
        }
        loads
    }

    /// Offers one value of a batch load to the tiers, and completes its flight.
    async fn store_one(
        &self,
        load: PendingLoad<K, V>,
        mut lease: Option<Lease>,
        fresh: Result<Fresh<V>>,
        (expected, began): (&Expected, Timestamp),
    ) {
        let mut fresh = match fresh {
            Ok(fresh) => fresh,
            Err(error) => return self.fail_one(load, lease, error, began).await,
        };
        // A value with a tag that was not expected is stored by the next load.
        self.mark(load.leader.key(), lease.as_mut(), expected, &mut fresh);
        load.leader.seal();
        let loaded = self.store_loaded(load.leader.key(), &load.plan, lease, fresh).await;
        let outcome = Ok(loaded);
        self.note_load(load.leader.key(), began, outcome.as_ref());
        load.leader.complete(outcome);
    }

    /// Releases the lease of a key that could not be loaded, and completes its flight.
    async fn fail_one(&self, load: PendingLoad<K, V>, lease: Option<Lease>, error: Error, began: Timestamp) {
        self.release_lease(&load.plan.store_key, lease.as_ref()).await;
        self.note_load(load.leader.key(), began, Err(&error));
        load.leader.complete(Err(error));
    }
}

/// Removes the parts whose key an earlier part has, because a batch must load no key twice. Returns the place of each, with
/// the place of the first part of the key.
fn split_copies<K: Eq + Hash, T>(parts: &mut Vec<T>, of: impl Fn(&T) -> (usize, &K)) -> Vec<(usize, usize)> {
    if parts.len() < 2 {
        return Vec::new();
    }
    let mut first: HashMap<&K, usize> = HashMap::with_capacity(parts.len());
    let mut copies = Vec::new();
    let kept: Vec<bool> = parts
        .iter()
        .map(|part| {
            let (index, key) = of(part);
            let original = *first.entry(key).or_insert(index);
            if original != index {
                copies.push((index, original));
            }
            original == index
        })
        .collect();
    let mut kept = kept.into_iter();
    parts.retain(|_| kept.next().unwrap_or(true));
    copies
}

/// The error of a key that no load has returned.
pub(super) fn cancelled() -> Error {
    Error::new(ErrorKind::Load, "the load was cancelled")
}

/// Sets the result of one key.
pub(super) fn set<T>(found: &mut [Option<T>], index: usize, hit: T) {
    if let Some(place) = found.get_mut(index) {
        *place = Some(hit);
    }
}
