//! Users next to their cache entries: a survey of the first ones, shared by all tabs, and the page that one tab
//! requests.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use cachefront::{Hit, Timestamp};
use futures_util::stream::{self, StreamExt};
use simulator_model::domain::{DbError, Seek, User};
use simulator_model::inspector::{CacheView, EntryState, StaleEntry};
use tokio::time::{Instant, timeout_at};

use super::Panel;
use super::query::QueryParameters;

/// Maximum number of users in the survey that all tabs share: the first ones by id. Missed ids come on top, see
/// [`MISSED_MAX`].
pub(super) const SURVEY_MAX: u32 = 500;

/// Maximum number of concurrent peeks, so that a slow store costs a few round trips and not one per row.
const PEEKS_AT_ONCE: usize = 256;

/// Maximum number of rows read again concurrently. Lower than [`PEEKS_AT_ONCE`]: these reads need database connections.
const AT_ONCE: usize = 32;

/// Number of rows on a page.
pub(super) const PAGE_MAX: usize = 20;

/// Maximum number of remembered ids whose rows are gone: their entries may outlive them.
const MISSED_MAX: usize = 32;

/// The result of comparing an entry with its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Healthy,
    Stale,
    Absent,
    /// The entry records that the row does not exist, and it does not.
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

/// A stale entry, and which process holds it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) entry: StaleEntry,
    /// True if the entry is in the memory of the API's processes, which this process cannot read.
    pub(super) elsewhere: bool,
}

/// A user and its cache entry.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct UserRow {
    pub(super) id: u64,
    /// The worst of the user's entries.
    pub(super) state: State,
    /// `None` if the database has no such row.
    pub(super) database: Option<User>,
    pub(super) cached: Option<User>,
    pub(super) negative: bool,
    pub(super) ttl: Option<Duration>,
    pub(super) tier: Option<&'static str>,
    pub(super) position: Option<String>,
    pub(super) bound: Option<Duration>,
    /// How long the entry has been seen to differ from its row.
    pub(super) stale_for: Option<Duration>,
    /// A stale entry of this user that is held by another process or cached under another key than the id.
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

    /// Builds a row from a stale entry as the inspector reported it.
    fn stale(entry: &StaleEntry) -> Self {
        Self {
            state: State::Stale,
            cached: entry.cached.clone(),
            negative: entry.cached.is_none(),
            ttl: entry.ttl_ms.map(Duration::from_millis),
            ..Self::absent(entry.id, entry.database.clone())
        }
    }

    /// Returns true if there is an entry to show, even without a row in the database.
    fn is_kept(&self) -> bool {
        self.state != State::Absent
    }
}

/// The first users and the missed ids with their entries, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Survey {
    pub(super) rows: Vec<UserRow>,
    /// True if there are more users than were surveyed.
    pub(super) more: bool,
    /// All known stale entries by key, including those of users outside `rows`.
    pub(super) stale: BTreeMap<String, Found>,
    /// When the rows were read, if this is an old survey.
    pub(super) as_of: Option<Timestamp>,
}

impl Survey {
    /// Returns the rows of the last survey for display while a new one is impossible: the state of every entry is
    /// unknown. Without `readable`, database values are left out.
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

/// State kept between two surveys.
#[derive(Debug, Default)]
pub(super) struct RowCache {
    /// When the entry of each stale key was first seen to differ.
    stale_since: Mutex<HashMap<String, Timestamp>>,
    missed: Mutex<VecDeque<u64>>,
}

impl RowCache {
    /// Includes an id without a row in the following surveys.
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

    /// Records since when each entry has been stale, and returns how long the oldest has been.
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

/// Returns the first users, and one more than the survey takes if there are more.
pub(super) async fn list(panel: &Panel) -> Result<Vec<User>, DbError> {
    panel.database.list(0, SURVEY_MAX + 1).await
}

/// Peeks at the entries of the listed users and of the missed ids.
pub(super) async fn survey(panel: &Panel, listed: Vec<User>) -> Survey {
    let more = listed.len() > SURVEY_MAX as usize;
    let last = listed.get(SURVEY_MAX as usize - 1).map_or(u64::MAX, |user| user.id);
    let known: Vec<u64> = listed.iter().map(|user| user.id).collect();
    let missed = panel.row_cache.missed().into_iter().filter(|id| *id <= last && !known.contains(id));
    let listed = listed.into_iter().take(SURVEY_MAX as usize).map(|user| (user.id, Some(user)));
    let all = stream::iter(listed.chain(missed.map(|id| (id, None))));
    let looks = all.map(|(id, user)| beside_entry(panel, id, user));
    let mut rows: Vec<UserRow> = looks.buffer_unordered(PEEKS_AT_ONCE).collect().await;
    rows.retain(|row| row.database.is_some() || row.is_kept());
    rows.sort_unstable_by_key(|row| row.id);
    Survey { rows, more, ..Survey::default() }
}

/// Peeks at the entry of a row that has just been read. If the two differ, the inspector reads both again before the
/// entry is called stale.
pub(super) async fn beside_entry(panel: &Panel, id: u64, user: Option<User>) -> UserRow {
    match panel.api.caches.try_peek(id).await {
        // The content of a store that does not respond is unknown.
        Err(_) => return UserRow { state: State::Unknown, ..UserRow::absent(id, user) },
        Ok(None) => return UserRow::absent(id, user),
        Ok(Some(hit)) if hit.value == user => return UserRow::agreeing(id, hit, user),
        Ok(Some(_)) => {}
    }
    UserRow::of(id, panel.api.inspector.look(id).await)
}

/// Returns the row of the demo's user, from the survey if it is there. `None` if the database cannot be read.
pub(super) async fn of_demo(panel: &Panel, survey: &Survey, id: u64) -> Option<UserRow> {
    if let Some(row) = survey.rows.iter().find(|row| row.id == id) {
        return Some(row.clone());
    }
    let user = panel.database.get(id).await.ok()?.value;
    Some(beside_entry(panel, id, user).await)
}

/// Merges the stale entries of the inspector's pass into the survey. The two run concurrently, so rows over which they
/// disagree are compared again: in CDC mode a differing entry may be about to be invalidated, and the inspector waits a
/// moment before it reports one. Returns how long the oldest stale entry has been stale.
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
            // Its row is gone, and the id was never recorded as missed.
            Err(at) if id <= last => survey.rows.insert(at, UserRow::stale(&found.entry)),
            Err(_) => {}
        }
    }
    panel.row_cache.date(survey, panel.api.pipeline.clock.now())
}

/// Compares again the rows over which survey and inspector disagree. After the deadline, an entry that the inspector
/// reported is stale and any other is unknown.
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
    /// True if there are rows before the first one; `after`: after the last one.
    pub(super) before: bool,
    pub(super) after: bool,
    /// True if the users beyond the survey could not be read from the database.
    pub(super) failed: bool,
}

impl Page {
    /// Cuts the page that `wanted` requests out of rows in ascending order of their ids.
    fn of(mut rows: Vec<UserRow>, wanted: &QueryParameters) -> Self {
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

/// Returns the rows that a tab requests: from the survey as far as it reaches, beyond that from the database.
pub(super) async fn page(panel: &Panel, survey: &Survey, wanted: &QueryParameters) -> Page {
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

/// Finds users outside the survey in the database, and peeks at their entries.
async fn beyond(panel: &Panel, survey: &Survey, wanted: &QueryParameters) -> Result<Vec<UserRow>, DbError> {
    let seek = if wanted.before > 0 { Seek::Before(wanted.before) } else { Seek::After(wanted.after) };
    let users = panel.database.find(wanted.q.trim(), seek, PAGE_MAX as u32 + 1).await?;
    let unknown = users.into_iter().filter(|user| survey.rows.binary_search_by_key(&user.id, |row| row.id).is_err());
    let looks = stream::iter(unknown).map(|user| beside_entry(panel, user.id, Some(user)));
    Ok(looks.buffer_unordered(AT_ONCE).collect().await)
}
