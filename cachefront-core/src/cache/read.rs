//! The read path: this process's tier, the shared store, then a flight. One function for each tier.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::cache::Inner;
use crate::cache::epochs::Ticket;
use crate::cache::flight::{Boarding, Flight};
use crate::cache::found::{Hit, Loaded, Tier, age};
use crate::cache::level::{Evidence, Level};
use crate::cache::load::{Order, Work};
use crate::cache::local::{Found, LocalEntry, LocalTier};
use crate::clock::Timestamp;
use crate::entry::{Entry, PayloadState, fill_position};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{CacheKey, StoreKey};
use crate::position::Position;
use crate::store::{InvalidationMode, Meta, Reading, ServerId};

/// How often a reader boards flights before it is told that the key changes too fast. Two suffice (the second flight
/// begins after the reader did); more allow for entries that vanish between a lease and a look.
const ROUNDS_MAX: usize = 8;

/// What the shared store has for a reader.
pub(super) enum Look<V> {
    /// A value that answers the read.
    Hit(Stored<V>),
    /// Nothing that may be served.
    Miss,
    /// A good value that is not proven fresh enough for this read.
    Unproven,
}

/// A value from the shared store, with what is known about it.
pub(super) struct Stored<V> {
    pub(super) value: Option<V>,
    pub(super) filled_at: Timestamp,
    pub(super) expires_at: Timestamp,
    /// The server that it was read from.
    pub(super) server: ServerId,
    /// The fill position as text; parsed only when somebody asks.
    pub(super) position: Bytes,
    pub(super) meta: Option<Arc<Meta>>,
    /// Bytes of the encoded value.
    pub(super) weight: usize,
}

impl<V> Stored<V> {
    /// What the load's server had executed; none if that is not known.
    pub(super) fn loaded(&self) -> Option<Position> {
        fill_position(&self.position)
    }
}

/// What came of boarding a flight.
enum Boarded<V> {
    /// The answer.
    Hit(Hit<V>),
    /// It found what only others may take.
    NotForThisReader,
    /// The database that was read is known to lag behind what this read demands.
    Lags {
        /// It is the server that commits: waiting is no use.
        for_good: bool,
    },
}

/// A read: what is wanted, and what was known when it started.
pub(super) struct Read<'a, K> {
    pub(super) key: K,
    pub(super) store_key: StoreKey,
    pub(super) level: &'a Level,
    /// The newest flight when the read started.
    pub(super) newest: u64,
}

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn mode(&self) -> InvalidationMode {
        match self.mode.load(Ordering::Acquire) {
            0 => InvalidationMode::Cdc,
            _ => InvalidationMode::Ttl,
        }
    }

    /// The first tier: this process's own tier, for a read that asks for nothing special.
    #[inline]
    pub(super) fn local_get<Q>(&self, key: &Q) -> Option<Option<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let tier = self.local.as_ref()?;
        if self.is_bypassed() {
            return None;
        }
        let entry = tier.get(key, &self.side.epochs, self.clock.coarse())?;
        self.metrics.hit_local.increment(1);
        Some(entry.value)
    }

    /// A whole read, for all but plain hits in this process's own tier.
    pub(super) async fn read(self: Arc<Self>, key: K, level: &Level, mut work: Work<V>) -> Result<Hit<V>> {
        // A key that is too long to be stored is loaded every time.
        let store_key = StoreKey::encode_short(&self.name, &key)?;
        let through = !self.is_bypassed() && !level.bypass;
        let Some(store_key) = store_key.filter(|_| through) else {
            self.metrics.bypass.increment(1);
            return self.bypass(&key, level, work, self.patience()).await;
        };
        let read = Read { key, store_key, level, newest: self.flights.newest() };
        if (!level.is_eventual() || level.detailed)
            && let Some(hit) = self.local_proven(&read)
        {
            return Ok(hit);
        }
        let mut patience = self.patience();
        let mut reload = false;
        for _ in 0..ROUNDS_MAX {
            match self.look(&read).await {
                Look::Hit(stored) => return Ok(self.shared_hit(stored, level)),
                Look::Miss if reload => {}
                Look::Miss => self.metrics.miss.increment(1),
                Look::Unproven => {
                    self.metrics.unproven.increment(1);
                    reload = true;
                }
            }
            match self.board(&read, reload, &mut work).await? {
                Boarded::Hit(hit) => return Ok(hit),
                Boarded::NotForThisReader => reload = reload || !level.is_eventual(),
                Boarded::Lags { for_good } => {
                    reload = true;
                    self.wait_for_proof(&mut patience, for_good).await?;
                }
            }
        }
        // The key changes faster than it can be filled: the database itself answers.
        self.bypass(&read.key, level, work, patience).await
    }

    /// Boards a flight once.
    async fn board(self: &Arc<Self>, read: &Read<'_, K>, reload: bool, work: &mut Work<V>) -> Result<Boarded<V>> {
        let ticket = self.side.epochs.ticket(&read.store_key);
        let (loaded, fits) = match self.flights.board(&read.key, ticket, &self.side.epochs) {
            Boarding::Pilot(pilot) => {
                let flight = pilot.flight();
                let order = Order { store_key: read.store_key.clone(), ticket: self.keepable(ticket), reload };
                tokio::spawn(Arc::clone(self).fly(pilot, order, work.take()));
                let loaded = flight.wait().await?;
                let fits = loaded.tier == Tier::Database || self.proves(read.level, &loaded);
                (loaded, fits)
            }
            Boarding::Passenger(flight) => {
                let loaded = flight.wait().await?;
                let fits = self.passenger_may_take(read, &flight, &loaded);
                (loaded, fits)
            }
        };
        if !fits {
            return Ok(Boarded::NotForThisReader);
        }
        if loaded.tier == Tier::Database && !read.level.takes_loaded(loaded.position.as_ref(), loaded.primary) {
            return Ok(Boarded::Lags { for_good: loaded.known_primary });
        }
        Ok(Boarded::Hit(self.loaded_hit(&loaded)))
    }

    /// "Joining": a passenger takes what was loaded after it started, or what the store accepted after it started and,
    /// for a session or a bound, what proves itself.
    pub(super) fn passenger_may_take(&self, read: &Read<'_, K>, flight: &Flight<V>, loaded: &Loaded<V>) -> bool {
        loaded.tier == Tier::Database
            && (flight.serves(read.newest) || (loaded.accepted && self.proves(read.level, loaded)))
    }

    fn proves(&self, level: &Level, loaded: &Loaded<V>) -> bool {
        let evidence = Evidence {
            loaded: loaded.position.as_ref(),
            applied: None,
            filled_at: loaded.filled_at,
            source_time: Timestamp::UNKNOWN,
        };
        level.is_proven(&evidence, self.clock.now(), self.settings.clock_skew)
    }

    /// A value of this process's own tier that proves what the read asks for.
    fn local_proven(&self, read: &Read<'_, K>) -> Option<Hit<V>> {
        let hit = self.local_look(read.level, |tier, now| tier.get(&read.key, &self.side.epochs, now))?;
        self.metrics.hit_local.increment(1);
        Some(hit)
    }

    /// The hit that this process's own tier makes, if it proves the level. What this process has handled of the bus is
    /// the proof, never what the store says: the store may be ahead of the bus.
    ///
    /// The proof is taken *before* the value is looked at: what is handled in between voids the value and proves
    /// nothing about it.
    pub(super) fn local_look(
        &self,
        level: &Level,
        look: impl FnOnce(&LocalTier<K, V>, Timestamp) -> Option<LocalEntry<V>>,
    ) -> Option<Hit<V>> {
        let tier = self.local.as_ref()?;
        let by_log = self.mode() == InvalidationMode::Cdc;
        let handled = self.side.handled.load();
        let entry = look(tier, self.clock.coarse())?;
        let now = self.clock.now();
        let evidence = Evidence {
            loaded: None,
            applied: handled.applied.as_ref().filter(|_| by_log),
            filled_at: entry.filled_at,
            source_time: if by_log { handled.source_time } else { Timestamp::UNKNOWN },
        };
        level.is_proven(&evidence, now, self.settings.clock_skew).then(|| Hit {
            value: entry.value,
            tier: Tier::Local,
            position: evidence.applied.cloned(),
            staleness_bound: evidence.staleness_bound(now, self.settings.clock_skew),
            ttl: Some(entry.expires_at.since(now)),
            age: age(entry.filled_at, now),
        })
    }

    /// The second tier: the shared store. A store that cannot be read is a miss.
    async fn look(&self, read: &Read<'_, K>) -> Look<V> {
        let ticket = self.side.epochs.ticket(&read.store_key);
        let keep = self.keepable(ticket);
        match self.store.get(&read.store_key).await {
            Ok(reading) => {
                self.metrics.store_up.set(1.0);
                if !read.level.is_eventual() {
                    self.note_origin(reading.meta.as_deref());
                }
                let look = self.judge(reading, read.level);
                if let (Look::Hit(stored), Some(ticket)) = (&look, keep) {
                    self.keep_read(&read.key, &read.store_key, stored, ticket);
                }
                look
            }
            Err(error) => {
                self.store_failed("get", &error);
                Look::Miss
            }
        }
    }

    /// What a reading of the store is worth to a reader.
    pub(super) fn judge(&self, reading: Reading, level: &Level) -> Look<V> {
        let Some(stored) = self.usable(reading) else { return Look::Miss };
        if level.is_eventual() {
            return Look::Hit(stored);
        }
        // What was applied is mostly parsed already, so it is asked first.
        let applied = stored.meta.as_ref().map(|meta| meta.applied());
        let by_applied = matches!((&level.at_least, applied), (Some(token), Some(applied)) if applied.covers(token));
        let loaded = if level.at_least.is_some() && !by_applied { stored.loaded() } else { None };
        let evidence = Evidence {
            loaded: loaded.as_ref(),
            applied,
            filled_at: stored.filled_at,
            source_time: stored.meta.as_ref().map_or(Timestamp::UNKNOWN, |meta| meta.source_time),
        };
        if level.is_proven(&evidence, self.clock.now(), self.settings.clock_skew) {
            Look::Hit(stored)
        } else {
            Look::Unproven
        }
    }

    /// An entry that may be served at the eventual level under the mode in force.
    fn usable(&self, reading: Reading) -> Option<Stored<V>> {
        let entry = match Entry::decode(reading.entry?) {
            Ok(entry) => entry,
            Err(error) => {
                tracing::warn!(cache = %self.name, error = %error, "an entry of the store is damaged and counts as a miss");
                return None;
            }
        };
        let header = &entry.header;
        let meta = match self.mode() {
            InvalidationMode::Cdc => {
                let meta = reading.meta.filter(|meta| meta.is_live())?;
                // Not covered, or of another generation: worth nothing.
                let covered = meta.coverage.generation(self.mapping);
                if header.mode != InvalidationMode::Cdc || covered != Some(header.generation) {
                    return None;
                }
                Some(meta)
            }
            InvalidationMode::Ttl => None,
        };
        let expired = header.hard_expiry.is_known() && self.clock.now() >= header.hard_expiry;
        if header.schema_version != self.schema_version || expired {
            return None;
        }
        let value = match header.state {
            PayloadState::Negative => None,
            PayloadState::Fresh if header.codec == self.codec.id() && header.compression == 0 => {
                match self.codec.decode(&entry.payload) {
                    Ok(value) => Some(value),
                    Err(error) => {
                        tracing::warn!(cache = %self.name, error = %error, "a value of the store cannot be decoded and counts as a miss");
                        return None;
                    }
                }
            }
            _ => return None,
        };
        Some(Stored {
            value,
            filled_at: header.filled_at,
            expires_at: header.hard_expiry,
            server: reading.server,
            position: entry.header.position,
            meta,
            weight: entry.payload.len(),
        })
    }

    fn shared_hit(&self, stored: Stored<V>, level: &Level) -> Hit<V> {
        self.metrics.hit_shared.increment(1);
        if level.detailed {
            return self.stored_hit(stored);
        }
        Hit { value: stored.value, tier: Tier::Shared, position: None, staleness_bound: None, ttl: None, age: None }
    }

    pub(super) fn stored_hit(&self, stored: Stored<V>) -> Hit<V> {
        let now = self.clock.now();
        let evidence = Evidence {
            filled_at: stored.filled_at,
            source_time: stored.meta.as_ref().map_or(Timestamp::UNKNOWN, |meta| meta.source_time),
            ..Evidence::default()
        };
        let staleness_bound = evidence.staleness_bound(now, self.settings.clock_skew);
        let mut position = stored.loaded();
        if let Some(meta) = &stored.meta {
            position.get_or_insert_default().union(meta.applied());
        }
        Hit {
            value: stored.value,
            tier: Tier::Shared,
            position,
            staleness_bound,
            ttl: Some(stored.expires_at.since(now)),
            age: age(stored.filled_at, now),
        }
    }

    fn loaded_hit(&self, loaded: &Loaded<V>) -> Hit<V> {
        let now = self.clock.now();
        let evidence = Evidence { filled_at: loaded.filled_at, ..Evidence::default() };
        Hit {
            value: loaded.value.clone(),
            tier: loaded.tier,
            position: loaded.position.clone(),
            // What was loaded from a replica was current at no known time.
            staleness_bound: evidence.staleness_bound(now, self.settings.clock_skew),
            ttl: loaded.expires_at.is_known().then(|| loaded.expires_at.since(now)),
            age: age(loaded.filled_at, now),
        }
    }

    /// The ticket, if what is read under it may be put into this process's own tier. Asked after the ticket was taken.
    pub(super) fn keepable(&self, ticket: Ticket) -> Option<Ticket> {
        let reached = self.mode() == InvalidationMode::Ttl || self.side.epochs.is_following();
        (self.local.is_some() && reached).then_some(ticket)
    }

    /// True if what was read from, or filled at, this server may be put away: it is the server that the bus is read from,
    /// for no other one's invalidations are told of there; and it still had applied everything that this process has
    /// handled. One that was demoted under both connections takes over an older state from the new primary, and its
    /// values lack what was told before ("One server").
    pub(super) fn is_followed(&self, server: ServerId, meta: Option<&Meta>) -> bool {
        server.is_same(self.side.server()) && self.has_all_handled(meta)
    }

    /// Puts away what was read from the store.
    pub(super) fn keep_read(&self, key: &K, store_key: &StoreKey, stored: &Stored<V>, ticket: Ticket) {
        let Some(tier) = &self.local else { return };
        if self.mode() == InvalidationMode::Cdc && !self.is_followed(stored.server, stored.meta.as_deref()) {
            return;
        }
        let found = Found {
            ticket,
            now: self.clock.now(),
            filled_at: stored.filled_at,
            expires_at: stored.expires_at,
            weight: store_key.as_str().len() + stored.weight,
        };
        tier.insert(key.clone(), stored.value.clone(), &found);
    }

    /// True if the store's meta, read with a value, has applied all that this process has handled of the bus.
    fn has_all_handled(&self, meta: Option<&Meta>) -> bool {
        let handled = self.side.handled.load();
        matches!((meta, &handled.applied), (Some(meta), Some(handled)) if meta.applied().covers(handled))
    }

    /// What a plain read here and now would serve without loading.
    pub(super) async fn peek(&self, key: &K) -> Result<Option<Hit<V>>> {
        if self.is_bypassed() {
            return Ok(None);
        }
        let local = self.local_look(&Level::default(), |tier, now| tier.peek(key, &self.side.epochs, now));
        if local.is_some() {
            return Ok(local);
        }
        let Some(store_key) = StoreKey::encode_short(&self.name, key)? else { return Ok(None) };
        let reading = self.store.peek(&store_key).await?;
        match self.judge(reading, &Level::default()) {
            Look::Hit(stored) => Ok(Some(self.stored_hit(stored))),
            Look::Miss | Look::Unproven => Ok(None),
        }
    }

    pub(super) fn store_failed(&self, operation: &'static str, error: &Error) {
        self.metrics.store_failed(operation);
        if error.kind() != ErrorKind::Unavailable && error.kind() != ErrorKind::Timeout {
            tracing::warn!(cache = %self.name, operation, error = %error.chain(), "the store failed; the database answers");
        } else {
            tracing::debug!(cache = %self.name, operation, error = %error.chain(), "the store is away; the database answers");
        }
    }
}
