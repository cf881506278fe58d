//! A load from start to end: permit, lease, load, fill.
//!
//! It runs in its own task, so a reader that goes away does not cancel it. Its lease proves, when the value is filled, that
//! the key was not invalidated since before the load.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument, Span};

use crate::cache::caught::caught;
use crate::cache::expected_tags::Expected;
use crate::cache::flight::{Leader, Outcome};
use crate::cache::hit::{Loaded, Tier};
use crate::cache::inner::Inner;
use crate::cache::load_gate::{Fresh, Permit};
use crate::cache::observer::LoadReport;
use crate::cache::plan::{LoadPlan, Purpose, Work};
use crate::cache::shared::{Lease, Leased};
use crate::clock::{Stopwatch, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{CacheKey, StoreKey};
use crate::loader::Reloaded;
use crate::position::Position;

/// What a load does after it has asked for a lease.
pub(super) enum Next<'a, V> {
    /// Load, and fill if there is a lease.
    Load(Permit<'a>, Option<Lease>),
    /// Another process has filled the key.
    Present(Loaded<V>),
    /// Another process refreshes the key.
    Abandon,
}

/// How long a read may repeat loads from a database that lags.
pub(super) struct ProofWait {
    waited: Stopwatch,
    pause: Duration,
}

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Runs a single-flight load in a task of its own, under the span `cachefront.load`.
    pub(super) fn spawn_load(self: &Arc<Self>, leader: Leader<K, V>, plan: LoadPlan, work: Work<V>) {
        match self.tasks.begin(&self.shared.cache) {
            Ok(running) => {
                let span = tracing::debug_span!(
                    "cachefront.load",
                    cache = %self.shared.cache,
                    key = %plan.store_key,
                    purpose = plan.purpose.as_str(),
                    outcome = tracing::field::Empty,
                );
                running.spawn(Arc::clone(self).run_load(leader, plan, work, span.clone()).instrument(span));
            }
            Err(error) => leader.complete(Err(error)),
        }
    }

    /// Runs a single-flight load to its end: the leader's task.
    async fn run_load(self: Arc<Self>, leader: Leader<K, V>, plan: LoadPlan, work: Work<V>, span: Span) {
        let began = self.clock.now();
        let outcome = self.load_and_store(&leader, &plan, work).await;
        span.record("outcome", ended(&outcome));
        self.note_load(leader.key(), began, outcome.as_deref());
        leader.complete(outcome);
    }

    /// Reports a load that has ended to the observer.
    pub(super) fn note_load(&self, key: &K, began: Timestamp, outcome: Result<&Loaded<V>, &Error>) {
        let Some(observer) = &self.observer else { return };
        let report = match outcome {
            // Nothing was loaded here.
            Ok(loaded) if loaded.tier != Tier::Database => return,
            Ok(loaded) => LoadReport {
                took: loaded.loaded_at.since(began),
                absent: loaded.value.is_none(),
                stored: loaded.accepted,
                error: None,
            },
            Err(error) => LoadReport {
                took: self.clock.now().since(began),
                absent: false,
                stored: false,
                error: Some(error.clone()),
            },
        };
        // Its panic is reported by the panic hook, and is no concern of the load.
        let _ = caught("the observer", || {
            observer.loaded(key, &report);
            Ok(())
        });
    }

    /// Loads a key and offers the value to the tiers, or returns what another process has filled meanwhile.
    async fn load_and_store(&self, leader: &Leader<K, V>, plan: &LoadPlan, work: Work<V>) -> Outcome<V> {
        if self.tags.is_some() {
            return self.load_tagged(leader, plan, work).await;
        }
        let (permit, mut lease) = match self.permit_and_lease(&plan.store_key, plan.purpose).await? {
            Next::Present(loaded) => return Ok(Arc::new(loaded)),
            Next::Abandon => return Ok(Arc::new(Loaded::abandoned())),
            Next::Load(permit, lease) => (permit, lease),
        };
        self.note_lease(leader, lease.as_ref());
        let previous = self.previous(plan, lease.as_ref(), &work).await;
        let mut fresh = match self.load(permit, leader.key(), previous, &work, lease.as_ref()).await {
            Ok(fresh) => fresh,
            Err(error) => return self.load_failed(plan, lease.as_ref(), error).await,
        };
        self.mark(leader.key(), lease.as_mut(), &Expected::default(), &mut fresh);
        leader.seal();
        Ok(Arc::new(self.store_loaded(leader.key(), plan, lease, fresh).await))
    }

    /// Notes in the flight how long its lease keeps others from storing a value.
    pub(super) fn note_lease(&self, leader: &Leader<K, V>, lease: Option<&Lease>) {
        if lease.is_some() {
            leader.note_lease(self.clock.now().after(self.settings.lease));
        }
    }

    /// Waits for a permit to load, then requests the lease: a lease begins when its load can begin, so that it does not
    /// expire in a queue ("Permit before lease"). Waits a bounded time for another process that holds the lease, without
    /// a permit.
    pub(super) async fn permit_and_lease(&self, key: &StoreKey, purpose: Purpose) -> Result<Next<'_, V>> {
        let reload = purpose != Purpose::Miss;
        let mut waited = Stopwatch::begin(&*self.clock);
        let mut pause = self.settings.lease_poll_min;
        loop {
            let permit = self.gate.permit().await?;
            match self.shared.lease(key, reload).await {
                Leased::Present(loaded) => return Ok(Next::Present(loaded)),
                Leased::Granted(lease) => {
                    if purpose == Purpose::Refresh {
                        self.metrics.refreshes.increment(1);
                    }
                    return Ok(Next::Load(permit, Some(lease)));
                }
                // Its value could not be stored.
                Leased::Without if purpose == Purpose::Refresh => return Ok(Next::Abandon),
                Leased::Without => return Ok(Next::Load(permit, None)),
                Leased::Held(_) if purpose == Purpose::Refresh => return Ok(Next::Abandon),
                // A reader that needs more than what other processes fill does not wait for them.
                Leased::Held(_)
                    if purpose == Purpose::Reload || waited.passed(&*self.clock) >= self.settings.lease_wait =>
                {
                    return Ok(Next::Load(permit, None));
                }
                Leased::Held(remaining) => {
                    drop(permit);
                    self.wait_for_holder(key, remaining, &mut pause).await;
                    if purpose == Purpose::Retag
                        && let Some(loaded) = self.shared.present_now(key).await
                    {
                        return Ok(Next::Present(loaded));
                    }
                }
            }
        }
    }

    /// Loads one key from the database, under this lease if there is one; from a value that is cached, if `previous` is one.
    pub(super) async fn load(
        &self,
        permit: Permit<'_>,
        key: &K,
        previous: Option<V>,
        work: &Work<V>,
        lease: Option<&Lease>,
    ) -> Result<Fresh<V>> {
        let cx = self.gate.context(lease.and_then(|lease| lease.fence.as_ref()).into_iter());
        let (once, loader) = (work.take_once(), &self.loader);
        if once.is_none() && loader.is_none() {
            // It says nothing about the database, whose circuit breaker does not count it.
            return Err(self.gate.failed(self.gate.no_loader()));
        }
        let load = async {
            match (once, loader, &previous) {
                (Some(load), _, _) => load(Arc::clone(&cx)).await.map(Reloaded::Value),
                (None, Some(loader), Some(previous)) => loader.reload(key, previous, &cx).await,
                (None, Some(loader), None) => loader.load(key, &cx).await.map(Reloaded::Value),
                (None, None, _) => Err(self.gate.no_loader()),
            }
        };
        let (reloaded, facts) = self.gate.run(permit, &cx, load).await?;
        Ok(match reloaded {
            Reloaded::Value(value) => self.gate.fresh(value, facts),
            Reloaded::NotModified => self.gate.unchanged(previous, facts),
        })
    }

    /// Loads many keys at once, under leases with these fences. Every key has a result, in the order of `keys`.
    ///
    /// # Errors
    /// If no key could be loaded.
    pub(super) async fn load_many<'a>(
        &self,
        permit: Permit<'_>,
        keys: &[K],
        fences: impl Iterator<Item = &'a Position>,
    ) -> Result<Vec<Result<Fresh<V>>>> {
        let cx = self.gate.context(fences);
        let Some(loader) = &self.loader else { return Err(self.gate.failed(self.gate.no_loader())) };
        let (mut values, facts) = self.gate.run(permit, &cx, loader.load_each(keys, &cx)).await?;
        let fresh = |key| match values.remove(key) {
            Some(Ok(loaded)) => Ok(self.gate.fresh_of_many(loaded, &facts)),
            Some(Err(error)) => Err(self.gate.failed(error)),
            None => Ok(self.gate.fresh(None, facts.clone())),
        };
        Ok(keys.iter().map(fresh).collect())
    }

    /// Releases the lease of a failed load, if it had one.
    pub(super) async fn release_lease(&self, key: &StoreKey, lease: Option<&Lease>) {
        if let Some(lease) = lease {
            self.shared.release(key, lease).await;
        }
    }

    /// Returns true if another load is possible: a loader for one call is spent once it has run.
    pub(super) fn can_load(&self, work: &Work<V>) -> bool {
        self.loader.is_some() || work.has_once()
    }

    /// Returns the time that a read which begins now may repeat its loads.
    pub(super) fn proof_wait(&self) -> ProofWait {
        ProofWait { waited: Stopwatch::begin(&*self.clock), pause: self.settings.lease_poll_min }
    }

    /// Pauses before the database is read again.
    ///
    /// # Errors
    /// `Unproven` if the time is over, or if the database can never contain the token (`permanent`).
    pub(super) async fn wait_for_proof(&self, proof_wait: &mut ProofWait, permanent: bool) -> Result<()> {
        if permanent || proof_wait.waited.passed(&*self.clock) >= self.settings.proof_wait {
            return Err(Error::new(
                ErrorKind::Unproven,
                format!(
                    "the database that cache `{}` loads from does not contain the token, or cannot prove the bound: load from \
                     the server that commits, raise `proof_wait` above the replica's lag, or require less",
                    self.shared.cache
                ),
            ));
        }
        self.clock.sleep(proof_wait.pause).await;
        proof_wait.pause = (proof_wait.pause * 2).min(self.settings.lease_poll_max);
        Ok(())
    }
}

/// Returns how a load ended, for its span.
fn ended<V>(outcome: &Outcome<V>) -> &'static str {
    match outcome {
        Ok(loaded) if loaded.tier != Tier::Database => "filled_elsewhere",
        Ok(loaded) if loaded.accepted => "stored",
        Ok(_) => "not_stored",
        Err(error) => error.kind().as_str(),
    }
}
