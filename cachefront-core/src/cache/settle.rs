//! The end of a flight: the loaded value is offered to the tiers.

use std::hash::Hash;
use std::time::Duration;

use bytes::Bytes;

use crate::cache::Inner;
use crate::cache::found::{Loaded, Tier};
use crate::cache::load::{Fresh, Lease, Order};
use crate::cache::local::Found;
use crate::clock::Timestamp;
use crate::entry::{FILL_POSITION_BYTES_MAX, Header, PayloadState};
use crate::error::Result;
use crate::key::{CacheKey, StoreKey};
use crate::keymap::KeyMap;
use crate::policy::TtlContext;
use crate::store::{Fill, FillReply, InvalidationMode, Refusal};

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Offers a loaded value to the tiers.
    pub(super) async fn settle(
        &self,
        key: &K,
        order: &Order,
        lease: Option<Lease>,
        fresh: Fresh<V>,
    ) -> Result<Loaded<V>> {
        let primary = self.is_primary(&fresh.notes);
        let mut loaded = Loaded {
            value: fresh.value.clone(),
            tier: Tier::Database,
            position: fresh.notes.position.clone(),
            filled_at: if primary { fresh.started_at } else { Timestamp::UNKNOWN },
            primary,
            known_primary: primary && fresh.notes.origin.is_some() && !self.log_origin.load().is_empty(),
            expires_at: Timestamp::UNKNOWN,
            accepted: false,
        };
        let context = TtlContext::new(fresh.value.is_none(), fresh.notes.ttl, fresh.took, &*self.entropy);
        let ttl = self.policy.ttl(&context);
        let unwanted = fresh.notes.no_store || ttl.is_zero();
        let by_age = self.mode() == InvalidationMode::Ttl;
        let expires_at = fresh.started_at.after(ttl);
        let followed = lease.as_ref().is_some_and(|lease| lease.followed);
        let weight = match lease {
            Some(lease) if unwanted => {
                self.give_back(&order.store_key, Some(&lease)).await;
                None
            }
            Some(lease) => self.fill(&order.store_key, &lease, &fresh, expires_at, ttl).await,
            None => None,
        };
        loaded.accepted = weight.is_some();
        if loaded.accepted || (by_age && !unwanted) {
            loaded.expires_at = expires_at;
            let weight = weight.unwrap_or_else(|| self.weigh(loaded.value.as_ref()));
            if by_age || followed {
                self.keep(key, order, &loaded, weight);
            }
        }
        Ok(loaded)
    }

    /// The encoded value's size, for a value that no store took.
    fn weigh(&self, value: Option<&V>) -> usize {
        let Some(value) = value.filter(|_| self.local.is_some()) else { return 0 };
        let mut payload = Vec::new();
        // A value that cannot be encoded is too heavy for any bound.
        self.codec.encode(value, &mut payload).map_or(usize::MAX, |()| payload.len())
    }

    fn keep(&self, key: &K, order: &Order, loaded: &Loaded<V>, weight: usize) {
        if let (Some(tier), Some(ticket)) = (&self.local, order.ticket) {
            let found = Found {
                ticket,
                now: self.clock.now(),
                filled_at: loaded.filled_at,
                expires_at: loaded.expires_at,
                weight: weight.saturating_add(order.store_key.as_str().len()),
            };
            tier.insert(key.clone(), loaded.value.clone(), &found);
        }
    }

    /// Fills the store. The encoded value's size if it was accepted.
    async fn fill(
        &self,
        key: &StoreKey,
        lease: &Lease,
        fresh: &Fresh<V>,
        expires_at: Timestamp,
        ttl: Duration,
    ) -> Option<usize> {
        let undeclared = fresh.notes.replica && self.rules.loads_from().is_empty();
        if undeclared || lease.meta.as_ref().is_some_and(|meta| fresh.notes.is_elsewhere(&meta.origin)) {
            self.metrics.fill_refused("other_server");
            self.give_back(key, Some(lease)).await;
            return None;
        }
        let mut payload = Vec::new();
        let state = match &fresh.value {
            None => PayloadState::Negative,
            Some(value) => match self.codec.encode(value, &mut payload) {
                Ok(()) => PayloadState::Fresh,
                Err(error) => {
                    tracing::warn!(cache = %self.name, error = %error, "a value cannot be encoded and is not kept");
                    self.metrics.fill_refused("codec");
                    self.give_back(key, Some(lease)).await;
                    return None;
                }
            },
        };
        let position = fresh.notes.position.as_ref().map(ToString::to_string).unwrap_or_default();
        let header = Header {
            state,
            mode: lease.mode,
            codec: self.codec.id(),
            compression: 0,
            schema_version: self.schema_version,
            generation: lease.generation(self.mapping),
            // `hi` is written after the gate, so what it names was visible before this load began.
            order: lease.meta.as_ref().map_or(0, |meta| meta.high_watermark),
            filled_at: if fresh.notes.replica { Timestamp::UNKNOWN } else { fresh.started_at },
            soft_expiry: Timestamp::UNKNOWN,
            hard_expiry: expires_at,
            load_cost_us: u32::try_from(fresh.took.as_micros()).unwrap_or(u32::MAX),
            position: if position.len() > FILL_POSITION_BYTES_MAX { Bytes::new() } else { position.into() },
        };
        self.send_fill(key, lease, &header, &payload, ttl).await.then_some(payload.len())
    }

    async fn send_fill(&self, key: &StoreKey, lease: &Lease, header: &Header, payload: &[u8], ttl: Duration) -> bool {
        let fill = Fill {
            key,
            token: lease.token,
            mode: lease.mode,
            generation: header.generation,
            entry: &header.encode_with(payload),
            expiry: ttl,
        };
        match self.store.fill(&fill).await {
            Ok(FillReply::Stored) => {
                self.metrics.fill_stored.increment(1);
                true
            }
            Ok(FillReply::Refused(refusal)) => {
                self.metrics.fill_refused(Refusal::as_str(refusal));
                false
            }
            Err(error) => {
                self.store_failed("fill", &error);
                false
            }
        }
    }
}
