//! Connections to a MySQL server, with timeouts and verified TLS.
//!
//! # The URL
//!
//! | part | meaning |
//! |---|---|
//! | `mysql://user:password@host:3306/` | one server; special characters are percent-encoded |
//! | `host:3306,host:3306` | several servers, of which the first one that takes writes is used |
//! | `?require_ssl=true` | TLS with a verified certificate |
//! | `?verify_ca=false` | TLS without a check of the certificate; the preflight and the gate warn |
//! | `?built_in_roots=false` | TLS without the public CAs |
//! | `?verify_identity=false` | no effect: the name is always checked, and `tls_server_name` sets another one |
//! | `?tcp_keepalive=60000`, `?tcp_nodelay=false` | options of the sockets; milliseconds of silence before TCP sends a keep-alive probe |
//! | `?socket=/run/mysqld.sock`, `?compression=fast` | a socket of the file system, without TLS; compressed packets |
//! | `?enable_cleartext_plugin=true` | the server may ask for the password in clear; without TLS the preflight and the gate warn |
//! | `?max_allowed_packet=…` | refused: `event_bytes_max` is the setting |
//! | `?secure_auth=false` | no effect: a weak hash of the password is never sent |
//! | `?pool_min=…`, `?prefer_socket=…` and others | no effect: they are of pools, writes, prepared statements and idle sessions |
//! | path | a database, which is ignored: the source reads all |
//!
//! With several hosts the one that was used last is tried first, and `@@GLOBAL.read_only` decides
//! whether it is a primary. So a failover costs one failed connection. An address that is misconfigured is skipped like one that
//! cannot be reached, with a warning.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cachefront_core::{Error, ErrorKind, Result};
use mysql_async::{ClientIdentity, Conn, Opts, OptsBuilder, SslOpts};

use crate::config::{BinlogSettings, invalid};
use crate::error;
use crate::rows_of::RowsOf;
use crate::wire::{self, DriverResult, LogConn};

/// Whether the server takes no writes, as 0 or 1. The variable is a number, on MariaDB 12 and later one of several words.
pub(crate) const READ_ONLY: &str = "CAST(@@GLOBAL.read_only AS CHAR) NOT IN ('0', 'OFF')";

/// How long a connection may be silent before TCP sends a keep-alive probe, in seconds: what Linux accepts.
const KEEPALIVE_SECONDS: std::ops::RangeInclusive<u64> = 1..=32_767;

/// TLS settings in addition to those of the URL.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    /// The certificate of the CA, PEM or DER.
    pub(crate) ca: Option<Vec<u8>>,
    /// The name that the server's certificate must have, instead of the URL's host.
    pub(crate) server_name: Option<String>,
    /// The client's certificate chain and its key, PEM or DER.
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    /// Reads the CA file, so that a wrong path is detected early.
    pub(crate) fn with_ca_file(mut self, path: &Path) -> Result<Self> {
        self.ca = Some(read("tls_ca_file", path)?);
        Ok(self)
    }

    /// Reads the files of the client's certificate and key.
    pub(crate) fn with_client_files(mut self, certificate: &Path, key: &Path) -> Result<Self> {
        self.client = Some((read("tls_client_files", certificate)?, read("tls_client_files", key)?));
        Ok(self)
    }
}

/// Reads a file that a setting names.
fn read(setting: &str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|cause| {
        Error::with_source(ErrorKind::Config, format!("`{setting}` {} cannot be read", path.display()), cause)
    })
}

/// The address, credentials and timeouts of a server, or the addresses of several of which one takes writes. Cheap to clone;
/// its `Debug` form has no password.
///
/// It holds no connection.
#[derive(Clone)]
pub(crate) struct Server {
    /// For each address.
    opts: Arc<[Opts]>,
    /// The address that is tried first: the one that was used last.
    first: Arc<AtomicUsize>,
    address: Arc<str>,
    user: Arc<str>,
    connect_timeout: Duration,
    query_timeout: Duration,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).field("user", &self.user).finish_non_exhaustive()
    }
}

impl Server {
    /// # Errors
    /// `Config` if the URL is malformed or names no user.
    pub(crate) fn new(url: &str, tls: &Tls, settings: &BinlogSettings) -> Result<Self> {
        let malformed = |cause| {
            let text = "the MySQL URL is malformed: mysql://user:password@host:3306/ is expected, or several \
                        host:port,host:port, special characters percent-encoded, e.g. %40 for @";
            Error::with_source(ErrorKind::Config, text, cause)
        };
        let each = urls(url).iter().map(|url| Opts::from_url(url)).collect::<Result<Vec<_>, _>>().map_err(malformed)?;
        let address: Arc<str> = each.iter().map(host_of).collect::<Vec<_>>().join(",").into();
        let user: Arc<str> = each.first().and_then(Opts::user).unwrap_or_default().into();
        if user.is_empty() {
            return Err(invalid(format!("the URL of {address} names no user: mysql://user:password@host:3306/")));
        }
        each.iter().try_for_each(|opts| check(opts, tls, &address))?;
        let opts = each
            .into_iter()
            .map(|opts| {
                let ssl = ssl_opts(opts.ssl_opts(), tls);
                if ssl.is_some() {
                    install_crypto_provider();
                }
                let host = opts.ip_or_hostname();
                let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
                OptsBuilder::from_opts(opts)
                    // An IPv6 address has brackets in the URL, and none when it is resolved.
                    .ip_or_hostname(host)
                    // Always the address of the URL, never the unix socket, which would bypass TLS.
                    .prefer_socket(false)
                    // A weak hash of the password is never sent, on no connection.
                    .secure_auth(true)
                    // The source reads every database; a missing one must not prevent it from connecting.
                    .db_name(None::<String>)
                    .stmt_cache_size(0)
                    .max_allowed_packet(Some(settings.event_bytes_max))
                    .ssl_opts(ssl)
                    .into()
            })
            .collect();
        let (connect_timeout, query_timeout) = (settings.connect_timeout, settings.query_timeout);
        Ok(Self { opts, first: Arc::default(), address, user, connect_timeout, query_timeout })
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The user of the URL, for messages.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// The limit of a short query.
    pub(crate) fn query_timeout(&self) -> Duration {
        self.query_timeout
    }

    /// Returns what the URL turns off of the connection's protection: its option, and what follows from it.
    pub(crate) fn unprotected(&self) -> Vec<(&'static str, &'static str)> {
        let mut options = Vec::new();
        if self.opts.iter().filter_map(Opts::ssl_opts).any(SslOpts::accept_invalid_certs) {
            let why =
                "the server's certificate is not checked, so an attacker on the network can read and change everything";
            options.push(("verify_ca=false", why));
        }
        let in_clear =
            |opts: &Opts| opts.enable_cleartext_plugin() && opts.ssl_opts().is_none() && opts.socket().is_none();
        if self.opts.iter().any(in_clear) {
            let why = "there is no TLS, so an attacker on the network can ask for the password and get it in clear";
            options.push(("enable_cleartext_plugin=true", why));
        }
        options
    }

    /// Closes a connection gracefully. A failure does not matter: no reply is outstanding.
    pub(crate) async fn disconnect(&self, conn: Conn) {
        let _ = tokio::time::timeout(self.query_timeout, conn.disconnect()).await;
    }

    /// Opens a connection and logs in. Of several addresses the first one is used whose server takes writes, beginning with the
    /// one that was used last.
    ///
    /// # Errors
    /// If no address can be used: that of the first one with a wrong login, right or certificate (`Config`), otherwise that of the
    /// last one.
    pub(crate) async fn connect(&self) -> Result<Conn> {
        if let [only] = &*self.opts {
            return self.dial(only).await;
        }
        let first = self.first.load(Ordering::Relaxed);
        let (mut refusal, mut failure) = (None, None);
        for turn in 0..self.opts.len() {
            let index = (first + turn) % self.opts.len();
            match self.dial_primary(&self.opts[index]).await {
                Ok(conn) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(conn);
                }
                Err(error) if error.kind() == ErrorKind::Config => {
                    tracing::warn!(error = %error.chain(), "an address of the MySQL URL cannot be used, the others are tried");
                    refusal = refusal.or(Some(error));
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(refusal.or(failure).unwrap_or_else(|| invalid("the MySQL URL names no host".to_owned())))
    }

    /// Opens a connection to a server that takes writes.
    async fn dial_primary(&self, opts: &Opts) -> Result<Conn> {
        let mut conn = self.dial(opts).await?;
        let query = conn.first_of(format!("SELECT {READ_ONLY}"));
        let read_only: Option<bool> = self.within("reading @@GLOBAL.read_only", self.query_timeout, query).await?;
        if read_only == Some(false) {
            return Ok(conn);
        }
        let message = format!("{} is read-only: of the addresses in {} none takes writes", host_of(opts), self.address);
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// Opens a connection to one address.
    async fn dial(&self, opts: &Opts) -> Result<Conn> {
        self.dialed(opts, Conn::new(opts.clone())).await
    }

    /// Opens the connection that the log is read from, to the address that was used last.
    ///
    /// # Errors
    /// As [`connect`](Server::connect).
    pub(crate) async fn connect_log(&self) -> Result<LogConn> {
        let index = self.first.load(Ordering::Relaxed);
        let opts = self.opts.get(index).ok_or_else(|| invalid("the MySQL URL names no host".to_owned()))?;
        self.dialed(opts, wire::connect(opts)).await
    }

    /// Waits for a connection to one address, up to `connect_timeout`.
    async fn dialed<T>(&self, opts: &Opts, dialing: impl Future<Output = DriverResult<T>>) -> Result<T> {
        match tokio::time::timeout(self.connect_timeout, dialing).await {
            Ok(Ok(conn)) => Ok(conn),
            Ok(Err(cause)) => Err(error::connect(&host_of(opts), &self.user, has_ca(opts), cause)),
            Err(_) => Err(Error::new(
                ErrorKind::Timeout,
                format!(
                    "connecting to {} took longer than {:?}: the server may be overloaded or frozen",
                    host_of(opts),
                    self.connect_timeout
                ),
            )),
        }
    }

    /// Runs one query with a timeout. `doing` names it in the error, as a participle.
    ///
    /// # Errors
    /// `Timeout` after `limit`. The connection is then in the middle of a reply and must not be
    /// used again.
    pub(crate) async fn within<T>(
        &self,
        doing: &str,
        limit: Duration,
        query: impl Future<Output = DriverResult<T>>,
    ) -> Result<T> {
        match tokio::time::timeout(limit, query).await {
            Ok(outcome) => outcome.map_err(|cause| error::query(&format!("{doing} on {}", self.address), cause)),
            Err(_) => Err(Error::new(
                ErrorKind::Timeout,
                format!(
                    "{doing} on {} took longer than {limit:?}: if the server is only slow, as one of many thousand tables, raise \
                     `query_timeout`",
                    self.address
                ),
            )),
        }
    }
}

/// Checks the options of a URL that cannot be honoured.
///
/// # Errors
/// `Config`, which names the option and what to do.
fn check(opts: &Opts, tls: &Tls, address: &str) -> Result<()> {
    if opts.max_allowed_packet().is_some() {
        return Err(invalid(format!(
            "the URL of {address} has `max_allowed_packet`, which has no effect on the log: set `event_bytes_max` instead"
        )));
    }
    if opts.tcp_keepalive().is_some_and(|silence| !KEEPALIVE_SECONDS.contains(&silence.as_secs())) {
        let message =
            "has a `tcp_keepalive` that TCP cannot keep: give 1000 to 32767000 milliseconds, in whole seconds";
        return Err(invalid(format!("the URL of {address} {message}")));
    }
    if opts.socket().is_some() && ssl_opts(opts.ssl_opts(), tls).is_some() {
        let message = "names a `socket` of the file system, over which there is no TLS: leave out either the socket, or \
                       `require_ssl` and the settings of TLS";
        return Err(invalid(format!("the URL of {address} {message}")));
    }
    Ok(())
}

/// Returns true if a CA was given; otherwise the public ones are trusted.
fn has_ca(opts: &Opts) -> bool {
    opts.ssl_opts().is_some_and(|ssl| !ssl.root_certs().is_empty())
}

/// `host:port`.
fn host_of(opts: &Opts) -> String {
    let (host, port) = (opts.ip_or_hostname(), opts.tcp_port());
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Returns one URL for each host of `mysql://user:password@host:port,host:port/…`.
fn urls(url: &str) -> Vec<String> {
    let parts = url.split_once("://").map(|(scheme, rest)| {
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        (scheme, user, hosts, path)
    });
    match parts {
        Some((scheme, user, hosts, path)) => {
            hosts.split(',').map(|host| format!("{scheme}://{user}{host}{path}")).collect()
        }
        None => vec![url.to_owned()],
    }
}

/// Combines the TLS options of the URL and of the builder. Returns `None` if neither turns TLS on.
///
/// What the builder sets takes precedence over the URL.
fn ssl_opts(from_url: Option<&SslOpts>, tls: &Tls) -> Option<SslOpts> {
    if from_url.is_none() && tls.ca.is_none() && tls.server_name.is_none() && tls.client.is_none() {
        return None;
    }
    // The name is always checked, on all connections: `tls_server_name` sets another one.
    let mut ssl = from_url.cloned().unwrap_or_default().with_danger_skip_domain_validation(false);
    if let Some(ca) = &tls.ca {
        // Only the given CA is trusted: a public CA must not be able to certify a private database.
        ssl = ssl.with_root_certs(vec![ca.clone().into()]).with_disable_built_in_roots(true);
    }
    if let Some((certificate, key)) = &tls.client {
        ssl = ssl.with_client_identity(Some(ClientIdentity::new(certificate.clone().into(), key.clone().into())));
    }
    if let Some(name) = &tls.server_name {
        ssl = ssl.with_danger_tls_hostname_override(Some(name.clone()));
    }
    Some(ssl)
}

/// Installs *ring* as the default provider of the process, unless there is one. Without a provider rustls panics at the
/// first handshake.
fn install_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // It fails only if another thread has just installed one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted::Scripted;

    fn server(url: &str) -> Result<Server> {
        Server::new(url, &Tls::default(), &BinlogSettings::default())
    }

    #[test]
    fn the_password_is_never_shown() {
        let server = server("mysql://repl:s3cret@db/shop").expect("a server");
        assert_eq!(server.address(), "db:3306");
        assert!(!format!("{server:?}").contains("s3cret"));
    }

    #[test]
    fn a_malformed_url_is_refused_without_repeating_it() {
        for url in
            ["mysql:/repl:s3cret@db", "postgres://repl:s3cret@db/", "mysql://db/", "mysql://repl:s3cret@db/?ssl-mode=X"]
        {
            let error = server(url).expect_err(url);
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
            assert!(!error.chain().contains("s3cret"), "{}", error.chain());
        }
    }

    /// All options of the driver's URLs: those that both connections have, those that are refused, and those that concern
    /// nothing that the source does.
    #[test]
    fn each_option_of_a_url_is_honoured_refused_or_without_effect() {
        let opts = |options: &str| server(&format!("mysql://repl@db/{options}")).map(|server| server.opts[0].clone());
        let plain = opts("").expect("a server");
        for option in [
            "tcp_keepalive=60000",
            "tcp_nodelay=false",
            "socket=/run/mysqld.sock",
            "compression=fast",
            "enable_cleartext_plugin=true",
            "require_ssl=true",
            "require_ssl=true&verify_ca=false",
            "require_ssl=true&built_in_roots=false",
        ] {
            let with = opts(&format!("?{option}")).expect(option);
            let effects = |opts: &Opts| {
                let ssl = opts.ssl_opts().map(|ssl| {
                    (ssl.accept_invalid_certs(), ssl.skip_domain_validation(), ssl.disable_built_in_roots())
                });
                let socket = (opts.tcp_keepalive(), opts.tcp_nodelay(), opts.socket().map(str::to_owned));
                (socket, opts.compression(), opts.enable_cleartext_plugin(), ssl)
            };
            assert_ne!(effects(&with), effects(&plain), "{option}");
        }
        let refused = opts("?max_allowed_packet=1000000").expect_err("another limit");
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert!(refused.to_string().contains("`event_bytes_max`"), "{refused}");
        for option in ["tcp_keepalive=60", "tcp_keepalive=0", "tcp_keepalive=32768000"] {
            let refused = opts(&format!("?{option}")).expect_err(option).to_string();
            assert!(refused.contains("`tcp_keepalive`") && refused.contains("milliseconds"), "{refused}");
        }
        let refused = opts("?socket=/run/mysqld.sock&require_ssl=true").expect_err("TLS over a file").to_string();
        assert!(refused.contains("`socket`") && refused.contains("TLS"), "{refused}");
        for option in [
            "pool_min=1&pool_max=2",
            "inactive_connection_ttl=60",
            "ttl_check_interval=60",
            "conn_ttl=60",
            "abs_conn_ttl=60",
            "abs_conn_ttl=60&abs_conn_ttl_jitter=6",
            "wait_timeout=60",
            "reset_connection=false",
            "stmt_cache_size=7",
            "prefer_socket=true",
            "secure_auth=false",
            "client_found_rows=true",
        ] {
            let with = opts(&format!("?{option}")).expect(option);
            assert_eq!(
                (with.stmt_cache_size(), with.prefer_socket(), with.secure_auth()),
                (0, false, true),
                "{option}"
            );
        }
        let with = opts("?require_ssl=true&verify_identity=false").expect("without effect");
        assert!(with.ssl_opts().is_some_and(|ssl| !ssl.skip_domain_validation() && !ssl.accept_invalid_certs()));
        opts("?tcp_keepalives=1").expect_err("no option of the driver");
    }

    #[test]
    fn what_an_option_of_the_url_turns_off_is_named() {
        let named = |options: &str| {
            let server = server(&format!("mysql://repl@db-1,db-2/{options}")).expect("a server");
            server.unprotected().into_iter().map(|(option, _)| option).collect::<Vec<_>>()
        };
        let socket = "?socket=/run/mysqld.sock&enable_cleartext_plugin=true";
        for options in ["", "?require_ssl=true", "?require_ssl=true&enable_cleartext_plugin=true", socket] {
            assert!(named(options).is_empty(), "{options}");
        }
        assert_eq!(named("?require_ssl=true&verify_ca=false"), ["verify_ca=false"]);
        assert_eq!(named("?enable_cleartext_plugin=true"), ["enable_cleartext_plugin=true"]);
    }

    #[test]
    fn tls_is_on_if_the_url_or_a_ca_asks_for_it() {
        assert!(ssl_opts(None, &Tls::default()).is_none());
        let ca = Tls { ca: Some(b"pem".to_vec()), ..Tls::default() };
        let ssl = ssl_opts(None, &ca).expect("TLS");
        assert!(ssl.disable_built_in_roots() && !ssl.accept_invalid_certs());
        assert!(server("mysql://repl@db/?require_ssl=true").expect("a server").opts[0].ssl_opts().is_some());
    }

    #[test]
    fn a_url_may_name_several_hosts() {
        let server = server("mysql://repl:a%2Cb@db-1,db-2:3307,[::1]:3308/shop?require_ssl=true").expect("a server");
        assert_eq!(server.address(), "db-1:3306,db-2:3307,[::1]:3308");
        assert!(server.opts.iter().all(|opts| opts.ssl_opts().is_some() && opts.pass() == Some("a,b")));
        assert_eq!(server.opts[2].ip_or_hostname(), "::1", "as it is resolved");
        assert_eq!(host_of(&server.opts[2]), "[::1]:3308", "as it is written");
        assert_eq!(urls("mysql://repl@db"), ["mysql://repl@db"]);
        assert_eq!(urls("no url"), ["no url"]);
    }

    #[tokio::test]
    async fn an_address_that_is_misconfigured_is_skipped() {
        let refusing = Scripted::refuse(1130, "Host '10.0.0.1' is not allowed to connect to this MySQL server").await;
        let working = Scripted::serve(Vec::new()).await;
        let list = |addresses: &[&str]| format!("mysql://repl@{}/", addresses.join(","));
        let server = server(&list(&[refusing.address(), working.address()])).expect("a server");
        let conn = server.connect().await.expect("the second address works");
        server.disconnect(conn).await;
        assert_eq!(server.first.load(Ordering::Relaxed), 1, "the next connection begins with it");

        for addresses in [[refusing.address(), "127.0.0.1:1"], ["127.0.0.1:1", refusing.address()]] {
            let none = self::server(&list(&addresses)).expect("a server").connect().await.expect_err("none works");
            assert_eq!(none.kind(), ErrorKind::Config, "{addresses:?}: {}", none.chain());
            assert!(none.to_string().contains(refusing.address()), "{none}");
        }
    }
}
