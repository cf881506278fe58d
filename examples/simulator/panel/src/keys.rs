//! What is cached, key by key, for the cache browser. Peeks only: no fill, no lease, no touch.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Form, State as With};
use axum::http::StatusCode;
use axum::response::Response;
use cachefront::{Hit, StoreKey};
use futures_util::stream::{self, StreamExt};
use serde::Deserialize;
use simulator_model::caches::EmailKey;
use simulator_model::domain::User;

use super::listing::Key;
use super::login::CurrentUser;
use super::moment::Moment;
use super::outcome::{done, noted};
use super::panel::Panel;
use super::query::QueryParameters;
use super::reply::refused;
use super::rows::{PAGE_MAX, State, UserRow};
use super::users::with_entry;

/// Maximum number of keys of a page that are peeked concurrently.
const AT_ONCE: usize = 32;

/// Maximum number of peeks at an entry that changes from one to the next.
const LOOKS_MAX: usize = 3;

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct KeyRow {
    pub(super) key: Key,
    pub(super) state: State,
    /// True if the entry records that the row does not exist.
    pub(super) negative: bool,
    pub(super) value: Option<User>,
    pub(super) database: Option<User>,
    /// Size in the shared store, including everything that is kept with the value.
    pub(super) bytes: Option<usize>,
    pub(super) ttl: Option<Duration>,
    pub(super) tier: Option<&'static str>,
    pub(super) position: Option<String>,
}

/// The entries of one page.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Keys {
    pub(super) rows: Vec<KeyRow>,
    /// Index of the first row among all matches, from zero.
    pub(super) first: usize,
    /// Number of all matches.
    pub(super) total: usize,
    /// False if there are more keys than are listed.
    pub(super) whole: bool,
}

/// Returns the entries that a tab requests, `None` if the store cannot be listed.
pub(super) async fn of(panel: &Panel, moment: &Moment, wanted: &QueryParameters) -> Option<Keys> {
    let listed = panel.listing.keys(&panel.api.store_admin).await?;
    let survey = &moment.survey;
    // Entries that only this process holds are cached, too.
    let held = survey.rows.iter().filter(|row| row.cached.is_some() || row.negative).map(|row| Key::Id(row.id));
    let stale = survey.stale.keys().filter_map(|key| Key::of(key));
    let mut keys: BTreeSet<Key> = if wanted.only_stale() { BTreeSet::new() } else { listed.keys.clone() };
    keys.extend(stale);
    if !wanted.only_stale() {
        keys.extend(held);
    }
    let text = wanted.q.trim().to_lowercase();
    let found: Vec<&UserRow> = survey.rows.iter().filter(|row| !text.is_empty() && wanted.finds(row)).collect();
    let ids: BTreeSet<u64> = found.iter().map(|row| row.id).collect();
    keys.retain(|key| {
        text.is_empty()
            || key.to_string().to_lowercase().contains(&text)
            || matches!(key, Key::Id(id) if ids.contains(id))
    });
    let total = keys.len();
    let pages = total.div_ceil(PAGE_MAX).max(1);
    let first = usize::try_from(wanted.page).unwrap_or(usize::MAX).min(pages - 1) * PAGE_MAX;
    let page: Vec<Key> = keys.into_iter().skip(first).take(PAGE_MAX).collect();
    let looks = stream::iter(page).map(|key| row(panel, moment, key)).buffered(AT_ONCE);
    Some(Keys { rows: looks.collect().await, first, total, whole: listed.whole })
}

async fn row(panel: &Panel, moment: &Moment, key: Key) -> KeyRow {
    let rows = &moment.survey.rows;
    let frozen = moment.survey.as_of.is_some();
    let bytes = bytes(panel, &key);
    let row = match &key {
        Key::Id(id) => {
            let known = rows.binary_search_by_key(id, |row| row.id).ok().and_then(|at| rows.get(at));
            let row = match known.filter(|row| row.other.is_none()) {
                Some(row) => row.clone(),
                None => with_entry(panel, *id, None).await,
            };
            KeyRow {
                key: key.clone(),
                state: row.state,
                negative: row.negative,
                value: row.cached,
                database: row.database,
                bytes: None,
                ttl: row.ttl,
                tier: row.tier,
                position: row.position,
            }
        }
        Key::Email(email) => {
            let known = owner(rows, email);
            match known.map_or_else(|| EmailKey::from_text(email), |user| Some(EmailKey::new(user.email.as_str()))) {
                Some(key) => address(panel, email, &key, known.filter(|_| !frozen)).await,
                // The key is the hash of a long address whose row is not in the survey.
                None => KeyRow::without(email, State::Unknown, None),
            }
        }
    };
    KeyRow { bytes: bytes.await, ..row }
}

/// Returns the user whose entry has this key after the cache's name.
fn owner<'a>(rows: &'a [UserRow], text: &str) -> Option<&'a User> {
    let has_key = |user: &&User| user.email == text || EmailKey::new(user.email.as_str()).text() == text;
    rows.iter().filter_map(|row| row.database.as_ref()).find(has_key)
}

/// Returns the entry under an address. The row is read again if the entry differs from the known one.
async fn address(panel: &Panel, email: &str, key: &EmailKey, known: Option<&User>) -> KeyRow {
    let mut database = known.cloned();
    let mut seen: Option<Hit<User>> = None;
    for look in 0..LOOKS_MAX {
        let hit = match panel.api.caches.by_email.peek(key).await {
            Ok(Some(hit)) => hit,
            Ok(None) => return KeyRow::without(email, State::Absent, None),
            Err(_) => return KeyRow::without(email, State::Unknown, None),
        };
        if look > 0 && (hit.value == database || seen.as_ref().is_some_and(|seen| seen.value == hit.value)) {
            return KeyRow::of(email, hit, database);
        }
        if look == 0 && hit.value.is_some() && hit.value == database {
            return KeyRow::of(email, hit, database);
        }
        database = match panel.database.get_by_email(key.email()).await {
            Ok(row) => row.value,
            Err(_) => return KeyRow { database: None, ..KeyRow::without(email, State::Unknown, Some(hit)) },
        };
        seen = Some(hit);
    }
    // Replaced at every peek: no entry lived long enough to be called stale.
    KeyRow::without(email, State::Absent, None)
}

impl KeyRow {
    fn of(email: &str, hit: Hit<User>, database: Option<User>) -> Self {
        let state = match (hit.value == database, database.is_some()) {
            (false, _) => State::Stale,
            (true, true) => State::Healthy,
            (true, false) => State::Negative,
        };
        Self { database, ..Self::without(email, state, Some(hit)) }
    }

    fn without(email: &str, state: State, hit: Option<Hit<User>>) -> Self {
        let key = Key::Email(email.to_owned());
        let none = Self {
            key,
            state,
            negative: false,
            value: None,
            database: None,
            bytes: None,
            ttl: None,
            tier: None,
            position: None,
        };
        match hit {
            None => none,
            Some(hit) => Self {
                negative: hit.value.is_none(),
                value: hit.value,
                ttl: hit.ttl,
                tier: Some(hit.tier.as_str()),
                position: hit.position.map(|position| position.to_string()),
                ..none
            },
        }
    }
}

async fn bytes(panel: &Panel, key: &Key) -> Option<usize> {
    let reading = panel.api.pipeline.store.peek(&StoreKey::from_text(key.to_string()).ok()?).await.ok()?;
    reading.entry.map(|entry| entry.len())
}

/// The entry to remove.
#[derive(Deserialize)]
pub(super) struct Eviction {
    key: String,
}

/// Removes one entry from all tiers of all processes.
pub(super) async fn evict(
    With(panel): With<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Form(form): Form<Eviction>,
) -> Response {
    let Some(key) = Key::of(&form.key) else {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, "A key is users:<id> or users_by_email:<address>.");
    };
    let outcome = match &key {
        Key::Id(id) => panel.api.caches.users.invalidate(id).await,
        Key::Email(text) => {
            let survey = Arc::clone(&panel.live.follow().borrow().survey);
            let owner = owner(&survey.rows, text).map(|user| EmailKey::new(user.email.as_str()));
            match owner.or_else(|| EmailKey::from_text(text)) {
                Some(key) => panel.api.caches.by_email.invalidate(&key).await,
                None => {
                    let words = "This is the hash of a long address whose row is not known here.";
                    return refused(StatusCode::UNPROCESSABLE_ENTITY, words);
                }
            }
        }
    };
    match noted(&panel, &reader, format!("cache entry {key} removed"), outcome).await {
        Ok(()) => {
            panel.listing.forget().await;
            done(&panel, format!("The entry {key} is gone from all tiers."))
        }
        Err(_) => refused(StatusCode::SERVICE_UNAVAILABLE, "The store does not respond: nothing was removed."),
    }
}
