//! Caches that go by age alone, one for each lifetime: for comparisons of lifetimes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cachefront::store::Store;
use cachefront::{Cache, Local, Result};
use futures_util::future::try_join_all;

use super::loaders::{ById, LOCAL_TTL_MAX, by_age};
use super::names::AGED;
use crate::domain::User;
use crate::replica::Replica;
use crate::settings::CacheOptions;

/// Maximum number of lifetimes at the same time: each is a cache with a process-local tier. A sweep has at most 8.
const LIFETIMES_MAX: usize = 32;

/// Size of the process-local tier of each.
const LOCAL_BYTES: u64 = 2 << 20;

/// The caches by their lifetime. Clones share them.
#[derive(Clone)]
pub struct AgedCaches(Arc<Inner>);

struct Inner {
    replica: Arc<Replica>,
    store: Arc<dyn Store>,
    options: CacheOptions,
    all: Mutex<Recent>,
}

/// The caches by their lifetime in ms, and how long ago each was asked for.
#[derive(Default)]
struct Recent {
    caches: BTreeMap<u64, (u64, Cache<u64, User>)>,
    /// Number of requests for a cache so far.
    asked: u64,
}

impl Recent {
    fn get(&mut self, ttl_ms: u64) -> Option<Cache<u64, User>> {
        self.asked += 1;
        let (last, cache) = self.caches.get_mut(&ttl_ms)?;
        *last = self.asked;
        Some(cache.clone())
    }

    /// Adds a cache in place of the one that was asked for longest ago, if there are [`LIFETIMES_MAX`].
    fn put(&mut self, ttl_ms: u64, cache: Cache<u64, User>) {
        if self.caches.len() >= LIFETIMES_MAX
            && let Some(oldest) = self.caches.iter().min_by_key(|(_, (last, _))| *last).map(|(ttl_ms, _)| *ttl_ms)
        {
            self.caches.remove(&oldest);
        }
        self.caches.insert(ttl_ms, (self.asked, cache));
    }
}

impl AgedCaches {
    pub(super) fn new(replica: &Arc<Replica>, store: &Arc<dyn Store>, options: &CacheOptions) -> Self {
        let (replica, store) = (Arc::clone(replica), Arc::clone(store));
        Self(Arc::new(Inner { replica, store, options: *options, all: Mutex::default() }))
    }

    /// Returns the cache with this lifetime. It is made at the first call, in place of the one that was asked for longest ago if there
    /// are [`LIFETIMES_MAX`] others.
    ///
    /// # Errors
    /// Those of the caches' builder.
    pub fn of(&self, ttl_ms: u64) -> Result<Cache<u64, User>> {
        let Inner { replica, store, options, all } = &*self.0;
        // A poisoned lock is usable: a cache is put in whole.
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cache) = all.get(ttl_ms) {
            return Ok(cache);
        }
        let ttl = Duration::from_millis(ttl_ms);
        let options = CacheOptions { ttl, ..*options };
        let cache = by_age(&format!("{AGED}{ttl_ms}ms"), store, &options)
            .local(Local::max_weight(LOCAL_BYTES).ttl((ttl / 2).min(LOCAL_TTL_MAX)))
            .loader(ById(Arc::clone(replica)))
            .build()?;
        all.put(ttl_ms, cache.clone());
        Ok(cache)
    }

    /// Removes a user from all of them that there are.
    ///
    /// # Errors
    /// Those of [`Cache::invalidate`].
    pub async fn invalidate(&self, id: u64) -> Result<()> {
        let all = self.0.all.lock().unwrap_or_else(PoisonError::into_inner).caches.clone();
        try_join_all(all.values().map(|(_, cache)| cache.invalidate(&id))).await.map(drop)
    }
}

impl fmt::Debug for AgedCaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgedCaches").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use simulator_cli::Environment;

    use crate::backend::Backend;
    use crate::settings::{Flags, Settings};

    #[tokio::test]
    async fn lifetimes_are_never_used_up_and_the_recent_ones_stay() {
        let dir = tempfile::tempdir().expect("a folder");
        let environment = Environment::of(&[
            ("CACHEFRONT_DATA_DIR", dir.path().to_str().expect("a path")),
            ("CACHEFRONT_SOURCE", "binlog"),
        ]);
        let settings = Settings::resolve(false, &Flags::default(), &environment).expect("settings");
        let backend = Backend::open(&settings).await.expect("a backend");
        let aged = backend.caches(&settings).expect("caches").aged;
        let kept = || aged.0.all.lock().expect("no holder panics").caches.keys().copied().collect::<Vec<_>>();
        for ttl_ms in 1_000..1_100 {
            aged.of(ttl_ms).expect("a cache");
            aged.of(5_000).expect("a cache");
        }
        assert_eq!(kept(), (1_069..1_100).chain([5_000]).collect::<Vec<_>>());
        aged.invalidate(7).await.expect("all of them");
    }
}
