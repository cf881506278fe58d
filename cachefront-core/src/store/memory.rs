//! A store in this process's memory: the reference implementation, for tests and for services of one process.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::bus::{BusMessage, Hub, InvalidationBus};
use crate::clock::{Clock, Entropy, SystemClock, SystemEntropy, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::{Generation, Token};
use crate::key::StoreKey;
use crate::mapping::MappingId;
use crate::store::contract::{Store, StoreWriter};
use crate::store::coverage::{Cover, Coverage};
use crate::store::lease::{Fill, FillReply, LeaseReply, LeaseRequest};
use crate::store::memory_bus::{MemoryBus, Server};
use crate::store::memory_shard::{Bounds, Shard};
use crate::store::meta::Meta;
use crate::store::row_image::{self, RowImageCounts, RowImageValue};
use crate::store::state::{Applied, Expected, Invalidation, Reading, StoreState};
use crate::store::transition;

/// Settings of a [`MemoryStore`].
///
/// ```
/// use cachefront::{MemorySettings, MemoryStore};
///
/// let mut settings = MemorySettings::default();
/// settings.bytes_max = 64 << 20;
/// let store = MemoryStore::new("shop").with_settings(settings)?;
/// assert_eq!(store.entries(), 0);
/// # Ok::<(), cachefront::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MemorySettings {
    /// Number of logical shards, each with its own lock and meta. Default: 16, so that the threads of a small machine
    /// rarely contend.
    pub shards: u32,
    /// Maximum number of entries, approximately; each shard holds its part. Default: 1,000,000.
    pub entries_max: usize,
    /// Maximum size of entries, keys and records in bytes, approximately; each shard holds its part. Default: 256 MiB.
    pub bytes_max: usize,
    /// Maximum number of bus messages kept for readers that are behind. Default: 4,096.
    pub bus_messages_max: usize,
    /// Maximum size of the kept bus messages in bytes, approximately; the last message is always kept. Default: 16 MiB.
    pub bus_bytes_max: usize,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self {
            shards: 16,
            entries_max: 1_000_000,
            bytes_max: 256 << 20,
            bus_messages_max: 4_096,
            bus_bytes_max: 16 << 20,
        }
    }
}

impl MemorySettings {
    /// Checks every field.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the field that is out of range.
    pub fn validate(&self) -> Result<()> {
        let fields = [
            ("shards", self.shards as usize),
            ("entries_max", self.entries_max),
            ("bytes_max", self.bytes_max),
            ("bus_messages_max", self.bus_messages_max),
            ("bus_bytes_max", self.bus_bytes_max),
        ];
        match fields.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(Error::new(ErrorKind::Config, format!("`{name}` is 0: give at least 1"))),
            None => Ok(()),
        }
    }
}

/// A [`Store`] in this process's memory. A clone is the same store.
///
/// It is bounded by entries and by bytes. Above the bound the oldest entry of a shard is evicted, unless it was read since
/// it was last considered (second chance). An evicted lease only means that its fill is refused. The meta is never
/// evicted. Expired entries are removed when they are found, or when space is needed.
///
/// ```
/// use cachefront::MemoryStore;
/// use cachefront::store::Store;
///
/// let store = MemoryStore::new("shop");
/// assert_eq!(store.namespace(), "shop");
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    namespace: Box<str>,
    settings: MemorySettings,
    clock: Arc<dyn Clock>,
    /// No lock is held across an `await`, and never two at once.
    shards: Box<[Mutex<Shard>]>,
    bus: MemoryBus,
    server: Server,
    hub: Arc<Hub>,
}

impl MemoryStore {
    /// Creates an empty store with the default settings and the system's clock.
    pub fn new(namespace: &str) -> Self {
        Self::build(namespace, MemorySettings::default(), Arc::new(SystemClock::new()))
    }

    /// Returns an empty store of the same name and settings, whose leases and entries expire by `clock`. For a store that
    /// is not in use yet: clones made before are not affected. Default: the system's clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self::build(&self.shared.namespace, self.shared.settings, clock)
    }

    /// Returns an empty store of the same name and clock, with other settings. For a store that is not in use yet: clones
    /// made before are not affected. Default: `MemorySettings::default()`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the setting that is out of range.
    pub fn with_settings(self, settings: MemorySettings) -> Result<Self> {
        settings.validate()?;
        Ok(Self::build(&self.shared.namespace, settings, Arc::clone(&self.shared.clock)))
    }

    fn build(namespace: &str, settings: MemorySettings, clock: Arc<dyn Clock>) -> Self {
        let shards = settings.shards;
        let bounds = Bounds {
            entries_max: settings.entries_max.div_ceil(shards as usize),
            bytes_max: settings.bytes_max.div_ceil(shards as usize),
        };
        let server = Server::new(SystemEntropy.random_u128() as u64);
        let shared = Shared {
            namespace: namespace.into(),
            settings,
            clock,
            shards: (0..shards).map(|_| Mutex::new(Shard::new(bounds))).collect(),
            bus: MemoryBus::new(settings.bus_messages_max, settings.bus_bytes_max, server.clone()),
            server,
            hub: Arc::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the number of entries, including lease-only and expired ones.
    pub fn entries(&self) -> usize {
        self.shared.locks().map(|shard| shard.len()).sum()
    }

    /// Returns the keys of the current entries, at most `limit` of them, in no particular order: for inspection. It does
    /// not affect the eviction order.
    pub fn keys(&self, limit: usize) -> Vec<StoreKey> {
        let now = self.shared.now();
        let mut keys = Vec::new();
        for shard in self.shared.locks() {
            keys.extend(shard.keys(now).take(limit.saturating_sub(keys.len())).cloned());
        }
        keys
    }

    /// Returns the approximate size of the entries, their keys and records, in bytes.
    pub fn bytes(&self) -> usize {
        self.shared.locks().map(|shard| shard.bytes()).sum()
    }

    /// Removes everything, including the metas and the bus messages, as a server does that restarts empty.
    pub fn forget(&self) {
        for mut shard in self.shared.locks() {
            shard.clear();
        }
        self.shared.server.restart();
        self.shared.bus.clear();
    }

    /// Lets one shard have another meta than the others, as after a failover of its node.
    #[cfg(test)]
    pub(crate) fn change_meta_of(&self, key: &StoreKey, change: impl FnOnce(&mut Meta)) {
        let mut shard = self.shared.shard_of(key);
        let mut meta = shard.meta.as_deref().cloned().expect("a meta");
        change(&mut meta);
        shard.set_meta(Some(meta));
    }

    /// Removes the meta of every shard and keeps the entries, as an eviction could.
    pub fn forget_meta(&self) {
        for mut shard in self.shared.locks() {
            shard.set_meta(None);
        }
    }
}

impl Shared {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn shard_of(&self, key: &StoreKey) -> MutexGuard<'_, Shard> {
        let index = key.shard(self.settings.shards) as usize;
        lock(&self.shards[index])
    }

    /// Iterates over all shards, and locks one at a time.
    fn locks(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(lock)
    }

    /// Changes the meta of every shard; stops at the first error.
    fn change_metas(&self, change: impl Fn(Option<&Meta>) -> Result<Option<Meta>>) -> Result<()> {
        for mut shard in self.locks() {
            if let Some(next) = change(shard.meta.as_deref())? {
                shard.set_meta(Some(next));
            }
        }
        Ok(())
    }
}

/// No code panics while it holds a lock; if it did, the shard would still be consistent after every statement.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Store for MemoryStore {
    fn namespace(&self) -> &str {
        &self.shared.namespace
    }

    async fn get(&self, key: &StoreKey) -> Result<Reading> {
        let now = self.shared.now();
        let mut shard = self.shared.shard_of(key);
        Ok(Reading { server: self.shared.server.id(), meta: shard.meta.clone(), entry: shard.read(key, now) })
    }

    async fn peek(&self, key: &StoreKey) -> Result<Reading> {
        let now = self.shared.now();
        let shard = self.shared.shard_of(key);
        Ok(Reading {
            server: self.shared.server.id(),
            meta: shard.meta.clone(),
            entry: shard.slot(key, now).map(|slot| slot.bytes.clone()),
        })
    }

    async fn get_many(&self, keys: &[StoreKey]) -> Result<Vec<Reading>> {
        let now = self.shared.now();
        let read = |key| {
            let mut shard = self.shared.shard_of(key);
            Reading { server: self.shared.server.id(), meta: shard.meta.clone(), entry: shard.read(key, now) }
        };
        Ok(keys.iter().map(read).collect())
    }

    async fn lease(&self, request: &LeaseRequest<'_>) -> Result<LeaseReply> {
        let mut shard = self.shared.shard_of(request.key);
        let now = self.shared.now();
        let (reply, change) = transition::lease(shard.meta.as_ref(), shard.slot(request.key, now), now, request);
        shard.apply(request.key, change, now);
        Ok(reply.given_by(self.shared.server.id()))
    }

    async fn entry_changed(&self, key: &StoreKey) -> Result<()> {
        // Subscribed before the first look: no change in between is missed.
        let mut changes = self.shared.shard_of(key).changes();
        let token = || self.shared.shard_of(key).token(key, self.shared.now());
        let held = token();
        while held.is_some() && token() == held {
            // The shard holds the sender, and this store the shard.
            let _ = changes.changed().await;
        }
        Ok(())
    }

    async fn fill(&self, fill: &Fill<'_>) -> Result<FillReply> {
        let mut shard = self.shared.shard_of(fill.key);
        let now = self.shared.now();
        let (reply, change) = transition::fill(shard.meta.as_deref(), shard.slot(fill.key, now), now, fill);
        shard.apply(fill.key, change, now);
        Ok(reply)
    }

    async fn release(&self, key: &StoreKey, token: Token) -> Result<()> {
        let mut shard = self.shared.shard_of(key);
        let now = self.shared.now();
        let change = transition::release(shard.slot(key, now), token);
        shard.apply(key, change, now);
        Ok(())
    }

    async fn discard(&self, keys: &[StoreKey]) -> Result<()> {
        for key in keys {
            self.shared.shard_of(key).remove(key);
        }
        Ok(())
    }

    async fn discard_cache(&self, cache: &str) -> Result<()> {
        self.shared.locks().for_each(|mut shard| shard.remove_cache(cache));
        Ok(())
    }

    async fn covered(&self) -> Result<Coverage> {
        let metas: Vec<Arc<Meta>> = self.shared.locks().filter_map(|shard| shard.meta.clone()).collect();
        Ok(Coverage::union(metas.iter().map(|meta| &meta.coverage)))
    }

    async fn flush_caches(&self, rows: &[(MappingId, Generation)]) -> Result<()> {
        self.shared.change_metas(|meta| Ok(meta.map(|meta| transition::flush_caches(meta, rows))))
    }

    async fn suspend(&self) -> Result<()> {
        self.shared.change_metas(|meta| Ok(meta.map(transition::suspend)))
    }

    async fn writer(&self) -> Result<Box<dyn StoreWriter>> {
        Ok(Box::new(MemoryWriter { shared: Arc::clone(&self.shared) }))
    }

    fn bus(&self) -> Arc<dyn InvalidationBus> {
        Arc::new(self.shared.bus.clone())
    }

    fn hub(&self) -> Option<&Arc<Hub>> {
        Some(&self.shared.hub)
    }
}

struct MemoryWriter {
    shared: Arc<Shared>,
}

#[async_trait]
impl StoreWriter for MemoryWriter {
    async fn state(&mut self) -> Result<StoreState> {
        let metas: Vec<_> = self.shared.locks().map(|shard| shard.meta.clone()).collect();
        Ok(transition::state(metas.iter().map(Option::as_deref)))
    }

    async fn term(&mut self) -> Result<u64> {
        Ok(self.shared.locks().filter_map(|shard| Some(shard.meta.as_ref()?.term)).max().unwrap_or_default())
    }

    async fn take_term(&mut self, state: &Meta, term: u64) -> Result<()> {
        self.shared.change_metas(|meta| transition::take_term(meta, state, term).map(Some))
    }

    async fn cover(&mut self, expected: &Expected, next: Generation, rows: &[Cover]) -> Result<()> {
        self.shared.change_metas(|meta| transition::cover(meta, expected, next, rows).map(Some))
    }

    async fn resign(&mut self, expected: &Expected) -> Result<()> {
        self.shared.change_metas(|meta| transition::resign(meta, expected).map(Some))
    }

    async fn raise_high_watermark(&mut self, expected: &Expected, order: u64) -> Result<()> {
        self.shared.change_metas(|meta| transition::raise_high_watermark(meta, expected, order).map(Some))
    }

    async fn invalidate(&mut self, keys: &[StoreKey]) -> Result<()> {
        for key in keys {
            let mut shard = self.shared.shard_of(key);
            let now = self.shared.now();
            let change = transition::invalidate(shard.slot(key, now));
            shard.apply(key, change, now);
        }
        Ok(())
    }

    async fn invalidate_unseen(&mut self, changes: &[Invalidation]) -> Result<()> {
        for Invalidation { key, commits } in changes {
            let mut shard = self.shared.shard_of(key);
            let now = self.shared.now();
            let change = transition::invalidate_unseen(shard.meta.as_deref(), shard.slot(key, now), commits);
            shard.apply(key, change, now);
        }
        Ok(())
    }

    async fn replace(&mut self, expected: &Expected, values: &[RowImageValue]) -> Result<RowImageCounts> {
        let mut counts = RowImageCounts::default();
        for value in values {
            let mut shard = self.shared.shard_of(&value.key);
            let now = self.shared.now();
            let slot = shard.slot(&value.key, now);
            let (outcome, change) = row_image::replace(shard.meta.as_deref(), expected, slot, value)?;
            shard.apply(&value.key, change, now);
            counts.count(outcome);
        }
        Ok(counts)
    }

    async fn publish(&mut self, message: &BusMessage) -> Result<u64> {
        Ok(self.shared.bus.append(message))
    }

    async fn commit(&mut self, expected: &Expected, applied: &Applied) -> Result<()> {
        self.shared.change_metas(|meta| transition::commit(meta, expected, applied).map(Some))
    }

    async fn flush(&mut self, meta: &Meta) -> Result<()> {
        let shards = self.shared.settings.shards;
        self.shared.change_metas(|now| transition::flush(now, meta, shards).map(Some))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("namespace", &self.shared.namespace)
            .field("shards", &self.shared.shards.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MemoryWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWriter").field("namespace", &self.shared.namespace).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::{InvalidationMode, Token};
    use crate::testing::{ManualClock, StoreFixture};

    struct InMemory {
        store: MemoryStore,
        clock: ManualClock,
    }

    #[async_trait]
    impl StoreFixture for InMemory {
        fn store(&self) -> Arc<dyn Store> {
            Arc::new(self.store.clone())
        }

        async fn pass(&self, duration: Duration) {
            self.clock.advance(duration);
        }

        async fn lose_metas(&self) {
            self.store.forget_meta();
        }
    }

    fn in_memory(shards: u32) -> std::future::Ready<InMemory> {
        let clock = ManualClock::new();
        let settings = MemorySettings { shards, ..MemorySettings::default() };
        let store = MemoryStore::new("suite").with_settings(settings).expect("settings");
        std::future::ready(InMemory { store: store.with_clock(Arc::new(clock.clone())), clock })
    }

    #[tokio::test]
    async fn an_entry_that_was_only_peeked_at_is_evicted_first() {
        let settings = MemorySettings { shards: 1, entries_max: 3, ..MemorySettings::default() };
        let store = MemoryStore::new("suite").with_settings(settings).expect("settings");
        let key = |id: u64| StoreKey::encode("users", &id).expect("a key");
        let lease = async |id: u64| {
            let key = key(id);
            let request = LeaseRequest {
                key: &key,
                token: Token::from_u128(u128::from(id)).expect("a token"),
                duration: Duration::from_secs(60),
                mode: crate::store::InvalidationMode::Ttl,
                mapping: crate::store::MappingId::default(),
                schema_version: 1,
                reload: false,
            };
            store.lease(&request).await.expect("a lease");
        };
        for id in 1..=3 {
            lease(id).await;
        }
        assert!(store.get(&key(1)).await.expect("a reading").entry.is_some());
        assert!(store.peek(&key(2)).await.expect("a reading").entry.is_some());
        lease(4).await;
        assert!(store.peek(&key(1)).await.expect("a reading").entry.is_some(), "it was read");
        assert!(store.peek(&key(2)).await.expect("a reading").entry.is_none(), "it was only peeked at");
    }

    #[tokio::test]
    async fn keys_are_listed_up_to_a_limit_and_without_expired_ones() {
        let InMemory { store, clock } = in_memory(4).await;
        let mode = InvalidationMode::Ttl;
        for (number, seconds) in [(1, 1), (2, 60), (3, 60)] {
            let key = StoreKey::encode("users", &number).expect("a key");
            let token = Token::from_u128(number).expect("not zero");
            let duration = Duration::from_secs(seconds);
            let mapping = crate::store::MappingId::default();
            let request = LeaseRequest { key: &key, token, duration, mode, mapping, schema_version: 1, reload: false };
            store.lease(&request).await.expect("a lease");
        }
        clock.advance(Duration::from_secs(2));
        let mut keys = store.keys(10);
        keys.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        assert_eq!(keys.iter().map(StoreKey::as_str).collect::<Vec<_>>(), ["users:2", "users:3"]);
        assert_eq!(store.keys(1).len(), 1);
    }

    mod one_shard {
        crate::store_suite!(super::in_memory(1));
    }

    mod many_shards {
        crate::store_suite!(super::in_memory(16));
    }
}
