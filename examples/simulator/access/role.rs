//! Roles, each with everything that the ones before it may do.

use std::fmt;
use std::str::FromStr;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    /// Sees everything but secrets.
    Viewer,
    /// Changes users, the mode, faults and the cache; starts load.
    Operator,
    /// Reads the audit list and ends everybody's sessions.
    Admin,
}

impl Role {
    pub(crate) const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The role in one lower-case word, which is also the name of its account.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(())
    }
}
