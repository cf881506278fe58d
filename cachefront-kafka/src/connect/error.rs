//! The errors of requests to Kafka Connect.

use std::error::Error as StdError;
use std::time::Duration;

use cachefront_core::{Error, ErrorKind};

use super::status::PartStatus;

/// Why Kafka Connect did not do what was requested. Secrets known to the client's
/// [`Redactor`](super::Redactor) are hidden in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The HTTP client cannot be created; the URL or the TLS library is the cause.
    #[error("the client for Kafka Connect cannot be created")]
    Client(#[source] reqwest::Error),
    /// No response arrived. Retry later.
    #[error("Kafka Connect does not respond")]
    Unreachable(#[source] reqwest::Error),
    /// The worker rebalances or starts. Retry soon.
    #[error("Kafka Connect is busy: {0}")]
    Busy(String),
    /// The connector does not exist. A worker needs a moment after its registration.
    #[error("Kafka Connect has no such connector")]
    NotFound,
    /// The worker refuses the request, usually because of the configuration. Retrying does not help.
    #[error("Kafka Connect refuses the request with status {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The worker's message.
        message: String,
    },
    /// The response is not what Kafka Connect's interface specifies: another program may listen at the URL.
    #[error("the response is not Kafka Connect's (line {line}, column {column}): check the URL")]
    Unexpected {
        /// The line of the first difference. The parser's own error is dropped, because it may quote secrets.
        line: usize,
        /// The column of the first difference.
        column: usize,
    },
    /// The connector or a task is `FAILED`, and restarts have not helped.
    #[error("the connector is FAILED: {}", .0.cause())]
    Failed(PartStatus),
    /// The time allowed has expired; the source is the last failure, if there was one.
    #[error("the connector does not run within {timeout:?}")]
    TimedOut {
        /// The time allowed.
        timeout: Duration,
        /// The last failure.
        #[source]
        last: Box<ConnectError>,
    },
}

impl ConnectError {
    /// Returns true if the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Busy(_) | Self::NotFound)
    }

    /// Returns the message and its innermost cause in one line. The causes between them mostly repeat each other.
    pub fn summary(&self) -> String {
        let mut innermost: Option<&dyn StdError> = None;
        let mut cause = self.source();
        while let Some(error) = cause {
            innermost = Some(error);
            cause = error.source();
        }
        innermost.map_or_else(|| self.to_string(), |innermost| format!("{self}: {innermost}"))
    }
}

impl From<ConnectError> for Error {
    /// `Unavailable` if the request may succeed later, `Timeout` after the time allowed, `Config` otherwise.
    fn from(error: ConnectError) -> Self {
        let kind = match &error {
            ConnectError::TimedOut { .. } => ErrorKind::Timeout,
            error if error.is_transient() => ErrorKind::Unavailable,
            _ => ErrorKind::Config,
        };
        Self::with_source(kind, "a request to Kafka Connect failed", error)
    }
}
