//! Loads past the tiers: reads that ask for the database, serving modes that go there, and reads that nothing cached satisfies.
//!
//! Each load runs in a task of its own, as every other does: a reader that goes away does not cancel it, and a shutdown waits for it.
//! There is no flight, so readers share no load, and no lease, so nothing is stored.
//!
//! A value that is known not to satisfy the level is loaded again, with growing pauses, for
//! [`proof_wait`](crate::CacheSettings::proof_wait). It is not, if the loader named the server that commits: what that server lacks, no
//! other has.

use std::hash::Hash;
use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::{Instrument, Span};

use crate::cache::hit::{Hit, Loaded, Tier, age};
use crate::cache::inner::Inner;
use crate::cache::level::Level;
use crate::cache::load::ProofWait;
use crate::cache::load_gate::Fresh;
use crate::cache::many::{Found, cancelled};
use crate::cache::plan::Work;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::key::CacheKey;

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Loads from the database without the tiers; the value is not stored. A value that is known not to satisfy the level
    /// is loaded again, for a bounded time.
    pub(super) async fn bypass(
        self: &Arc<Self>,
        key: &K,
        level: &Level,
        work: &Work<V>,
        mut proof_wait: ProofWait,
    ) -> Result<Hit<V>> {
        let mut learns = level.bounds_staleness();
        loop {
            let load = Arc::clone(self).load_strong(key.clone(), work.share());
            let fresh = self.within_hard_timeout(self.apart(load)).await?;
            if std::mem::take(&mut learns) {
                self.shared.learn_origin(&fresh.facts.notes).await;
            }
            match self.strong_hit(fresh, level) {
                Ok(hit) => return Ok(hit),
                Err(permanent) => self.wait_for_proof(&mut proof_wait, permanent || !self.can_load(work)).await?,
            }
        }
    }

    /// Loads many keys from the database without the tiers, as [`bypass`](Self::bypass) does one.
    pub(super) async fn bypass_many(
        self: &Arc<Self>,
        mut keys: Vec<(usize, K)>,
        level: &Level,
    ) -> Vec<(usize, Found<V>)> {
        let mut found = Vec::with_capacity(keys.len());
        let mut proof_wait = self.proof_wait();
        let mut learns = level.bounds_staleness();
        while !keys.is_empty() {
            let batch: Vec<K> = keys.iter().map(|(_, key)| key.clone()).collect();
            let load = Arc::clone(self).load_many_strong(batch);
            let loaded = self.within_hard_timeout(self.apart(load)).await;
            let outcome = match loaded {
                Ok(loaded) => {
                    let named = loaded.iter().flatten().find(|fresh| fresh.facts.notes.origin.is_some());
                    if let Some(named) = named
                        && std::mem::take(&mut learns)
                    {
                        self.shared.learn_origin(&named.facts.notes).await;
                    }
                    let (mut lagging, mut permanent, now) = (Vec::new(), false, self.clock.now());
                    for ((index, key), fresh) in keys.drain(..).zip(loaded) {
                        match fresh.map(|fresh| self.strong_hit(fresh, level)) {
                            Ok(Ok(hit)) => found.push((index, (now, Ok(hit)))),
                            Ok(Err(never)) => {
                                permanent |= never;
                                lagging.push((index, key));
                            }
                            Err(error) => found.push((index, (now, Err(error)))),
                        }
                    }
                    keys = lagging;
                    if keys.is_empty() { Ok(()) } else { self.wait_for_proof(&mut proof_wait, permanent).await }
                }
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                let now = self.clock.now();
                found.extend(keys.drain(..).map(|(index, _)| (index, (now, Err(error.clone())))));
            }
        }
        found
    }

    /// Runs a load in a task of its own, within the reader's span.
    ///
    /// # Errors
    /// Those of the load; `Closed` after a shutdown.
    pub(super) async fn apart<T: Send + 'static>(
        &self,
        load: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let running = self.tasks.begin(&self.shared.cache)?;
        let (reply, loaded) = oneshot::channel();
        let task = async move {
            // The reader may have gone away.
            let _ = reply.send(load.await);
        };
        running.spawn(task.instrument(Span::current()));
        loaded.await.unwrap_or_else(|_| Err(cancelled()))
    }

    async fn load_strong(self: Arc<Self>, key: K, work: Work<V>) -> Result<Fresh<V>> {
        let began = self.clock.now();
        let loaded = async { self.load(self.gate.permit().await?, &key, None, &work, None).await }.await;
        self.note_fresh(&key, began, loaded.as_ref());
        loaded
    }

    async fn load_many_strong(self: Arc<Self>, keys: Vec<K>) -> Result<Vec<Result<Fresh<V>>>> {
        let began = self.clock.now();
        let loaded = async { self.load_many(self.gate.permit().await?, &keys, std::iter::empty()).await }.await;
        self.note_each(&keys, began, &loaded);
        loaded
    }

    /// Reports the loads of a batch whose values are not stored.
    pub(super) fn note_each(&self, keys: &[K], began: Timestamp, loaded: &Result<Vec<Result<Fresh<V>>>>) {
        for (at, key) in keys.iter().enumerate() {
            match loaded {
                Ok(each) => each.get(at).into_iter().for_each(|fresh| self.note_fresh(key, began, fresh.as_ref())),
                Err(error) => self.note_load(key, began, Err(error)),
            }
        }
    }

    /// Reports the load of a value that is not stored.
    fn note_fresh(&self, key: &K, began: Timestamp, loaded: Result<&Fresh<V>, &Error>) {
        if self.observer.is_some() {
            let loaded = loaded.map(|fresh| Loaded {
                value: fresh.value.clone(),
                tier: Tier::Database,
                loaded_at: fresh.facts.started_at.after(fresh.facts.took),
                ..Loaded::abandoned()
            });
            self.note_load(key, began, loaded.as_ref().map_err(|error| *error));
        }
    }

    /// Returns the hit of a value that was loaded without the tiers. If it is known not to satisfy the level, returns whether another load
    /// will not either.
    pub(super) fn strong_hit(&self, Fresh { value, facts }: Fresh<V>, level: &Level) -> Result<Hit<V>, bool> {
        let primary = self.shared.is_primary(&facts.notes);
        if !level.accepts_loaded(facts.notes.position.as_ref(), primary) {
            return Err(self.shared.is_final(&facts.notes));
        }
        let now = self.clock.now();
        Ok(Hit {
            value,
            tier: Tier::Database,
            position: facts.notes.position,
            staleness_bound: primary.then(|| now.since(facts.started_at) + self.settings.clock_skew),
            ttl: None,
            stale: false,
            age: age(facts.started_at, now),
        })
    }
}
