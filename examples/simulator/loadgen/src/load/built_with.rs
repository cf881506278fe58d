//! How the API is set up, as it reports it.

use serde::{Deserialize, Serialize};

/// What the API says of itself. What it does not say is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Setup {
    /// Where changes are read from.
    #[serde(default)]
    pub source: Option<String>,
    /// How the caches are built.
    #[serde(default, rename = "built_with")]
    pub caches: Option<BuiltWith>,
}

/// The options of the API's caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltWith {
    /// Maximum lifetime of an entry (TTL) in ms; `None` if the API does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// A loaded value is kept only if it contains what was invalidated before the load.
    pub fenced: bool,
    /// A change replaces the cached value instead of removing the entry.
    pub refresh_in_place: bool,
    /// Maximum age of a value that is served if its load fails or is slow; 0 for never.
    pub stale_if_error_ms: u64,
}

/// Formats a lifetime: `1 s`, `250 ms`.
pub fn lifetime(ttl_ms: u64) -> String {
    match ttl_ms {
        ms if ms % 1_000 == 0 => format!("{} s", ms / 1_000),
        ms => format!("{ms} ms"),
    }
}
