//! What is cached, key by key: for the cache browser. Looks only: no fill, no lease, no touch.

use std::time::Duration;

use cachefront::StoreKey;
use futures_util::future::join_all;

use super::Panel;
use super::users::{Page, State, UserRow};
use crate::caches::{BY_EMAIL, EmailKey};
use crate::domain::User;

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct KeyRow {
    /// As the store knows it.
    pub(super) key: String,
    /// Whose it is.
    pub(super) id: u64,
    pub(super) state: State,
    pub(super) value: Option<User>,
    pub(super) database: Option<User>,
    /// In the shared store, with everything that is kept beside the value.
    pub(super) bytes: Option<usize>,
    pub(super) ttl: Option<Duration>,
    pub(super) tier: Option<&'static str>,
    pub(super) position: Option<String>,
}

/// The entries of the users on a page.
pub(super) async fn of(panel: &Panel, page: &Page) -> Vec<KeyRow> {
    join_all(page.rows.iter().map(|row| of_user(panel, row))).await.into_iter().flatten().collect()
}

async fn of_user(panel: &Panel, row: &UserRow) -> Vec<KeyRow> {
    let mut keys = Vec::with_capacity(2);
    if row.state != State::Absent && (row.cached.is_some() || row.negative) {
        let key = StoreKey::encode("users", &row.id).ok();
        keys.push(KeyRow {
            key: format!("users:{}", row.id),
            id: row.id,
            state: row.state,
            value: row.cached.clone(),
            database: row.database.clone(),
            bytes: bytes(panel, key).await,
            ttl: row.ttl,
            tier: row.tier,
            position: row.position.clone(),
        });
    }
    let addresses = [&row.database, &row.cached].into_iter().flatten().map(|user| &user.email);
    let mut addresses: Vec<&String> = addresses.collect();
    addresses.dedup();
    for email in addresses {
        keys.extend(of_address(panel, row, email).await);
    }
    keys
}

async fn of_address(panel: &Panel, row: &UserRow, email: &str) -> Option<KeyRow> {
    let key = EmailKey::new(email);
    let hit = panel.api.caches.by_email.peek(&key).await.ok()??;
    let key = StoreKey::encode(BY_EMAIL, &key).ok()?;
    // The row counts under this address only if it has it.
    let database = row.database.clone().filter(|user| user.email == *email);
    let state = match (hit.value == database, database.is_some()) {
        (false, _) => State::Stale,
        (true, true) => State::Healthy,
        (true, false) => State::Negative,
    };
    Some(KeyRow {
        key: key.as_str().to_owned(),
        id: row.id,
        state,
        value: hit.value,
        database,
        bytes: bytes(panel, Some(key)).await,
        ttl: hit.ttl,
        tier: Some(hit.tier.as_str()),
        position: hit.position.map(|position| position.to_string()),
    })
}

async fn bytes(panel: &Panel, key: Option<StoreKey>) -> Option<usize> {
    let reading = panel.api.pipeline.store.peek(&key?).await.ok()?;
    reading.entry.map(|entry| entry.len())
}
