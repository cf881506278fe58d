//! The two caches, users by id and users by e-mail address, and their loaders.

mod email_key;

use std::sync::Arc;
use std::time::Duration;

use cachefront::event::RowImage;
use cachefront::store::Store;
use cachefront::{Cache, Hit, LoadCx, Loader, Local, Result, Tier};

pub use self::email_key::{BY_EMAIL, EmailKey};
use crate::domain::{Database, DbError, Mode, Seen, User};
use crate::freshness::FreshnessObjective;
use crate::settings::CacheOptions;

/// Size of the process-local tier of each cache: far more than the demos need.
const LOCAL_BYTES: u64 = 16 << 20;

/// Maximum time in the process-local tier. In TTL mode no invalidation removes a value before that.
const LOCAL_TTL_MAX: Duration = Duration::from_secs(5);

/// Users, by their two keys.
#[derive(Clone, Debug)]
pub struct Caches {
    pub users: Cache<u64, User>,
    pub by_email: Cache<EmailKey, User>,
    /// The users as the shared store has them, whatever this process holds. Only peeked at, never read through.
    stored: Cache<u64, User>,
}

impl Caches {
    /// # Errors
    /// Those of the caches' builder.
    pub fn build(database: &Arc<dyn Database>, store: &Arc<dyn Store>, options: &CacheOptions) -> Result<Self> {
        let (ttl, FreshnessObjective { objective, on_lag }) = (options.ttl, options.freshness);
        let table = database.users_table();
        let local = Local::max_weight(LOCAL_BYTES).ttl((ttl / 2).min(LOCAL_TTL_MAX));
        let users = Cache::builder("users")
            .shared(Arc::clone(store))
            .local(local)
            .ttl(ttl)
            .jitter(0.0)
            .negative_ttl(ttl / 2)
            .freshness_objective(objective, on_lag)
            .loader(ById(Arc::clone(database)))
            .depends_on(&table, user_keys)
            .build()?;
        let by_email = Cache::builder(BY_EMAIL)
            .shared(Arc::clone(store))
            .local(local)
            .ttl(ttl)
            .jitter(0.0)
            .negative_ttl(ttl / 2)
            .freshness_objective(objective, on_lag)
            .loader(ByEmail(Arc::clone(database)))
            .depends_on(&table, |row| Ok(vec![EmailKey::new(row.get::<String>("email")?)]))
            .build()?;
        let stored = Cache::builder("users")
            .shared(Arc::clone(store))
            .ttl(ttl)
            .freshness_objective(objective, on_lag)
            .depends_on(&table, user_keys)
            .build()?;
        Ok(Self { users, by_email, stored })
    }

    /// Sets the mode for reads that start from now on.
    pub fn set_mode(&self, mode: Mode) {
        self.users.set_mode(mode.mode());
        self.by_email.set_mode(mode.mode());
        self.stored.set_mode(mode.mode());
    }

    /// Returns what a plain read here and now would serve without loading. Its time to live is that of the value: this
    /// process's tier may drop it earlier, and the next read gets it from the store again.
    pub async fn peek(&self, id: u64) -> Option<Hit<User>> {
        // A store that cannot be reached serves nothing: a plain read would load.
        self.try_peek(id).await.ok().flatten()
    }

    /// Like [`peek`](Self::peek), but distinguishes a store without the entry from one that cannot be reached.
    ///
    /// # Errors
    /// The store's.
    pub async fn try_peek(&self, id: u64) -> Result<Option<Hit<User>>> {
        let Some(hit) = self.users.peek(&id).await? else { return Ok(None) };
        Ok(Some(self.with_lasting_ttl(id, hit).await))
    }

    /// Sets the time to live of a value in this process's tier to that of the same value in the store.
    pub async fn with_lasting_ttl(&self, id: u64, mut hit: Hit<User>) -> Hit<User> {
        if hit.tier == Tier::Local
            && let Ok(Some(stored)) = self.stored.peek(&id).await
            && stored.value == hit.value
        {
            hit.ttl = hit.ttl.max(stored.ttl);
        }
        hit
    }
}

fn user_keys(row: &RowImage) -> Result<Vec<u64>> {
    Ok(vec![row.get("id")?])
}

struct ById(Arc<dyn Database>);

impl Loader<u64, User> for ById {
    type Error = DbError;

    async fn load(&self, id: &u64, cx: &LoadCx) -> Result<Option<User>, DbError> {
        Ok(noted(self.0.get(*id).await?, cx))
    }
}

struct ByEmail(Arc<dyn Database>);

impl Loader<EmailKey, User> for ByEmail {
    type Error = DbError;

    async fn load(&self, key: &EmailKey, cx: &LoadCx) -> Result<Option<User>, DbError> {
        Ok(noted(self.0.get_by_email(key.email()).await?, cx))
    }
}

/// Hands the cache the position and origin that were read before the row.
fn noted<T>(seen: Seen<T>, cx: &LoadCx) -> T {
    if let Some(position) = seen.position {
        cx.position(position);
    }
    if let Some(origin) = &seen.origin {
        cx.origin(origin);
    }
    seen.value
}
