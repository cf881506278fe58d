//! The two rules by which cached values are kept correct.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The rule by which an entry is kept correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InvalidationMode {
    /// By the database's change log: an entry is valid while its generation is, until it is invalidated.
    Cdc,
    /// By age only.
    Ttl,
}

impl InvalidationMode {
    /// Returns the mode as one lower-case word, for labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cdc => "cdc",
            Self::Ttl => "ttl",
        }
    }
}

impl fmt::Display for InvalidationMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
