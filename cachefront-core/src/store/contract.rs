//! The contract of a store: what readers do with it, and what the invalidator does.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::bus::{BusMessage, Hub, InvalidationBus};
use crate::error::Result;
use crate::identity::{Generation, Token};
use crate::key::StoreKey;
use crate::store::coverage::Cover;
use crate::store::lease::{Fill, FillReply, LeaseReply, LeaseRequest};
use crate::store::meta::Meta;
use crate::store::state::{Applied, Expected, Invalidation, Reading, StoreState};

/// The shared store: what readers do with it.
///
/// # Contract
/// Each method is atomic for its key. Replies are never guessed: an outcome that is not known is an error.
///
/// # Duplicates
/// [`release`](Store::release) and [`discard`](Store::discard) are idempotent. A repeated [`fill`](Store::fill) is
/// refused, because the first one used up the token.
///
/// # Cancel safety
/// No method leaves a shard half-changed. A dropped [`lease`](Store::lease) may leave a lease that runs out by itself;
/// a dropped [`fill`](Store::fill) may or may not have stored.
///
/// # Errors
/// `Unavailable` if the store refuses or cannot be reached, `Timeout` if the outcome is unknown, `Corrupt` if a reply
/// cannot be understood. Readers treat them all as a miss that must not be stored.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The name that separates this user's keys from those of others in the same server.
    fn namespace(&self) -> &str;

    /// One key and its shard's meta, in one round trip. Must not touch the entry's place in any eviction order more
    /// than a plain read does.
    async fn get(&self, key: &StoreKey) -> Result<Reading>;

    /// As [`get`](Store::get), for somebody who only looks: the entry keeps its place in any eviction order, as if it
    /// had not been read. A store that cannot read so reads plainly, which is what happens by default.
    async fn peek(&self, key: &StoreKey) -> Result<Reading> {
        self.get(key).await
    }

    /// Many keys, each with its shard's meta; one round trip for each shard, in the order asked for.
    async fn get_many(&self, keys: &[StoreKey]) -> Result<Vec<Reading>>;

    /// Reads the key again and, if there is nothing good to serve, takes the right to fill it.
    async fn lease(&self, request: &LeaseRequest<'_>) -> Result<LeaseReply>;

    /// Stores a loaded value if the lease taken before its load still stands.
    async fn fill(&self, fill: &Fill<'_>) -> Result<FillReply>;

    /// Gives a lease back without a value (the load failed). A lease that is gone already is no error.
    async fn release(&self, key: &StoreKey, token: Token) -> Result<()>;

    /// Removes entries and breaks their leases, at a user's wish rather than a change's.
    async fn discard(&self, keys: &[StoreKey]) -> Result<()>;

    /// Voids what the meta promises, on every shard: until the next [`flush`](StoreWriter::flush) no entry of the cdc
    /// mode is served or stored. Used when CDC mode is left.
    async fn suspend(&self) -> Result<()>;

    /// A connection for an invalidator.
    async fn writer(&self) -> Result<Box<dyn StoreWriter>>;

    /// The bus that rides on this store.
    fn bus(&self) -> Arc<dyn InvalidationBus>;

    /// What all caches of this process on this store share: one follower of the bus. A store that is cheap to clone
    /// keeps one hub and returns it from every clone; two stores with one hub count as one store.
    ///
    /// Default: `None`; then every cache follows the bus over a connection of its own.
    fn hub(&self) -> Option<&Arc<Hub>> {
        None
    }
}

/// True if both handles lead to one store.
pub(crate) fn is_same_store(one: &Arc<dyn Store>, other: &Arc<dyn Store>) -> bool {
    let by_hub = matches!((one.hub(), other.hub()), (Some(one), Some(other)) if Arc::ptr_eq(one, other));
    Arc::ptr_eq(one, other) || by_hub
}

/// The invalidator's side of a store: one connection and, for every node, one server identity ("Batch order").
///
/// The order of a batch is the caller's: `raise_high_watermark` → acknowledged → `invalidate` → acknowledged → `publish` → `commit`.
/// After any error the writer is of no further use: open another one, read the state, go on from there.
///
/// # Cancel safety
/// Not cancel safe: after a dropped future the writer must be thrown away.
///
/// # Errors
/// As [`Store`]; and `Conflict` if the meta is not what the caller holds (another generation, term, or position).
#[async_trait]
pub trait StoreWriter: fmt::Debug + Send {
    /// What the shards' metas say together, read over this writer's connection.
    async fn state(&mut self) -> Result<StoreState>;

    /// The highest term that any shard has seen; 0 if none. Terms outlive a lost meta only as far as the store does.
    async fn term(&mut self) -> Result<u64>;

    /// Sets which caches the shards vouch for: each shard keeps the generation that it has for a mapping, unless the row
    /// is fresh, and gives up every mapping without a row. `applied` stays.
    ///
    /// The meta's own generation becomes `next`, in the same value: so a store that fails over to an older table is not
    /// as held, and no later write passes. `Conflict` if a shard is not as held.
    async fn cover(&mut self, expected: &Expected, next: Generation, rows: &[Cover]) -> Result<()>;

    /// Says that the holder of the term leaves its place, so that another invalidator need not wait for its silence.
    /// The next [`take_term`](StoreWriter::take_term) or [`flush`](StoreWriter::flush) takes it back. `Conflict` if a
    /// shard is not as held.
    async fn resign(&mut self, expected: &Expected) -> Result<()>;

    /// Makes `term` the term in force, and `state` (as [`state`](StoreWriter::state) answered it) what every shard has
    /// applied: a commit that reached some shards only is taken back, which proves less and is therefore safe. `hi` is
    /// never lowered; what a shard covers is kept. If any shard was suspended, which `state` says, all of them are.
    /// `Conflict` if a shard has no meta of that generation, a term that is not below `term`, or an applied order below
    /// `state`'s.
    async fn take_term(&mut self, state: &Meta, term: u64) -> Result<()>;

    /// Writes on every shard that everything up to `order` may be on its way. A higher `hi` stays.
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

    /// Appends to the bus, over this writer's connection.
    async fn publish(&mut self, message: &BusMessage) -> Result<u64>;

    /// Moves `applied` on every shard, by compare-and-set on generation, term and the applied order held. A suspended
    /// meta is moved too and stays suspended.
    async fn commit(&mut self, expected: &Expected, applied: &Applied) -> Result<()>;

    /// Replaces the meta of every shard, each in one write, whatever its generation. The number of shards in it is the
    /// store's own. `Conflict` if a shard has a term that is not below the meta's: of two invalidators that flush at
    /// once, one has the term ("Fenced flush"). What the loser wrote on other shards is over with the next flush.
    async fn flush(&mut self, meta: &Meta) -> Result<()>;
}
