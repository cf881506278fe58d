//! The read path: the process-local tier, the shared store, then a single-flight load. One function for each tier.
//!
//! A plain hit in the process-local tier never gets here: [`GetFuture`](crate::GetFuture) takes it from
//! [`local_get`](Inner::local_get) without an allocation. Every other read repeats lookup and load until a value satisfies
//! its level: a value can be unsuitable because it was loaded for an earlier reader, or because its database lags.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;

use crate::cache::epochs::Ticket;
use crate::cache::flight::{Flight, Joined};
use crate::cache::hit::{Hit, Loaded, Tier, age};
use crate::cache::inner::Inner;
use crate::cache::level::{Evidence, Level};
use crate::cache::local::{Insertion, LocalEntry, LocalTier};
use crate::cache::observer::ReadOutcome;
use crate::cache::plan::{LoadPlan, Purpose, Work};
use crate::cache::serving::ServingMode;
use crate::cache::shared::{Lookup, Stored};
use crate::cache::tags::{Look, tickets};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{CacheKey, StoreKey};
use crate::mode::InvalidationMode;

/// Maximum number of flights that one read joins before it loads by itself. Two suffice (the second flight begins after
/// the reader did); more allow for entries that disappear between a lease and a lookup.
const ROUNDS_MAX: usize = 8;

/// What came of joining a flight.
pub(super) enum JoinOutcome<V> {
    /// The value satisfies the read.
    Hit(Hit<V>),
    /// The value may be returned to other readers only.
    Unsuitable,
    /// The database that was read is known to lag behind what this read requires.
    Lagging {
        /// It is the server that commits, so waiting does not help.
        permanent: bool,
    },
}

/// A read: what is required, and what was known when it started.
pub(super) struct Read<'a, K> {
    pub(super) key: K,
    /// The key in its stored form.
    pub(super) store_key: StoreKey,
    /// What the read requires.
    pub(super) level: &'a Level,
    /// The newest flight when the read started.
    pub(super) newest: u64,
}

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The first tier, for a plain read.
    #[inline]
    pub(super) fn local_get<Q>(&self, key: &Q) -> Option<Option<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let tier = self.local.as_ref()?;
        if !self.subscription.is_unlimited() {
            return self.local_get_limited(tier, key);
        }
        let value = tier.value(key, &self.subscription.epochs, self.coarse.now())?;
        self.metrics.hit_local.increment(1);
        Some(value)
    }

    /// The first tier while it serves no read, while the freshness objective is not met, or where its hits are counted.
    #[cold]
    fn local_get_limited<Q>(&self, tier: &LocalTier<K, V>, key: &Q) -> Option<Option<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if self.subscription.is_local_off() {
            return None;
        }
        let entry = tier.get(key, &self.subscription.epochs, self.coarse.now())?;
        if self.subscription.is_lagging() && !self.local_is_fresh(&entry) {
            return None;
        }
        self.note_local_hit(|| key.to_owned());
        Some(entry.value)
    }

    /// Counts a hit in the process-local tier.
    fn note_local_hit(&self, key: impl FnOnce() -> K) {
        self.metrics.hit_local.increment(1);
        if self.settings.count_local_hits {
            self.metrics.count_local_hit();
        }
        if let Some(observer) = self.observer.as_ref().filter(|observer| observer.wants_local_hits()) {
            observer.read(&key(), ReadOutcome::Hit(Tier::Local));
        }
    }

    /// Returns true if a plain read may be served this value of the process-local tier ("Freshness objective").
    fn local_is_fresh(&self, entry: &LocalEntry<V>) -> bool {
        let by_log = self.shared.mode() == InvalidationMode::Cdc;
        !by_log || self.subscription.is_fresh_here(entry.filled_at, self.clock.now())
    }

    /// A complete read, for everything but plain hits in the process-local tier.
    ///
    /// Everything but a hit is in boxed futures of its own, so that the future of a hit, which every read allocates, holds
    /// no state of a load.
    pub(super) fn read(self: Arc<Self>, key: K, level: &Level, work: Work<V>) -> impl Future<Output = Result<Hit<V>>> {
        let newest = self.flights.newest();
        self.read_since(key, level, work, newest)
    }

    /// Like [`read`](Self::read), for a read that began when `newest` was the newest flight.
    async fn read_since(self: Arc<Self>, key: K, level: &Level, work: Work<V>, newest: u64) -> Result<Hit<V>> {
        // A key that is too long to be stored is loaded every time.
        let store_key = StoreKey::encode_short(&self.shared.cache, &key)?;
        let serving = self.subscription.serving();
        if serving == ServingMode::Shadow && !level.bypass {
            return Box::pin(self.read_shadowed(key, level, work)).await;
        }
        let through = serving != ServingMode::Bypass && !level.bypass;
        let Some(store_key) = store_key.filter(|_| through) else {
            self.note_read(&key, ReadOutcome::Bypass);
            return Box::pin(self.bypass(&key, level, &work, self.proof_wait())).await;
        };
        let read = Read { key, store_key, level, newest };
        if (!level.is_eventual() || level.detailed)
            && let Some(hit) = self.local_proven(&read.key, level)
        {
            return Ok(hit);
        }
        match self.lookup(&read).await {
            Lookup::Hit(stored) => Ok(self.shared_hit(&read.key, stored, level)),
            first => Box::pin(self.read_by_load(&read, first, work)).await,
        }
    }

    /// A read whose first lookup was no hit: loads and looks up by turns until a value satisfies the level.
    async fn read_by_load(self: &Arc<Self>, read: &Read<'_, K>, first: Lookup<V>, work: Work<V>) -> Result<Hit<V>> {
        let mut proof_wait = self.proof_wait();
        let mut purpose = Purpose::Miss;
        let mut lookup = first;
        let mut rounds = 0;
        while rounds < ROUNDS_MAX {
            match lookup {
                Lookup::Hit(stored) => return Ok(self.shared_hit(&read.key, stored, read.level)),
                Lookup::Miss if purpose != Purpose::Miss => {}
                Lookup::Miss => self.note_read(&read.key, ReadOutcome::Miss),
                Lookup::Unproven => {
                    self.note_read(&read.key, ReadOutcome::Unproven);
                    purpose = Purpose::Reload;
                }
                Lookup::Outdated => {
                    self.note_read(&read.key, ReadOutcome::Outdated);
                    purpose = Purpose::Reload;
                }
                Lookup::TagInvalidated => {
                    self.note_read(&read.key, ReadOutcome::TagInvalidated);
                    purpose = purpose.or_retag();
                }
            }
            match self.or_stale(read, self.join(read, purpose, &work)).await? {
                JoinOutcome::Hit(hit) => return Ok(hit),
                JoinOutcome::Unsuitable => {
                    rounds += 1;
                    if !read.level.is_eventual() {
                        purpose = Purpose::Reload;
                    }
                }
                // Readers that wait for a replica go on sharing their loads: `proof_wait` bounds the rounds.
                JoinOutcome::Lagging { permanent } => {
                    purpose = Purpose::Reload;
                    self.wait_for_proof(&mut proof_wait, permanent || !self.can_load(&work)).await?;
                }
            }
            lookup = self.lookup(read).await;
        }
        if let Lookup::Hit(stored) = lookup {
            return Ok(self.shared_hit(&read.key, stored, read.level));
        }
        // The key changes faster than it can be filled: the read loads by itself.
        self.bypass(&read.key, read.level, &work, proof_wait).await
    }

    /// Returns the load that a plain read of `key` waits for without a read of the store, with the number of the newest flight
    /// before; `None` if there is none, or if a setting asks for more than to wait.
    pub(super) fn flight_after_miss<Q>(&self, key: &Q) -> Option<(Arc<Flight<V>>, u64)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let settings = &self.settings;
        if self.subscription.serving() != ServingMode::Normal
            || !settings.stale_if_error.is_zero()
            || !settings.load_hard_timeout.is_zero()
        {
            return None;
        }
        let newest = self.flights.newest();
        let times = (|| self.clock.now(), settings.lease);
        Some((self.flights.after_miss(key, &self.subscription.epochs, times)?, newest))
    }

    /// A plain read that waits for a load in progress. If it may not take the value, it begins again with a read of the store.
    pub(super) async fn read_joined(
        self: Arc<Self>,
        key: K,
        (flight, newest): (Arc<Flight<V>>, u64),
        work: Work<V>,
    ) -> Result<Hit<V>> {
        self.note_read(&key, ReadOutcome::Miss);
        let loaded = self.outcome(&key, &flight).await?;
        if self.waiter_may_take((&Level::EVENTUAL, newest), &flight, loaded) {
            return Ok(Hit::plain(loaded.value.clone(), loaded.tier));
        }
        Box::pin(self.read_since(key, &Level::EVENTUAL, work, newest)).await
    }

    /// Joins or starts one load.
    pub(super) async fn join(
        self: &Arc<Self>,
        read: &Read<'_, K>,
        purpose: Purpose,
        work: &Work<V>,
    ) -> Result<JoinOutcome<V>> {
        let ticket = self.subscription.epochs.ticket(&read.store_key);
        if !self.can_load(work) {
            return self.landed(read, &self.flight_of_others(&read.key, ticket), false).await;
        }
        match self.flights.join(&read.key, purpose, ticket, &self.subscription.epochs) {
            Joined::Leader(leader) => {
                let flight = leader.flight();
                let plan = LoadPlan {
                    store_key: read.store_key.clone(),
                    ticket: self.keepable(ticket),
                    purpose,
                    served_until: Timestamp::UNKNOWN,
                };
                self.start(leader, plan, work.share());
                self.landed(read, &flight, true).await
            }
            Joined::Waiter(flight) => self.landed(read, &flight, false).await,
        }
    }

    /// Returns the flight that a reader without a loader waits for. It leads none: it would only fail, and the readers with a
    /// loader of their own that join it would fail with it.
    pub(super) fn flight_of_others(&self, key: &K, ticket: Ticket) -> Arc<Flight<V>> {
        self.flights.of_others(key, ticket, &self.subscription.epochs, || self.gate.failed(self.gate.no_loader()))
    }

    /// Waits for the value of a flight, which this read leads or has joined, and judges it.
    pub(super) async fn landed(
        &self,
        read: &Read<'_, K>,
        flight: &Arc<Flight<V>>,
        leads: bool,
    ) -> Result<JoinOutcome<V>> {
        let loaded = self.outcome(&read.key, flight).await?;
        let suitable = if leads {
            loaded.tier == Tier::Database || self.proves(read.level, loaded)
        } else {
            self.waiter_may_take((read.level, read.newest), flight, loaded)
        };
        if !suitable {
            return Ok(JoinOutcome::Unsuitable);
        }
        if loaded.tier == Tier::Database && !read.level.accepts_loaded(loaded.position.as_ref(), loaded.primary) {
            return Ok(JoinOutcome::Lagging { permanent: loaded.known_primary });
        }
        Ok(JoinOutcome::Hit(self.loaded_hit(loaded)))
    }

    /// Waits for a load. One that runs in another runtime is waited for no longer than a load can take, because that runtime may not
    /// be driven; the next reader then begins another load.
    async fn outcome<'a>(&self, key: &K, flight: &'a Arc<Flight<V>>) -> Result<&'a Loaded<V>> {
        if !flight.is_elsewhere() {
            return flight.wait().await;
        }
        let settings = &self.settings;
        // The permit of a batch, one of the key alone, the wait for another process, and another permit with the load.
        let of_others = settings.load_linger + settings.lease_wait + settings.lease_push_max;
        let longest = of_others + 3 * settings.load_timeout;
        tokio::select! {
            biased;
            outcome = flight.wait() => outcome,
            () = self.clock.sleep(longest) => {
                self.flights.detach(key, flight);
                let message = format!("a load of cache `{}` has not ended after {longest:?}: is its runtime driven?", self.shared.cache);
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
    }

    /// "Joining": a waiter takes a value that was loaded after the waiter started; or a value that the store accepted
    /// after it started and, for a session or bounded read, that proves itself.
    fn waiter_may_take(&self, (level, newest): (&Level, u64), flight: &Flight<V>, loaded: &Loaded<V>) -> bool {
        loaded.tier == Tier::Database && (flight.serves(newest) || (loaded.accepted && self.proves(level, loaded)))
    }

    /// Returns true if a loaded value by itself satisfies the level, by its position and the time of its load.
    fn proves(&self, level: &Level, loaded: &Loaded<V>) -> bool {
        let evidence = Evidence {
            loaded: loaded.position.as_ref(),
            applied: None,
            filled_at: loaded.filled_at,
            source_time: Timestamp::UNKNOWN,
        };
        level.is_proven(&evidence, self.clock.now(), self.settings.clock_skew)
    }

    /// Returns a hit of the process-local tier that satisfies the level.
    pub(super) fn local_proven(&self, key: &K, level: &Level) -> Option<Hit<V>> {
        let hit = self.local_lookup(level, |tier, now| tier.get(key, &self.subscription.epochs, now))?;
        self.note_local_hit(|| key.clone());
        Some(hit)
    }

    /// Returns the hit of the process-local tier, if it proves the level. The proof is what this process has handled of
    /// the bus, never what the store says: the store may be ahead of the bus.
    ///
    /// The proof is taken *before* the value: a message that is handled in between invalidates the value, and is no proof
    /// for it.
    pub(super) fn local_lookup(
        &self,
        level: &Level,
        get: impl FnOnce(&LocalTier<K, V>, Timestamp) -> Option<LocalEntry<V>>,
    ) -> Option<Hit<V>> {
        let tier = self.local.as_ref().filter(|_| !self.subscription.is_local_off())?;
        let before = self.shared.mode.is_cdc_throughout();
        let handled = self.subscription.handled.load();
        let entry = get(tier, self.coarse.now())?;
        // The log proves nothing of a value that was put away under TTL mode, which may have begun or ended meanwhile.
        let by_log = before && self.shared.mode.is_cdc_throughout();
        if level.is_eventual() && self.subscription.is_lagging() && !self.local_is_fresh(&entry) {
            return None;
        }
        let now = self.clock.now();
        let (filled_at, expires_at) = (entry.filled_at, entry.expires_at);
        let evidence = Evidence {
            loaded: None,
            applied: handled.applied.as_ref().filter(|_| by_log),
            filled_at,
            source_time: if by_log { handled.source_time } else { Timestamp::UNKNOWN },
        };
        level.is_proven(&evidence, now, self.settings.clock_skew).then(|| Hit {
            value: entry.value,
            tier: Tier::Local,
            position: evidence.applied.cloned(),
            staleness_bound: evidence.staleness_bound(now, self.settings.clock_skew),
            ttl: Some(expires_at.since(now)),
            stale: false,
            age: age(filled_at, now),
        })
    }

    /// The second tier: the shared store. A store that cannot be read is a miss.
    async fn lookup(self: &Arc<Self>, read: &Read<'_, K>) -> Lookup<V> {
        let ticket = self.subscription.epochs.ticket(&read.store_key);
        let keep = self.keepable(ticket);
        let reading = self.shared.guarded_at("get", self.shared.store.get(&read.store_key)).await;
        let Some((reading, now)) = reading else { return Lookup::Miss };
        if !read.level.is_eventual() && self.shared.mode() == InvalidationMode::Cdc {
            self.shared.note_origin(reading.meta.as_deref());
        }
        // A value without tags is evaluated here and now: the future of a hit need not hold it.
        let lookup = if self.shared.tagged {
            self.shared.evaluate_one(reading, read.level, now, Look::Read).await
        } else {
            self.shared.evaluate(reading, read.level, now)
        };
        if let Lookup::Hit(stored) = &lookup {
            self.refresh_if_due(&read.key, &read.store_key, stored);
            if let Some(ticket) = keep {
                self.keep_read(&read.key, &read.store_key, stored, ticket);
            }
        }
        lookup
    }

    /// Counts a hit in the store. A plain read returns the value only, and pays for nothing else.
    #[inline]
    pub(super) fn shared_hit(&self, key: &K, stored: Stored<V>, level: &Level) -> Hit<V> {
        self.note_read(key, ReadOutcome::Hit(Tier::Shared));
        if level.detailed {
            return self.stored_hit(stored);
        }
        Hit::plain(stored.value, Tier::Shared)
    }

    /// Returns a hit with everything that is known about a stored value: it contains its fill position and what was applied.
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
            stale: false,
            age: age(stored.filled_at, now),
        }
    }

    /// Returns a hit with everything that is known about a loaded value.
    pub(super) fn loaded_hit(&self, loaded: &Loaded<V>) -> Hit<V> {
        let now = self.clock.now();
        let evidence = Evidence { filled_at: loaded.filled_at, ..Evidence::default() };
        Hit {
            value: loaded.value.clone(),
            tier: loaded.tier,
            position: loaded.position.clone(),
            // A value that was loaded from a replica has no known time at which it was current.
            staleness_bound: evidence.staleness_bound(now, self.settings.clock_skew),
            ttl: loaded.expires_at.is_known().then(|| loaded.expires_at.since(now)),
            stale: false,
            age: age(loaded.filled_at, now),
        }
    }

    /// Puts a value that was read from the store into the process-local tier.
    pub(super) fn keep_read(&self, key: &K, store_key: &StoreKey, stored: &Stored<V>, ticket: Ticket) {
        let (Some(tier), Ok(tags)) = (&self.local, tickets(&stored.marks)) else { return };
        if self.shared.mode() == InvalidationMode::Cdc
            && !self.subscription.follows(stored.server, stored.meta.as_deref())
        {
            return;
        }
        let facts = Insertion {
            ticket,
            tags,
            now: self.clock.now(),
            filled_at: stored.filled_at,
            expires_at: stored.fresh_until(),
            weight: store_key.as_str().len() + stored.weight,
        };
        tier.insert(key.clone(), stored.value.clone(), &facts);
    }

    /// Returns what a plain read would return now without loading.
    pub(super) async fn peek(&self, key: &K) -> Result<Option<Hit<V>>> {
        Ok(self.inspect(key).await?.map(|found| found.hit))
    }
}
