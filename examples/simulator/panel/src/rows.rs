//! Users next to their cache entries, as they are shown, and what is remembered of them between two surveys.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use cachefront::{Hit, Timestamp};
use simulator_model::domain::User;
use simulator_model::inspector::{CacheView, EntryState, StaleEntry};

/// Maximum number of users in the survey that all tabs share: the first ones by id. Missed ids come on top, see
/// [`MISSED_MAX`].
pub(super) const SURVEY_MAX: u32 = 500;

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
    pub(super) fn of(id: u64, view: CacheView) -> Self {
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

    pub(super) fn absent(id: u64, database: Option<User>) -> Self {
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

    pub(super) fn agreeing(id: u64, hit: Hit<User>, database: Option<User>) -> Self {
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
    pub(super) fn stale(entry: &StaleEntry) -> Self {
        Self {
            state: State::Stale,
            cached: entry.cached.clone(),
            negative: entry.cached.is_none(),
            ttl: entry.ttl_ms.map(Duration::from_millis),
            ..Self::absent(entry.id, entry.database.clone())
        }
    }

    /// Returns true if there is an entry to show, even without a row in the database.
    pub(super) fn is_kept(&self) -> bool {
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

    pub(super) fn missed(&self) -> Vec<u64> {
        self.missed.lock().map(|missed| missed.iter().copied().collect()).unwrap_or_default()
    }

    /// Records since when each entry has been stale, and returns how long the oldest has been.
    pub(super) fn date(&self, survey: &mut Survey, now: Timestamp) -> Option<Duration> {
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

pub(super) fn key_of(id: u64) -> String {
    format!("users:{id}")
}
