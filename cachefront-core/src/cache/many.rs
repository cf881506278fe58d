//! Many keys at once: one read of the store, and one batch load for the keys that this call has to load.
//!
//! Single-flight applies to each key: a key that another reader is loading is waited for, and the others are loaded
//! together under one permit. A key whose lease another process holds gets its own task, so that it does not delay the rest.

use std::hash::Hash;
use std::sync::Arc;

use futures_util::future::join_all;

use crate::cache::flight::{Flight, Joined, Leader};
use crate::cache::inner::Inner;
use crate::cache::level::Level;
use crate::cache::load_gate::Fresh;
use crate::cache::plan::{LoadPlan, Work};
use crate::cache::read::Read;
use crate::cache::shared::{Lease, Leased, Lookup};
use crate::error::Result;
use crate::key::{CacheKey, StoreKey};

/// A load that this call leads.
struct PendingLoad<K: Hash + Eq, V> {
    leader: Leader<K, V>,
    plan: LoadPlan,
}

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Reads many keys: the process-local tier for each, one read of the store for the rest, and then single-flight loads of
    /// which those that this call leads run as one batch.
    pub(super) async fn read_many(self: Arc<Self>, keys: Vec<K>) -> Result<Vec<Option<V>>> {
        let level = Level::default();
        let newest = self.flights.newest();
        let mut values: Vec<Option<Option<V>>> = keys.iter().map(|key| self.local_get(key)).collect();
        let mut reads = Vec::new();
        let mut unstorable = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            if values.get(index).is_some_and(Option::is_none) {
                match StoreKey::encode_short(&self.shared.cache, key)? {
                    Some(store_key) => reads.push((index, Read { key: key.clone(), store_key, level: &level, newest })),
                    None => unstorable.push((index, key)),
                }
            }
        }
        self.lookup_many(&mut reads, &mut values).await;
        let flights = self.join_many(reads);
        let loads = flights.into_iter().map(|(index, read, flight)| self.await_load(index, read, flight));
        for loaded in join_all(loads).await {
            let (index, value) = loaded?;
            if let Some(place) = values.get_mut(index) {
                *place = Some(value);
            }
        }
        // Keys that are too long to be stored are loaded every time.
        for (index, key) in unstorable {
            let hit = self.bypass(key, &level, Work::Registered, self.proof_wait()).await?;
            if let Some(place) = values.get_mut(index) {
                *place = Some(hit.value);
            }
        }
        Ok(values.into_iter().map(Option::flatten).collect())
    }

    /// Joins or starts a load for each read; those that this call leads run in one task.
    fn join_many<'a>(self: &Arc<Self>, reads: Vec<(usize, Read<'a, K>)>) -> Vec<(usize, Read<'a, K>, Arc<Flight<V>>)> {
        let mut flights = Vec::with_capacity(reads.len());
        let mut pending = Vec::new();
        for (index, read) in reads {
            let ticket = self.subscription.epochs.ticket(&read.store_key);
            let flight = match self.flights.join(&read.key, ticket, &self.subscription.epochs) {
                Joined::Waiter(flight) => flight,
                Joined::Leader(leader) => {
                    let flight = leader.flight();
                    let plan =
                        LoadPlan { store_key: read.store_key.clone(), ticket: self.keepable(ticket), reload: false };
                    pending.push(PendingLoad { leader, plan });
                    flight
                }
            };
            flights.push((index, read, flight));
        }
        if !pending.is_empty() {
            tokio::spawn(Arc::clone(self).run_loads(pending));
        }
        flights
    }

    /// Reads the store once for all remaining reads, and removes the hits from `reads`.
    async fn lookup_many(&self, reads: &mut Vec<(usize, Read<'_, K>)>, values: &mut [Option<Option<V>>]) {
        if reads.is_empty() || self.is_bypassed() {
            return;
        }
        let tickets: Vec<_> =
            reads.iter().map(|(_, read)| self.keepable(self.subscription.epochs.ticket(&read.store_key))).collect();
        let store_keys: Vec<StoreKey> = reads.iter().map(|(_, read)| read.store_key.clone()).collect();
        let readings = match self.shared.store.get_many(&store_keys).await {
            Ok(readings) => readings,
            Err(error) => return self.shared.failed("get_many", &error),
        };
        self.metrics.store_up.set(1.0);
        let mut found = readings.into_iter().zip(tickets);
        reads.retain(|(index, read)| {
            let Some((reading, ticket)) = found.next() else { return true };
            let Lookup::Hit(stored) = self.shared.evaluate(reading, read.level) else {
                self.metrics.miss.increment(1);
                return true;
            };
            self.metrics.hit_shared.increment(1);
            if let Some(ticket) = ticket {
                self.keep_read(&read.key, &read.store_key, &stored, ticket);
            }
            if let Some(place) = values.get_mut(*index) {
                *place = Some(stored.value);
            }
            false
        });
    }

    /// Waits for one load of many; if this reader may not take the value, it reads the key by itself.
    async fn await_load(
        self: &Arc<Self>,
        index: usize,
        read: Read<'_, K>,
        flight: Arc<Flight<V>>,
    ) -> Result<(usize, Option<V>)> {
        let loaded = flight.wait().await?;
        if self.waiter_may_take(&read, &flight, &loaded) {
            return Ok((index, loaded.value.clone()));
        }
        let hit = Arc::clone(self).read(read.key, &Level::default(), Work::Registered).await?;
        Ok((index, hit.value))
    }

    /// Runs the loads that one call leads, as one batch load.
    async fn run_loads(self: Arc<Self>, pending: Vec<PendingLoad<K, V>>) {
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
        match self.load_many(permit, &keys).await {
            Ok(fresh) => {
                let stored =
                    loads.into_iter().zip(fresh).map(|((load, lease), fresh)| self.store_one(load, lease, fresh));
                join_all(stored.collect::<Vec<_>>()).await;
            }
            Err(error) => {
                for (load, lease) in loads {
                    self.release_lease(&load.plan.store_key, lease.as_ref()).await;
                    load.leader.complete(Err(error.clone()));
                }
            }
        }
    }

    /// Requests a lease for each load, and returns the loads that are still necessary.
    async fn lease_many(self: &Arc<Self>, pending: Vec<PendingLoad<K, V>>) -> Vec<(PendingLoad<K, V>, Option<Lease>)> {
        let bypass = self.is_bypassed();
        let leases = join_all(pending.iter().map(|load| async {
            if bypass { Leased::Without } else { self.shared.lease(&load.plan.store_key, false).await }
        }));
        let mut loads = Vec::with_capacity(pending.len());
        let leases = leases.await;
        for (leased, load) in leases.into_iter().zip(pending) {
            match leased {
                Leased::Present(loaded) => load.leader.complete(Ok(Arc::new(loaded))),
                Leased::Granted(lease) => loads.push((load, Some(lease))),
                Leased::Without => loads.push((load, None)),
                // It is waited for in a task of its own: a task that waits for a lease holds none ("Permit before lease").
                Leased::Held(_) => {
                    tokio::spawn(Arc::clone(self).run_load(load.leader, load.plan, Work::Registered));
                }
            }
        }
        loads
    }

    /// Offers one value of a batch load to the tiers, and completes its flight.
    async fn store_one(&self, load: PendingLoad<K, V>, lease: Option<Lease>, fresh: Fresh<V>) {
        load.leader.seal();
        let loaded = self.store_loaded(load.leader.key(), &load.plan, lease, fresh).await;
        load.leader.complete(Ok(Arc::new(loaded)));
    }
}
