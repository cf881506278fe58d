//! Users beside their entries: a look at the first ones for everybody, and the page of them that one tab asks for.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use cachefront::{Hit, Timestamp};
use futures_util::stream::{self, StreamExt};
use simulator_model::domain::{DbError, Seek, User};
use simulator_model::inspector::{CacheView, EntryState, StaleEntry};
use tokio::time::{Instant, timeout_at};

use super::Panel;
use super::wanted::Wanted;

/// The rows that all tabs share are those of this many users, the first ones by id, and of those that are missed below.
pub(super) const SURVEY_MAX: u32 = 500;

/// So many looks into the cache are under way at once: a store that takes its time must not make a look take the sum.
const PEEKS_AT_ONCE: usize = 256;

/// So many rows are read again at once: the database has fewer connections.
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

/// A stale entry, and who holds it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) entry: StaleEntry,
    /// In the memory of the API's processes, and not seen from here.
    pub(super) elsewhere: bool,
}

/// A user and what the cache holds of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct UserRow {
    pub(super) id: u64,
    /// The worst of the user's entries.
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
    /// A stale entry that is not the one under the id in this process's sight.
    pub(super) other: Option<Found>,
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
            state,
            cached: view.cached,
            negative: view.negative,
            ttl: view.ttl_ms.map(Duration::from_millis),
            tier: view.tier,
            position: view.position,
            bound: view.staleness_bound_ms.map(Duration::from_millis),
            ..Self::absent(id, view.database)
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
            other: None,
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

    /// As the inspector found it.
    fn stale(entry: &StaleEntry) -> Self {
        Self {
            state: State::Stale,
            cached: entry.cached.clone(),
            negative: entry.cached.is_none(),
            ttl: entry.ttl_ms.map(Duration::from_millis),
            ..Self::absent(entry.id, entry.database.clone())
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
    /// Stale entries by their keys, wherever their users are.
    pub(super) stale: BTreeMap<String, Found>,
    /// When the rows were seen, if that is not this moment.
    pub(super) as_of: Option<Timestamp>,
}

impl Survey {
    /// What was seen the last time, when nothing can be seen now: nobody knows how any entry stands.
    pub(super) fn frozen(&self, at: Timestamp, readable: bool) -> Self {
        let unknown = |row: &UserRow| UserRow {
            state: State::Unknown,
            database: row.database.clone().filter(|_| readable),
            ttl: None,
            bound: None,
            stale_for: None,
            ..row.clone()
        };
        let as_of = Some(self.as_of.unwrap_or(at)).filter(|at| at.is_known());
        Self { rows: self.rows.iter().map(unknown).collect(), more: self.more, stale: BTreeMap::new(), as_of }
    }
}

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// Since when the entry of a key has been seen to differ.
    stale_since: Mutex<HashMap<String, Timestamp>>,
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

    /// Notes since when each entry has been stale, and answers for how long the oldest has.
    fn date(&self, survey: &mut Survey, now: Timestamp) -> Option<Duration> {
        let mut since = self.stale_since.lock().ok()?;
        let mut keys: HashMap<String, u64> = HashMap::new();
        keys.extend(survey.stale.iter().map(|(key, found)| (key.clone(), found.entry.id)));
        let stale = survey.rows.iter().filter(|row| row.state == State::Stale && row.other.is_none());
        keys.extend(stale.map(|row| (key_of(row.id), row.id)));
        since.retain(|key, _| keys.contains_key(key));
        let mut oldest: HashMap<u64, Duration> = HashMap::new();
        for (key, id) in keys {
            let lasts = now.since(*since.entry(key).or_insert(now));
            let longest = oldest.entry(id).or_default();
            *longest = lasts.max(*longest);
        }
        for row in survey.rows.iter_mut().filter(|row| row.state == State::Stale) {
            row.stale_for = oldest.get(&row.id).copied();
        }
        oldest.into_values().max()
    }
}

fn key_of(id: u64) -> String {
    format!("users:{id}")
}

/// The first users, and one more if there are more.
pub(super) async fn list(panel: &Panel) -> Result<Vec<User>, DbError> {
    panel.database.list(0, SURVEY_MAX + 1).await
}

/// Looks at what is cached of the users that were listed, and of those missed.
pub(super) async fn survey(panel: &Panel, listed: Vec<User>) -> Survey {
    let more = listed.len() > SURVEY_MAX as usize;
    let last = listed.get(SURVEY_MAX as usize - 1).map_or(u64::MAX, |user| user.id);
    let known: Vec<u64> = listed.iter().map(|user| user.id).collect();
    let missed = panel.shelf.missed().into_iter().filter(|id| *id <= last && !known.contains(id));
    let listed = listed.into_iter().take(SURVEY_MAX as usize).map(|user| (user.id, Some(user)));
    let all = stream::iter(listed.chain(missed.map(|id| (id, None))));
    let looks = all.map(|(id, user)| beside_entry(panel, id, user));
    let mut rows: Vec<UserRow> = looks.buffer_unordered(PEEKS_AT_ONCE).collect().await;
    rows.retain(|row| row.database.is_some() || row.is_kept());
    rows.sort_unstable_by_key(|row| row.id);
    Survey { rows, more, ..Survey::default() }
}

/// What is cached beside a row that has just been read. Where the two differ, the row is read again between two looks.
pub(super) async fn beside_entry(panel: &Panel, id: u64, user: Option<User>) -> UserRow {
    match panel.api.caches.try_peek(id).await {
        // Nobody knows what a store holds that does not answer.
        Err(_) => return UserRow { state: State::Unknown, ..UserRow::absent(id, user) },
        Ok(None) => return UserRow::absent(id, user),
        Ok(Some(hit)) if hit.value == user => return UserRow::agreeing(id, hit, user),
        Ok(Some(_)) => {}
    }
    UserRow::of(id, panel.api.inspector.look(id).await)
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
/// In CDC mode an entry that differs may be about to go, and the inspector waits a moment before it says so. Answers for
/// how long the oldest stale entry has been so.
pub(super) async fn agree(
    panel: &Panel,
    survey: &mut Survey,
    found: Vec<Found>,
    deadline: Instant,
) -> Option<Duration> {
    survey.stale = found.into_iter().map(|found| (found.entry.key.clone(), found)).collect();
    again(panel, survey, deadline).await;
    let last = if survey.more { survey.rows.last().map_or(0, |row| row.id) } else { u64::MAX };
    for found in survey.stale.values() {
        let id = found.entry.id;
        match survey.rows.binary_search_by_key(&id, |row| row.id) {
            Ok(at) => {
                let row = &mut survey.rows[at];
                if found.elsewhere || found.entry.key != key_of(id) {
                    (row.state, row.other) = (State::Stale, Some(found.clone()));
                }
            }
            // Its row is gone, and nobody has missed it here.
            Err(at) if id <= last => survey.rows.insert(at, UserRow::stale(&found.entry)),
            Err(_) => {}
        }
    }
    panel.shelf.date(survey, panel.api.pipeline.clock.now())
}

/// Looks again at the rows over which the two differ. Those that there is no time for are as the inspector said.
async fn again(panel: &Panel, survey: &mut Survey, deadline: Instant) {
    let said = |row: &UserRow| survey.stale.get(&key_of(row.id)).filter(|found| !found.elsewhere);
    let differing = |(at, row): (usize, &UserRow)| {
        let entry = said(row);
        let differs = entry.is_some() != (row.state == State::Stale);
        differs.then(|| (at, row.id, row.database.clone(), entry.map(|found| found.entry.clone())))
    };
    let differing: Vec<_> = survey.rows.iter().enumerate().filter_map(differing).collect();
    let looks = stream::iter(differing).map(|(at, id, user, entry)| async move {
        let row = match (timeout_at(deadline, beside_entry(panel, id, user.clone())).await, entry) {
            (Ok(row), _) => row,
            (Err(_), Some(entry)) => UserRow::stale(&entry),
            (Err(_), None) => UserRow { state: State::Unknown, ..UserRow::absent(id, user) },
        };
        (at, row)
    });
    let looked: Vec<(usize, UserRow)> = looks.buffer_unordered(AT_ONCE).collect().await;
    for (at, row) in looked {
        survey.rows[at] = row;
    }
}

/// The rows of one tab.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Page {
    pub(super) rows: Vec<UserRow>,
    /// There are rows before the first one and after the last one.
    pub(super) before: bool,
    pub(super) after: bool,
    /// True if the database could not be asked for users that the survey does not reach.
    pub(super) failed: bool,
}

impl Page {
    /// The page that `wanted` means, of rows that are in order; there may be others outside of them.
    fn of(mut rows: Vec<UserRow>, wanted: &Wanted) -> Self {
        let (mut before, mut after) = (wanted.after > 0, wanted.before > 0);
        let beyond = rows.len().saturating_sub(PAGE_MAX);
        if wanted.before > 0 {
            before = beyond > 0;
            rows.drain(..beyond);
        } else {
            after = beyond > 0;
            rows.truncate(PAGE_MAX);
        }
        after &= !rows.is_empty();
        Self { before, after, rows, failed: false }
    }
}

/// The rows that a tab wants: from the survey as far as it reaches, and from the database.
pub(super) async fn page(panel: &Panel, survey: &Survey, wanted: &Wanted) -> Page {
    let kept = survey.rows.iter().filter(|row| wanted.lies(row.id) && wanted.wants(row));
    let mut rows: BTreeMap<u64, UserRow> = kept.map(|row| (row.id, row.clone())).collect();
    if wanted.only_stale() {
        let beyond = survey.stale.values().map(|found| found.entry.id).filter(|id| wanted.lies(*id));
        let mut beyond: Vec<u64> = beyond.filter(|id| !survey.rows.iter().any(|row| row.id == *id)).collect();
        beyond.dedup();
        beyond.truncate(PAGE_MAX + 1);
        let looks = stream::iter(beyond).map(|id| async move { UserRow::of(id, panel.api.inspector.look(id).await) });
        let looked: Vec<UserRow> = looks.buffer_unordered(AT_ONCE).collect().await;
        rows.extend(looked.into_iter().filter(|row| wanted.wants(row)).map(|row| (row.id, row)));
    } else if survey.more && survey.as_of.is_none() {
        match beyond(panel, survey, wanted).await {
            Ok(found) => found.into_iter().for_each(|row| {
                rows.entry(row.id).or_insert(row);
            }),
            Err(_) => return Page { failed: true, ..Page::of(rows.into_values().collect(), wanted) },
        }
    }
    Page::of(rows.into_values().collect(), wanted)
}

/// Users that the database finds, beside their entries.
async fn beyond(panel: &Panel, survey: &Survey, wanted: &Wanted) -> Result<Vec<UserRow>, DbError> {
    let seek = if wanted.before > 0 { Seek::Before(wanted.before) } else { Seek::After(wanted.after) };
    let users = panel.database.find(wanted.q.trim(), seek, PAGE_MAX as u32 + 1).await?;
    let unknown = users.into_iter().filter(|user| survey.rows.binary_search_by_key(&user.id, |row| row.id).is_err());
    let looks = stream::iter(unknown).map(|user| beside_entry(panel, user.id, Some(user)));
    Ok(looks.buffer_unordered(AT_ONCE).collect().await)
}
