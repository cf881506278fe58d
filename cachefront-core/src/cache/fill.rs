//! The fill: a loaded value becomes an entry of the shared store, under its lease.
//!
//! What a rule excludes is not sent: a value of another server than the one whose log is followed, or of a replica that the cache does not
//! declare; one whose position lacks the fence; one that cannot be encoded, or is too large. Its lease is released, so that the next
//! reader loads at once. Only the lease of a refresh is left to expire: the value that it would replace is still served, and no
//! process has to try again before that.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::cache::caught::caught;
use crate::cache::load_gate::Fresh;
use crate::cache::scratch;
use crate::cache::shared::{Lease, SharedTier};
use crate::cache::tags::{self, TAGGED};
use crate::clock::Timestamp;
use crate::entry::{FILL_POSITION_BYTES_MAX, Header, PayloadState};
use crate::error::BoxError;
use crate::key::StoreKey;
use crate::loader::LoadNotes;
use crate::position::Position;
use crate::store::{Fill, FillReply, Refusal};

impl<V: Send + Sync + 'static> SharedTier<V> {
    /// Returns true if the value was loaded from a replica that the cache does not declare.
    pub(super) fn is_undeclared(&self, notes: &LoadNotes) -> bool {
        notes.replica && !self.declares_replicas
    }

    /// Fills the store with a loaded value. Returns the size of the encoded value if the store accepted it.
    pub(super) async fn fill(&self, key: &StoreKey, lease: &Lease, fresh: &Fresh<V>, ttl: Duration) -> Option<usize> {
        let notes = &fresh.facts.notes;
        let undeclared = self.is_undeclared(notes);
        if undeclared || lease.meta.as_ref().is_some_and(|meta| notes.is_elsewhere(&meta.origin)) {
            self.metrics.fill_refused("other_server");
            self.give_up(key, lease).await;
            return None;
        }
        if let Some(fence) = &lease.fence
            && !notes.position.as_ref().is_some_and(|position| position.covers(fence))
        {
            self.metrics.fill_refused("behind_fence");
            self.give_up(key, lease).await;
            return None;
        }
        let header = self.header(lease, fresh, ttl);
        let Some(encoded) = self.encode(fresh.value.as_ref(), header.encoded_bytes()) else {
            self.give_up(key, lease).await;
            return None;
        };
        let (bytes, generation) = (encoded.len(), header.generation);
        let entry = self.entry(header, lease, encoded, fresh.value.is_none());
        let expiry = ttl.saturating_add(self.stale_while_revalidate);
        let fill = Fill { key, token: lease.token, mode: lease.mode, generation, entry: &entry, expiry };
        let stored = self.send_fill(&fill).await;
        scratch::give(entry);
        stored.then_some(bytes)
    }

    /// Makes the entry of an encoded value: compressed if that is worth while, and with the tags that the lease has.
    fn entry(&self, header: Header, lease: &Lease, encoded: Vec<u8>, absent: bool) -> Vec<u8> {
        let compressed = self.compression.as_ref().and_then(|compression| compression.compress(&encoded));
        let (compression, payload) = compressed.unwrap_or((0, encoded));
        let header = Header { compression, ..header };
        if lease.marks.is_empty() {
            return header.encode_before(payload);
        }
        let mut with_tags = Vec::new();
        tags::encode(&lease.marks, absent, &mut with_tags);
        with_tags.extend_from_slice(&payload);
        header.encode_before(with_tags)
    }

    /// Encodes a value by the cache's codec.
    ///
    /// # Errors
    /// Those of the codec, also if it panics.
    pub(super) fn encode_value(&self, value: &V, out: &mut Vec<u8>) -> Result<(), BoxError> {
        caught("the codec", || self.codec.encode(value, out))
    }

    /// Encodes a value, or the absence of one, with `room` for more bytes. Returns `None` if it cannot be encoded or is too
    /// large.
    fn encode(&self, value: Option<&V>, room: usize) -> Option<Vec<u8>> {
        let Some(value) = value else { return Some(Vec::new()) };
        let last = self.encoded_bytes.load(Ordering::Relaxed);
        let mut encoded = scratch::take(last + last / 8 + room);
        if let Err(error) = self.encode_value(value, &mut encoded) {
            if let Some(withheld) = self.logs.not_encoded.pass(self.clock.now()) {
                tracing::warn!(cache = %self.cache, error = %error, withheld, "a value cannot be encoded and is not cached");
            }
            self.metrics.fill_refused("codec");
            return None;
        }
        let (bytes, max) = (encoded.len(), self.value_bytes_max);
        if bytes > max {
            if let Some(withheld) = self.logs.too_large.pass(self.clock.now()) {
                tracing::warn!(cache = %self.cache, bytes, max, withheld, "a value is larger than `value_bytes_max` and is not cached");
            }
            self.metrics.fill_refused("too_large");
            return None;
        }
        self.encoded_bytes.store(bytes.min(scratch::KEPT_BYTES_MAX), Ordering::Relaxed);
        Some(encoded)
    }

    /// Makes the header of an entry that is stored under `lease`.
    fn header(&self, lease: &Lease, Fresh { value, facts: load }: &Fresh<V>, ttl: Duration) -> Header {
        let known = value.is_some() || !lease.marks.is_empty();
        let state = if known { PayloadState::Fresh } else { PayloadState::Negative };
        let position = load.notes.position.as_ref().map(Position::to_string).unwrap_or_default();
        Header {
            state,
            mode: lease.mode,
            codec: if lease.marks.is_empty() { self.codec.id() } else { self.codec.id() | TAGGED },
            compression: 0,
            schema_version: self.schema_version,
            generation: lease.generation(self.mapping),
            // The high watermark is written after the gate, so what it names was visible before this load began.
            order: lease.meta.as_ref().map_or(0, |meta| meta.high_watermark),
            filled_at: if load.notes.replica { Timestamp::UNKNOWN } else { load.started_at },
            soft_expiry: if self.refreshes { load.started_at.after(ttl) } else { Timestamp::UNKNOWN },
            hard_expiry: load.started_at.after(ttl.saturating_add(self.stale_while_revalidate)),
            load_cost_us: u32::try_from(load.took.as_micros()).unwrap_or(u32::MAX),
            position: if position.len() > FILL_POSITION_BYTES_MAX { Bytes::new() } else { position.into() },
        }
    }

    /// Returns true if the store accepted the fill.
    async fn send_fill(&self, fill: &Fill<'_>) -> bool {
        match self.guarded("fill", self.store.fill(fill)).await {
            Some(FillReply::Stored) => {
                self.metrics.fill_stored.increment(1);
                true
            }
            Some(FillReply::Refused(refusal)) => {
                self.metrics.fill_refused(Refusal::as_str(refusal));
                false
            }
            None => false,
        }
    }

    /// Ends a lease whose value is not stored.
    async fn give_up(&self, key: &StoreKey, lease: &Lease) {
        if !lease.outlasts_refusal {
            self.release(key, lease).await;
        }
    }

    /// Returns the size of the encoded value, for a value that is not in the store; `None` if it cannot be encoded, or is too large
    /// for any tier.
    pub(super) fn weigh(&self, value: &V) -> Option<usize> {
        let mut payload = Vec::new();
        self.encode_value(value, &mut payload).ok()?;
        Some(payload.len()).filter(|bytes| *bytes <= self.value_bytes_max)
    }
}
