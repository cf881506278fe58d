//! Each store operation as a pure function of one key's entry and one shard's meta, without a lock, clock or container.
//!
//! [`MemoryStore`](crate::MemoryStore) calls them, the scripts of a shared store translate them, and a model checker can
//! run them in every order. Adapters of other stores can reuse them.
//!
//! ```
//! use std::time::Duration;
//! use cachefront::store::transition::{self, Change};
//! use cachefront::store::{InvalidationMode, LeaseReply, LeaseRequest, MappingId, Token};
//! use cachefront::{StoreKey, Timestamp};
//!
//! let key = StoreKey::encode("users", &7_u64)?;
//! let request = |token| LeaseRequest {
//!     key: &key,
//!     token: Token::from_u128(token).expect("not zero"),
//!     duration: Duration::from_secs(3),
//!     mode: InvalidationMode::Ttl,
//!     mapping: MappingId::default(),
//!     schema_version: 0,
//!     reload: false,
//! };
//! let now = Timestamp::from_micros(1);
//! // The first attempt gets the lease, which is stored in the entry.
//! let (reply, change) = transition::lease(None, None, now, &request(1));
//! assert!(matches!(reply, LeaseReply::Granted { .. }));
//! let Change::Put(slot) = change else { panic!("the lease is stored") };
//! // A second attempt has to wait.
//! let (reply, _) = transition::lease(None, Some(&slot), now, &request(2));
//! assert!(matches!(reply, LeaseReply::Held { .. }));
//! // An invalidation revokes the lease.
//! assert_eq!(transition::invalidate(Some(&slot)), Change::Remove);
//! # Ok::<(), cachefront::Error>(())
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::entry::{Entry, Fixed, Header, PayloadState, fill_position};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::{Generation, ServerId, Token};
use crate::mapping::MappingId;
use crate::mode::InvalidationMode;
use crate::position::Gtid;
use crate::store::coverage::Cover;
use crate::store::lease::{Fill, FillReply, LeaseReply, LeaseRequest, Refusal};
use crate::store::meta::{Meta, MetaState};
use crate::store::state::{Applied, Expected};

pub use crate::store::combine::state;

/// What a shard holds for a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The entry, in the layout of [`crate::entry`].
    pub bytes: Bytes,
    /// When the shard forgets the entry.
    pub expires: Timestamp,
}

/// The effect of an operation on a key's slot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Change {
    /// The slot is unchanged.
    Keep,
    /// The slot is replaced.
    Put(Slot),
    /// The slot is removed.
    Remove,
}

/// Returns true if a reader may be served this entry: it has a value of the requested mode and schema version that has
/// not expired; in CDC mode, under a live meta that covers the cache, in the cache's generation.
pub fn is_good(
    meta: Option<&Meta>,
    header: &Header,
    mode: InvalidationMode,
    mapping: MappingId,
    schema_version: u32,
    now: Timestamp,
) -> bool {
    matches!(header.state, PayloadState::Fresh | PayloadState::Negative)
        && header.schema_version == schema_version
        && (!header.hard_expiry.is_known() || now < header.hard_expiry)
        && is_current(meta, header, mode, mapping)
        && (mode == InvalidationMode::Ttl || meta.is_some_and(Meta::is_live))
}

/// Returns true if the header of a value or lease has the requested mode and, in CDC mode, the generation of the covered
/// cache.
fn is_current(meta: Option<&Meta>, header: &Header, mode: InvalidationMode, mapping: MappingId) -> bool {
    header.mode == mode
        && match mode {
            InvalidationMode::Ttl => true,
            InvalidationMode::Cdc => meta.and_then(|meta| meta.coverage.generation(mapping)) == Some(header.generation),
        }
}

/// Grants the right to fill a key, unless there is a valid entry or another attempt holds the lease.
///
/// A lease of another mode or generation does not count: no fill under it would be accepted. An entry that is current
/// stays readable under the new lease; any other one is replaced. The caller adds which server grants the lease.
pub fn lease(
    meta: Option<&Arc<Meta>>,
    slot: Option<&Slot>,
    now: Timestamp,
    request: &LeaseRequest<'_>,
) -> (LeaseReply, Change) {
    if request.mode == InvalidationMode::Cdc && !meta.is_some_and(|meta| meta.is_live()) {
        return (LeaseReply::NoMeta, Change::Keep);
    }
    let shard_meta = meta.map(Arc::as_ref);
    let generation = match request.mode {
        InvalidationMode::Ttl => Generation::default(),
        InvalidationMode::Cdc => match shard_meta.and_then(|meta| meta.coverage.generation(request.mapping)) {
            Some(generation) => generation,
            None => return (LeaseReply::NotCovered, Change::Keep),
        },
    };
    let lease_expiry = now.after(request.duration);
    let existing = slot.and_then(|slot| Some((slot, decode(slot)?)));
    let current = existing.filter(|(_, entry)| is_current(shard_meta, &entry.header, request.mode, request.mapping));
    let Some((slot, entry)) = current else {
        let bytes = lease_only(generation, request, lease_expiry);
        return (
            LeaseReply::Granted { server: ServerId::UNKNOWN, meta: meta.cloned() },
            Change::Put(Slot { bytes, expires: lease_expiry }),
        );
    };
    let (mode, mapping) = (request.mode, request.mapping);
    if !request.reload && is_good(shard_meta, &entry.header, mode, mapping, request.schema_version, now) {
        return (LeaseReply::Present { meta: meta.cloned(), entry: slot.bytes.clone() }, Change::Keep);
    }
    if entry.token.is_some() && now < entry.lease_expiry {
        return (LeaseReply::Held { remaining: entry.lease_expiry.since(now) }, Change::Keep);
    }
    let bytes = Entry::with_lease(&slot.bytes, Some(request.token), lease_expiry);
    let expires = slot.expires.max(lease_expiry);
    (LeaseReply::Granted { server: ServerId::UNKNOWN, meta: meta.cloned() }, Change::Put(Slot { bytes, expires }))
}

/// Encodes an entry that has a lease and no value.
fn lease_only(generation: Generation, request: &LeaseRequest<'_>, lease_expiry: Timestamp) -> Bytes {
    let header = Header {
        state: PayloadState::None,
        mode: request.mode,
        codec: 0,
        compression: 0,
        schema_version: request.schema_version,
        generation,
        order: 0,
        filled_at: Timestamp::UNKNOWN,
        soft_expiry: Timestamp::UNKNOWN,
        hard_expiry: Timestamp::UNKNOWN,
        load_cost_us: 0,
        position: Bytes::new(),
    };
    Entry { header, token: Some(request.token), lease_expiry, payload: Bytes::new() }.encode().into()
}

/// Stores a loaded value if the lease that was granted before its load is still valid, under the same generation.
pub fn fill(meta: Option<&Meta>, slot: Option<&Slot>, now: Timestamp, fill: &Fill<'_>) -> (FillReply, Change) {
    if fill.mode == InvalidationMode::Cdc {
        match meta {
            Some(meta) if meta.is_live() && meta.coverage.has_generation(fill.generation) => {}
            Some(meta) if meta.is_live() => return refuse(Refusal::GenerationChanged),
            _ => return refuse(Refusal::NoMeta),
        }
    }
    let valid = slot
        .and_then(|slot| Fixed::decode(&slot.bytes).ok())
        .is_some_and(|entry| entry.token() == Some(fill.token) && now < entry.lease_expiry());
    if !valid {
        return refuse(Refusal::LeaseBroken);
    }
    let expires = now.after(fill.expiry.max(Duration::from_millis(1)));
    (FillReply::Stored, Change::Put(Slot { bytes: Bytes::copy_from_slice(fill.entry), expires }))
}

/// Returns the effect of a refused fill: the slot is unchanged.
fn refuse(refusal: Refusal) -> (FillReply, Change) {
    (FillReply::Refused(refusal), Change::Keep)
}

/// Releases a lease; a value in the entry stays.
pub fn release(slot: Option<&Slot>, token: Token) -> Change {
    let Some((slot, entry)) = slot.and_then(|slot| Some((slot, decode(slot)?))) else {
        return Change::Keep;
    };
    if entry.token != Some(token) {
        return Change::Keep;
    }
    without_lease(slot, &entry)
}

/// Applies a change of the database to one key: removes the entry, and with it the lease.
pub fn invalidate(slot: Option<&Slot>) -> Change {
    if slot.is_some() { Change::Remove } else { Change::Keep }
}

/// Applies commits to one key: revokes the lease in every case, and removes the entry unless it is a value of a covered
/// cache whose load saw all of the commits.
pub fn invalidate_unseen(meta: Option<&Meta>, slot: Option<&Slot>, commits: &[Gtid]) -> Change {
    let Some(slot) = slot else {
        return Change::Keep;
    };
    match decode(slot).filter(|entry| survives(meta, entry, commits)) {
        Some(entry) => without_lease(slot, &entry),
        None => Change::Remove,
    }
}

/// True if the entry is a value of a covered cache whose load saw all of `commits`.
pub(super) fn survives(meta: Option<&Meta>, entry: &Entry, commits: &[Gtid]) -> bool {
    let header = &entry.header;
    matches!(header.state, PayloadState::Fresh | PayloadState::Negative)
        && header.mode == InvalidationMode::Cdc
        && meta.is_some_and(|meta| meta.coverage.has_generation(header.generation))
        && has_seen(header, commits)
}

/// True if the entry's load is known to have seen all of `commits`.
fn has_seen(header: &Header, commits: &[Gtid]) -> bool {
    !commits.is_empty()
        && fill_position(&header.position)
            .is_some_and(|position| commits.iter().all(|commit| position.contains(commit)))
}

/// Returns the effect of revoking the lease of a slot: a value stays, a lease-only entry is removed.
pub(super) fn without_lease(slot: &Slot, entry: &Entry) -> Change {
    if entry.header.state == PayloadState::None {
        return Change::Remove;
    }
    if entry.token.is_none() {
        return Change::Keep;
    }
    let bytes = Entry::with_lease(&slot.bytes, None, Timestamp::UNKNOWN);
    Change::Put(Slot { bytes, expires: slot.expires })
}

/// Decodes a slot. An entry that cannot be decoded counts as absent.
pub(super) fn decode(slot: &Slot) -> Option<Entry> {
    Entry::decode(slot.bytes.clone()).ok()
}

/// Returns the meta, suspended.
pub fn suspend(meta: &Meta) -> Meta {
    let mut next = meta.clone();
    next.state = MetaState::Suspended;
    next
}

/// Returns the meta in which these caches, as far as they are covered, have new generations.
pub fn flush_caches(meta: &Meta, rows: &[(MappingId, Generation)]) -> Meta {
    let mut next = meta.clone();
    next.coverage = next.coverage.flushing(rows);
    next
}

/// Returns the meta with a high watermark of at least `order`.
///
/// # Errors
/// [`ErrorKind::Conflict`] if the shard's meta is not as expected.
pub fn raise_high_watermark(meta: Option<&Meta>, expected: &Expected, order: u64) -> Result<Meta> {
    let mut next = compare(meta, expected)?.clone();
    next.high_watermark = next.high_watermark.max(order);
    next.beat = next.beat.wrapping_add(1);
    Ok(next)
}

/// Returns the meta that covers these caches, under the new generation `generation`.
///
/// # Errors
/// [`ErrorKind::Conflict`] if the shard's meta is not as expected.
pub fn cover(meta: Option<&Meta>, expected: &Expected, generation: Generation, rows: &[Cover]) -> Result<Meta> {
    let mut next = compare(meta, expected)?.clone();
    next.generation = generation;
    next.coverage = next.coverage.covering(rows);
    next.beat = next.beat.wrapping_add(1);
    Ok(next)
}

/// Returns the meta, marked vacant.
///
/// # Errors
/// [`ErrorKind::Conflict`] if the shard's meta is not as expected.
pub fn resign(meta: Option<&Meta>, expected: &Expected) -> Result<Meta> {
    let mut next = compare(meta, expected)?.clone();
    next.vacant = true;
    Ok(next)
}

/// Returns the meta under a new term, with what all shards have applied.
///
/// # Errors
/// [`ErrorKind::Conflict`] if the shard has no meta of `state`'s generation, a term that is not below `term`, or has
/// applied less than `state` says.
pub fn take_term(meta: Option<&Meta>, state: &Meta, term: u64) -> Result<Meta> {
    let meta = meta.ok_or_else(|| conflict("it has no meta"))?;
    if meta.generation != state.generation {
        return Err(conflict("it has another generation"));
    }
    if term <= meta.term {
        return Err(conflict("it has a term as high or higher"));
    }
    if meta.applied_order < state.applied_order {
        return Err(conflict("it has applied less than was read before"));
    }
    let mut next = state.clone();
    (next.shards, next.coverage) = (meta.shards, meta.coverage.clone());
    // If one shard is suspended, all must be: the next holder relies on all of them.
    if !meta.is_live() {
        next.state = MetaState::Suspended;
    }
    next.high_watermark = meta.high_watermark.max(state.high_watermark);
    next.term = term;
    next.beat = meta.beat.wrapping_add(1);
    next.vacant = false;
    Ok(next)
}

/// Returns the meta after a batch whose effects are complete on every shard.
///
/// # Errors
/// [`ErrorKind::Conflict`] if the shard's meta is not as expected, or `applied` would move back.
pub fn commit(meta: Option<&Meta>, expected: &Expected, applied: &Applied) -> Result<Meta> {
    let mut next = compare(meta, expected)?.clone();
    if applied.order < expected.applied_order {
        return Err(conflict("`applied` would move back"));
    }
    next.set_applied(&applied.checkpoint.position);
    next.resume = applied.checkpoint.resume.clone();
    next.applied_order = applied.order;
    next.high_watermark = next.high_watermark.max(applied.order);
    if applied.source_time.is_known() {
        next.source_time = applied.source_time;
    }
    next.beat = next.beat.wrapping_add(1);
    Ok(next)
}

/// Returns the meta that a flush writes on a shard of a store of `shards` shards.
///
/// # Errors
/// [`ErrorKind::Conflict`] if the shard has a term that is not below `new`'s.
pub fn flush(meta: Option<&Meta>, new: &Meta, shards: u32) -> Result<Meta> {
    if meta.is_some_and(|meta| new.term <= meta.term) {
        return Err(conflict("it has a term as high or higher"));
    }
    let mut next = new.clone();
    next.shards = shards;
    Ok(next)
}

/// Returns the meta if it is as expected.
pub(super) fn compare<'a>(meta: Option<&'a Meta>, expected: &Expected) -> Result<&'a Meta> {
    let meta = meta.ok_or_else(|| conflict("it has no meta"))?;
    if meta.generation != expected.generation {
        return Err(conflict("it has another generation"));
    }
    if meta.term != expected.term {
        return Err(conflict("it has another term"));
    }
    if meta.applied_order != expected.applied_order {
        return Err(conflict("it has another applied order"));
    }
    Ok(meta)
}

/// Returns a `Conflict` error with the reason.
fn conflict(what: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("a shard of the store is not as expected: {what}; read its state again"))
}
