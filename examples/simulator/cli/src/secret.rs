//! Values that must not be shown: URLs with passwords, tokens.

use std::fmt;

/// Text that `Debug` hides. There is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the host and port of a URL, without user, password and parameters.
    pub fn host(&self) -> &str {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority.rsplit('@').next().unwrap_or_default()
    }

    /// Compares with `other` in constant time: the time taken does not depend on how much of the text is equal.
    pub fn matches(&self, other: &str) -> bool {
        let (mine, theirs) = (self.0.as_bytes(), other.as_bytes());
        let differing = mine.iter().zip(theirs).fold(0_u8, |differing, (a, b)| differing | (a ^ b));
        mine.len() == theirs.len() && differing == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_its_host_and_nothing_else() {
        let url = Secret::new("mysql://root:p@ss/word@db:3306/shop?x=1");
        assert_eq!(format!("{url:?}"), "Secret(***)");
        assert_eq!(Secret::new("redis://:secret@cache:6379/0").host(), "cache:6379");
        assert!(!Secret::new("mysql://root:secret@db/shop").host().contains("secret"));
        assert!(url.matches(url.expose()) && !url.matches("mysql"));
    }
}
