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
//! | `LOADING`, `MISCONF`, `NOREPLICAS` | `Unavailable` | the server's operator |
//! | `OOM` | `Overloaded`: it serves what it has | the server's operator |
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

use self::Description::{LacksARight, Other};

/// The address of a server, for messages: host and port, or a path. It never holds the credentials of the URL.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    text: Arc<str>,
    role: Role,
}

/// What a server is asked for, and so which rights its user needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It holds the entries.
    Server,
    /// It holds those of some slots.
    Node,
    /// It names the server.
    Sentinel,
}

impl Address {
    pub(crate) fn new(address: impl fmt::Display, role: Role) -> Self {
        Self { text: address.to_string().into(), role }
    }

    /// Converts an error of the client, or an error reply of the server, into the core's error.
    pub(crate) fn error(&self, error: &RedisError) -> Error {
        let (kind, what) = match describe(error) {
            Description::LacksARight => (ErrorKind::Config, self.role.lacks_a_right()),
            Description::Other(kind, what) => (kind, what),
        };
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
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
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
        || (matches!(error.kind(), RedisKind::Server(_)) && code_of(error) == READ_ONLY)
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

impl Role {
    /// Follows the address of a server that refuses a command to its user. The rights are those that the documentation lists.
    fn lacks_a_right(self) -> &'static str {
        match self {
            Self::Server => {
                "refused a command: the user of the URL lacks a right; it needs \
                 `+@read +@write +@scripting +@connection +select +wait +info +time ~{cf:*`"
            }
            Self::Node => {
                "refused a command: the user of the URL lacks a right; it needs \
                 `+@read +@write +@scripting +@connection +select +wait +info +time ~{cf:* +cluster|slots +cluster|info +asking`"
            }
            Self::Sentinel => {
                "refused a command: the user of the Sentinels, `sentinel_user` in the URL, lacks a right; it needs \
                 `+sentinel|master +sentinel|get-master-addr-by-name +subscribe &+switch-master +@connection`"
            }
        }
    }
}

/// What an error means.
#[derive(Debug, PartialEq, Eq)]
enum Description {
    /// The user must not run the command.
    LacksARight,
    /// The kind of the error, and the part of its message that follows the address.
    Other(ErrorKind, &'static str),
}

/// Also if the server has a password and the URL has none.
const LOGIN_REFUSED: Description = Other(
    ErrorKind::Config,
    "refused the login: correct user and password in the URL; a Sentinel's are `sentinel_user` and `sentinel_password`",
);

/// Returns what an error means.
///
/// The order matters: a TLS failure is an I/O error of the client, and a refusal inside a script is
/// a generic server error.
fn describe(error: &RedisError) -> Description {
    if let Some((kind, what)) = describe_tls(error) {
        return Other(kind, what);
    }
    match error.kind() {
        RedisKind::Io if error.is_timeout() => Other(ErrorKind::Timeout, "did not reply in time"),
        RedisKind::Io => Other(ErrorKind::Unavailable, "cannot be reached"),
        RedisKind::AuthenticationFailed => LOGIN_REFUSED,
        RedisKind::InvalidClientConfig => {
            Other(ErrorKind::Config, "cannot be used: its connection is configured wrongly")
        }
        RedisKind::Parse | RedisKind::UnexpectedReturnType => {
            Other(ErrorKind::Corrupt, "sent a reply that cannot be parsed")
        }
        _ if is_refused_in_script(error) => LacksARight,
        RedisKind::Server(kind) => describe_server(kind, code_of(error)),
        _ => describe_code(code_of(error)),
    }
}

/// Returns true if a script called a command that its user must not run. Such a refusal has no code of its own.
///
/// Redis before 7.2 says "The user executing the script can't ..", later ones and Valkey "ACL failure in script: ..".
fn is_refused_in_script(error: &RedisError) -> bool {
    let texts = ["user executing the script can't", "ACL failure in script"];
    error.detail().is_some_and(|detail| texts.iter().any(|text| detail.contains(text)))
}

/// Returns the code of an error reply, which is its first word.
///
/// Redis before 7.0 wraps the error of a command in a script: `ERR Error running script (call to f_..): @user_script:9:
/// @user_script: 9: -READONLY You can't ..`.
fn code_of(error: &RedisError) -> &str {
    let wrapped = error.detail().filter(|detail| detail.contains("Error running script"));
    let inner = wrapped.and_then(|detail| detail.rsplit_once("@user_script:")).map(|(_, inner)| {
        let line = |char: char| char.is_ascii_digit() || " :-".contains(char);
        inner.trim_start_matches(line).split(' ').next().unwrap_or_default()
    });
    let is_code = |word: &&str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    inner.filter(is_code).or(error.code()).unwrap_or_default()
}

/// As [`describe`], for an error reply of a kind that the client knows.
fn describe_server(kind: ServerErrorKind, code: &str) -> Description {
    match kind {
        ServerErrorKind::NoPerm => LacksARight,
        ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::TryAgain => Other(
            ErrorKind::Unavailable,
            "does not serve the slot of a key at the moment: the slot has moved or is being moved",
        ),
        ServerErrorKind::ClusterDown => Other(ErrorKind::Unavailable, "is a node of a cluster that is down"),
        ServerErrorKind::BusyLoading => Other(ErrorKind::Unavailable, "is loading its data"),
        _ => describe_code(code),
    }
}

/// Follows the address of a server that is not a primary.
pub(crate) const IS_A_REPLICA: &str =
    "is a replica, which takes no writes: if it stays one, let the URL lead to the primary";

/// As [`describe`], by the error code.
///
/// Codes that this version of the client does not know as a kind are matched by their text.
fn describe_code(code: &str) -> Description {
    match code {
        "NOAUTH" | "WRONGPASS" => LOGIN_REFUSED,
        READ_ONLY => Other(ErrorKind::Unavailable, IS_A_REPLICA),
        // No outage: hits go on, so it must not open the circuit breaker.
        "OOM" => Other(
            ErrorKind::Overloaded,
            "is full: raise `maxmemory`, or set `maxmemory-policy volatile-ttl`, which evicts entries",
        ),
        "MISCONF" => Other(ErrorKind::Unavailable, "cannot save its data and refuses writes"),
        "NOREPLICAS" => {
            Other(ErrorKind::Unavailable, "has fewer replicas than `min-replicas-to-write` and refuses writes")
        }
        "WRONGTYPE" => Other(ErrorKind::Corrupt, "holds a value of another program at a key of the namespace"),
        _ => Other(ErrorKind::Unavailable, "refused a command"),
    }
}

/// The code of a replica's refusal to write.
const READ_ONLY: &str = "READONLY";

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

    /// A reply of a server as the client's error.
    fn refusal(text: &str) -> RedisError {
        let reply = redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).expect("a reply");
        into_result(reply).expect_err("a refusal")
    }

    #[test]
    fn a_refusal_in_a_script_is_the_same_in_every_release() {
        let in_6_2 =
            |text: &str| format!("ERR Error running script (call to f_1): @user_script:24: @user_script: 24: {text}");
        for text in [
            in_6_2("The user executing the script can't run this command or subcommand"),
            "ERR The user executing the script can't run this command or subcommand script: 1, on @user_script:24.".into(),
            "ERR ACL failure in script: User ada has no permissions to run the 'time' command script: on @user_script:1."
                .into(),
            "NOPERM this user has no permissions to run the 'time' command".into(),
        ] {
            assert_eq!(describe(&refusal(&text)), LacksARight, "{text}");
        }
        let read_only = "READONLY You can't write against a read only replica.";
        for text in
            [in_6_2(&format!("-{read_only}")), format!("{read_only} script: 1, on @user_script:24."), read_only.into()]
        {
            assert_eq!(describe(&refusal(&text)), Other(ErrorKind::Unavailable, IS_A_REPLICA), "{text}");
            assert!(is_connection_lost(&refusal(&text)), "{text}");
        }
        for (code, word) in
            [("OOM", "maxmemory"), ("MISCONF", "save"), ("NOREPLICAS", "replicas"), ("WRONGTYPE", "value")]
        {
            for text in [in_6_2(&format!("-{code} a reason: it is so")), format!("{code} a reason: it is so")] {
                let Other(_, what) = describe(&refusal(&text)) else { panic!("{text}") };
                assert!(what.contains(word), "{text}: {what}");
                assert!(!is_connection_lost(&refusal(&text)), "{text}");
            }
        }
        for text in ["ERR unknown command", &in_6_2("attempt to index a nil value")] {
            assert_eq!(describe(&refusal(text)), Other(ErrorKind::Unavailable, "refused a command"), "{text}");
        }
    }

    #[test]
    fn the_chain_has_each_text_of_the_client_once() {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused by a test");
        let error = Address::new("cache.internal:6379", Role::Server).error(&refused.into());
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.to_string(), "Redis at cache.internal:6379 cannot be reached");
        assert_eq!(error.chain().matches("connection refused by a test").count(), 1, "{}", error.chain());
    }
}
