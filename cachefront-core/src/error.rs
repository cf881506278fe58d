//! The public error: what went wrong, and what the caller should do about it.
//!
//! A kind is an instruction. Reads of a cache return only the kinds that concern the database: a store that fails costs
//! latency and is not an error of a read.
//!
//! | kind | reaction |
//! |---|---|
//! | `Config` | fix the setting that the message names |
//! | `Unavailable`, `Timeout` | retry later; the invalidator does by itself |
//! | `Gap`, `Corrupt` | handled by the invalidator with a flush; monitor how often |
//! | `Conflict` | re-read the state; the invalidator does by itself |
//! | `Load` | inspect [`Error::load_error`] |
//! | `Unproven` | retry later, or load from the server that commits |
//! | `Overloaded` | shed load |
//! | `Closed` | the component was shut down |

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The result of every fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error, as the cause of an [`Error`].
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// The error of cachefront: cheap to clone, with a [`kind`](Error::kind) that says how to react.
///
/// The message is for humans and not part of the API. The cause, if there is one, is returned by
/// [`source`](StdError::source); the error of a user's loader keeps its type, see [`Error::load_error`].
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

/// The kind of an [`Error`]: what its receiver should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting, a URL, a privilege or a server variable is wrong. Fix what the message names; a retry cannot help.
    Config,
    /// A server cannot be reached or refuses temporarily. Retry later; reads fall back to the database.
    Unavailable,
    /// No reply in time. The outcome is unknown: the operation may still have taken effect.
    Timeout,
    /// The change source cannot deliver every change after the requested position. Every cache must be flushed.
    Gap,
    /// External bytes could not be decoded. They are never used: an event raises a gap, an entry is a miss.
    Corrupt,
    /// Another invalidator changed the store's state. Read the state again and resume from there.
    Conflict,
    /// The loader failed. Its error is the source.
    Load,
    /// The database's value is known not to satisfy the read: a replica lags behind the token, or cannot prove a bound on
    /// staleness. Retry later, or load from the server that commits.
    Unproven,
    /// Too many loads are waiting for the database, or the store is full. Shed load, or raise the limit.
    Overloaded,
    /// The component was shut down.
    Closed,
}

/// How to retry a failed operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// Do not retry: the outcome would be the same.
    Never,
    /// Retry after a pause, over the same connection.
    Backoff,
    /// Retry after a pause, over a new connection and from the last known position.
    Reconnect,
}

impl ErrorKind {
    /// Returns how to retry an operation that failed in this way.
    pub fn retry(self) -> Retry {
        match self {
            Self::Config | Self::Gap | Self::Corrupt | Self::Load | Self::Closed => Retry::Never,
            Self::Overloaded | Self::Unproven => Retry::Backoff,
            Self::Unavailable | Self::Timeout | Self::Conflict => Retry::Reconnect,
        }
    }

    /// Returns the kind as one lower-case word, for metric labels and logs.
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
    /// Creates an error without a cause.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { inner: Arc::new(Inner { kind, message: message.into(), source: None }) }
    }

    /// Creates an error with its cause. The message should not repeat the text of the cause.
    pub fn with_source(kind: ErrorKind, message: impl Into<Cow<'static, str>>, source: impl Into<BoxError>) -> Self {
        Self { inner: Arc::new(Inner { kind, message: message.into(), source: Some(source.into()) }) }
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Returns how to retry the operation.
    pub fn retry(&self) -> Retry {
        self.inner.kind.retry()
    }

    /// Returns the loader's error, if the loader failed and `E` is the type of its error.
    ///
    /// ```
    /// use cachefront::{Cache, loader_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
    /// let users: Cache<u64, String> = Cache::builder("users")
    ///     .loader(loader_fn(|_: u64| async { Err::<Option<String>, _>(std::io::Error::other("the table is locked")) }))
    ///     .build()?;
    /// let error = users.get(&7).await.expect_err("the loader fails");
    /// assert_eq!(error.load_error::<std::io::Error>().expect("an I/O error").to_string(), "the table is locked");
    /// # Ok::<(), cachefront::Error>(())
    /// # }).expect("the example runs");
    /// ```
    pub fn load_error<E: StdError + 'static>(&self) -> Option<&E> {
        match self.inner.kind {
            ErrorKind::Load => self.inner.source.as_deref().and_then(|source| source.downcast_ref()),
            _ => None,
        }
    }

    /// Returns the message and all its causes on one line, for a log or a terminal. A cause whose text the line has already is
    /// omitted.
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let words = error.to_string();
            // Many errors repeat the text of their cause in their own.
            if !line.contains(&words) {
                line.push_str(": ");
                line.push_str(&words);
            }
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

    #[test]
    fn a_chain_says_nothing_twice() {
        let refused = || std::io::Error::other("connection refused");
        let inner = Error::with_source(ErrorKind::Unavailable, "no route: connection refused", refused());
        let outer = Error::with_source(ErrorKind::Unavailable, "the store is away", inner);
        assert_eq!(outer.chain(), "the store is away: no route: connection refused");
    }
}
