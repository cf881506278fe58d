//! What the client and the server say, as the core's errors.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use cachefront_core::{Error, ErrorKind, Result};
use redis::{ErrorKind as RedisKind, RedisError, RedisResult, ServerErrorKind, Value};

/// True if the connection should be replaced: it is gone, silent, or leads to a server that does not take writes.
pub(crate) fn is_connection_lost(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(error.kind(), RedisKind::Server(ServerErrorKind::ReadOnly))
}

/// Turns an error of the client, or one that the server answered, into the core's.
pub(crate) fn from_redis(error: RedisError) -> Error {
    let (kind, message) = describe(&error);
    Error::with_source(kind, message, error)
}

const LACKS_A_RIGHT: (ErrorKind, &str) = (
    ErrorKind::Config,
    "the Redis user lacks a right: it needs `+@read +@write +@scripting +@connection +info +time ~{cf:*`",
);

fn describe(error: &RedisError) -> (ErrorKind, &'static str) {
    if let Some(described) = describe_tls(error) {
        return described;
    }
    match error.kind() {
        RedisKind::Io if error.is_timeout() => (ErrorKind::Timeout, "Redis did not answer in time"),
        RedisKind::Io => (ErrorKind::Unavailable, "Redis cannot be reached"),
        RedisKind::AuthenticationFailed => {
            (ErrorKind::Config, "Redis refused the login: mend user and password in the URL")
        }
        RedisKind::InvalidClientConfig => (ErrorKind::Config, "the Redis connection is configured wrongly"),
        RedisKind::Parse | RedisKind::UnexpectedReturnType => {
            (ErrorKind::Corrupt, "an answer of Redis could not be understood")
        }
        // What a script is refused comes without a code of its own.
        _ if error.detail().is_some_and(|detail| detail.contains("user executing the script can't")) => LACKS_A_RIGHT,
        RedisKind::Server(kind) => describe_server(kind, error.code().unwrap_or_default()),
        _ => describe_code(error.code().unwrap_or_default()),
    }
}

fn describe_server(kind: ServerErrorKind, code: &str) -> (ErrorKind, &'static str) {
    match kind {
        ServerErrorKind::NoPerm => LACKS_A_RIGHT,
        ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot => {
            (ErrorKind::Config, "the Redis URL names a node of a cluster: name a single server")
        }
        ServerErrorKind::ReadOnly => (ErrorKind::Unavailable, "Redis is a replica now and takes no writes"),
        ServerErrorKind::BusyLoading => (ErrorKind::Unavailable, "Redis is loading its data"),
        _ => describe_code(code),
    }
}

fn describe_code(code: &str) -> (ErrorKind, &'static str) {
    match code {
        "NOAUTH" | "WRONGPASS" => (ErrorKind::Config, "Redis refused the login: mend user and password in the URL"),
        "OOM" => (ErrorKind::Unavailable, "Redis is full: raise `maxmemory`, or set a `maxmemory-policy` that evicts"),
        "MISCONF" => (ErrorKind::Unavailable, "Redis cannot save its data and refuses writes"),
        "WRONGTYPE" => (ErrorKind::Corrupt, "a key of the namespace holds a value of another program"),
        _ => (ErrorKind::Unavailable, "Redis refused a command"),
    }
}

/// A certificate that does not convince is no outage: trying again is no use.
fn describe_tls(error: &RedisError) -> Option<(ErrorKind, &'static str)> {
    let tls: &rustls::Error = cause(error)?;
    Some(match tls {
        rustls::Error::InvalidCertificate(_) => (
            ErrorKind::Config,
            "the certificate of Redis is not trusted: name the CA that signed it in `tls_ca_file`, and the host that \
             stands in it in the URL",
        ),
        _ => (ErrorKind::Unavailable, "the TLS connection to Redis failed"),
    })
}

/// Finds the TLS error inside the client's: it sits in an I/O error, behind an `Arc`.
fn cause(error: &RedisError) -> Option<&rustls::Error> {
    let source = error.source()?;
    let io = match source.downcast_ref::<Arc<dyn StdError + Send + Sync>>() {
        Some(shared) => shared.downcast_ref::<io::Error>()?,
        None => source.downcast_ref::<io::Error>()?,
    };
    io.get_ref()?.downcast_ref()
}

/// An answer that is an error of the server, as the client's error.
pub(crate) fn refused(value: Value) -> RedisResult<Value> {
    match value {
        Value::ServerError(error) => Err(error.into()),
        value => Ok(value),
    }
}

/// An answer that is an error of the server, as the core's error.
pub(crate) fn check(value: Value) -> Result<Value> {
    refused(value).map_err(from_redis)
}

pub(crate) fn is_no_script(value: &Value) -> bool {
    matches!(value, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}

/// An answer of another shape than the command has.
pub(crate) fn unexpected(command: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("Redis answered `{command}` with something else than expected"))
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the Redis store was shut down")
}
