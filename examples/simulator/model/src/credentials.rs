//! Credentials in the settings: roles, each of which may do everything that the ones before it may, the tokens of the
//! API and the passwords of the panel.

use std::fmt;
use std::str::FromStr;

use simulator_cli::{ExposeSecret, SecretString};

/// What an account or a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads everything but secrets.
    Viewer,
    /// Changes users, the mode, faults and the cache; starts load.
    Operator,
    /// Reads the audit list and ends the sessions of all accounts.
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

/// A token and the role of its bearer.
#[derive(Clone, Debug)]
pub struct ApiToken {
    pub role: Role,
    pub token: SecretString,
}

impl ApiToken {
    /// Parses `role:token`; a token without a role is an operator's. Only the names of the three roles count as a role.
    pub fn parse(text: &str) -> Self {
        let named = text.split_once(':').and_then(|(role, token)| Some((role.parse().ok()?, token)));
        let (role, token) = named.unwrap_or((Role::Operator, text));
        Self { role, token: SecretString::from(token) }
    }
}

/// The passwords in the environment. The admin without one there keeps the password that it has; another account is closed.
#[derive(Clone, Debug, Default)]
pub struct Passwords {
    pub admin: Option<SecretString>,
    pub operator: Option<SecretString>,
    pub viewer: Option<SecretString>,
}

/// Shortest password or token that is not called weak, in characters without surrounding blanks.
const STRONG_CHARS_MIN: usize = 12;

/// Returns true for a password or token that is quickly guessed.
pub fn is_weak(secret: &SecretString) -> bool {
    let secret = secret.expose_secret().trim();
    let first = secret.chars().next();
    secret.chars().count() < STRONG_CHARS_MIN || secret.chars().all(|character| Some(character) == first)
}

impl Passwords {
    /// Returns the passwords that are set, with the name of their setting.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &SecretString)> {
        let all = [
            ("CACHEFRONT_UI_ADMIN_PASSWORD", &self.admin),
            ("CACHEFRONT_UI_OPERATOR_PASSWORD", &self.operator),
            ("CACHEFRONT_UI_VIEWER_PASSWORD", &self.viewer),
        ];
        all.into_iter().filter_map(|(name, password)| Some((name, password.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_uniform_secrets_are_weak() {
        for weak in ["", "a", "             ", "aaaaaaaaaaaaaaaa", "12 chars no", "   short    "] {
            assert!(is_weak(&SecretString::from(weak)), "{weak}");
        }
        for strong in ["operator-on-loopback", "correct horse"] {
            assert!(!is_weak(&SecretString::from(strong)), "{strong}");
        }
    }
}
