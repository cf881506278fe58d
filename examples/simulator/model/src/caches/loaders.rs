//! The loaders of the caches, and the parts that all caches have.

use std::sync::Arc;
use std::time::Duration;

use cachefront::store::Store;
use cachefront::{Cache, CacheBuilder, LoadCx, Loader, Result};

use super::email_key::EmailKey;
use crate::domain::{DbError, User};
use crate::replica::{self, Replica};
use crate::settings::CacheOptions;

/// Maximum time in the process-local tier. In TTL mode no invalidation removes a value before that.
pub(super) const LOCAL_TTL_MAX: Duration = Duration::from_secs(5);

/// The parts of all caches.
///
/// Their loaders read a replica while the fault switch says so. A service whose caches declare a replica must let its gate wait
/// on it, or fence them: without the fence this program does neither, to show what happens then.
pub(super) fn by_age<K>(name: &str, store: &Arc<dyn Store>, options: &CacheOptions) -> CacheBuilder<K, User> {
    Cache::builder(name)
        .shared(Arc::clone(store))
        .ttl(options.ttl)
        .jitter(0.0)
        .negative_ttl(options.ttl / 2)
        .loads_from(replica::NAME)
}

pub(super) struct ById(pub(super) Arc<Replica>);

impl Loader<u64, User> for ById {
    type Error = DbError;

    async fn load(&self, id: &u64, cx: &LoadCx) -> Result<Option<User>, DbError> {
        self.0.get(*id, cx).await
    }
}

pub(super) struct ByEmail(pub(super) Arc<Replica>);

impl Loader<EmailKey, User> for ByEmail {
    type Error = DbError;

    async fn load(&self, key: &EmailKey, cx: &LoadCx) -> Result<Option<User>, DbError> {
        self.0.get_by_email(key.email(), cx).await
    }
}
