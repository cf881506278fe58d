//! Explains what a plain read of a key would do: the tiers' contents, and why a load would be necessary.
//!
//! The reasons are those that the read path itself finds: both call [`SharedTier::decode`](crate::cache::shared::SharedTier).

use std::hash::Hash;
use std::time::Duration;

use crate::cache::explanation::{
    EntryExplanation, Explanation, LoadReason, LocalExplanation, MetaExplanation, StoreExplanation,
};
use crate::cache::hit::{Tier, age};
use crate::cache::inner::Inner;
use crate::cache::level::{Evidence, Level};
use crate::cache::serving::ServingMode;
use crate::cache::tags::Look;
use crate::clock::Timestamp;
use crate::entry::{Entry, PayloadState};
use crate::error::Result;
use crate::key::{CacheKey, StoreKey};
use crate::store::{Meta, Reading};

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Explains one key without an effect on it.
    pub(super) async fn explain(&self, key: &K) -> Result<Explanation> {
        let cache = &*self.shared.cache;
        let serving_mode = self.subscription.serving();
        let mut explanation = Explanation {
            cache: cache.to_owned(),
            key: String::new(),
            namespace: self.shared.store.namespace().to_owned(),
            serving_mode,
            mode: self.shared.mode(),
            served_from: None,
            would_load: None,
            load_in_progress: self.flights.is_loading(key, &self.subscription.epochs),
            local: self.explain_local(key),
            store: None,
            store_error: None,
        };
        let Some(store_key) = StoreKey::encode_short(cache, key)? else {
            explanation.key = format!("{cache}:(too long)");
            explanation.would_load = Some(LoadReason::KeyTooLong);
            return Ok(explanation);
        };
        explanation.key = store_key.as_str().to_owned();
        let now = self.clock.now();
        let from_store = match self.shared.store.peek(&store_key).await {
            Ok(reading) => {
                explanation.store = Some(self.explain_reading(&reading, now));
                self.explain_lookup(reading, now).await
            }
            Err(error) => {
                explanation.store_error = Some(error.chain().to_string());
                Some(LoadReason::StoreUnreachable)
            }
        };
        // A peek does not ask the circuit breaker, and a read does.
        let from_store = if self.shared.breaker.refuses() {
            explanation.store_error.get_or_insert_with(|| "the circuit breaker of the store is open".to_owned());
            Some(LoadReason::StoreUnreachable)
        } else {
            from_store
        };
        let level = Level::default();
        let local = self.local_lookup(&level, |tier, now| tier.peek(key, &self.subscription.epochs, now));
        (explanation.served_from, explanation.would_load) = match (serving_mode, local, from_store) {
            (ServingMode::Bypass | ServingMode::Shadow, ..) => (None, Some(LoadReason::ServingMode)),
            (_, Some(_), _) => (Some(Tier::Local), None),
            (_, None, None) => (Some(Tier::Shared), None),
            (_, None, Some(reason)) => (None, Some(reason)),
        };
        Ok(explanation)
    }

    /// Returns why what was read from the store would not be served to a plain read; `None` if it would be.
    async fn explain_lookup(&self, reading: Reading, now: Timestamp) -> Option<LoadReason> {
        let decoded = self.shared.decode(reading, now);
        match self.shared.verify(vec![decoded], Look::Peek).await.pop().unwrap_or(Err(LoadReason::Absent)) {
            Ok(stored) if self.shared.is_fresh(&stored, now) => None,
            Ok(_) => Some(LoadReason::Outdated),
            Err(reason) => Some(reason),
        }
    }

    fn explain_local(&self, key: &K) -> Option<LocalExplanation> {
        let tier = self.local.as_ref()?;
        let handled = self.subscription.handled.load();
        Some(LocalExplanation {
            following: self.subscription.epochs.is_following(),
            handled: handled.applied.as_ref().map(ToString::to_string),
            value: tier.explain(key, &self.subscription.epochs, self.clock.now()),
        })
    }

    fn explain_reading(&self, reading: &Reading, now: Timestamp) -> StoreExplanation {
        let meta = reading.meta.as_deref().map(|meta| self.explain_meta(meta, now));
        let entry = reading.entry.as_ref().and_then(|bytes| Entry::decode(bytes.clone()).ok());
        StoreExplanation { meta, entry: entry.map(|entry| explain_entry(&entry, now)) }
    }

    fn explain_meta(&self, meta: &Meta, now: Timestamp) -> MetaExplanation {
        let evidence = Evidence { source_time: meta.source_time, ..Evidence::default() };
        MetaExplanation {
            live: meta.is_live(),
            generation: meta.coverage.generation(self.shared.mapping).map(|generation| generation.to_string()),
            applied: meta.applied().to_string(),
            watermark_age: evidence.staleness_bound(now, self.settings.clock_skew),
            origin: meta.origin.to_string(),
            term: meta.term,
        }
    }
}

fn explain_entry(entry: &Entry, now: Timestamp) -> EntryExplanation {
    let header = &entry.header;
    EntryExplanation {
        state: match header.state {
            PayloadState::Fresh => "value",
            PayloadState::Negative => "absent",
            PayloadState::None => "lease",
            PayloadState::StaleKept => "stale",
        },
        mode: header.mode,
        generation: header.generation.to_string(),
        schema_version: header.schema_version,
        position: std::str::from_utf8(&header.position).ok().filter(|text| !text.is_empty()).map(str::to_owned),
        age: age(header.filled_at, now),
        ttl: header.hard_expiry.is_known().then(|| header.hard_expiry.since(now)),
        load_took: Duration::from_micros(u64::from(header.load_cost_us)),
        bytes: entry.payload.len(),
        lease: entry.token.map(|_| entry.lease_expiry.since(now)),
    }
}
