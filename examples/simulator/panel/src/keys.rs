//! What is cached, key by key, for the cache browser. Peeks only: no fill, no lease, no touch.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Form, State as With};
use axum::http::StatusCode;
use axum::response::Response;
use cachefront::{Hit, StoreKey};
use futures_util::stream::{self, StreamExt};
use serde::Deserialize;
use simulator_model::caches::{BY_EMAIL, EmailKey};
use simulator_model::domain::User;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Panel;
use super::actions::{done, noted, refused};
use super::live::Moment;
use super::login::CurrentUser;
use super::query::QueryParameters;
use super::users::{PAGE_MAX, State, UserRow, beside_entry};

/// Maximum number of listed keys: more than a person pages through. A search covers only these.
pub(super) const LISTED_MAX: usize = 10_000;

/// How long all tabs share a list: the store's server has to scan all its keys for a new one.
const LIST_SHARED: Duration = Duration::from_secs(1);

/// Maximum number of keys of a page that are peeked concurrently.
const AT_ONCE: usize = 32;

/// Maximum number of peeks at an entry that changes from one to the next.
const LOOKS_MAX: usize = 3;

/// A key of one of the two caches. Ids come first, in their order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Id(u64),
    Email(String),
}

impl Key {
    /// Returns `None` if the key belongs to neither cache.
    fn of(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("users", id) => id.parse().ok().map(Self::Id),
            (BY_EMAIL, email) => Some(Self::Email(email.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "users:{id}"),
            Self::Email(email) => write!(f, "{BY_EMAIL}:{email}"),
        }
    }
}

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

/// The list that tabs share.
#[derive(Debug, Default)]
pub(super) struct Listing(Mutex<Option<(Instant, Arc<BTreeSet<Key>>)>>);

impl Listing {
    /// Returns the keys that the store holds, `None` if they cannot be listed.
    async fn keys(&self, panel: &Panel) -> Option<Arc<BTreeSet<Key>>> {
        let mut kept = self.0.lock().await;
        if let Some((at, keys)) = &*kept
            && at.elapsed() < LIST_SHARED
        {
            return Some(Arc::clone(keys));
        }
        *kept = None;
        let listed = panel.api.store_admin.list(LISTED_MAX).await.ok()?;
        let keys: Arc<BTreeSet<Key>> = Arc::new(listed.iter().filter_map(|text| Key::of(text)).collect());
        *kept = Some((Instant::now(), Arc::clone(&keys)));
        Some(keys)
    }
}

/// Returns the entries that a tab requests, `None` if the store cannot be listed.
pub(super) async fn of(panel: &Panel, moment: &Moment, wanted: &QueryParameters) -> Option<Keys> {
    let listed = panel.listing.keys(panel).await?;
    let survey = &moment.survey;
    // Entries that only this process holds are cached, too.
    let held = survey.rows.iter().filter(|row| row.cached.is_some() || row.negative).map(|row| Key::Id(row.id));
    let stale = survey.stale.keys().filter_map(|key| Key::of(key));
    let mut keys: BTreeSet<Key> = if wanted.only_stale() { BTreeSet::new() } else { (*listed).clone() };
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
    Some(Keys { rows: looks.collect().await, first, total, whole: listed.len() < LISTED_MAX })
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
                None => beside_entry(panel, *id, None).await,
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
            *panel.listing.0.lock().await = None;
            done(&panel, format!("The entry {key} is gone from all tiers."))
        }
        Err(_) => refused(StatusCode::SERVICE_UNAVAILABLE, "The store does not answer: nothing was removed."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_the_store_names_them_and_ids_come_in_their_order() {
        let texts = ["users_by_email:a:b@x", "users:10", "users:9"];
        let mut keys: Vec<Key> = texts.iter().filter_map(|text| Key::of(text)).collect();
        keys.sort();
        assert_eq!(keys.iter().map(ToString::to_string).collect::<Vec<_>>(), [texts[2], texts[1], texts[0]]);
        assert!([Key::of("users:x"), Key::of("pipeline:probe"), Key::of("users")].iter().all(Option::is_none));
    }
}
