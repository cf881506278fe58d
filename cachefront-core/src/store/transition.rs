//! What each operation does to one key and to one meta: pure functions, with no lock, no clock and no container.
//!
//! [`MemoryStore`](crate::MemoryStore) runs on them, the scripts of a shared store say the same in their own language,
//! and a model checker can walk through every order of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::entry::{Entry, Header, PayloadState, fill_position};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::{Generation, ServerId, Token};
use crate::mapping::MappingId;
use crate::mode::InvalidationMode;
use crate::position::Gtid;
use crate::store::coverage::Cover;
use crate::store::lease::{Fill, FillReply, LeaseReply, LeaseRequest, Refusal};
use crate::store::meta::{Meta, MetaState};
use crate::store::state::{Applied, Expected, StoreState};

/// What a shard holds for a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The entry, in the layout of [`crate::entry`].
    pub bytes: Bytes,
    /// The shard forgets the entry at this time.
    pub expires: Timestamp,
}

/// What becomes of a key's slot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Change {
    /// It stays as it is.
    Keep,
    /// This takes its place.
    Put(Slot),
    /// It goes.
    Remove,
}

/// True if a reader may be served this entry: it has a value, of the mode and schema version asked for, not past
/// its hard expiry; in CDC mode under a live meta that covers the cache, of the cache's generation.
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

/// True if the header, whose value or lease it may be, belongs to the mode asked for and, there, to the
/// generation of the covered cache.
fn is_current(meta: Option<&Meta>, header: &Header, mode: InvalidationMode, mapping: MappingId) -> bool {
    header.mode == mode
        && match mode {
            InvalidationMode::Ttl => true,
            InvalidationMode::Cdc => meta.and_then(|meta| meta.coverage.generation(mapping)) == Some(header.generation),
        }
}

/// Takes the right to fill a key, unless there is something good to serve or somebody else holds it.
///
/// A lease of another mode or generation is void: no fill under it would be of use. An entry that is current
/// stays readable under the new lease; any other one makes way for it. Which server grants it is the caller's to add.
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
    let stands = slot.and_then(|slot| Some((slot, decode(slot)?)));
    let current = stands.filter(|(_, entry)| is_current(shard_meta, &entry.header, request.mode, request.mapping));
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

/// Stores a loaded value if the lease taken before its load still stands, under the generation it was taken in.
pub fn fill(meta: Option<&Meta>, slot: Option<&Slot>, now: Timestamp, fill: &Fill<'_>) -> (FillReply, Change) {
    if fill.mode == InvalidationMode::Cdc {
        match meta {
            Some(meta) if meta.is_live() && meta.coverage.has_generation(fill.generation) => {}
            Some(meta) if meta.is_live() => return refuse(Refusal::GenerationChanged),
            _ => return refuse(Refusal::NoMeta),
        }
    }
    let stands = slot.and_then(decode).is_some_and(|entry| entry.token == Some(fill.token) && now < entry.lease_expiry);
    if !stands {
        return refuse(Refusal::LeaseBroken);
    }
    let expires = now.after(fill.expiry.max(Duration::from_millis(1)));
    (FillReply::Stored, Change::Put(Slot { bytes: Bytes::copy_from_slice(fill.entry), expires }))
}

fn refuse(refusal: Refusal) -> (FillReply, Change) {
    (FillReply::Refused(refusal), Change::Keep)
}

/// Gives a lease back; a value that stood under it stays.
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
    let survivor = decode(slot).filter(|entry| {
        let header = &entry.header;
        matches!(header.state, PayloadState::Fresh | PayloadState::Negative)
            && header.mode == InvalidationMode::Cdc
            && meta.is_some_and(|meta| meta.coverage.has_generation(header.generation))
            && has_seen(header, commits)
    });
    match survivor {
        Some(entry) => without_lease(slot, &entry),
        None => Change::Remove,
    }
}

/// True if the entry's load is known to have seen all of `commits`.
fn has_seen(header: &Header, commits: &[Gtid]) -> bool {
    !commits.is_empty()
        && fill_position(&header.position)
            .is_some_and(|position| commits.iter().all(|commit| position.contains(commit)))
}

fn without_lease(slot: &Slot, entry: &Entry) -> Change {
    if entry.header.state == PayloadState::None {
        return Change::Remove;
    }
    if entry.token.is_none() {
        return Change::Keep;
    }
    let bytes = Entry::with_lease(&slot.bytes, None, Timestamp::UNKNOWN);
    Change::Put(Slot { bytes, expires: slot.expires })
}

/// What cannot be read counts as absent.
fn decode(slot: &Slot) -> Option<Entry> {
    Entry::decode(slot.bytes.clone()).ok()
}

/// What the metas of all shards say together.
pub fn state<'a>(metas: impl Iterator<Item = Option<&'a Meta>>) -> StoreState {
    let (mut shards, mut present) = (0_usize, 0_usize);
    let mut together: Option<Meta> = None;
    let mut agreed = true;
    for meta in metas {
        shards += 1;
        let Some(meta) = meta else {
            continue;
        };
        present += 1;
        match &mut together {
            None => together = Some(meta.clone()),
            Some(together) => {
                agreed &= together.generation == meta.generation;
                compose(together, meta);
            }
        }
    }
    match together {
        None => StoreState::Missing,
        Some(_) if !agreed || present < shards => StoreState::Mixed,
        Some(meta) if !meta.is_live() => StoreState::Suspended(meta),
        Some(meta) => StoreState::Live(meta),
    }
}

fn compose(together: &mut Meta, meta: &Meta) {
    let (high_watermark, term) = (together.high_watermark.max(meta.high_watermark), together.term.max(meta.term));
    let source_time = together.source_time.min(meta.source_time);
    let suspended = !together.is_live() || !meta.is_live();
    let coverage = together.coverage.intersection(&meta.coverage);
    let (beat, vacant) = (together.beat.wrapping_add(meta.beat), together.vacant && meta.vacant);
    if meta.applied_order < together.applied_order {
        *together = meta.clone();
    }
    together.coverage = coverage;
    (together.beat, together.vacant) = (beat, vacant);
    together.high_watermark = high_watermark;
    together.term = term;
    together.source_time = source_time;
    if suspended {
        together.state = MetaState::Suspended;
    }
}

/// The meta with its promises voided.
pub fn suspend(meta: &Meta) -> Meta {
    let mut next = meta.clone();
    next.state = MetaState::Suspended;
    next
}

/// The meta that says that everything up to `order` may be on its way.
///
/// # Errors
/// [`ErrorKind::Conflict`] if the shard's meta is not what is held.
pub fn raise_high_watermark(meta: Option<&Meta>, expected: &Expected, order: u64) -> Result<Meta> {
    let mut next = compare(meta, expected)?.clone();
    next.high_watermark = next.high_watermark.max(order);
    next.beat = next.beat.wrapping_add(1);
    Ok(next)
}

/// The meta that vouches for these caches, under another generation of its own.
///
/// # Errors
/// [`ErrorKind::Conflict`] if the shard's meta is not what is held.
pub fn cover(meta: Option<&Meta>, expected: &Expected, generation: Generation, rows: &[Cover]) -> Result<Meta> {
    let mut next = compare(meta, expected)?.clone();
    next.generation = generation;
    next.coverage = next.coverage.covering(rows);
    next.beat = next.beat.wrapping_add(1);
    Ok(next)
}

/// The meta whose holder has left.
///
/// # Errors
/// [`ErrorKind::Conflict`] if the shard's meta is not what is held.
pub fn resign(meta: Option<&Meta>, expected: &Expected) -> Result<Meta> {
    let mut next = compare(meta, expected)?.clone();
    next.vacant = true;
    Ok(next)
}

/// The meta under a new term, with what all shards have applied.
///
/// # Errors
/// [`ErrorKind::Conflict`] if the shard has no meta of `state`'s generation, a term that is not below `term`, or has
/// applied less than `state` says.
pub fn take_term(meta: Option<&Meta>, state: &Meta, term: u64) -> Result<Meta> {
    let meta = meta.ok_or_else(|| conflict("it has no meta"))?;
    if meta.generation != state.generation {
        return Err(conflict("another generation is in force"));
    }
    if term <= meta.term {
        return Err(conflict("a term as high or higher is in force"));
    }
    if meta.applied_order < state.applied_order {
        return Err(conflict("it has applied less than was read before"));
    }
    let mut next = state.clone();
    (next.shards, next.coverage) = (meta.shards, meta.coverage.clone());
    // Suspended on one shard only: the next holder relies on all of them.
    if !meta.is_live() {
        next.state = MetaState::Suspended;
    }
    next.high_watermark = meta.high_watermark.max(state.high_watermark);
    next.term = term;
    next.beat = meta.beat.wrapping_add(1);
    next.vacant = false;
    Ok(next)
}

/// The meta after a batch whose effects are complete on every shard.
///
/// # Errors
/// [`ErrorKind::Conflict`] if the shard's meta is not what is held, or `applied` would move back.
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

/// The meta that a flush writes on a shard of a store of `shards` shards.
///
/// # Errors
/// [`ErrorKind::Conflict`] if the shard has a term that is not below `new`'s.
pub fn flush(meta: Option<&Meta>, new: &Meta, shards: u32) -> Result<Meta> {
    if meta.is_some_and(|meta| new.term <= meta.term) {
        return Err(conflict("a term as high or higher is in force"));
    }
    let mut next = new.clone();
    next.shards = shards;
    Ok(next)
}

fn compare<'a>(meta: Option<&'a Meta>, expected: &Expected) -> Result<&'a Meta> {
    let meta = meta.ok_or_else(|| conflict("it has no meta"))?;
    if meta.generation != expected.generation {
        return Err(conflict("another generation is in force"));
    }
    if meta.term != expected.term {
        return Err(conflict("another term is in force"));
    }
    if meta.applied_order != expected.applied_order {
        return Err(conflict("it has applied something else than is held"));
    }
    Ok(meta)
}

fn conflict(what: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("a shard of the store is not as held: {what}; read its state again"))
}
