//! Caches that go by age alone, one for each lifetime: for comparisons of lifetimes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cachefront::store::Store;
use cachefront::{Cache, Local, Result};
use futures_util::future::try_join_all;

use super::loaders::{ById, LOCAL_TTL_MAX, by_age};
use crate::domain::User;
use crate::replica::Replica;
use crate::settings::CacheOptions;

/// Maximum number of lifetimes in the life of a process: each is a cache with a process-local tier and metrics of its own.
pub const LIFETIMES_MAX: usize = 32;

/// The lifetimes of the usual sweep, in ms. They are available whatever others have been asked for.
const LIFETIMES_USUAL_MS: [u64; 4] = [1_000, 5_000, 30_000, 300_000];

/// Size of the process-local tier of each.
const LOCAL_BYTES: u64 = 2 << 20;

/// The caches by their lifetime. Clones share them.
#[derive(Clone)]
pub struct AgedCaches(Arc<Inner>);

struct Inner {
    replica: Arc<Replica>,
    store: Arc<dyn Store>,
    options: CacheOptions,
    /// By lifetime in ms.
    all: Mutex<BTreeMap<u64, Cache<u64, User>>>,
}

impl AgedCaches {
    pub(super) fn new(replica: &Arc<Replica>, store: &Arc<dyn Store>, options: &CacheOptions) -> Self {
        let (replica, store) = (Arc::clone(replica), Arc::clone(store));
        Self(Arc::new(Inner { replica, store, options: *options, all: Mutex::default() }))
    }

    /// Returns the cache with this lifetime. It is made at the first call; `None` if there are [`LIFETIMES_MAX`] others, unless it is
    /// one of [`LIFETIMES_USUAL_MS`].
    ///
    /// # Errors
    /// Those of the caches' builder.
    pub fn of(&self, ttl_ms: u64) -> Result<Option<Cache<u64, User>>> {
        let Inner { replica, store, options, all } = &*self.0;
        // A poisoned lock is usable: a cache is put in whole.
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cache) = all.get(&ttl_ms) {
            return Ok(Some(cache.clone()));
        }
        let is_usual = LIFETIMES_USUAL_MS.contains(&ttl_ms);
        if !is_usual && all.len() >= LIFETIMES_MAX {
            return Ok(None);
        }
        let ttl = Duration::from_millis(ttl_ms);
        let options = CacheOptions { ttl, ..*options };
        let cache = by_age(&format!("users_ttl_{ttl_ms}ms"), store, &options)
            .local(Local::max_weight(LOCAL_BYTES).ttl((ttl / 2).min(LOCAL_TTL_MAX)))
            .loader(ById(Arc::clone(replica)))
            .build()?;
        all.insert(ttl_ms, cache.clone());
        Ok(Some(cache))
    }

    /// Removes a user from all of them.
    ///
    /// # Errors
    /// Those of [`Cache::invalidate`].
    pub async fn invalidate(&self, id: u64) -> Result<()> {
        let all: Vec<_> = self.0.all.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        try_join_all(all.iter().map(|cache| cache.invalidate(&id))).await.map(drop)
    }
}

impl fmt::Debug for AgedCaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgedCaches").finish_non_exhaustive()
    }
}
