//! Loads of a cache with tags ("Tag markers").
//!
//! The marks of a value must be older than its load, but its tags may be known only after it. So the marks of the tags that the
//! key is expected to have are read first: those of [`tags_of`](crate::CacheBuilder::tags_of), and those of the key's last load.
//! If the loader reports another tag, the key is loaded a second time, with the mark of that tag.

use std::hash::Hash;
use std::sync::Arc;

use crate::cache::expected_tags::is_usable;
use crate::cache::flight::{Leader, Outcome};
use crate::cache::hit::Loaded;
use crate::cache::inner::Inner;
use crate::cache::load::Next;
use crate::cache::load_gate::Fresh;
use crate::cache::plan::{LoadPlan, Purpose, Work};
use crate::cache::shared::Lease;
use crate::cache::tags::{Mark, select};
use crate::error::{Error, Result};
use crate::key::{CacheKey, StoreKey};

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Returns the marks of the tags that a key is expected to have. Must be called before the key's lease is taken.
    pub(super) async fn expected_marks(&self, key: &K) -> Vec<Mark> {
        match &self.tags {
            Some(tags) => self.shared.marks(&tags.expected(key)).await,
            None => Vec::new(),
        }
    }

    /// Gives the lease the marks of a loaded value. If one is missing, or the value has tags and the cache none, the value must
    /// not be stored: returns false.
    pub(super) fn mark(&self, key: &K, lease: Option<&mut Lease>, marks: &[Mark], fresh: &mut Fresh<V>) -> bool {
        let reported = &fresh.facts.notes.tags;
        let Some(tags) = &self.tags else {
            if !reported.is_empty() {
                tracing::warn!(
                    cache = %self.shared.cache,
                    "the loader sets tags and the cache has none, so the value is not stored: add `tagged` to its builder"
                );
                fresh.facts.notes.no_store = true;
            }
            return reported.is_empty();
        };
        let selected = tags.of_loaded(key, reported).and_then(|tags| select(marks, &tags));
        match (lease, selected) {
            (Some(lease), Some(selected)) => {
                lease.marks = selected;
                true
            }
            // Nothing is stored without a lease, and a value without marks must not get into the process-local tier.
            (None, _) => {
                fresh.facts.notes.no_store = true;
                true
            }
            (Some(_), None) => {
                fresh.facts.notes.no_store = true;
                false
            }
        }
    }

    /// Loads a key of a cache with tags, and offers the value to the tiers.
    pub(super) async fn load_tagged(&self, leader: &Leader<K, V>, plan: &LoadPlan, work: Work<V>) -> Outcome<V> {
        let mut second = false;
        loop {
            let marks = self.expected_marks(leader.key()).await;
            let (permit, mut lease) = match self.permit_and_lease(&plan.store_key, plan.purpose).await? {
                Next::Present(loaded) => return Ok(Arc::new(loaded)),
                Next::Abandon => return Ok(Arc::new(Loaded::abandoned())),
                Next::Load(permit, lease) => (permit, lease),
            };
            self.note_lease(leader, lease.as_ref());
            let mut fresh = match self.load(permit, leader.key(), None, &work, lease.as_ref()).await {
                Ok(fresh) => fresh,
                Err(error) => return self.load_failed(plan, lease.as_ref(), error).await,
            };
            let marked = self.mark(leader.key(), lease.as_mut(), &marks, &mut fresh);
            if !marked && !second && self.loader.is_some() {
                // The tags are known now.
                self.release_lease(&plan.store_key, lease.as_ref()).await;
                second = true;
                continue;
            }
            leader.seal();
            return Ok(Arc::new(self.store_loaded(leader.key(), plan, lease, fresh).await));
        }
    }

    /// Ends a load that failed.
    pub(super) async fn load_failed(&self, plan: &LoadPlan, lease: Option<&Lease>, error: Error) -> Outcome<V> {
        if plan.purpose == Purpose::Refresh {
            // The lease is left to expire: the value is still served, and no process tries again before that.
            tracing::warn!(cache = %self.shared.cache, error = %error.chain(), "a refresh in the background failed");
            return Ok(Arc::new(Loaded::abandoned()));
        }
        self.release_lease(&plan.store_key, lease).await;
        Err(error)
    }

    /// Removes everything that has one of these tags from all tiers of all processes.
    pub(super) async fn invalidate_tags(&self, tags: impl Iterator<Item = impl AsRef<str>>) -> Result<()> {
        // No value has a tag that is too long.
        let keys: Vec<StoreKey> = tags
            .filter(|tag| is_usable(tag.as_ref()))
            .map(|tag| StoreKey::of_tag(&self.shared.cache, tag.as_ref()))
            .collect::<Result<_>>()?;
        self.invalidate(&keys).await
    }
}
