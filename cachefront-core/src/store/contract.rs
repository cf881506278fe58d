//! The contract of a store: what readers do with it, and what the invalidator does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::bus::{BusMessage, Hub, InvalidationBus};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::{Generation, Token};
use crate::key::StoreKey;
use crate::mapping::MappingId;
use crate::store::coverage::{Cover, Coverage};
use crate::store::lease::{Fill, FillReply, LeaseReply, LeaseRequest};
use crate::store::meta::Meta;
use crate::store::row_image::{RowImageCounts, RowImageValue};
use crate::store::state::{Applied, Expected, Invalidation, Reading, StoreState};

/// The shared store, as readers use it.
///
/// # Contract
/// Each method is atomic for its key. Replies are never guessed: an outcome that is not known is an error.
///
/// # Implementing
/// [`store::transition`](crate::store::transition) has every operation as a pure function of the meta, the entry and the
/// time. A store that can run Rust where its data is, such as [`MemoryStore`](crate::MemoryStore), calls these functions
/// under a lock; a store with scripts translates them. [`Entry`](crate::entry::Entry) and [`Meta`] define the bytes. Run
/// `store_suite!` of the feature `testing` against the adapter: it makes one named test for each law of this contract.
/// `writer`, `bus` and [`InvalidationBus`] are part of it. A wrapper must forward every method, also those with a default.
///
/// # Duplicates
/// [`release`](Store::release) and [`discard`](Store::discard) are idempotent. A repeated [`fill`](Store::fill) is
/// refused, because the first one used up the token.
///
/// # Cancel safety
/// No method leaves a shard half-changed. A dropped [`lease`](Store::lease) may leave a lease that expires;
/// a dropped [`fill`](Store::fill) may or may not have stored.
///
/// # Errors
/// `Unavailable` if the store refuses or cannot be reached, `Overloaded` if it is full and serves what it has, `Timeout` if the
/// outcome is unknown, `Corrupt` if a reply cannot be understood. Readers treat them all as a miss that must not be stored.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Returns the name that separates the keys of this service from those of others on the same server.
    fn namespace(&self) -> &str;

    /// Reads one key and its shard's meta, both at one instant from one server, in one round trip.
    async fn get(&self, key: &StoreKey) -> Result<Reading>;

    /// Like [`get`](Store::get), without an effect on the eviction order.
    ///
    /// Default: calls [`get`](Store::get).
    async fn peek(&self, key: &StoreKey) -> Result<Reading> {
        self.get(key).await
    }

    /// Reads many keys, each with its shard's meta, in one round trip per shard. The result has the order of `keys`.
    async fn get_many(&self, keys: &[StoreKey]) -> Result<Vec<Reading>>;

    /// Reads the key again and, if there is no valid entry, grants the right to fill it.
    async fn lease(&self, request: &LeaseRequest<'_>) -> Result<LeaseReply>;

    /// Waits until the lease of a key ends in any way but by time: its entry is filled or removed, or the lease is released or
    /// revoked. It returns at once if no attempt holds the lease, and it may return although one still does. For readers that
    /// found the lease of another attempt.
    ///
    /// Default: `Unavailable`: the store does not tell, and readers ask again.
    ///
    /// # Cancel safety
    /// Cancel safe.
    ///
    /// # Errors
    /// `Unavailable` if the store cannot tell, now or ever. The reader asks again after a pause.
    async fn entry_changed(&self, key: &StoreKey) -> Result<()> {
        let _ = key;
        Err(Error::new(ErrorKind::Unavailable, "this store does not tell when a lease ends"))
    }

    /// Stores a loaded value if the lease that was granted before its load is still valid.
    async fn fill(&self, fill: &Fill<'_>) -> Result<FillReply>;

    /// Releases a lease without a value, because the load failed. A lease that no longer exists is not an error.
    async fn release(&self, key: &StoreKey, token: Token) -> Result<()>;

    /// Removes entries and revokes their leases on explicit request, not because of a change event.
    async fn discard(&self, keys: &[StoreKey]) -> Result<()>;

    /// Removes every entry of one cache, given by its name, and revokes their leases, on explicit request. An entry or lease
    /// that is written meanwhile may stay. For caches of TTL mode; a store may have to walk over all of its keys.
    async fn discard_cache(&self, cache: &str) -> Result<()>;

    /// Returns what any shard covers, each mapping once. The tables of two shards may differ: while one is written, and
    /// after a shard has fallen back to an older state.
    ///
    /// # Errors
    /// As [`get`](Store::get), if the meta of one shard cannot be read.
    async fn covered(&self) -> Result<Coverage>;

    /// Gives covered caches new generations on every shard, on explicit request: their entries are misses from then on, and
    /// their leases are revoked. A mapping that a shard does not cover, and a shard without a meta, stay as they are. Nothing
    /// that a [`StoreWriter`] compares changes, so the invalidator continues undisturbed.
    async fn flush_caches(&self, rows: &[(MappingId, Generation)]) -> Result<()>;

    /// Suspends the meta of every shard: until the next [`flush`](StoreWriter::flush) no entry of CDC mode is served or
    /// stored. Used when CDC mode is left.
    async fn suspend(&self) -> Result<()>;

    /// Opens a connection for an invalidator.
    async fn writer(&self) -> Result<Box<dyn StoreWriter>>;

    /// Returns how long one write of an invalidator may wait by design, such as for replicas. An invalidator whose standbys would
    /// take it for dead meanwhile is refused.
    ///
    /// Default: zero: no longer than the store is slow.
    fn write_wait_max(&self) -> Duration {
        Duration::ZERO
    }

    /// Returns the bus of this store.
    fn bus(&self) -> Arc<dyn InvalidationBus>;

    /// Returns what all caches of this process on this store share: one follower of the bus. A store that is cheap to
    /// clone keeps one hub and returns it from every clone; two stores with the same hub count as one store.
    ///
    /// Default: `None`; then every cache follows the bus over its own connection.
    fn hub(&self) -> Option<&Arc<Hub>> {
        None
    }
}

/// Returns true if both handles refer to the same store.
pub(crate) fn is_same_store(one: &Arc<dyn Store>, other: &Arc<dyn Store>) -> bool {
    let by_hub = matches!((one.hub(), other.hub()), (Some(one), Some(other)) if Arc::ptr_eq(one, other));
    Arc::ptr_eq(one, other) || by_hub
}

/// The store, as an invalidator uses it: one connection and, for every node, one server identity ("Batch order").
///
/// The caller is responsible for the order of a batch: `raise_high_watermark` → acknowledged → `invalidate` → acknowledged → `publish` → `commit`.
/// Discard the writer after any error; open a new one, re-read the state and resume from there.
///
/// # Cancel safety
/// Not cancel safe: discard the writer after a dropped future.
///
/// # Errors
/// As [`Store`]; and `Conflict` if the meta is not as expected (another generation, term, or applied order).
#[async_trait]
pub trait StoreWriter: fmt::Debug + Send {
    /// Reads the metas of all shards over this writer's connection, and returns them combined.
    async fn state(&mut self) -> Result<StoreState>;

    /// Returns the highest term of any shard; 0 if there is none. A store may remember terms after it lost a meta.
    async fn term(&mut self) -> Result<u64>;

    /// Sets which caches the shards cover: each shard keeps the generation that it has for a mapping, unless the row is
    /// fresh, and drops every mapping without a row. `applied` is unchanged.
    ///
    /// The meta's own generation becomes `next`, in the same value: so a store that fails over to an older coverage table
    /// is not as expected, and every later write fails.
    ///
    /// # Errors
    /// `Conflict` if a shard is not as expected.
    async fn cover(&mut self, expected: &Expected, next: Generation, rows: &[Cover]) -> Result<()>;

    /// Marks the meta vacant: the holder of the term leaves, and a standby need not wait for its silence. The next
    /// [`take_term`](StoreWriter::take_term) or [`flush`](StoreWriter::flush) clears the mark.
    ///
    /// # Errors
    /// `Conflict` if a shard is not as expected.
    async fn resign(&mut self, expected: &Expected) -> Result<()>;

    /// Makes `term` the current term, and `state` (as returned by [`state`](StoreWriter::state)) what every shard has
    /// applied: a commit that reached only some shards is reverted, which proves less and is therefore safe. The high
    /// watermark is never lowered, and each shard keeps its coverage. If `state` says that a shard was suspended, all
    /// shards are.
    ///
    /// # Errors
    /// `Conflict` if a shard has no meta of that generation, a term that is not below `term`, or an applied order below
    /// that of `state`.
    async fn take_term(&mut self, state: &Meta, term: u64) -> Result<()>;

    /// Raises the high watermark of every shard to `order`: batches up to it may have been sent. A higher one stays.
    ///
    /// # Errors
    /// `Conflict` if a shard is not as expected.
    async fn raise_high_watermark(&mut self, expected: &Expected, order: u64) -> Result<()>;

    /// Removes entries and revokes their leases.
    async fn invalidate(&mut self, keys: &[StoreKey]) -> Result<()>;

    /// Revokes leases, and removes entries that do not contain the commits which changed their key. An entry of a
    /// covered generation survives, without its lease, if its fill position is known and contains every commit of its
    /// key: a value that was loaded after a commit is not loaded again for that commit's own event.
    ///
    /// Default: every entry is removed.
    async fn invalidate_unseen(&mut self, changes: &[Invalidation]) -> Result<()> {
        let keys: Vec<StoreKey> = changes.iter().map(|change| change.key.clone()).collect();
        self.invalidate(&keys).await
    }

    /// Replaces the values of keys by those that row images say, where the entry is known to be older than the image; else removes
    /// the entry, or leaves one whose load saw the commits. Leases are revoked in every case, and no entry is made. See
    /// [`row_image::replace`](crate::store::row_image::replace).
    ///
    /// Default: every entry is removed.
    ///
    /// # Errors
    /// `Conflict` if a shard is not as expected.
    async fn replace(&mut self, _expected: &Expected, values: &[RowImageValue]) -> Result<RowImageCounts> {
        let keys: Vec<StoreKey> = values.iter().map(|value| value.key.clone()).collect();
        self.invalidate(&keys).await?;
        Ok(RowImageCounts { removed: keys.len() as u64, ..RowImageCounts::default() })
    }

    /// Appends a message to the bus over this writer's connection, and returns its sequence.
    async fn publish(&mut self, message: &BusMessage) -> Result<u64>;

    /// Moves `applied` on every shard, by compare-and-set on generation, term and applied order. A suspended meta is moved
    /// too, and stays suspended.
    ///
    /// # Errors
    /// `Conflict` if a shard is not as expected.
    async fn commit(&mut self, expected: &Expected, applied: &Applied) -> Result<()>;

    /// Replaces the meta of every shard, each in one write, whatever its generation. The store sets the number of shards.
    ///
    /// # Errors
    /// `Conflict` if a shard has a term that is not below the meta's: of two invalidators that flush concurrently, one
    /// has the term ("Fenced flush"). What the other one wrote on some shards ends with the next flush.
    async fn flush(&mut self, meta: &Meta) -> Result<()>;
}
