//! The one public error: what went wrong, and what the caller should do about it.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The result of every fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error that a plug-in may hand over as a cause.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// An error of cachefront: cheap to clone, with a [`kind`](Error::kind) that says how to act.
///
/// The message is for people and not part of the API. The cause, where there is one, is under
/// [`source`](StdError::source); the error of a user's loader is there in its own type, see [`Error::load_error`].
///
/// ```
/// use cachefront::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Config, "`ttl` is zero: give a duration above zero");
/// assert_eq!(error.kind(), ErrorKind::Config);
/// assert_eq!(error.to_string(), "`ttl` is zero: give a duration above zero");
/// ```
#[derive(Clone)]
pub struct Error {
    inner: Arc<Inner>,
}

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    source: Option<BoxError>,
}

/// What an [`Error`] asks its receiver to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting, a URL, a right or a server variable is wrong. Mend what the message names; trying again is no use.
    Config,
    /// A server cannot be reached or refuses for now. Try again later; reads fall back by themselves.
    Unavailable,
    /// No answer came within the time allowed. The outcome is unknown: it may still have happened.
    Timeout,
    /// The change source cannot deliver every change after the position asked for. Everything cached must be voided.
    Gap,
    /// Bytes from outside could not be understood. They are never used; an event raises a gap, an entry is a miss.
    Corrupt,
    /// The store's state was moved by somebody else. Read it again and go on from there.
    Conflict,
    /// The loader failed. Its own error is the source.
    Load,
    /// What the database returned is known not to be as fresh as the read demands: a replica lags behind the token, or was
    /// asked for a bound on staleness. Try again later, or load from the server that commits.
    Unproven,
    /// Too many loads are waiting for the database. Shed load, or raise the bound.
    Overloaded,
    /// The component was shut down.
    Closed,
}

/// How an operation that failed may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// Never: the outcome will be the same.
    Never,
    /// After a pause, over the same connection.
    Backoff,
    /// After a pause, over a new connection and from the last known position.
    Reconnect,
}

impl ErrorKind {
    /// How an operation that failed in this way may be repeated.
    pub fn retry(self) -> Retry {
        match self {
            Self::Config | Self::Gap | Self::Corrupt | Self::Load | Self::Closed => Retry::Never,
            Self::Overloaded | Self::Unproven => Retry::Backoff,
            Self::Unavailable | Self::Timeout | Self::Conflict => Retry::Reconnect,
        }
    }

    /// The kind in one lower-case word, for labels of metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Gap => "gap",
            Self::Corrupt => "corrupt",
            Self::Conflict => "conflict",
            Self::Load => "load",
            Self::Unproven => "unproven",
            Self::Overloaded => "overloaded",
            Self::Closed => "closed",
        }
    }
}

impl Error {
    /// An error without a cause.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { inner: Arc::new(Inner { kind, message: message.into(), source: None }) }
    }

    /// An error with its cause; the message should not repeat the cause's text.
    pub fn with_source(kind: ErrorKind, message: impl Into<Cow<'static, str>>, source: impl Into<BoxError>) -> Self {
        Self { inner: Arc::new(Inner { kind, message: message.into(), source: Some(source.into()) }) }
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// How the operation may be repeated.
    pub fn retry(&self) -> Retry {
        self.inner.kind.retry()
    }

    /// The loader's own error, if that is what failed and `E` is its type.
    pub fn load_error<E: StdError + 'static>(&self) -> Option<&E> {
        match self.inner.kind {
            ErrorKind::Load => self.inner.source.as_deref().and_then(|source| source.downcast_ref()),
            _ => None,
        }
    }

    /// The message and all its causes in one line, for a log or a terminal.
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.inner.kind)
            .field("message", &self.inner.message)
            .field("source", &self.inner.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_own_error_is_found_by_its_type() {
        let io = std::io::Error::other("table is gone");
        let error = Error::with_source(ErrorKind::Load, "the loader of cache `users` failed", io);
        assert_eq!(error.clone().load_error::<std::io::Error>().map(ToString::to_string), Some("table is gone".into()));
        assert!(error.load_error::<fmt::Error>().is_none());
        assert_eq!(error.chain(), "the loader of cache `users` failed: table is gone");
    }
}
