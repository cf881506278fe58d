//! Row images in place: an event's row replaces the value that was made from it, instead of removing the entry ("Row image in
//! place").

use bytes::Bytes;

use crate::entry::{Entry, FILL_POSITION_BYTES_MAX, Header, PayloadState, fill_position};
use crate::error::Result;
use crate::key::StoreKey;
use crate::mapping::MappingId;
use crate::mode::InvalidationMode;
use crate::position::{Gtid, Position};
use crate::store::meta::Meta;
use crate::store::state::Expected;
use crate::store::transition::{Change, Slot, compare, decode, survives, without_lease};

/// A value that a key has after commits: what replaces the entry of the key, if the entry is known to be older.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowImageValue {
    /// The key.
    pub key: StoreKey,
    /// The commits of one batch that changed the key; at least one.
    pub commits: Vec<Gtid>,
    /// The value contains every commit up to here that changed its row: what was applied before the batch, and the batch's
    /// transactions up to the one that the value is from.
    pub contains: Position,
    /// The cache under its mapping.
    pub mapping: MappingId,
    /// The codec that encoded the value.
    pub codec: u8,
    /// The version of the value's schema.
    pub schema_version: u32,
    /// The encoded value.
    pub payload: Bytes,
}

/// How many keys of a call had which outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowImageCounts {
    /// The entry has the new value.
    pub replaced: u64,
    /// The entry had been loaded after the commits, and stays.
    pub kept: u64,
    /// The entry was removed: it could not be proven older, or has another form.
    pub removed: u64,
    /// There was no entry.
    pub absent: u64,
}

impl RowImageCounts {
    /// Adds the counts of another call.
    pub fn add(&mut self, other: Self) {
        self.replaced += other.replaced;
        self.kept += other.kept;
        self.removed += other.removed;
        self.absent += other.absent;
    }

    /// Returns each count with its name.
    pub(crate) fn by_outcome(&self) -> [(&'static str, u64); 4] {
        [("replaced", self.replaced), ("kept", self.kept), ("removed", self.removed), ("absent", self.absent)]
    }

    /// Counts one key.
    pub(crate) fn count(&mut self, outcome: Outcome) {
        let count = match outcome {
            Outcome::Replaced => &mut self.replaced,
            Outcome::Kept => &mut self.kept,
            Outcome::Removed => &mut self.removed,
            Outcome::Absent => &mut self.absent,
        };
        *count += 1;
    }
}

/// What became of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has the new value.
    Replaced,
    /// It stays as it was, without its lease.
    Kept,
    /// It was removed.
    Removed,
    /// There was none, and none was made: values that are not read are not cached.
    Absent,
}

/// Replaces the value of one key, if this invalidator holds the term and the entry is known to be older than the value; else
/// removes it. Its lease is revoked in every case.
///
/// An entry is known to be older if its fill position is known and everything in it is contained in what the value contains:
/// then its load saw no commit that the value lacks, as far as the position says.
///
/// # Errors
/// [`Conflict`](crate::ErrorKind::Conflict) if the shard's meta is not as expected.
pub fn replace(
    meta: Option<&Meta>,
    expected: &Expected,
    slot: Option<&Slot>,
    value: &RowImageValue,
) -> Result<(Outcome, Change)> {
    let meta = compare(meta, expected)?;
    let Some(slot) = slot else { return Ok((Outcome::Absent, Change::Keep)) };
    let Some(entry) = decode(slot) else { return Ok((Outcome::Removed, Change::Remove)) };
    if survives(Some(meta), &entry, &value.commits) {
        return Ok((Outcome::Kept, without_lease(slot, &entry)));
    }
    let contains = value.contains.to_string();
    if !is_older(meta, &entry, value) || contains.len() > FILL_POSITION_BYTES_MAX {
        return Ok((Outcome::Removed, Change::Remove));
    }
    let header = Header { compression: 0, position: contains.into(), ..entry.header };
    let bytes = header.encode_with(&value.payload).into();
    Ok((Outcome::Replaced, Change::Put(Slot { bytes, expires: slot.expires })))
}

/// Returns true if the entry is a value of the same form and generation, and its load saw nothing that `value` does not contain.
fn is_older(meta: &Meta, entry: &Entry, value: &RowImageValue) -> bool {
    let header = &entry.header;
    header.state == PayloadState::Fresh
        && header.mode == InvalidationMode::Cdc
        && header.codec == value.codec
        && header.schema_version == value.schema_version
        && meta.coverage.generation(value.mapping) == Some(header.generation)
        && fill_position(&header.position).is_some_and(|loaded| value.contains.covers(&loaded))
}
