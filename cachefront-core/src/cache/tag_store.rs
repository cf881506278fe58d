//! Markers of tags in the shared store: how they are made, read and compared ("Tag markers").

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;

use crate::cache::epochs::Ticket;
use crate::cache::explanation::LoadReason;
use crate::cache::hit::Loaded;
use crate::cache::level::Level;
use crate::cache::serving::ServingMode;
use crate::cache::shared::{Lookup, SharedTier, Stored};
use crate::cache::tags::{Look, MARKER_CODEC, Mark, Version};
use crate::clock::Timestamp;
use crate::entry::{Fixed, Header, PayloadState};
use crate::error::Result;
use crate::identity::{Generation, ServerId, Token};
use crate::key::StoreKey;
use crate::mode::InvalidationMode;
use crate::store::{Fill, FillReply, LeaseReply, LeaseRequest, Meta, Reading};

/// Number of times that a marker is read while another process makes it, which takes two round trips.
const READS_MAX: usize = 8;

impl<V: Send + Sync + 'static> SharedTier<V> {
    /// Returns the current marks of tags, and makes the markers that do not exist. Without a mark are tags whose marker
    /// cannot be read or made. Must be called before the lease is taken: what the lease's load sees is then as new as the marks.
    pub(super) async fn marks(&self, tags: &[Box<str>]) -> Vec<Mark> {
        let keys: Vec<StoreKey> = tags.iter().filter_map(|tag| StoreKey::of_tag(&self.cache, tag).ok()).collect();
        if keys.is_empty() || keys.len() != tags.len() {
            return Vec::new();
        }
        let tickets: Vec<Ticket> = keys.iter().map(|key| self.subscription.epochs.ticket(key)).collect();
        let readings = self.guarded("get_many", self.store.get_many(&keys)).await;
        let Some(readings) = readings else { return Vec::new() };
        let now = self.clock.now();
        let marks =
            keys.into_iter().zip(tickets).zip(tags).zip(readings).map(async |(((key, ticket), tag), reading)| {
                let version = match self.marker(&reading, now) {
                    Some(version) => Some(version),
                    None => self.make_marker(&key).await,
                };
                version.map(|version| Mark { tag: tag.clone(), version, key, ticket: Some(ticket) })
            });
        join_all(marks).await.into_iter().flatten().collect()
    }

    /// Returns the version of a marker that counts now.
    fn marker(&self, reading: &Reading, now: Timestamp) -> Option<Version> {
        let entry = reading.entry.as_ref()?;
        let generation = match self.mode() {
            InvalidationMode::Cdc => {
                reading.meta.as_ref().filter(|meta| meta.is_live())?.coverage.generation(self.mapping)?
            }
            InvalidationMode::Ttl => Generation::default(),
        };
        self.marker_of(entry, generation, now)
    }

    fn marker_of(&self, entry: &Bytes, generation: Generation, now: Timestamp) -> Option<Version> {
        let fixed = Fixed::decode(entry).ok()?;
        let header = &fixed.header;
        let current = header.state == PayloadState::Fresh
            && header.codec == MARKER_CODEC
            && header.mode == self.mode()
            && header.generation == generation
            && (!header.hard_expiry.is_known() || now < header.hard_expiry);
        let version = fixed.payload(entry).try_into().ok().filter(|_| current)?;
        Some(Version(u128::from_be_bytes(version)))
    }

    /// Makes a marker under a lease, as every other entry is made, or reads the one that another process makes.
    async fn make_marker(&self, key: &StoreKey) -> Option<Version> {
        if self.subscription.serving() == ServingMode::ReadOnly {
            return None;
        }
        for _ in 0..READS_MAX {
            let token = Token::from_u128(self.entropy.random_u128())?;
            let request = LeaseRequest { schema_version: 0, ..self.lease_request(key, token) };
            let mode = request.mode;
            match self.ask_for_lease(&request).await? {
                LeaseReply::Granted { meta, .. } => return self.fill_marker(key, token, mode, meta).await,
                LeaseReply::Present { meta, entry } => {
                    return self
                        .marker(&Reading { server: ServerId::UNKNOWN, meta, entry: Some(entry) }, self.clock.now());
                }
                LeaseReply::Held { .. } => self.clock.sleep(self.tag_poll).await,
                LeaseReply::NoMeta | LeaseReply::NotCovered => return None,
            }
        }
        None
    }

    async fn fill_marker(
        &self,
        key: &StoreKey,
        token: Token,
        mode: InvalidationMode,
        meta: Option<Arc<Meta>>,
    ) -> Option<Version> {
        let version = self.entropy.random_u128();
        let generation = match mode {
            InvalidationMode::Cdc => meta.as_ref().and_then(|meta| meta.coverage.generation(self.mapping))?,
            InvalidationMode::Ttl => Generation::default(),
        };
        let now = self.clock.now();
        let header = Header {
            state: PayloadState::Fresh,
            mode,
            codec: MARKER_CODEC,
            compression: 0,
            schema_version: 0,
            generation,
            order: meta.as_ref().map_or(0, |meta| meta.high_watermark),
            filled_at: now,
            soft_expiry: Timestamp::UNKNOWN,
            hard_expiry: now.after(self.tag_ttl),
            load_cost_us: 0,
            // Unknown: an invalidation of the marker never finds that the marker has seen its commit.
            position: Bytes::new(),
        };
        let entry = header.encode_with(&version.to_be_bytes());
        let fill = Fill { key, token, mode, generation, entry: &entry, expiry: self.tag_ttl };
        match self.guarded("fill", self.store.fill(&fill)).await? {
            FillReply::Stored => Some(Version(version)),
            FillReply::Refused(_) => None,
        }
    }

    /// Evaluates what was read from the store for keys of a tagged cache: their markers are read at once.
    pub(super) async fn evaluate_tagged(&self, readings: Vec<Reading>, level: &Level, look: Look) -> Vec<Lookup<V>> {
        let now = self.clock.now();
        let decoded = readings.into_iter().map(|reading| self.decode(reading, now)).collect();
        let judge = |stored| match stored {
            Ok(stored) => self.judge(stored, level, now),
            Err(LoadReason::TagInvalidated) => Lookup::TagInvalidated,
            Err(_) => Lookup::Miss,
        };
        self.verify(decoded, look).await.into_iter().map(judge).collect()
    }

    /// Compares the marks of values with their markers. A value whose tag was invalidated is no value any more.
    pub(super) async fn verify(
        &self,
        decoded: Vec<Result<Stored<V>, LoadReason>>,
        look: Look,
    ) -> Vec<Result<Stored<V>, LoadReason>> {
        let mut tickets: HashMap<StoreKey, Ticket> = HashMap::new();
        for mark in decoded.iter().flatten().flat_map(|stored| &stored.marks) {
            // Before the markers are read: an invalidation in between ends the ticket.
            tickets.entry(mark.key.clone()).or_insert_with(|| self.subscription.epochs.ticket(&mark.key));
        }
        if tickets.is_empty() {
            return decoded;
        }
        let keys: Vec<StoreKey> = tickets.keys().cloned().collect();
        let readings = self.guarded("get_many", self.read_markers(&keys, look)).await.unwrap_or_default();
        let found: HashMap<StoreKey, Reading> = keys.into_iter().zip(readings).collect();
        let now = self.clock.now();
        decoded.into_iter().map(|stored| self.compare(stored?, &found, &tickets, now)).collect()
    }

    async fn read_markers(&self, keys: &[StoreKey], look: Look) -> Result<Vec<Reading>> {
        match look {
            Look::Read => self.store.get_many(keys).await,
            Look::Peek => join_all(keys.iter().map(|key| self.store.peek(key))).await.into_iter().collect(),
        }
    }

    /// Compares the marks of one value with the markers that were read after it.
    ///
    /// The value is then proven by the meta that proves least: its own, or that of a marker. Another shard may have lost the
    /// invalidation of a marker that the value's own shard says is applied.
    fn compare(
        &self,
        mut stored: Stored<V>,
        found: &HashMap<StoreKey, Reading>,
        tickets: &HashMap<StoreKey, Ticket>,
        now: Timestamp,
    ) -> Result<Stored<V>, LoadReason> {
        for mark in &mut stored.marks {
            let reading = found.get(&mark.key).ok_or(LoadReason::TagInvalidated)?;
            if self.marker(reading, now) != Some(mark.version) {
                return Err(LoadReason::TagInvalidated);
            }
            mark.ticket = tickets.get(&mark.key).copied();
            if !reading.server.is_same(stored.server) {
                stored.server = ServerId::UNKNOWN;
            }
            let (Some(own), Some(of_marker)) = (&stored.meta, &reading.meta) else { continue };
            if own.generation != of_marker.generation {
                return Err(LoadReason::TagInvalidated);
            }
            let proves = |meta: &Meta| (meta.applied_order, meta.source_time);
            if proves(of_marker) < proves(own) {
                stored.meta = Some(Arc::clone(of_marker));
            }
        }
        Ok(stored)
    }

    /// Returns the value that is in the store now, if a load may be replaced by it.
    pub(super) async fn present_now(&self, key: &StoreKey) -> Option<Loaded<V>> {
        let (reading, now) = self.guarded_at("get", self.store.get(key)).await?;
        match self.evaluate_one(reading, &Level::EVENTUAL, now, Look::Read).await {
            Lookup::Hit(stored) => Some(stored.into_loaded()),
            _ => None,
        }
    }

    /// Returns true if no tag of a value that was just stored has been invalidated since before its load.
    pub(super) async fn still_marked(&self, marks: &[Mark]) -> bool {
        let keys: Vec<StoreKey> = marks.iter().map(|mark| mark.key.clone()).collect();
        let readings = self.guarded("get_many", self.store.get_many(&keys)).await;
        let Some(readings) = readings else { return false };
        let now = self.clock.now();
        marks.iter().zip(&readings).all(|(mark, reading)| self.marker(reading, now) == Some(mark.version))
    }
}
