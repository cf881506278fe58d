//! The two caches, users by id and users by e-mail address, and their loaders.

mod aged;
mod email_key;
mod loaders;
pub(crate) mod names;

use std::sync::Arc;
use std::time::Duration;

use cachefront::event::RowImage;
use cachefront::store::Store;
use cachefront::{Cache, CacheBuilder, Explanation, Hit, LoadCx, Local, Result, Tier};

pub use self::aged::AgedCaches;
pub use self::email_key::{BY_EMAIL, EmailKey};
use self::loaders::{ByEmail, ById, LOCAL_TTL_MAX, by_age};
use crate::domain::{Mode, User};
use crate::freshness::FreshnessObjective;
use crate::replica::Replica;
use crate::settings::CacheOptions;

/// Size of the process-local tier of each cache: far more than the demos need.
const LOCAL_BYTES: u64 = 16 << 20;

/// How long a plain read that has an older value waits for its load, with `stale_if_error`.
const LOAD_SOFT_TIMEOUT: Duration = Duration::from_millis(200);

/// Users, by their two keys.
#[derive(Clone, Debug)]
pub struct Caches {
    pub users: Cache<u64, User>,
    pub by_email: Cache<EmailKey, User>,
    /// The users by id a second time, whatever the mode: by age alone, and a value that has expired is served for as long again
    /// while it is loaded in the background. For comparisons.
    pub revalidating: Cache<u64, User>,
    /// The users by id once more for each lifetime that is asked for, by age alone. For comparisons.
    pub aged: AgedCaches,
    /// The users as the shared store has them, whatever this process holds. Only peeked at, never read through.
    stored: Cache<u64, User>,
    replica: Arc<Replica>,
}

impl Caches {
    /// Builds the caches.
    ///
    /// # Errors
    /// Those of the caches' builder.
    pub fn build(table: &str, replica: &Arc<Replica>, store: &Arc<dyn Store>, options: &CacheOptions) -> Result<Self> {
        let ttl = options.ttl;
        let local = Local::max_weight(LOCAL_BYTES).ttl((ttl / 2).min(LOCAL_TTL_MAX));
        let users = builder("users", table, store, options)
            .local(local)
            .loader(ById(Arc::clone(replica)))
            .depends_on(table, user_keys);
        let by_email = builder(BY_EMAIL, table, store, options)
            .local(local)
            .loader(ByEmail(Arc::clone(replica)))
            .depends_on(table, |row| Ok(vec![EmailKey::new(row.get::<String>("email")?)]));
        let (users, by_email) = (forgiving(users, options).build()?, forgiving(by_email, options).build()?);
        let stored = builder("users", table, store, options).depends_on(table, user_keys).build()?;
        let revalidating = by_age("users_revalidating", store, options)
            .local(local)
            .loader(ById(Arc::clone(replica)))
            .stale_while_revalidate(options.ttl)
            .build()?;
        let aged = AgedCaches::new(replica, store, options);
        Ok(Self { users, by_email, revalidating, aged, stored, replica: Arc::clone(replica) })
    }

    /// Reads a user by id from the primary without the caches: for reads that require a proof which a replica cannot give.
    ///
    /// # Errors
    /// Those of a read through the cache.
    pub async fn user_of_primary(&self, id: u64) -> Result<Hit<User>> {
        let replica = Arc::clone(&self.replica);
        let load = move |cx: Arc<LoadCx>| async move { replica.get_from_primary(id, &cx).await };
        self.users.get_or_load(&id, load).bypass().detailed().await
    }

    /// Reads a user by e-mail address from the primary without the caches.
    ///
    /// # Errors
    /// Those of a read through the cache.
    pub async fn user_of_primary_by_email(&self, key: &EmailKey) -> Result<Hit<User>> {
        let (replica, email) = (Arc::clone(&self.replica), key.email().to_owned());
        let load = move |cx: Arc<LoadCx>| async move { replica.get_by_email_from_primary(&email, &cx).await };
        self.by_email.get_or_load(key, load).bypass().detailed().await
    }

    /// Returns what a plain read of a user would do in this process, and why. It changes nothing.
    ///
    /// # Errors
    /// Those of [`Cache::explain`].
    pub async fn explain(&self, id: u64) -> Result<Explanation> {
        self.users.explain(&id).await
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

/// The parts of caches that the change log keeps correct.
fn builder<K>(name: &str, table: &str, store: &Arc<dyn Store>, options: &CacheOptions) -> CacheBuilder<K, User> {
    let FreshnessObjective { objective, on_lag } = options.freshness;
    let builder = by_age(name, store, options).freshness_objective(objective, on_lag);
    let builder = if options.fenced { builder.fenced() } else { builder };
    // What the loaders return for a key is made from its one row.
    if options.refresh_in_place { builder.refresh_in_place(table, User::from_row) } else { builder }
}

/// Serves the last value of this process if a load fails or is slow, as far as the options say so.
fn forgiving<K>(builder: CacheBuilder<K, User>, options: &CacheOptions) -> CacheBuilder<K, User> {
    match options.stale_if_error {
        Duration::ZERO => builder,
        age_max => builder.stale_if_error(age_max).load_soft_timeout(LOAD_SOFT_TIMEOUT),
    }
}

fn user_keys(row: &RowImage) -> Result<Vec<u64>> {
    Ok(vec![row.get("id")?])
}
