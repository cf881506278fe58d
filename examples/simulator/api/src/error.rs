//! Every error body of the API, in FastAPI's form.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cachefront::{Error, ErrorKind};
use serde::Serialize;
use simulator_model::credentials::Role;
use simulator_model::domain::DbError;
use utoipa::ToSchema;

/// What is wrong with one part of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Where: `body`, `path`, `query` or `header`, then the field.
    #[schema(example = json!(["body", "email"]))]
    pub loc: Vec<Place>,
    #[schema(example = "Field required")]
    pub msg: String,
    #[serde(rename = "type")]
    #[schema(example = "missing")]
    pub kind: &'static str,
}

/// A step on the way to a problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Place {
    Name(String),
    Index(usize),
}

impl Problem {
    pub(crate) fn new(loc: &[&str], msg: impl Into<String>, kind: &'static str) -> Self {
        let loc = loc.iter().map(|&step| Place::Name(step.to_owned())).collect();
        Self { loc, msg: msg.into(), kind }
    }
}

/// The body of every error but a 422.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct ErrorBody {
    #[schema(example = "User not found")]
    pub detail: String,
}

/// The body of a 422.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ValidationError)]
pub(crate) struct ProblemsBody {
    pub detail: Vec<Problem>,
}

/// An error response.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    body: Body,
    header: Option<(HeaderName, HeaderValue)>,
}

#[derive(Debug)]
enum Body {
    Text(String),
    Problems(Vec<Problem>),
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, body: Body::Text(detail.into()), header: None }
    }

    pub(crate) fn problems(problems: Vec<Problem>) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, body: Body::Problems(problems), header: None }
    }

    pub(crate) fn problem(problem: Problem) -> Self {
        Self::problems(vec![problem])
    }

    pub(crate) fn no_such_user() -> Self {
        Self::new(StatusCode::NOT_FOUND, "User not found")
    }

    /// A dependency is temporarily unavailable, or a limit is reached: 503 with `Retry-After`.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        let header = Some((header::RETRY_AFTER, HeaderValue::from_static("1")));
        Self { status: StatusCode::SERVICE_UNAVAILABLE, body: Body::Text(detail.into()), header }
    }

    pub(crate) fn store_away() -> Self {
        Self::unavailable("The store is not available")
    }

    pub(crate) fn unauthorized() -> Self {
        let header = Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        Self { status: StatusCode::UNAUTHORIZED, body: Body::Text("Not authenticated".into()), header }
    }

    /// The token is valid, but its role is not sufficient.
    pub(crate) fn forbidden(needed: Role) -> Self {
        Self::new(StatusCode::FORBIDDEN, format!("Only a token of the role {needed} may do this"))
    }

    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        match &error {
            DbError::EmailTaken => Self::new(StatusCode::CONFLICT, "This e-mail address is taken"),
            DbError::IdTaken => {
                Self::new(StatusCode::CONFLICT, "This id is taken: choose another one, or leave it out")
            }
            // A retry does not help, and the request is valid: neither 503 nor 4xx.
            DbError::NoIdLeft => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "There is no id left for a new user: the next one would be above 2^53 - 1. Choose a free id",
            ),
            DbError::VersionMismatch => Self::new(StatusCode::PRECONDITION_FAILED, "The mode was changed in between"),
            DbError::Unavailable(_) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a statement failed");
                Self::unavailable("The database is not available")
            }
            DbError::Failed(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a statement failed");
                Self::internal()
            }
        }
    }
}

impl From<Error> for ApiError {
    /// A cached read fails only if it had to load from the database.
    fn from(error: Error) -> Self {
        match (error.kind(), error.load_error::<DbError>()) {
            (ErrorKind::Load, Some(DbError::Failed(_))) => {
                tracing::error!(error = %error.chain(), "a load failed");
                Self::internal()
            }
            (ErrorKind::Overloaded, _) => Self::unavailable("Too many reads wait for the database"),
            (ErrorKind::Config | ErrorKind::Corrupt, _) => {
                tracing::error!(error = %error.chain(), "a read failed");
                Self::internal()
            }
            _ => {
                tracing::warn!(error = %error.chain(), "a read failed");
                Self::unavailable("The database is not available")
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            Body::Text(detail) => (self.status, Json(ErrorBody { detail })).into_response(),
            Body::Problems(detail) => (self.status, Json(ProblemsBody { detail })).into_response(),
        };
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
