//! How the API's caches are built, as it reports it.

use serde::{Deserialize, Serialize};

/// The options of the API's caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltWith {
    /// A loaded value is kept only if it contains what was invalidated before the load.
    pub fenced: bool,
    /// A change replaces the cached value instead of removing the entry.
    pub refresh_in_place: bool,
    /// Maximum age of a value that is served if its load fails or is slow; 0 for never.
    pub stale_if_error_ms: u64,
}
