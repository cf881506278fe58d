//! What the settings say about access: roles, each with everything that the ones before it may do, the tokens of the API
//! and the passwords of the panel.

use std::fmt;
use std::str::FromStr;

use simulator_cli::Secret;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sees everything but secrets.
    Viewer,
    /// Changes users, the mode, faults and the cache; starts load.
    Operator,
    /// Reads the audit list and ends everybody's sessions.
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The role in one lower-case word, which is also the name of its account.
    pub fn as_str(self) -> &'static str {
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

/// A token and what its bearer may do.
#[derive(Clone, Debug)]
pub struct ApiToken {
    pub role: Role,
    pub token: Secret,
}

impl ApiToken {
    /// `role:token`; a bare token is an operator's. Only the three roles' names are taken for one.
    pub fn parse(text: &str) -> Self {
        let named = text.split_once(':').and_then(|(role, token)| Some((role.parse().ok()?, token)));
        let (role, token) = named.unwrap_or((Role::Operator, text));
        Self { role, token: Secret::new(token) }
    }
}

/// What the environment says; an account without a password there keeps the one it has, or stays closed.
#[derive(Clone, Debug, Default)]
pub struct Passwords {
    pub admin: Option<Secret>,
    pub operator: Option<Secret>,
    pub viewer: Option<Secret>,
}
