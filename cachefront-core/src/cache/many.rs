//! Many keys at once: one reading of the store, one batch load for what this call has to load.

use std::collections::HashMap;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::join_all;

use crate::cache::Inner;
use crate::cache::flight::{Boarding, Flight, Pilot};
use crate::cache::level::Level;
use crate::cache::load::{Fresh, Lease, Leased, Order, Turn, Work};
use crate::cache::read::{Look, Read};
use crate::error::{Error, Result};
use crate::key::{CacheKey, StoreKey};
use crate::loader::LoadCx;

/// A flight of this call, with what its pilot has to know.
struct Departure<K: Hash + Eq, V> {
    pilot: Pilot<K, V>,
    order: Order,
}

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) async fn read_many(self: Arc<Self>, keys: Vec<K>) -> Result<Vec<Option<V>>> {
        let level = Level::default();
        let newest = self.flights.newest();
        let mut values: Vec<Option<Option<V>>> = keys.iter().map(|key| self.local_get(key)).collect();
        let mut reads = Vec::new();
        let mut unstorable = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            if values.get(index).is_some_and(Option::is_none) {
                match StoreKey::encode_short(&self.name, key)? {
                    Some(store_key) => reads.push((index, Read { key: key.clone(), store_key, level: &level, newest })),
                    None => unstorable.push((index, key)),
                }
            }
        }
        self.look_many(&mut reads, &mut values).await;
        let mut flights = Vec::new();
        let mut departures = Vec::new();
        for (index, read) in reads {
            let ticket = self.side.epochs.ticket(&read.store_key);
            let flight = match self.flights.board(&read.key, ticket, &self.side.epochs) {
                Boarding::Passenger(flight) => flight,
                Boarding::Pilot(pilot) => {
                    let flight = pilot.flight();
                    let order =
                        Order { store_key: read.store_key.clone(), ticket: self.keepable(ticket), reload: false };
                    departures.push(Departure { pilot, order });
                    flight
                }
            };
            flights.push((index, read, flight));
        }
        if !departures.is_empty() {
            tokio::spawn(Arc::clone(&self).fly_many(departures));
        }
        let landed = join_all(flights.into_iter().map(|(index, read, flight)| self.arrive(index, read, flight))).await;
        for arrival in landed {
            let (index, value) = arrival?;
            if let Some(place) = values.get_mut(index) {
                *place = Some(value);
            }
        }
        // Keys that are too long to be stored are loaded every time.
        for (index, key) in unstorable {
            let hit = self.bypass(key, &level, Work::Registered, self.patience()).await?;
            if let Some(place) = values.get_mut(index) {
                *place = Some(hit.value);
            }
        }
        Ok(values.into_iter().map(Option::flatten).collect())
    }

    /// Reads the store once for all that is still wanted, and leaves what was not found.
    async fn look_many(&self, reads: &mut Vec<(usize, Read<'_, K>)>, values: &mut [Option<Option<V>>]) {
        if reads.is_empty() || self.is_bypassed() {
            return;
        }
        let tickets: Vec<_> =
            reads.iter().map(|(_, read)| self.keepable(self.side.epochs.ticket(&read.store_key))).collect();
        let store_keys: Vec<StoreKey> = reads.iter().map(|(_, read)| read.store_key.clone()).collect();
        let readings = match self.store.get_many(&store_keys).await {
            Ok(readings) => readings,
            Err(error) => return self.store_failed("get_many", &error),
        };
        self.metrics.store_up.set(1.0);
        let mut found = readings.into_iter().zip(tickets);
        reads.retain(|(index, read)| {
            let Some((reading, ticket)) = found.next() else { return true };
            let Look::Hit(stored) = self.judge(reading, read.level) else {
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

    /// Waits for one flight of many; what it may not take it reads by itself.
    async fn arrive(
        self: &Arc<Self>,
        index: usize,
        read: Read<'_, K>,
        flight: Arc<Flight<V>>,
    ) -> Result<(usize, Option<V>)> {
        let loaded = flight.wait().await?;
        if self.passenger_may_take(&read, &flight, &loaded) {
            return Ok((index, loaded.value.clone()));
        }
        let hit = Arc::clone(self).read(read.key, &Level::default(), Work::Registered).await?;
        Ok((index, hit.value))
    }

    async fn fly_many(self: Arc<Self>, departures: Vec<Departure<K, V>>) {
        let turn = match self.turn().await {
            Ok(turn) => turn,
            Err(error) => {
                departures.into_iter().for_each(|departure| departure.pilot.land(Err(error.clone())));
                return;
            }
        };
        let bypass = self.is_bypassed();
        let leases = join_all(departures.iter().map(|departure| async {
            if bypass { Leased::Without } else { self.lease(&departure.order.store_key, false).await }
        }));
        let mut loads: Vec<(Departure<K, V>, Option<Lease>)> = Vec::new();
        let leases = leases.await;
        for (leased, departure) in leases.into_iter().zip(departures) {
            match leased {
                Leased::Present(loaded) => departure.pilot.land(Ok(Arc::new(loaded))),
                Leased::Granted(lease) => loads.push((departure, Some(lease))),
                Leased::Without => loads.push((departure, None)),
                // It is waited for by itself: who waits for a lease holds none ("Turn before lease").
                Leased::Held(_) => {
                    tokio::spawn(Arc::clone(&self).fly(departure.pilot, departure.order, Work::Registered));
                }
            }
        }
        if loads.is_empty() {
            return;
        }
        let keys: Vec<K> = loads.iter().map(|(departure, _)| departure.pilot.key().clone()).collect();
        match self.load_many(turn, &keys).await {
            Ok(mut fresh) => {
                let settled = loads.into_iter().map(|(departure, lease)| {
                    let mine = fresh.remove(departure.pilot.key());
                    self.settle_one(departure, lease, mine)
                });
                join_all(settled.collect::<Vec<_>>()).await;
            }
            Err(error) => {
                for (departure, lease) in loads {
                    self.give_back(&departure.order.store_key, lease.as_ref()).await;
                    departure.pilot.land(Err(error.clone()));
                }
            }
        }
    }

    async fn settle_one(&self, departure: Departure<K, V>, lease: Option<Lease>, fresh: Option<Fresh<V>>) {
        // Every key asked for has an answer in the map; without one the flight ends with an error, by its drop.
        let Some(fresh) = fresh else { return };
        departure.pilot.close_doors();
        let outcome = self.settle(departure.pilot.key(), &departure.order, lease, fresh).await;
        departure.pilot.land(outcome.map(Arc::new));
    }

    /// One batch load; a key without a row has an answer too.
    async fn load_many(&self, turn: Turn<'_>, keys: &[K]) -> Result<HashMap<K, Fresh<V>>, Error> {
        let loader = self.loader.as_ref().ok_or_else(|| self.no_loader())?;
        let started_at = self.clock.now();
        let cx = LoadCx::new(started_at);
        let loaded = tokio::select! {
            biased;
            loaded = AssertUnwindSafe(loader.load_many(keys, &cx)).catch_unwind() => {
                loaded.unwrap_or_else(|_| Err("the loader panicked".into()))
            }
            () = self.clock.sleep(turn.remaining) => return Err(self.load_timed_out()),
        };
        let mut values = loaded.map_err(|error| self.load_failed(error))?;
        let took = self.clock.now().since(started_at);
        self.metrics.load_seconds.record(took.as_secs_f64());
        let notes = cx.notes();
        Ok(keys
            .iter()
            .map(|key| {
                let value = values.remove(key);
                if value.is_some() { &self.metrics.load_ok } else { &self.metrics.load_absent }.increment(1);
                (key.clone(), Fresh { value, notes: notes.clone(), started_at, took })
            })
            .collect())
    }
}
