//! Shadow mode: reads are served by the database, and what the cache would have served is compared with it.
//!
//! A cached value counts as different only if a plain read would have been served the same one before *and* after the database
//! was read: so a commit between two of these reads is no false alarm. The difference may end within milliseconds, when the
//! invalidation of a commit that was just made is applied; one that stays is a mistake in the mapping or the loader.

use std::hash::Hash;
use std::sync::Arc;

use futures_util::future::join_all;

use crate::cache::hit::Hit;
use crate::cache::inner::Inner;
use crate::cache::level::Level;
use crate::cache::plan::{Purpose, Work};
use crate::cache::read::{JoinOutcome, Read};
use crate::error::Result;
use crate::key::{CacheKey, StoreKey};

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Reads one key from the database, and compares the cached value with it.
    pub(super) async fn read_shadowed(self: Arc<Self>, key: K, level: &Level, work: Work<V>) -> Result<Hit<V>> {
        let Some(before) = self.peek_encoded(&key).await else {
            self.metrics.shadow("absent");
            return self.load_absent(key, level, work).await;
        };
        let hit = self.bypass(&key, level, &work, self.proof_wait()).await?;
        let at = self.clock.now();
        let loaded = self.encoded(hit.value.as_ref());
        let outcome = if loaded.as_ref() == Some(&before) {
            "equal"
        } else if self.peek_encoded(&key).await.as_ref() != Some(&before) {
            "changed"
        } else {
            tracing::debug!(cache = %self.shared.cache, "a cached value differs from the one of the database");
            if let Some(observer) = &self.observer {
                observer.differed(&key);
            }
            "different"
        };
        self.metrics.shadow(outcome);
        Ok(hit.later(self.clock.now().since(at)))
    }

    /// Reads many keys, each as by [`read_shadowed`](Self::read_shadowed): a mode to find mistakes in, not to run in.
    pub(super) async fn read_many_shadowed(self: Arc<Self>, keys: Vec<K>, level: &Level) -> Vec<Result<Hit<V>>> {
        let read = async |key| {
            let hit = Arc::clone(&self).read_shadowed(key, level, Work::Registered).await;
            (self.clock.now(), hit)
        };
        let found = join_all(keys.into_iter().map(read)).await;
        let now = self.clock.now();
        found.into_iter().map(|(at, hit)| hit.map(|hit| hit.later(now.since(at)))).collect()
    }

    /// Loads a key that is not cached, under a lease, so that a later read has something to compare.
    async fn load_absent(self: Arc<Self>, key: K, level: &Level, work: Work<V>) -> Result<Hit<V>> {
        let newest = self.flights.newest();
        let Some(store_key) = StoreKey::encode_short(&self.shared.cache, &key)? else {
            return self.bypass(&key, level, &work, self.proof_wait()).await;
        };
        let read = Read { key, store_key, level, newest };
        match self.within_hard_timeout(self.join(&read, Purpose::Reload, &work)).await? {
            JoinOutcome::Hit(hit) => Ok(hit),
            JoinOutcome::Unsuitable | JoinOutcome::Lagging { .. } => {
                self.bypass(&read.key, level, &work, self.proof_wait()).await
            }
        }
    }

    /// Returns the bytes of what a plain read would be served without loading; `None` if it would load.
    async fn peek_encoded(&self, key: &K) -> Option<Option<Vec<u8>>> {
        let hit = self.peek(key).await.ok().flatten()?;
        self.encoded(hit.value.as_ref())
    }

    /// Returns the bytes of a value, or `None` for an absent row; and `None` in place of both if it cannot be encoded.
    fn encoded(&self, value: Option<&V>) -> Option<Option<Vec<u8>>> {
        let Some(value) = value else { return Some(None) };
        let mut bytes = Vec::new();
        self.shared.encode_value(value, &mut bytes).ok().map(|()| Some(bytes))
    }
}
