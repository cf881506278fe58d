//! One user's entry next to its row.

use cachefront::Hit;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::User;

/// How an entry compares with its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EntryState {
    /// A plain read would load.
    Absent,
    /// The entry equals the row, or is a negative entry and there is no such row.
    Healthy,
    /// The entry differs, and was the same before and after the row was read.
    Stale,
    /// The database or the store could not be read: `error` says why.
    Unknown,
}

/// The cached value next to the database's.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = CacheView)]
pub struct CacheView {
    pub state: EntryState,
    /// What a plain read here and now would serve without loading.
    pub cached: Option<User>,
    /// The row.
    pub database: Option<User>,
    /// True if the entry says that there is no such row.
    pub negative: bool,
    /// How long the entry may still be served.
    pub ttl_ms: Option<u64>,
    /// `local` for this process's memory, `shared` for the store.
    pub tier: Option<&'static str>,
    /// Commits that the entry is proven to contain.
    pub position: Option<String>,
    /// The entry was current within this time; null if that is not known.
    pub staleness_bound_ms: Option<u64>,
    /// Why the state is `unknown`; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl CacheView {
    pub(super) fn absent(database: Option<User>) -> Self {
        Self {
            state: EntryState::Absent,
            cached: None,
            database,
            negative: false,
            ttl_ms: None,
            tier: None,
            position: None,
            staleness_bound_ms: None,
            error: None,
        }
    }

    pub(super) fn of(hit: Hit<User>, database: Option<User>) -> Self {
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            state: if hit.value == database { EntryState::Healthy } else { EntryState::Stale },
            negative: hit.value.is_none(),
            cached: hit.value,
            database,
            ttl_ms: hit.ttl.map(millis),
            tier: Some(hit.tier.as_str()),
            position: hit.position.map(|position| position.to_string()),
            staleness_bound_ms: hit.staleness_bound.map(millis),
            error: None,
        }
    }

    /// The view while the database is unavailable: the entry, which could not be compared.
    pub fn unknown(hit: Option<Hit<User>>, error: String) -> Self {
        let view = hit.map_or_else(|| Self::absent(None), |hit| Self::of(hit, None));
        Self { state: EntryState::Unknown, error: Some(error), ..view }
    }
}
