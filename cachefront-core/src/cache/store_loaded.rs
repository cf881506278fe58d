//! The end of a load: the loaded value is offered to the tiers.

use std::hash::Hash;
use std::time::Duration;

use crate::cache::caught::caught;
use crate::cache::hit::{Loaded, Tier};
use crate::cache::inner::Inner;
use crate::cache::load_gate::Fresh;
use crate::cache::local::Insertion;
use crate::cache::plan::{LoadPlan, Purpose};
use crate::cache::shared::Lease;
use crate::cache::tags::{Mark, tickets};
use crate::clock::Timestamp;
use crate::key::CacheKey;
use crate::mode::InvalidationMode;
use crate::policy::TtlContext;

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Offers a loaded value to the tiers. It is returned in any case.
    pub(super) async fn store_loaded(
        &self,
        key: &K,
        plan: &LoadPlan,
        lease: Option<Lease>,
        fresh: Fresh<V>,
    ) -> Loaded<V> {
        let load = &fresh.facts;
        let primary = self.shared.is_primary(&load.notes);
        let mut loaded = Loaded {
            value: fresh.value.clone(),
            tier: Tier::Database,
            position: load.notes.position.clone(),
            filled_at: if primary { load.started_at } else { Timestamp::UNKNOWN },
            loaded_at: load.started_at.after(load.took),
            primary,
            known_primary: self.shared.is_final(&load.notes),
            expires_at: Timestamp::UNKNOWN,
            accepted: false,
        };
        let context = TtlContext::new(fresh.value.is_none(), load.notes.ttl, load.took, &*self.entropy);
        let ttl = self.ttl(&context);
        let unwanted = load.notes.no_store || ttl.is_zero();
        let by_age = self.shared.mode() == InvalidationMode::Ttl;
        let expires_at = load.started_at.after(ttl);
        let followed = lease.as_ref().is_some_and(|lease| lease.followed);
        let (mut marks, mut spoiled) = (Vec::new(), false);
        let weight = match lease {
            Some(lease) if unwanted => {
                if !self.holds_back(plan) {
                    self.shared.release(&plan.store_key, &lease).await;
                }
                None
            }
            Some(mut lease) => {
                lease.outlasts_refusal = self.holds_back(plan);
                let weight = self.shared.fill(&plan.store_key, &lease, &fresh, ttl).await;
                marks = lease.marks;
                // The store has compared the lease. Whether a tag was invalidated since before the load is compared here, so
                // that a waiter that started after it does not take the value ("Joining").
                spoiled = !marks.is_empty() && !self.shared.still_marked(&marks).await;
                weight.filter(|_| !spoiled)
            }
            None => None,
        };
        loaded.accepted = weight.is_some();
        // A value that the store has not got, but no rule excludes, may be kept by its age.
        let fit = by_age && !unwanted && !spoiled && !self.shared.is_undeclared(&load.notes);
        let weight = weight.or_else(|| if fit { self.weigh(loaded.value.as_ref()) } else { None });
        if let Some(weight) = weight {
            loaded.expires_at = expires_at;
            if by_age || followed {
                self.keep_loaded(key, plan, &loaded, &marks, weight);
            }
        }
        loaded
    }

    /// Returns how long a value may live: not at all, if the policy panics.
    fn ttl(&self, context: &TtlContext<'_>) -> Duration {
        caught("the policy", || Ok(self.policy.ttl(context))).unwrap_or_else(|error| {
            if let Some(withheld) = self.shared.logs.policy.pass(self.clock.now()) {
                tracing::warn!(cache = %self.shared.cache, error = %error, withheld, "a value has no time to live and is not cached");
            }
            self.metrics.fill_refused("policy");
            Duration::ZERO
        })
    }

    /// Returns true if the lease of a load that stores nothing is left to expire: it is a refresh of a value that is served that
    /// long, and no process tries again before that. Beyond, the lease would keep readers from the database.
    pub(super) fn holds_back(&self, plan: &LoadPlan) -> bool {
        let served = plan.served_until;
        let long = !served.is_known() || served.since(self.clock.now()) >= self.settings.lease;
        plan.purpose == Purpose::Refresh && long
    }

    /// Returns the size of the encoded value, for a value that the store did not accept; 0 if there is no local tier. `None` if no tier
    /// may have it.
    fn weigh(&self, value: Option<&V>) -> Option<usize> {
        value.filter(|_| self.local.is_some()).map_or(Some(0), |value| self.shared.weigh(value))
    }

    /// Puts a loaded value into the process-local tier, if the load's ticket allows it. The tier ignores the value if the key
    /// was invalidated since.
    fn keep_loaded(&self, key: &K, plan: &LoadPlan, loaded: &Loaded<V>, marks: &[Mark], weight: usize) {
        if let (Some(tier), Some(ticket), Ok(tags)) = (&self.local, plan.ticket, tickets(marks)) {
            let facts = Insertion {
                ticket,
                tags,
                now: self.clock.now(),
                filled_at: loaded.filled_at,
                expires_at: loaded.expires_at,
                weight: weight.saturating_add(plan.store_key.as_str().len()),
            };
            tier.insert(key.clone(), loaded.value.clone(), &facts);
        }
    }
}
