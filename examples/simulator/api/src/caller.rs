//! The caller of a request, as far as the API knows it.

use std::convert::Infallible;
use std::fmt::Display;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use simulator_model::credentials::Role;

use super::state::Api;

/// The caller of a request: the role of its token, or `None` while the API is open. Inserted by the guard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller(pub(super) Option<Role>);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().copied().unwrap_or(Self(None)))
    }
}

impl Caller {
    /// Records in the audit list what was done or attempted.
    pub(crate) async fn audit<T: Sync, E: Display + Sync>(self, api: &Api, what: &str, outcome: &Result<T, E>) {
        let who = match self.0 {
            Some(role) => format!("API, token of {role}"),
            None => "API, open".to_owned(),
        };
        let result = match outcome {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        api.access.audit(&who, what, &result).await;
    }
}
