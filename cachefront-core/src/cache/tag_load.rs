//! Loads of a cache with tags ("Tag markers").
//!
//! The marks of a value must be older than its load, but its tags may be known only after it. So the marks of the tags that the
//! key is expected to have are read first: those of [`tags_of`](crate::CacheBuilder::tags_of), and those of the key's last load.
//! If the cache's loader reports another tag, the key is loaded a second time, with the mark of that tag.

use std::hash::Hash;
use std::sync::atomic::Ordering;

use crate::cache::expected_tags::{Expected, Marked, is_usable};
use crate::cache::flight::{Leader, Outcome};
use crate::cache::hit::Loaded;
use crate::cache::inner::Inner;
use crate::cache::load::Next;
use crate::cache::load_gate::Fresh;
use crate::cache::plan::{LoadPlan, Purpose, Work};
use crate::cache::shared::Lease;
use crate::cache::tags::select;
use crate::error::{Error, Result};
use crate::key::{CacheKey, StoreKey};
use crate::loader::{TAG_BYTES_MAX, TAGS_MAX};

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Returns the tags that keys are expected to have, with their marks. Must be called before the leases of the keys are taken.
    pub(super) async fn expect_tags(&self, keys: impl Iterator<Item = &K>) -> Expected {
        let Some(known) = &self.tags else { return Expected::default() };
        let mut tags: Vec<_> = keys.flat_map(|key| known.expected(key)).collect();
        tags.sort();
        tags.dedup();
        let marks = self.shared.marks(&tags).await;
        Expected { tags, marks }
    }

    /// Gives the lease the marks of a loaded value. A value of which a mark is missing must not be stored, nor one that has tags
    /// in a cache that has none.
    pub(super) fn mark(&self, key: &K, lease: Option<&mut Lease>, expected: &Expected, fresh: &mut Fresh<V>) -> Marked {
        let notes = &mut fresh.facts.notes;
        let Some(known) = &self.tags else {
            if notes.tags.is_empty() {
                return Marked::Keep;
            }
            self.cannot_tag("the loader sets tags and the cache has none: add `tagged` to its builder");
            notes.no_store = true;
            return Marked::Never;
        };
        let tags = if notes.tags_refused { None } else { known.of_loaded(key, &notes.tags) };
        if tags.is_none() {
            self.cannot_tag(&format!(
                "a value has more than {TAGS_MAX} tags, an empty one, or one of more than {TAG_BYTES_MAX} bytes, or `tags_of` panics: give it fewer or shorter ones"
            ));
        }
        // Nothing is stored without a lease, and a value without marks must not get into the process-local tier.
        let (Some(lease), Some(tags), false) = (lease, tags, notes.no_store) else {
            notes.no_store = true;
            return Marked::Never;
        };
        if let Some(selected) = select(&expected.marks, &tags) {
            lease.marks = selected;
            return Marked::Keep;
        }
        notes.no_store = true;
        if tags.iter().all(|tag| expected.tags.contains(tag)) {
            // A marker could neither be read nor made.
            self.metrics.fill_refused("tags");
            return Marked::Never;
        }
        Marked::Later
    }

    /// Counts a value that is not stored because of its tags, and says why the first time.
    fn cannot_tag(&self, why: &str) {
        self.metrics.fill_refused("tags");
        if !self.tags_noted.swap(true, Ordering::Relaxed) {
            tracing::warn!(cache = %self.shared.cache, "{why}; until then such a value is not stored, and each read loads it (said once)");
        }
    }

    /// Loads a key of a cache with tags, and offers the value to the tiers.
    pub(super) async fn load_tagged(&self, leader: &Leader<K, V>, plan: &LoadPlan, work: Work<V>) -> Outcome<V> {
        let mut second = false;
        loop {
            // A loader for one call cannot run again, and the cache's own may return another value.
            let repeatable = !work.has_once() && self.loader.is_some();
            let expected = self.expect_tags(std::iter::once(leader.key())).await;
            let (permit, mut lease) = match self.permit_and_lease(&plan.store_key, plan.purpose).await? {
                Next::Present(loaded) => return Ok(loaded),
                Next::Abandon => return Ok(Loaded::abandoned()),
                Next::Load(permit, lease) => (permit, lease),
            };
            self.note_lease(leader, lease.as_ref());
            let mut fresh = match self.load(permit, leader.key(), None, &work, lease.as_ref()).await {
                Ok(fresh) => fresh,
                Err(error) => return self.load_failed(plan, lease.as_ref(), error).await,
            };
            let marked = self.mark(leader.key(), lease.as_mut(), &expected, &mut fresh);
            if marked == Marked::Later && repeatable && !second {
                // The tags are known now.
                self.release_lease(&plan.store_key, lease.as_ref()).await;
                second = true;
                continue;
            }
            leader.seal();
            return Ok(self.store_loaded(leader.key(), plan, lease, fresh).await);
        }
    }

    /// Ends a load that failed.
    pub(super) async fn load_failed(&self, plan: &LoadPlan, lease: Option<&Lease>, error: Error) -> Outcome<V> {
        if plan.purpose == Purpose::Refresh {
            if !self.holds_back(plan) {
                self.release_lease(&plan.store_key, lease).await;
            }
            if let Some(withheld) = self.shared.logs.refresh.pass(self.clock.now()) {
                tracing::warn!(cache = %self.shared.cache, error = %error.chain(), withheld, "a refresh in the background failed");
            }
            return Ok(Loaded::abandoned());
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
