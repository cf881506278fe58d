//! Errors of the client and of the server, as the core's errors.
//!
//! To a reader every error means that the store is away: it loads from the database. An invalidator
//! ends its session and begins another one after a pause; only an error of kind `Config` in its very
//! first session ends it, because a retry cannot help.
//!
//! | reply or failure | kind | remedy |
//! |---|---|---|
//! | connection refused, reset, closed | `Unavailable` | reconnect |
//! | no reply in time | `Timeout` | reconnect |
//! | `READONLY`, `role:slave` | `Unavailable` | reconnect: a failover moves the primary |
//! | `LOADING`, `MISCONF`, `OOM` | `Unavailable` | the server's operator |
//! | `MOVED`, `ASK`, `TRYAGAIN`, `CLUSTERDOWN` | `Unavailable` | read the topology again |
//! | `NOPERM`, `NOAUTH`, `WRONGPASS` | `Config` | correct user, password or rights |
//! | untrusted certificate | `Config` | name the CA in `tls_ca_file` |
//! | `WRONGTYPE`, unexpected shape | `Corrupt` | another program writes to these keys |

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use cachefront_core::{Error, ErrorKind, Result};
use redis::{ErrorKind as RedisKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::time::error::Elapsed;

/// The address of a server, for messages: host and port, or a path. It never holds the credentials of the URL.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address(Arc<str>);

impl Address {
    pub(crate) fn new(address: impl fmt::Display) -> Self {
        Self(address.to_string().into())
    }

    /// Converts an error of the client, or an error reply of the server, into the core's error.
    pub(crate) fn error(&self, error: &RedisError) -> Error {
        let (kind, what) = describe(error);
        Error::with_source(kind, format!("Redis at {self} {what}"), ClientText(text_of(error)))
    }

    /// Converts an error reply into the core's error; any other reply is returned as it is.
    pub(crate) fn check(&self, value: Value) -> Result<Value> {
        into_result(value).map_err(|error| self.error(&error))
    }

    /// The error of a wait that ended without a reply. `what` follows the address, as in "did not reply".
    ///
    /// The address says which server it was: with Sentinel or Cluster there are several.
    pub(crate) fn timed_out(&self, what: &str, elapsed: Elapsed) -> Error {
        Error::with_source(ErrorKind::Timeout, format!("Redis at {self} {what} in time"), elapsed)
    }

    /// The error of a reply that does not have the shape the command documents.
    pub(crate) fn unexpected_reply(&self, command: &'static str) -> Error {
        Error::new(ErrorKind::Corrupt, format!("Redis at {self} sent an unexpected reply to {command}"))
    }

    /// An error of kind `Unavailable`. `what` follows the address, as in "is a replica".
    pub(crate) fn unavailable(&self, what: &str) -> Error {
        Error::new(ErrorKind::Unavailable, format!("Redis at {self} {what}"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text of a client error. The client's errors repeat the text of their causes in their own, so the whole chain is
/// flattened here, each part once.
///
/// It is the source of the core's error, so that `Error::chain` shows it once.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct ClientText(String);

/// Joins the texts of an error and its causes, and omits those that another contains.
fn text_of(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

/// Returns true if the connection must be replaced: it is closed, unresponsive, or leads to a server that takes no writes.
pub(crate) fn is_connection_lost(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(error.kind(), RedisKind::Server(ServerErrorKind::ReadOnly))
}

/// Returns true if the topology of a cluster has changed: a slot has another node, or the node is not part of a working
/// cluster. While a slot is being moved (`ASK`, `TRYAGAIN`) the topology is still the former one.
pub(crate) fn is_redirect(error: &RedisError) -> bool {
    matches!(error.kind(), RedisKind::Server(ServerErrorKind::Moved | ServerErrorKind::ClusterDown))
}

/// Returns true if a reply says that the slot of a key is being moved, and that the key is, or may be, at the other node.
pub(crate) fn is_moving(value: &Value) -> bool {
    matches!(value, Value::ServerError(error) if error.kind().is_some_and(is_move))
}

/// As [`is_moving`], for an error.
pub(crate) fn is_moving_error(error: &RedisError) -> bool {
    matches!(error.kind(), RedisKind::Server(kind) if is_move(kind))
}

fn is_move(kind: ServerErrorKind) -> bool {
    matches!(kind, ServerErrorKind::Ask | ServerErrorKind::TryAgain)
}

/// An error of kind `Config`.
pub(crate) fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}

/// The rights are those that the crate's documentation lists.
const LACKS_A_RIGHT: (ErrorKind, &str) = (
    ErrorKind::Config,
    "refused a command: the user of the URL lacks a right; it needs \
     `+@read +@write +@scripting +@connection +select +wait +info +time ~{cf:*`",
);

/// Also if the server has a password and the URL has none.
const LOGIN_REFUSED: (ErrorKind, &str) = (
    ErrorKind::Config,
    "refused the login: correct user and password in the URL; a Sentinel's are `sentinel_user` and `sentinel_password`",
);

/// Returns the kind of an error, and the part of its message that follows the address.
///
/// The order matters: a TLS failure is an I/O error of the client, and a refusal inside a script is
/// a generic server error.
fn describe(error: &RedisError) -> (ErrorKind, &'static str) {
    if let Some(described) = describe_tls(error) {
        return described;
    }
    match error.kind() {
        RedisKind::Io if error.is_timeout() => (ErrorKind::Timeout, "did not reply in time"),
        RedisKind::Io => (ErrorKind::Unavailable, "cannot be reached"),
        RedisKind::AuthenticationFailed => LOGIN_REFUSED,
        RedisKind::InvalidClientConfig => (ErrorKind::Config, "cannot be used: its connection is configured wrongly"),
        RedisKind::Parse | RedisKind::UnexpectedReturnType => {
            (ErrorKind::Corrupt, "sent a reply that cannot be parsed")
        }
        // A refusal inside a script has no error code of its own.
        _ if error.detail().is_some_and(|detail| detail.contains("user executing the script can't")) => LACKS_A_RIGHT,
        RedisKind::Server(kind) => describe_server(kind, error.code().unwrap_or_default()),
        _ => describe_code(error.code().unwrap_or_default()),
    }
}

/// As [`describe`], for an error reply of a kind that the client knows.
fn describe_server(kind: ServerErrorKind, code: &str) -> (ErrorKind, &'static str) {
    match kind {
        ServerErrorKind::NoPerm => LACKS_A_RIGHT,
        ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::TryAgain => (
            ErrorKind::Unavailable,
            "does not serve the slot of a key at the moment: the slot has moved or is being moved",
        ),
        ServerErrorKind::ClusterDown => (ErrorKind::Unavailable, "is a node of a cluster that is down"),
        ServerErrorKind::ReadOnly => (ErrorKind::Unavailable, IS_A_REPLICA),
        ServerErrorKind::BusyLoading => (ErrorKind::Unavailable, "is loading its data"),
        _ => describe_code(code),
    }
}

/// Follows the address of a server that is not a primary.
pub(crate) const IS_A_REPLICA: &str =
    "is a replica, which takes no writes: if it stays one, let the URL lead to the primary";

/// As [`describe`], by the error code, which is the first word of an error reply.
///
/// Codes that this version of the client does not know as a kind are matched by their text.
fn describe_code(code: &str) -> (ErrorKind, &'static str) {
    match code {
        "NOAUTH" | "WRONGPASS" => LOGIN_REFUSED,
        "OOM" => (ErrorKind::Unavailable, "is full: raise `maxmemory`, or set a `maxmemory-policy` that evicts"),
        "MISCONF" => (ErrorKind::Unavailable, "cannot save its data and refuses writes"),
        "WRONGTYPE" => (ErrorKind::Corrupt, "holds a value of another program at a key of the namespace"),
        _ => (ErrorKind::Unavailable, "refused a command"),
    }
}

/// Describes a failure of TLS, if that is the cause. An untrusted certificate is an error of the configuration and not
/// an outage: a retry cannot succeed.
fn describe_tls(error: &RedisError) -> Option<(ErrorKind, &'static str)> {
    let tls: &rustls::Error = cause(error)?;
    Some(match tls {
        rustls::Error::InvalidCertificate(_) => (
            ErrorKind::Config,
            "presented a certificate that is not trusted: name the CA that signed it in `tls_ca_file`, and in the URL a \
             host that the certificate names",
        ),
        _ => (ErrorKind::Unavailable, "failed the TLS handshake"),
    })
}

/// Finds the TLS error inside the client's error: it is wrapped in an I/O error, behind an `Arc`.
fn cause(error: &RedisError) -> Option<&rustls::Error> {
    let source = error.source()?;
    let io = match source.downcast_ref::<Arc<dyn StdError + Send + Sync>>() {
        Some(shared) => shared.downcast_ref::<io::Error>()?,
        None => source.downcast_ref::<io::Error>()?,
    };
    io.get_ref()?.downcast_ref()
}

/// Converts an error reply of the server into the client's error; any other reply is returned as it is.
pub(crate) fn into_result(value: Value) -> RedisResult<Value> {
    match value {
        Value::ServerError(error) => Err(error.into()),
        value => Ok(value),
    }
}

/// Returns true if the server does not know the hash of a script.
///
/// A server forgets its scripts when it restarts, and after `SCRIPT FLUSH`.
pub(crate) fn is_no_script(value: &Value) -> bool {
    matches!(value, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}

/// The error of a read after the store was dropped or its runtime shut down.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the Redis store was shut down")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_has_each_text_of_the_client_once() {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused by a test");
        let error = Address::new("cache.internal:6379").error(&refused.into());
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.to_string(), "Redis at cache.internal:6379 cannot be reached");
        assert_eq!(error.chain().matches("connection refused by a test").count(), 1, "{}", error.chain());
    }
}
