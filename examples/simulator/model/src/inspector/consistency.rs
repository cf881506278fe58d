//! The outcome of a pass over all entries.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{Mode, User};

/// The verdict on all entries together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every entry equals its row.
    Healthy,
    /// Entries differ from their rows.
    Stale,
    /// Nothing is cached.
    Empty,
    /// The pass failed: `cause` says why.
    Unknown,
}

/// Why an entry is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StaleKind {
    /// In TTL mode: as designed, until the entry expires.
    Aging,
    /// The change has not been handled yet: the watermark does not cover it.
    Late,
    /// The watermark covers the change, and the entry is still there: it will stay until it expires.
    Lost,
    /// The change was handled, and named other keys: a mistake in the mapping of rows to keys.
    Mapping,
}

impl StaleKind {
    const ALL: [Self; 4] = [Self::Aging, Self::Late, Self::Lost, Self::Mapping];

    /// Returns the kind as the API names it.
    pub(super) fn of(kind: cachefront::inspect::StaleKind) -> Self {
        use cachefront::inspect::StaleKind as Kind;
        match kind {
            Kind::Aging => Self::Aging,
            Kind::Lost => Self::Lost,
            Kind::Mapping => Self::Mapping,
            // A kind of a later version: not known to be final.
            _ => Self::Late,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aging => "aging",
            Self::Late => "late",
            Self::Lost => "lost",
            Self::Mapping => "mapping",
        }
    }
}

/// An entry that differs from its row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StaleEntry {
    /// The user.
    pub id: u64,
    /// Which entry: `users:1`, or `users_by_email:ada@example.org`.
    #[schema(example = "users:1")]
    pub key: String,
    pub kind: StaleKind,
    /// What a plain read would serve; null for an entry that says there is no such row.
    pub cached: Option<User>,
    pub database: Option<User>,
    /// How long the entry may still be served.
    pub ttl_ms: Option<u64>,
}

/// The last pass of the inspector. Only this pass counts, never an earlier one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Consistency {
    pub verdict: Verdict,
    /// When the pass ended. RFC 3339 in UTC, with microseconds.
    pub as_of: String,
    pub mode: Mode,
    /// Why entries are stale, or why nothing is known; null if all is well.
    pub cause: Option<String>,
    /// Users that were checked.
    pub users: u64,
    /// Entries compared with their rows.
    pub compared: u64,
    /// True if every user was checked, false for the first 500 and a sample of the others.
    pub complete: bool,
    /// Entries that differ from their rows.
    pub stale: u64,
    pub aging: u64,
    pub late: u64,
    pub lost: u64,
    pub mapping: u64,
    /// The first 50 of them.
    pub entries: Vec<StaleEntry>,
    /// All of them, for callers in this process.
    #[serde(skip)]
    #[schema(ignore)]
    pub all: Arc<Vec<StaleEntry>>,
}

/// Maximum number of stale entries in a response.
const ENTRIES_SHOWN: usize = 50;

impl Consistency {
    pub(super) fn unknown(as_of: String, mode: Mode, cause: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Unknown,
            as_of,
            mode,
            cause: Some(cause.into()),
            users: 0,
            compared: 0,
            complete: false,
            stale: 0,
            aging: 0,
            late: 0,
            lost: 0,
            mapping: 0,
            entries: Vec::new(),
            all: Arc::default(),
        }
    }

    pub fn of(as_of: String, mode: Mode, users: u64, complete: bool, compared: u64, stale: Vec<StaleEntry>) -> Self {
        let count = |kind: StaleKind| stale.iter().filter(|entry| entry.kind == kind).count() as u64;
        let [aging, late, lost, mapping] = StaleKind::ALL.map(count);
        let verdict = match (stale.len(), compared) {
            (0, 0) => Verdict::Empty,
            (0, _) => Verdict::Healthy,
            _ => Verdict::Stale,
        };
        let cause = cause(aging, late, lost, mapping);
        Self {
            verdict,
            as_of,
            mode,
            cause,
            users,
            compared,
            complete,
            stale: stale.len() as u64,
            aging,
            late,
            lost,
            mapping,
            entries: stale.iter().take(ENTRIES_SHOWN).cloned().collect(),
            all: Arc::new(stale),
        }
    }

    /// The exact words: `cache healthy`, `cache stale (3)`, `cache empty`, `cache unknown`.
    pub fn words(&self) -> String {
        match self.verdict {
            Verdict::Healthy => "cache healthy".into(),
            Verdict::Stale => format!("cache stale ({})", self.stale),
            Verdict::Empty => "cache empty".into(),
            Verdict::Unknown => "cache unknown".into(),
        }
    }
}

/// Describes why entries are stale, the worst kind first. `None` if no entry is.
fn cause(aging: u64, late: u64, lost: u64, mapping: u64) -> Option<String> {
    let words = [
        (mapping, "named other keys than the entry's: fix the mapping"),
        (lost, "lost: the change was passed over, and the entry stays until it expires or is removed"),
        (late, "late: the change has not been handled yet"),
        (aging, "aging: in TTL mode an entry is stale until it expires"),
    ];
    let parts: Vec<String> =
        words.iter().filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}")).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}
