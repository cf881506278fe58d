//! Users next to their cache entries: a survey of the first ones, shared by all tabs, and the page that one tab
//! requests.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use simulator_model::domain::{DbError, Seek, User};
use tokio::time::{Instant, timeout_at};

use super::panel::Panel;
use super::query::QueryParameters;
use super::rows::{Found, PAGE_MAX, SURVEY_MAX, State, Survey, UserRow, key_of};

/// Maximum number of concurrent peeks, so that a slow store costs a few round trips and not one per row.
const PEEKS_AT_ONCE: usize = 256;

/// Maximum number of rows read again concurrently. Lower than [`PEEKS_AT_ONCE`]: these reads need database connections.
const AT_ONCE: usize = 32;

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
    let looks = all.map(|(id, user)| with_entry(panel, id, user));
    let mut rows: Vec<UserRow> = looks.buffer_unordered(PEEKS_AT_ONCE).collect().await;
    rows.retain(|row| row.database.is_some() || row.is_kept());
    rows.sort_unstable_by_key(|row| row.id);
    Survey { rows, more, ..Survey::default() }
}

/// Peeks at the entry of a row that has just been read. If the two differ, the inspector reads both again before the
/// entry is called stale.
pub(super) async fn with_entry(panel: &Panel, id: u64, user: Option<User>) -> UserRow {
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
    Some(with_entry(panel, id, user).await)
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
        let row = match (timeout_at(deadline, with_entry(panel, id, user.clone())).await, entry) {
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
    let looks = stream::iter(unknown).map(|user| with_entry(panel, user.id, Some(user)));
    Ok(looks.buffer_unordered(AT_ONCE).collect().await)
}
