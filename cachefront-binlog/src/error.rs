//! Errors of the driver and of the server, as the core's errors. The kind tells the caller what to do:
//!
//! | kind | cause |
//! |---|---|
//! | `Config` | the URL, a privilege, a certificate or a variable of the server is wrong |
//! | `Unavailable` | the server cannot be reached, refuses for now, or closed the connection |
//! | `Timeout` | the server did not reply in time |
//! | `Gap` | the log no longer has all changes, or one cannot be decoded |
//!
//! The error of the driver is kept as the source. Server errors are numbered as in the
//! [reference](https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html).
//!
//! | number | name | kind |
//! |---:|---|---|
//! | 1045, 1698 | `ER_ACCESS_DENIED` | `Config` |
//! | 1044, 1142, 1143, 1227 | a right is missing | `Config` |
//! | 1130, 1449, 3118, 3955 | host not admitted, account locked | `Config` |
//! | 3159 | `ER_SECURE_TRANSPORT_REQUIRED` | `Config` |
//! | 1770, 1776 to 1782 | GTIDs are off | `Config` |
//! | 1040, 1203, 1226 | too many connections | `Unavailable` |
//! | 3024 | `ER_QUERY_TIMEOUT` | `Timeout` |
//! | 1236 | the log cannot be sent | by its message; `Gap` if that is not known |

use std::io;

use cachefront_core::{Error, ErrorKind};
use mysql_async::{DriverError, Error as DriverFailure, IoError, ServerError, TlsError};
use mysql_common::proto::codec::error::PacketCodecError;

/// The server cannot send the log from the requested position.
const ER_SOURCE_FATAL_READING_BINLOG: u16 = 1236;

/// Converts the error of a query. `doing` names the query, as a participle.
pub(crate) fn query(doing: &str, cause: DriverFailure) -> Error {
    let (kind, hint) = match &cause {
        DriverFailure::Server(server) => classify_query(server),
        DriverFailure::Other(_) => (ErrorKind::Config, "its reply cannot be used"),
        _ => (ErrorKind::Unavailable, "the connection was lost"),
    };
    Error::with_source(kind, format!("{doing} failed: {hint}"), cause)
}

/// The kind and hint for an error number of a query.
fn classify_query(server: &ServerError) -> (ErrorKind, &'static str) {
    match server.code {
        1044 | 1142 | 1143 | 1227 => (ErrorKind::Config, "the user lacks a right that the server's message names"),
        1193 => (ErrorKind::Config, "the server does not know this variable: MySQL 8.0 or later is needed"),
        1305 => (ErrorKind::Config, "the server does not know this function: MySQL 8.0 or later is needed"),
        3024 => (ErrorKind::Timeout, "the server reached its own time limit"),
        // GTID_MODE is off.
        1770 | 1776..=1782 => (
            ErrorKind::Config,
            "the server has no GTIDs: SET PERSIST gtid_mode=ON, step by step as MySQL's manual says",
        ),
        _ => (ErrorKind::Unavailable, "the server refused it"),
    }
}

/// Converts the error of connecting. `address` is `host:port`; `has_ca` is true if a CA was given.
pub(crate) fn connect(address: &str, user: &str, has_ca: bool, cause: DriverFailure) -> Error {
    let (kind, text) = match &cause {
        DriverFailure::Server(server) => classify_login(address, user, server),
        DriverFailure::Io(IoError::Tls(tls)) => classify_tls(address, has_ca, tls),
        DriverFailure::Io(IoError::Io(io)) => classify_io(address, has_ca, io),
        DriverFailure::Driver(DriverError::NoClientSslFlagFromServer) => (
            ErrorKind::Config,
            format!(
                "{address} offers no TLS: turn it on there, or take `require_ssl=true` and the CA out of the settings"
            ),
        ),
        // For an unknown user the server names a random plug-in, so that a client cannot find out which users exist.
        DriverFailure::Driver(DriverError::UnknownAuthPlugin { .. }) => (
            ErrorKind::Config,
            format!(
                "{address} requests an authentication for user `{user}` that is not supported, or does not know the user: \
                 check the name in the URL, and that the account uses caching_sha2_password"
            ),
        ),
        DriverFailure::Url(_) => (ErrorKind::Config, "the MySQL URL is malformed".to_owned()),
        _ => (ErrorKind::Unavailable, format!("connecting to {address} failed")),
    };
    Error::with_source(kind, text, cause)
}

/// The kind and text for an error number of a login.
fn classify_login(address: &str, user: &str, server: &ServerError) -> (ErrorKind, String) {
    match server.code {
        1045 | 1698 => {
            (ErrorKind::Config, format!("{address} refused user `{user}`: check the name and the password in the URL"))
        }
        1130 | 1449 | 3118 | 3955 => (
            ErrorKind::Config,
            format!(
                "{address} does not admit user `{user}` from this host: check the account's host part and whether it is locked"
            ),
        ),
        1524 => (ErrorKind::Config, format!("{address} lacks the authentication plug-in of user `{user}`")),
        3159 => (ErrorKind::Config, format!("{address} requires TLS: add `?require_ssl=true` to the URL")),
        1040 | 1203 | 1226 => {
            (ErrorKind::Unavailable, format!("{address} has too many connections, in total or of user `{user}`"))
        }
        _ => (ErrorKind::Unavailable, format!("{address} refused the connection")),
    }
}

/// The kind and text for an I/O error while connecting, which may wrap a TLS error.
fn classify_io(address: &str, has_ca: bool, cause: &io::Error) -> (ErrorKind, String) {
    if let Some(tls) = cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return classify_rustls(address, has_ca, tls);
    }
    let text = match cause.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("no MySQL server listens at {address}: check host and port of the URL, and that the server runs")
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            format!("{address} closed the connection: it is shutting down, or is not a MySQL server")
        }
        _ => format!("{address} cannot be reached: check host and port of the URL, and the network"),
    };
    (ErrorKind::Unavailable, text)
}

/// The kind and text for a TLS error of the driver.
fn classify_tls(address: &str, has_ca: bool, cause: &TlsError) -> (ErrorKind, String) {
    match cause {
        TlsError::Tls(tls) => classify_rustls(address, has_ca, tls),
        TlsError::InvalidDnsName(_) => (
            ErrorKind::Config,
            format!("the host in {address} is not a name that a certificate can have: set `tls_server_name`"),
        ),
        _ => (ErrorKind::Config, format!("TLS to {address} cannot be set up: check the CA file")),
    }
}

/// The kind and text for a TLS error. An invalid certificate is an error of the configuration.
fn classify_rustls(address: &str, has_ca: bool, cause: &rustls::Error) -> (ErrorKind, String) {
    use rustls::CertificateError as Bad;
    let rustls::Error::InvalidCertificate(bad) = cause else {
        if let rustls::Error::AlertReceived(alert) = cause {
            let text = format!(
                "{address} refused the TLS handshake ({alert:?}): if its accounts need a certificate of the client, set \
                 `tls_client_files`"
            );
            return (ErrorKind::Config, text);
        }
        return (ErrorKind::Unavailable, format!("the TLS handshake with {address} failed"));
    };
    let text = match bad {
        Bad::UnknownIssuer if !has_ca => format!(
            "TLS is required and no CA was given, and the certificate of {address} is not signed by a public one: set \
             `tls_ca_file` to the file of the CA that signed it"
        ),
        Bad::UnknownIssuer | Bad::BadSignature => format!(
            "the certificate of {address} is not signed by the CA given: set `tls_ca_file` to the file of the CA that \
             signed it"
        ),
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => format!(
            "the certificate of {address} does not name that host as a subject alternative name: give the server a \
             certificate that does (the one that MySQL generates by itself never does), or set `tls_server_name` to a \
             name that it has"
        ),
        Bad::Expired | Bad::ExpiredContext { .. } => format!("the certificate of {address} has expired: renew it"),
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            format!("the certificate of {address} is not valid yet: check the clocks")
        }
        _ => format!("the certificate of {address} is not valid"),
    };
    (ErrorKind::Config, text)
}

/// Converts the error of the log's stream.
pub(crate) fn stream(address: &str, user: &str, cause: DriverFailure) -> Error {
    let (kind, text) = match &cause {
        DriverFailure::Server(server) if server.code == ER_SOURCE_FATAL_READING_BINLOG => {
            classify_fatal(address, &server.message)
        }
        DriverFailure::Server(server) if matches!(server.code, 1227 | 1045) => (
            ErrorKind::Config,
            format!("user `{user}` may not read the log of {address}: GRANT REPLICATION SLAVE ON *.* TO `{user}`"),
        ),
        DriverFailure::Server(_) => (ErrorKind::Unavailable, format!("{address} ended the log's stream")),
        DriverFailure::Io(IoError::Io(io)) if is_too_large(io) => {
            (ErrorKind::Config, format!("an event of the log of {address} is larger than `event_bytes_max`: raise it"))
        }
        _ => (ErrorKind::Unavailable, format!("the connection to the log of {address} was lost")),
    };
    Error::with_source(kind, text, cause)
}

/// Returns true for a packet that is larger than the connection allows.
fn is_too_large(cause: &io::Error) -> bool {
    let codec = cause.get_ref().and_then(|inner| inner.downcast_ref::<PacketCodecError>());
    matches!(codec, Some(PacketCodecError::PacketTooLarge))
}

/// The kind and text for `ER_SOURCE_FATAL_ERROR_READING_BINLOG`, which has several causes that only its message tells
/// apart. An unknown one is a gap.
fn classify_fatal(address: &str, message: &str) -> (ErrorKind, String) {
    let lower = message.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    if has(&["same server_uuid/server_id", "same server_id"]) {
        let text = format!(
            "another reader with the same replica UUID or server id took over the log of {address}: give each reader its \
             own `server_id`"
        );
        return (ErrorKind::Unavailable, text);
    }
    if has(&["log is not open"]) {
        return (ErrorKind::Config, format!("{address} writes no binary log: start it with --log-bin"));
    }
    if has(&["gtid_strict_mode", "not in the master's binlog", "has more gtids than"]) {
        let text = format!(
            "the requested position has transactions that {address} does not have: the address leads to another server, or \
             this one was restored or lost them in a failover. Continue from a position of this server, with empty caches"
        );
        return (ErrorKind::Gap, text);
    }
    if has(&["anonymous", "gtid_mode"]) {
        let text = format!(
            "the log of {address} has transactions without GTID: SET PERSIST gtid_mode=ON, step by step as MySQL's manual \
             says; on MariaDB every transaction has one"
        );
        return (ErrorKind::Config, text);
    }
    if has(&["purged", "could not find first log"]) {
        let text = format!(
            "{address} has purged changes after the requested position: continue from a position that it still has, with \
             empty caches, and let it keep its log for longer (binlog_expire_logs_seconds)"
        );
        return (ErrorKind::Gap, text);
    }
    (ErrorKind::Gap, format!("{address} cannot send its log after the requested position: its message says why"))
}

/// The error that the log cannot be followed exactly from here on.
pub(crate) fn gap(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Gap, message.into())
}

/// Converts an error about the bytes of an event into a gap. `what` names the part of the log.
pub(crate) fn as_gap(what: &str, cause: Error) -> Error {
    match cause.kind() {
        ErrorKind::Corrupt => Error::with_source(ErrorKind::Gap, format!("{what} cannot be decoded"), cause),
        _ => cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fatal(message: &str) -> Error {
        let server = ServerError { code: 1236, message: message.into(), state: "HY000".into() };
        stream("db:3306", "repl", DriverFailure::Server(server))
    }

    #[test]
    fn a_lost_position_is_a_gap_that_names_its_cause() {
        for (lost, cause) in [
            ("Could not find first log file name in binary log index file", "has purged changes"),
            (
                "Cannot replicate because the source purged required binary logs. Replicate the missing transactions",
                "has purged changes",
            ),
            (
                "Replica has more GTIDs than the source has, using the source's SERVER_UUID.",
                "transactions that db:3306 does not have",
            ),
            (
                "Error: connecting slave requested to start from GTID 0-1-5, which is not in the master's binlog",
                "not have",
            ),
            ("Could not find GTID state requested by slave in any binlog files. .. have been purged.", "has purged"),
            ("Could not open log file", "its message says why"),
            ("bogus data in log event; the first event .. the last event read from ..", "its message says why"),
        ] {
            let error = fatal(lost);
            assert_eq!(error.kind(), ErrorKind::Gap, "{lost}");
            assert!(error.to_string().contains(cause), "{lost}: {error}");
            assert!(error.chain().contains(lost), "the server's message is kept: {}", error.chain());
        }
        let twin = fatal("A replica with the same server_uuid/server_id as this replica has connected to the source;");
        assert_eq!(twin.kind(), ErrorKind::Unavailable);
        assert_eq!(fatal("Binary log is not open").kind(), ErrorKind::Config);
        let off = "cannot start in AUTO_POSITION mode: this server has GTID_MODE = OFF instead of ON.";
        assert_eq!(fatal(off).kind(), ErrorKind::Config);
    }

    #[test]
    fn a_lost_connection_is_no_gap() {
        for lost in ["connection closed", "peer closed connection without sending TLS close_notify"] {
            let end = io::Error::new(io::ErrorKind::UnexpectedEof, lost);
            let error = stream("db:3306", "repl", DriverFailure::Io(end.into()));
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{lost}");
        }
    }

    #[test]
    fn a_refused_login_names_the_user_but_no_password() {
        let cause = ServerError { code: 1045, message: "Access denied".into(), state: "28000".into() };
        let error = connect("db:3306", "repl", false, DriverFailure::Server(cause));
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(error.to_string(), "db:3306 refused user `repl`: check the name and the password in the URL");
    }
}
