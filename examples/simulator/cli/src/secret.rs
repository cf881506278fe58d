//! What this program asks a secret in addition to its text. `secrecy` hides it in `Debug` and wipes it when it is dropped.

pub use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

/// Returns the host and port of a URL, without user, password and parameters.
pub fn host(url: &SecretString) -> &str {
    let rest = url.expose_secret().split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

/// Compares in constant time: the time taken does not depend on how much of the text is equal.
pub fn matches(secret: &SecretString, other: &str) -> bool {
    secret.expose_secret().as_bytes().ct_eq(other.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_its_host_and_nothing_else() {
        let url = SecretString::from("mysql://root:p@ss/word@db:3306/shop?x=1");
        assert!(!format!("{url:?}").contains("root"));
        assert_eq!(host(&SecretString::from("redis://:secret@cache:6379/0")), "cache:6379");
        assert!(!host(&SecretString::from("mysql://root:secret@db/shop")).contains("secret"));
        assert!(matches(&url, url.expose_secret()) && !matches(&url, "mysql") && !matches(&url, ""));
    }
}
