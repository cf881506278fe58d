//! Users beside their entries: a look at the first ones for everybody, and the page of them that one tab asks for.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use cachefront::{Hit, Timestamp};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use serde::Deserialize;

use super::Panel;
use crate::domain::{DbError, User};
use crate::inspector::{CacheView, Consistency, EntryState};

/// The verdict is over this many users, the first ones by id, and over those that are missed below.
pub(super) const SURVEY_MAX: u32 = 500;

/// So many looks are under way at once.
const AT_ONCE: usize = 32;

/// A page shows this many.
pub(super) const PAGE_MAX: usize = 20;

/// So many ids are remembered whose rows are gone: their entries may outlive them.
const MISSED_MAX: usize = 32;

/// How an entry stands beside its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Healthy,
    Stale,
    Absent,
    /// The entry says that there is no such row, and there is none.
    Negative,
    Unknown,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Stale => "stale",
            Self::Absent => "absent",
            Self::Negative => "negative",
            Self::Unknown => "unknown",
        }
    }
}

/// A user and what the cache holds of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct UserRow {
    pub(super) id: u64,
    pub(super) state: State,
    /// Nothing if there is no such row.
    pub(super) database: Option<User>,
    pub(super) cached: Option<User>,
    pub(super) negative: bool,
    pub(super) ttl: Option<Duration>,
    pub(super) tier: Option<&'static str>,
    pub(super) position: Option<String>,
    pub(super) bound: Option<Duration>,
    /// How long it has been seen to differ.
    pub(super) stale_for: Option<Duration>,
}

impl UserRow {
    fn of(id: u64, view: CacheView) -> Self {
        let state = match view.state {
            EntryState::Absent => State::Absent,
            EntryState::Stale => State::Stale,
            EntryState::Healthy if view.negative => State::Negative,
            EntryState::Healthy => State::Healthy,
            EntryState::Unknown => State::Unknown,
        };
        Self {
            id,
            state,
            database: view.database,
            cached: view.cached,
            negative: view.negative,
            ttl: view.ttl_ms.map(Duration::from_millis),
            tier: view.tier,
            position: view.position,
            bound: view.staleness_bound_ms.map(Duration::from_millis),
            stale_for: None,
        }
    }

    fn absent(id: u64, database: Option<User>) -> Self {
        Self {
            id,
            state: State::Absent,
            database,
            cached: None,
            negative: false,
            ttl: None,
            tier: None,
            position: None,
            bound: None,
            stale_for: None,
        }
    }

    fn agreeing(id: u64, hit: Hit<User>, database: Option<User>) -> Self {
        Self {
            state: if hit.value.is_some() { State::Healthy } else { State::Negative },
            negative: hit.value.is_none(),
            cached: hit.value,
            ttl: hit.ttl,
            tier: Some(hit.tier.as_str()),
            position: hit.position.map(|position| position.to_string()),
            bound: hit.staleness_bound,
            ..Self::absent(id, database)
        }
    }

    /// True if there is anything to show of a row that the database does not have.
    fn is_kept(&self) -> bool {
        self.state != State::Absent
    }
}

/// The first users, and those missed, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Survey {
    pub(super) rows: Vec<UserRow>,
    /// True if there are more users than were looked at.
    pub(super) more: bool,
}

/// What one tab wants to see; it stands in the address of the page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub(super) struct Wanted {
    /// An id, or a part of a name or an address.
    #[serde(default)]
    pub(super) q: String,
    /// `stale`: only those.
    #[serde(default)]
    pub(super) only: String,
    /// Only ids above this one.
    #[serde(default)]
    pub(super) after: u64,
}

impl Wanted {
    pub(super) fn only_stale(&self) -> bool {
        self.only == "stale"
    }

    fn wants(&self, row: &UserRow) -> bool {
        row.id > self.after && (!self.only_stale() || row.state == State::Stale) && self.finds(row)
    }

    fn finds(&self, row: &UserRow) -> bool {
        let wanted = self.q.trim().to_lowercase();
        let holds = |user: &User| [&user.name, &user.email].iter().any(|text| text.to_lowercase().contains(&wanted));
        wanted.is_empty()
            || wanted.parse() == Ok(row.id)
            || [&row.database, &row.cached].into_iter().flatten().any(holds)
    }
}

/// The rows of one tab.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Page {
    pub(super) rows: Vec<UserRow>,
    /// The last id of this page, if more follow.
    pub(super) next: Option<u64>,
}

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    stale_since: Mutex<HashMap<u64, Timestamp>>,
    missed: Mutex<VecDeque<u64>>,
}

impl Shelf {
    /// Keeps an eye on an id that has no row.
    pub(super) fn miss(&self, id: u64) {
        if let Ok(mut missed) = self.missed.lock()
            && !missed.contains(&id)
        {
            missed.push_back(id);
            if missed.len() > MISSED_MAX {
                missed.pop_front();
            }
        }
    }

    fn missed(&self) -> Vec<u64> {
        self.missed.lock().map(|missed| missed.iter().copied().collect()).unwrap_or_default()
    }

    /// Notes since when each row has been stale.
    fn date(&self, rows: &mut [UserRow], now: Timestamp) {
        let Ok(mut since) = self.stale_since.lock() else { return };
        let stale = |id: &u64| rows.iter().any(|row| row.id == *id && row.state == State::Stale);
        since.retain(|id, _| stale(id));
        for row in rows.iter_mut().filter(|row| row.state == State::Stale) {
            row.stale_for = Some(now.since(*since.entry(row.id).or_insert(now)));
        }
    }
}

/// Looks at the first users and at those missed.
pub(super) async fn survey(panel: &Panel) -> Result<Survey, DbError> {
    let listed = panel.database.list(0, SURVEY_MAX + 1).await?;
    let more = listed.len() > SURVEY_MAX as usize;
    let last = listed.get(SURVEY_MAX as usize - 1).map_or(u64::MAX, |user| user.id);
    let known: Vec<u64> = listed.iter().map(|user| user.id).collect();
    let missed = panel.shelf.missed().into_iter().filter(|id| *id <= last && !known.contains(id));
    let listed = listed.into_iter().take(SURVEY_MAX as usize).map(|user| (user.id, Some(user)));
    let all = stream::iter(listed.chain(missed.map(|id| (id, None))));
    let looks = all.map(|(id, user)| beside_entry(panel, id, user));
    let mut rows: Vec<UserRow> = looks.buffer_unordered(AT_ONCE).collect().await;
    rows.retain(|row| row.database.is_some() || row.is_kept());
    rows.sort_unstable_by_key(|row| row.id);
    Ok(Survey { rows, more })
}

/// What is cached beside a row that has just been read. Where the two differ, the row is read again between two looks.
async fn beside_entry(panel: &Panel, id: u64, user: Option<User>) -> UserRow {
    match panel.api.caches.peek(id).await {
        None => return UserRow::absent(id, user),
        Some(hit) if hit.value == user => return UserRow::agreeing(id, hit, user),
        Some(_) => {}
    }
    let row = UserRow::of(id, panel.api.inspector.look(id).await);
    if row.state == State::Unknown { UserRow { database: user, ..row } } else { row }
}

/// The rows that a tab wants, from the survey where it reaches so far.
pub(super) async fn page(panel: &Panel, survey: &Survey, wanted: &Wanted) -> Page {
    let mut rows: Vec<UserRow> = survey.rows.iter().filter(|row| wanted.wants(row)).cloned().collect();
    if rows.is_empty() && survey.more {
        rows = beyond(panel, wanted).await.unwrap_or_default();
    }
    let more = rows.len() > PAGE_MAX || (survey.more && !wanted.only_stale() && rows.len() >= PAGE_MAX);
    rows.truncate(PAGE_MAX);
    Page { next: rows.last().map(|row| row.id).filter(|_| more), rows }
}

/// Users that the survey does not reach: by id, by address, or simply the next ones.
async fn beyond(panel: &Panel, wanted: &Wanted) -> Result<Vec<UserRow>, DbError> {
    let text = wanted.q.trim();
    let users = match text.parse::<u64>() {
        Ok(id) => panel.database.get(id).await?.value.into_iter().collect(),
        Err(_) if text.is_empty() => panel.database.list(wanted.after, PAGE_MAX as u32 + 1).await?,
        Err(_) => panel.database.get_by_email(text).await?.value.into_iter().collect(),
    };
    let rows = join_all(users.into_iter().map(|user| beside_entry(panel, user.id, Some(user)))).await;
    Ok(rows.into_iter().filter(|row| wanted.wants(row)).collect())
}

/// The user that a demo is about.
pub(super) async fn of_demo(panel: &Panel, survey: &Survey, id: u64) -> Option<UserRow> {
    if let Some(row) = survey.rows.iter().find(|row| row.id == id) {
        return Some(row.clone());
    }
    let user = panel.database.get(id).await.ok()?.value;
    Some(beside_entry(panel, id, user).await)
}

/// Rows and the inspector's pass are looked at side by side: where they differ over a user, the row is looked at again.
/// In cdc mode an entry that differs may be about to go, and the inspector waits a moment before it says so.
pub(super) async fn agree(panel: &Panel, survey: &mut Survey, said: &Consistency) {
    for row in &mut survey.rows {
        let key = format!("users:{}", row.id);
        let is_stale = said.entries.iter().any(|entry| entry.key == key);
        if is_stale != (row.state == State::Stale) {
            *row = beside_entry(panel, row.id, row.database.take()).await;
        }
    }
    panel.shelf.date(&mut survey.rows, panel.api.pipeline.clock.now());
}
