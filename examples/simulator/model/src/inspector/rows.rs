//! The rows that a pass compares entries with: listed in few statements, and read one by one where they differ.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cachefront::{LoadCx, Loader};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::caches::EmailKey;
use crate::domain::{Database, DbError, Seen, User};

/// Number of users, the first by id, that every pass checks.
const USERS_MAX: u32 = 500;

/// Number of other users that a pass checks; the next pass continues after them.
const SAMPLE: u32 = 200;

/// Maximum number of users of one pass.
pub(super) const LISTED_MAX: usize = (USERS_MAX + SAMPLE) as usize;

/// Maximum number of single rows that are read at once, in addition to those of a list: the database has few
/// connections, and other work needs them.
pub(super) const ROWS_AT_ONCE: usize = 32;

/// Reads users for the inspector.
pub(super) struct Rows {
    /// Without the simulated delays: it holds the rows that entries are compared with.
    database: Arc<dyn Database>,
    listed: Mutex<Listed>,
    /// Limits the reads of single rows to [`ROWS_AT_ONCE`].
    turns: Semaphore,
}

/// The users of a pass.
#[derive(Default)]
pub(super) struct Listed {
    by_id: HashMap<u64, User>,
    by_email: HashMap<String, User>,
    /// The last id of the sample; the next one continues after it.
    after: u64,
    /// True if these are all users.
    pub(super) complete: bool,
}

impl Listed {
    pub(super) fn users(&self) -> u64 {
        self.by_id.len() as u64
    }

    pub(super) fn by_email(&self, email: &str) -> Option<&User> {
        self.by_email.get(email)
    }
}

impl Rows {
    pub(super) fn new(database: Arc<dyn Database>) -> Self {
        Self { database, listed: Mutex::default(), turns: Semaphore::new(ROWS_AT_ONCE) }
    }

    /// No code panics while it holds the lock.
    pub(super) fn listed(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists the first users and a sample of the others, and returns their ids.
    pub(super) async fn sample(&self) -> Result<Vec<u64>, DbError> {
        let mut users = self.database.list(0, USERS_MAX).await?;
        let complete = users.len() < USERS_MAX as usize;
        let mut after = 0;
        if !complete {
            let last = users.last().map_or(0, |user| user.id);
            let from = self.listed().after.max(last);
            let sample = self.database.list(from, SAMPLE).await?;
            // At the end of the table the sample starts over.
            after = if sample.len() < SAMPLE as usize { 0 } else { sample.last().map_or(0, |user| user.id) };
            users.extend(sample);
        }
        let ids = users.iter().map(|user| user.id).collect();
        let by_email = users.iter().map(|user| (user.email.clone(), user.clone())).collect();
        let by_id = users.into_iter().map(|user| (user.id, user)).collect();
        *self.listed() = Listed { by_id, by_email, after, complete };
        Ok(ids)
    }

    /// Returns the addresses of the users that were listed last.
    pub(super) fn emails(&self) -> Vec<EmailKey> {
        self.listed().by_email.keys().map(EmailKey::new).collect()
    }

    pub(super) async fn get(&self, id: u64) -> Result<Seen<Option<User>>, DbError> {
        let _turn = self.turn().await;
        self.database.get(id).await
    }

    async fn get_by_email(&self, email: &str) -> Result<Seen<Option<User>>, DbError> {
        let _turn = self.turn().await;
        self.database.get_by_email(email).await
    }

    /// Waits for a permit to read a row. `None` cannot happen: the semaphore is never closed.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }
}

/// Loads users by id. Many at once are those that were listed: an entry that differs from them is compared with a row of
/// its own afterwards.
pub(super) struct ById(pub(super) Arc<Rows>);

impl Loader<u64, User> for ById {
    type Error = DbError;

    async fn load(&self, id: &u64, cx: &LoadCx) -> Result<Option<User>, DbError> {
        Ok(noted(self.0.get(*id).await?, cx))
    }

    async fn load_many(&self, ids: &[u64], _cx: &LoadCx) -> Result<HashMap<u64, User>, DbError> {
        let listed = self.0.listed();
        Ok(ids.iter().filter_map(|id| Some((*id, listed.by_id.get(id)?.clone()))).collect())
    }
}

/// Loads users by address; see [`ById`].
pub(super) struct ByEmail(pub(super) Arc<Rows>);

impl Loader<EmailKey, User> for ByEmail {
    type Error = DbError;

    async fn load(&self, key: &EmailKey, cx: &LoadCx) -> Result<Option<User>, DbError> {
        Ok(noted(self.0.get_by_email(key.email()).await?, cx))
    }

    async fn load_many(&self, keys: &[EmailKey], _cx: &LoadCx) -> Result<HashMap<EmailKey, User>, DbError> {
        let listed = self.0.listed();
        Ok(keys.iter().filter_map(|key| Some((key.clone(), listed.by_email(key.email())?.clone()))).collect())
    }
}

fn noted<T>(seen: Seen<T>, cx: &LoadCx) -> T {
    if let Some(position) = seen.position {
        cx.position(position);
    }
    seen.value
}
