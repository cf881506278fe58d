//! How a cache takes part in reads: switched at run time, in one process.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What reads of a cache do with its tiers; see [`Cache::set_serving_mode`](crate::Cache::set_serving_mode).
///
/// | mode | a read returns | it stores | for |
/// |---|---|---|---|
/// | `Normal` | a cached value, else a loaded one | loaded values | |
/// | `ReadOnly` | a cached value, else a loaded one | nothing in the shared store | a process that must not change the store: a canary, a migration |
/// | `Bypass` | a loaded value | nothing | an incident: the cache is taken out of the reads |
/// | `Shadow` | a loaded value, and compares it with the cached one | a value that was not cached | the time before a cache is trusted |
///
/// Invalidations take effect in every mode, also explicit ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ServingMode {
    /// Cached values are served, and loaded ones are stored.
    #[default]
    Normal,
    /// Cached values are served; no lease is taken, and nothing is stored in the shared store. Each process that misses a key
    /// loads it by itself.
    ReadOnly,
    /// Reads load from the database, and the tiers are neither read nor written. Each read is a load of its own.
    Bypass,
    /// Reads load from the database and return what they loaded. The cached value is compared with it, and the outcome is
    /// counted. Each read is a load of its own, as in `Bypass`.
    Shadow,
}

impl ServingMode {
    /// Returns the mode as one lower-case word, for labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::ReadOnly => "read_only",
            Self::Bypass => "bypass",
            Self::Shadow => "shadow",
        }
    }
}

impl fmt::Display for ServingMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
