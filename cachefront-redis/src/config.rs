//! What a user says about the server: address, names, certificates and timeouts.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use cachefront_core::{Error, ErrorKind, Result};
use redis::{Client, ConnectionAddr, ConnectionInfo, TlsCertificates};

use crate::conn::Dialer;
use crate::keys::KeySpace;
use crate::store::RedisStore;
use crate::url::{self, ServerUrl};

/// The longest namespace, in bytes: it stands in every key.
const NAMESPACE_BYTES_MAX: usize = 64;

/// More logical shards than this only cost memory and round trips.
const SHARDS_MAX: u32 = 1_024;

/// The numbers a [`RedisStore`] may be tuned by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisSettings {
    /// How long a connection may take to be ready, TLS and login included. Default: 1 s.
    pub connect_timeout: Duration,
    /// How long a reader's command may take; then its outcome is unknown and the connection is replaced. Default: 1 s,
    /// far above a healthy server's time; a cache gives up on a read earlier, by its own setting.
    pub response_timeout: Duration,
    /// The same for an invalidator's commands, which carry many keys each. Default: 5 s.
    pub writer_response_timeout: Duration,
    /// The first pause after a connection was lost and the next one failed too; it doubles up to `reconnect_max`.
    /// Default: 50 ms.
    pub reconnect_min: Duration,
    /// The longest pause between two tries to connect. Default: 1 s: an outage is over for readers soon after its end.
    pub reconnect_max: Duration,
    /// At most this many concurrent reads share one `MGET`. Default: 256: more makes others wait and saves nothing.
    pub read_batch_keys_max: usize,
    /// At most this many keys in one command of `get_many`, `discard` and `invalidate`. Default: 1,000: the server
    /// serves nobody else meanwhile.
    pub keys_per_command_max: usize,
    /// The bus keeps at least this many messages for readers that are behind, and not many more. Default: 1,024.
    pub bus_messages_max: usize,
    /// How long one read of the bus waits at the server before it is asked again. Default: 5 s. A reader notices a dead
    /// server after this and `response_timeout`.
    pub bus_block: Duration,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            writer_response_timeout: Duration::from_secs(5),
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(1),
            read_batch_keys_max: 256,
            keys_per_command_max: 1_000,
            bus_messages_max: 1_024,
            bus_block: Duration::from_secs(5),
        }
    }
}

impl RedisSettings {
    /// # Errors
    /// [`ErrorKind::Config`], naming the field that is out of range.
    pub fn validate(&self) -> Result<()> {
        let durations = [
            ("connect_timeout", self.connect_timeout),
            ("response_timeout", self.response_timeout),
            ("writer_response_timeout", self.writer_response_timeout),
            ("reconnect_min", self.reconnect_min),
            ("reconnect_max", self.reconnect_max),
            ("bus_block", self.bus_block),
        ];
        // The server counts in milliseconds, and takes a wait of 0 for one without end.
        if let Some((name, _)) = durations.iter().find(|(_, value)| *value < Duration::from_millis(1)) {
            return Err(invalid(format!("`{name}` is below 1 ms: give a longer time")));
        }
        let numbers = [
            ("read_batch_keys_max", self.read_batch_keys_max),
            ("keys_per_command_max", self.keys_per_command_max),
            ("bus_messages_max", self.bus_messages_max),
        ];
        match numbers.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(invalid(format!("`{name}` is 0: give at least 1"))),
            None => Ok(()),
        }
    }
}

/// Builds a [`RedisStore`]; begin with [`RedisStore::builder`].
#[must_use]
pub struct RedisStoreBuilder {
    url: String,
    namespace: Option<String>,
    shards: u32,
    ca: Option<Ca>,
    settings: RedisSettings,
}

enum Ca {
    File(PathBuf),
    Pem(Vec<u8>),
}

impl RedisStoreBuilder {
    pub(crate) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), namespace: None, shards: 1, ca: None, settings: RedisSettings::default() }
    }

    /// The name that separates the keys of one service from those of others in the same server. Letters, digits and
    /// `-_.:/`, at most 64. Required here or as `?namespace=` in the URL.
    ///
    /// All processes and all releases of one service share a namespace: they share entries, one of them at a time
    /// invalidates for all, and their `shards` are the same. Two services must not share one, even if they cache the
    /// same tables.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// The number of logical shards, each with a meta of its own. Every process must give the same number; it stands in
    /// the meta. Default: 1, right for one server.
    pub fn shards(mut self, shards: u32) -> Self {
        self.shards = shards;
        self
    }

    /// The file (PEM) with the certificates that a `rediss://` server's certificate must be signed by.
    /// Default: those that the system trusts.
    pub fn tls_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Some(Ca::File(path.into()));
        self
    }

    /// The certificates (PEM) themselves, as [`tls_ca_file`](Self::tls_ca_file). Default: those that the system trusts.
    pub fn tls_ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(Ca::Pem(pem.into()));
        self
    }

    /// How long a connection may take to be ready. Default: 1 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// How long a reader's command may take. Default: 1 s.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.settings.response_timeout = timeout;
        self
    }

    /// All numbers at once. Default: `RedisSettings::default()`.
    pub fn settings(mut self, settings: RedisSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Connects, and looks at what the namespace holds.
    ///
    /// # Errors
    /// `Config` if a setting, the URL, the password, a right or a certificate is wrong, or if the namespace holds
    /// another number of shards; `Unavailable` or `Timeout` if the server cannot be reached.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing was written.
    ///
    /// # Process-wide effects
    /// With a `rediss://` URL, in a process that has not chosen a cryptographic provider for rustls: *ring* becomes the
    /// default provider of the whole process ([`CryptoProvider::install_default`]), because the Redis client takes no
    /// other. Install another one first to keep it.
    ///
    /// [`CryptoProvider::install_default`]: rustls::crypto::CryptoProvider::install_default
    pub async fn connect(self) -> Result<RedisStore> {
        self.settings.validate()?;
        let url = ServerUrl::parse(&self.url)?;
        let namespace = self.named(url.namespace)?;
        let keys = self.key_space(&namespace)?;
        let dialer = Dialer::new(self.client(url.info)?, self.settings);
        RedisStore::open(keys, dialer, self.settings).await
    }

    /// The namespace, which is given by the builder or by the URL.
    fn named(&self, in_url: Option<String>) -> Result<String> {
        match (&self.namespace, in_url) {
            (Some(one), Some(other)) if *one != other => Err(invalid(
                "`namespace` is given twice, to the builder and in the URL, and differs: give it once".to_owned(),
            )),
            (Some(namespace), _) => Ok(namespace.clone()),
            (None, Some(namespace)) => Ok(namespace),
            (None, None) => Err(invalid(
                "no `namespace` is given: call `.namespace(\"..\")` with the name of the service, or add \
                 `?namespace=..` to the Redis URL; all processes of one service share it, and no other service does"
                    .to_owned(),
            )),
        }
    }

    fn key_space(&self, namespace: &str) -> Result<KeySpace> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
        if namespace.is_empty() || namespace.len() > NAMESPACE_BYTES_MAX || !namespace.bytes().all(plain) {
            return Err(invalid(format!(
                "`namespace` must be 1 to {NAMESPACE_BYTES_MAX} letters, digits or `-_.:/`, it is `{}`",
                namespace.escape_debug()
            )));
        }
        if self.shards == 0 || self.shards > SHARDS_MAX {
            return Err(invalid(format!("`shards` is {}: give 1 to {SHARDS_MAX}", self.shards)));
        }
        Ok(KeySpace::new(namespace, self.shards))
    }

    fn client(&self, info: ConnectionInfo) -> Result<Client> {
        match info.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => Err(invalid(
                "the Redis URL ends in `#insecure`: certificates are always checked; name the server's CA in \
                 `tls_ca_file`"
                    .to_owned(),
            )),
            ConnectionAddr::TcpTls { .. } => {
                install_crypto_provider();
                let certificates = TlsCertificates { client_tls: None, root_cert: self.ca_pem()? };
                Client::build_with_tls(info, certificates).map_err(|error| {
                    Error::with_source(
                        ErrorKind::Config,
                        "the certificates of the CA given for Redis cannot be used",
                        error,
                    )
                })
            }
            _ if self.ca.is_some() => Err(invalid(
                "a CA is given and the Redis URL is not `rediss://`: no certificate would be checked".into(),
            )),
            _ => Client::open(info).map_err(url::malformed),
        }
    }

    fn ca_pem(&self) -> Result<Option<Vec<u8>>> {
        let pem = match &self.ca {
            None => return Ok(None),
            Some(Ca::Pem(pem)) => pem.clone(),
            Some(Ca::File(path)) => std::fs::read(path).map_err(|error| {
                let message = format!("`tls_ca_file` {} cannot be read", path.display());
                Error::with_source(ErrorKind::Config, message, error)
            })?,
        };
        // An empty list would be a server that nothing can prove; say it here and not at the handshake.
        const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
        if !pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
            return Err(invalid("the CA given for Redis holds no certificate in PEM form".to_owned()));
        }
        Ok(Some(pem))
    }
}

/// The client builds its TLS configuration from the default provider of the process and takes no other one, and rustls
/// panics in a program that has several and chose none. A choice that was made before stays.
fn install_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // It fails only if another thread has just installed one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

pub(crate) fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL: it may hold a password.
        f.debug_struct("RedisStoreBuilder")
            .field("namespace", &self.namespace)
            .field("shards", &self.shards)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn error(builder: RedisStoreBuilder) -> Error {
        builder.connect().await.expect_err("a wrong setting")
    }

    #[tokio::test]
    async fn a_wrong_setting_is_named_before_anything_is_dialled() {
        let builder = || RedisStore::builder("redis://127.0.0.1:1/").namespace("shop");
        let with = |url: &str| RedisStore::builder(url).namespace("shop");
        for (wrong, word) in [
            (builder().namespace("a{b"), "namespace"),
            (builder().namespace(""), "namespace"),
            (RedisStore::builder("redis://127.0.0.1:1/"), "?namespace="),
            (with("redis://127.0.0.1:1/?namespace=other"), "differs"),
            (RedisStore::builder("redis://127.0.0.1:1/?namespace=a%20b"), "`namespace` must be"),
            (with("redis://127.0.0.1:1/?timeout=5"), "`timeout`"),
            (builder().shards(0), "shards"),
            (builder().connect_timeout(Duration::ZERO), "connect_timeout"),
            (builder().tls_ca_file("/nowhere/ca.pem"), "rediss://"),
            (with("rediss://127.0.0.1:1/").tls_ca_file("/nowhere/ca.pem"), "/nowhere/ca.pem"),
            (with("rediss://127.0.0.1:1/").tls_ca_pem("nothing"), "no certificate"),
            (with("rediss://127.0.0.1:1/#insecure"), "#insecure"),
            (with("http://127.0.0.1/"), "redis[s]://"),
        ] {
            let error = error(wrong).await;
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[tokio::test]
    async fn no_password_is_shown() {
        let builder = RedisStore::builder("redis://ada:hunter2@127.0.0.1:1/?namespace=shop");
        assert!(!format!("{builder:?}").contains("hunter2"));
        let error = error(builder).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
        assert!(!format!("{error:?} {}", error.chain()).contains("hunter2"));
        for url in ["redis://ada:hunter2@:x:/", "redis://ada:12?hunter2@127.0.0.1:1/", "redis://:1/?a&hunter2@host"] {
            let malformed = self::error(RedisStore::builder(url)).await;
            assert_eq!(malformed.kind(), ErrorKind::Config, "{malformed}");
            assert!(!format!("{malformed:?} {}", malformed.chain()).contains("hunter2"), "{malformed}");
        }
    }
}
