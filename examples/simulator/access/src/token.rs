//! API tokens.

use simulator_cli::ExposeSecret;
use std::fmt;

use axum::http::{HeaderMap, header};
use ring::hmac;
use ring::rand::SystemRandom;
use simulator_model::credentials::{ApiToken, Role};

/// The known tokens and their roles. Only tags of the tokens are kept.
pub struct Tokens {
    /// Generated at the start. Tokens are compared by their HMAC tags, so that the comparison leaks no timing
    /// information.
    key: hmac::Key,
    known: Vec<(Role, hmac::Tag)>,
}

impl Tokens {
    pub(super) fn new(tokens: Vec<ApiToken>) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("the operating system provides randomness");
        let tag = |known: ApiToken| (known.role, hmac::sign(&key, known.token.expose_secret().as_bytes()));
        let known = tokens.into_iter().map(tag).collect();
        Self { key, known }
    }

    /// Returns the role of each token, in the order of the setting.
    pub fn roles(&self) -> Vec<Role> {
        self.known.iter().map(|(role, _)| *role).collect()
    }

    /// Returns true if there are no tokens: then the API is open.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Returns the role of the bearer in `Authorization: Bearer …`, or `None` if the token is not known.
    pub fn role_of(&self, headers: &HeaderMap) -> Option<Role> {
        let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = given.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let token = token.trim().as_bytes();
        // Compares with every token, so that the time taken does not reveal which one matched.
        let matching = self.known.iter().filter(|(_, tag)| hmac::verify(&self.key, token, tag.as_ref()).is_ok());
        matching.map(|(role, _)| *role).fold(None, |best, role| best.max(Some(role)))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("known", &self.known.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role_of(header: &str) -> Option<Role> {
        let tokens = Tokens::new(["bare", "viewer:see", "admin:all", "odd:colon"].map(ApiToken::parse).to_vec());
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, header.parse().expect("a header"));
        tokens.role_of(&headers)
    }

    #[test]
    fn a_token_has_its_role_and_anything_else_has_none() {
        assert_eq!(role_of("Bearer bare"), Some(Role::Operator));
        assert_eq!(role_of("bearer  see"), Some(Role::Viewer));
        assert_eq!(role_of("Bearer all"), Some(Role::Admin));
        assert_eq!(role_of("Bearer odd:colon"), Some(Role::Operator));
        for wrong in ["Bearer", "Bearer ", "Bearer viewer:see", "Basic bare", "Bearer bar", "Bearer barer"] {
            assert_eq!(role_of(wrong), None, "{wrong}");
        }
    }
}
