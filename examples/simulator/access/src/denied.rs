//! Reasons to deny access, as HTTP responses.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use simulator_model::credentials::Role;

/// Why a request was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No session, or one that is expired, ended or forged: 401.
    NotLoggedIn,
    /// Unknown name or wrong password: 401.
    WrongPassword,
    /// The request does not come from a page of this session: 403.
    Forged,
    /// This role is required: 403.
    Role(Role),
    /// Try again after this time: 429.
    TooManyAttempts(Duration),
    /// The database is unavailable: 503.
    Unavailable,
}

impl Denied {
    pub fn status(self) -> StatusCode {
        match self {
            Self::NotLoggedIn | Self::WrongPassword => StatusCode::UNAUTHORIZED,
            Self::Forged | Self::Role(_) => StatusCode::FORBIDDEN,
            Self::TooManyAttempts(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns a message for the user.
    pub fn words(self) -> String {
        match self {
            Self::NotLoggedIn => "Log in first.".into(),
            Self::WrongPassword => "Name or password is wrong.".into(),
            Self::Forged => "This request does not come from a page of your session. Reload the page.".into(),
            Self::Role(role) => format!("Only the role {role} may do this."),
            Self::TooManyAttempts(wait) => {
                format!("Too many attempts. Try again in {} s.", wait.as_secs().saturating_add(1))
            }
            Self::Unavailable => "The database is not available.".into(),
        }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.words()).into_response();
        if let Self::TooManyAttempts(wait) = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().saturating_add(1)));
        }
        response
    }
}
