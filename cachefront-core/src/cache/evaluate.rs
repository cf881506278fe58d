//! What an entry of the store is worth to a read: whether it may be served at all, and whether it satisfies the level.

use crate::cache::caught::caught;
use crate::cache::explanation::LoadReason;
use crate::cache::level::{Evidence, Level};
use crate::cache::shared::{Lookup, SharedTier, Stored};
use crate::cache::tags::{self, Look, Mark, TAGGED};
use crate::clock::Timestamp;
use crate::codec::inflate;
use crate::entry::{Fixed, Header, PayloadState};
use crate::mode::InvalidationMode;
use crate::store::Reading;

impl<V: Send + Sync + 'static> SharedTier<V> {
    /// Evaluates what was read from the store for one key. Values with tags are compared with their markers, which are read.
    pub(super) async fn evaluate_one(&self, reading: Reading, level: &Level, now: Timestamp, look: Look) -> Lookup<V> {
        if !self.tagged {
            return self.evaluate(reading, level, now);
        }
        let evaluated = Box::pin(self.evaluate_tagged(vec![reading], level, look)).await;
        evaluated.into_iter().next().unwrap_or(Lookup::Miss)
    }

    /// Evaluates what was read from the store for a cache without tags: whether it may be served, and whether it satisfies the
    /// level.
    #[inline(always)]
    pub(super) fn evaluate(&self, reading: Reading, level: &Level, now: Timestamp) -> Lookup<V> {
        match self.decode(reading, now) {
            Ok(stored) => self.judge(stored, level, now),
            Err(_) => Lookup::Miss,
        }
    }

    /// The same for one of many keys.
    pub(super) fn evaluate_of_many(&self, reading: Reading, level: &Level, now: Timestamp) -> Lookup<V> {
        self.decode_of_many(reading, now).map_or(Lookup::Miss, |stored| self.judge(stored, level, now))
    }

    /// Like [`decode`](Self::decode), for one of many keys. It is a function of its own, so that the other one is inlined where a
    /// single key is read.
    #[inline(never)]
    pub(super) fn decode_of_many(&self, reading: Reading, now: Timestamp) -> Result<Stored<V>, LoadReason> {
        self.decode(reading, now)
    }

    /// Evaluates an entry that the store considers valid, for a plain read. Returns `None` if it is damaged, or of another codec.
    pub(super) async fn evaluate_present(&self, reading: Reading, now: Timestamp) -> Option<Lookup<V>> {
        let mut decoded = self.decode(reading, now);
        if matches!(decoded, Err(LoadReason::NotDecodable | LoadReason::Damaged)) {
            return None;
        }
        if self.tagged {
            decoded = self.verify(vec![decoded], Look::Read).await.pop()?;
        }
        Some(decoded.map_or(Lookup::Miss, |stored| self.judge(stored, &Level::EVENTUAL, now)))
    }

    /// Judges whether a valid value satisfies the level.
    #[inline]
    pub(super) fn judge(&self, stored: Stored<V>, level: &Level, now: Timestamp) -> Lookup<V> {
        if level.is_eventual() {
            return if self.is_fresh(&stored, now) { Lookup::Hit(stored) } else { Lookup::Outdated };
        }
        // The applied position has usually been parsed already, so it is checked first.
        let applied = stored.meta.as_ref().map(|meta| meta.applied());
        let by_applied = matches!((&level.at_least, applied), (Some(token), Some(applied)) if applied.covers(token));
        let loaded = if level.at_least.is_some() && !by_applied { stored.loaded() } else { None };
        let evidence = Evidence {
            loaded: loaded.as_ref(),
            applied,
            filled_at: stored.filled_at,
            source_time: stored.meta.as_ref().map_or(Timestamp::UNKNOWN, |meta| meta.source_time),
        };
        if level.is_proven(&evidence, now, self.clock_skew) { Lookup::Hit(stored) } else { Lookup::Unproven }
    }

    /// Returns true if a plain read may be served the value: one that is kept correct by time has no objective.
    #[inline]
    pub(super) fn is_fresh(&self, stored: &Stored<V>, now: Timestamp) -> bool {
        stored.meta.as_ref().is_none_or(|meta| self.subscription.is_fresh(meta.source_time, stored.filled_at, now))
    }

    /// Decodes an entry that may be served at the eventual level under the current mode; else returns the reason for a load.
    #[inline]
    pub(super) fn decode(&self, reading: Reading, now: Timestamp) -> Result<Stored<V>, LoadReason> {
        let mode = self.mode();
        let meta = match mode {
            InvalidationMode::Cdc => Some(reading.meta.ok_or(LoadReason::NoMeta)?),
            InvalidationMode::Ttl => None,
        };
        let covered = match &meta {
            Some(meta) if !meta.is_live() => return Err(LoadReason::Suspended),
            Some(meta) => Some(meta.coverage.generation(self.mapping).ok_or(LoadReason::NotCovered)?),
            None => None,
        };
        let entry = reading.entry.ok_or(LoadReason::Absent)?;
        let fixed = match Fixed::decode(&entry) {
            Ok(fixed) => fixed,
            Err(error) => {
                if let Some(withheld) = self.logs.damaged.pass(self.clock.now()) {
                    tracing::warn!(cache = %self.cache, error = %error, withheld, "an entry of the store is damaged and counts as a miss");
                }
                return Err(LoadReason::Damaged);
            }
        };
        let (header, payload) = (&fixed.header, fixed.payload(&entry));
        // If the cache is not covered, or the entry has another generation, the entry is not valid. An entry of CDC mode is not
        // served by its age: a clear of the cache in that mode has removed it by a new generation only.
        if header.mode != mode {
            return Err(LoadReason::OtherMode);
        }
        if covered.is_some_and(|covered| covered != header.generation) {
            return Err(LoadReason::OtherGeneration);
        }
        if header.state == PayloadState::None {
            return Err(LoadReason::Loading);
        }
        if header.schema_version != self.schema_version {
            return Err(LoadReason::OtherSchemaVersion);
        }
        if header.hard_expiry.is_known() && now >= header.hard_expiry {
            return Err(LoadReason::Expired);
        }
        let (value, marks, weight) = self.decode_payload(header, payload)?;
        Ok(Stored {
            value,
            filled_at: header.filled_at,
            expires_at: header.hard_expiry,
            soft_expiry: header.soft_expiry,
            load_cost_us: header.load_cost_us,
            server: reading.server,
            weight,
            body: fixed.body,
            entry,
            meta,
            marks,
        })
    }

    /// Decodes the value of an entry, `None` if the database has no such row; its tags; and its size before compression.
    fn decode_payload(&self, header: &Header, payload: &[u8]) -> Result<(Option<V>, Vec<Mark>, usize), LoadReason> {
        if header.state == PayloadState::Negative {
            return Ok((None, Vec::new(), 0));
        }
        // Without tags of its own, this release cannot tell whether a value with tags is current: its codec is another one.
        let tagged = self.tagged && header.codec & TAGGED != 0;
        let codec = if tagged { header.codec & !TAGGED } else { header.codec };
        if header.state != PayloadState::Fresh || codec != self.codec.id() {
            return Err(LoadReason::NotDecodable);
        }
        let (marks, absent, payload) = if tagged {
            let tagged = tags::split(&self.cache, payload).ok_or(LoadReason::Damaged)?;
            (tagged.marks, tagged.absent, tagged.payload)
        } else {
            (Vec::new(), false, payload)
        };
        if absent {
            return Ok((None, marks, 0));
        }
        let inflated = inflate(header.compression, payload, self.value_bytes_max);
        match inflated.and_then(|encoded| Ok((encoded.len(), caught("the codec", || self.codec.decode(&encoded))?))) {
            Ok((bytes, value)) => Ok((Some(value), marks, bytes)),
            Err(error) => {
                if let Some(withheld) = self.logs.undecodable.pass(self.clock.now()) {
                    tracing::warn!(cache = %self.cache, error = %error, withheld, "a value of the store cannot be decoded and counts as a miss");
                }
                Err(LoadReason::NotDecodable)
            }
        }
    }
}
