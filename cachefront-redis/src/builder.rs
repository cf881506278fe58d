//! Builds a store: the URL, the namespace, TLS and settings, checked before anything is dialed.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cachefront_core::Result;
use futures_util::future::try_join_all;

use crate::clients::{Ca, Clients};
use crate::config::RedisSettings;
use crate::conn::{Dialer, Purpose};
use crate::error::invalid;
use crate::identity::Mode;
use crate::keys::KeySpace;
use crate::reads::Reads;
use crate::route::Servers;
use crate::sentinel::Sentinels;
use crate::shared::Shared;
use crate::slots::slots_of;
use crate::store::RedisStore;
use crate::topology::Nodes;
use crate::url::{self, ServerUrl};

/// Maximum length of a namespace in bytes: every key contains it.
const NAMESPACE_BYTES_MAX: usize = 64;

/// Maximum number of logical shards: more of them only cost memory and round trips.
const SHARDS_MAX: u32 = 1_024;

/// Number of logical shards in a cluster, unless another one is asked for.
const CLUSTER_SHARDS: u32 = 64;

impl RedisStore {
    /// Connects to `redis://host:port/database?namespace=service` or `rediss://…`, with the default settings. The
    /// namespace is described at [`RedisStoreBuilder::namespace`]; there is no default one.
    ///
    /// `redis+sentinel://host:port,host:port/name/database` and `rediss+sentinel://…` find the primary of that name through
    /// Sentinels. User and password are those of the servers; `sentinel_user` and `sentinel_password` in the query are those
    /// of the Sentinels.
    ///
    /// `redis+cluster://host:port,host:port/` and `rediss+cluster://…` lead to the cluster that these nodes belong to.
    ///
    /// # Errors
    /// `Config` if the URL, the password or the certificate is wrong or the namespace is missing; `Unavailable` or
    /// `Timeout` if the server cannot be reached.
    ///
    /// # Process-wide effects
    /// As [`RedisStoreBuilder::connect`]: a `rediss://` URL may install rustls' default provider.
    ///
    /// # Cancel safety
    /// Cancel safe: it writes nothing.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::builder(url).connect().await
    }

    /// Returns a builder, for what the URL cannot express. It connects only in
    /// [`connect`](RedisStoreBuilder::connect).
    pub fn builder(url: &str) -> RedisStoreBuilder {
        RedisStoreBuilder::new(url)
    }
}

/// Builds a [`RedisStore`]; start with [`RedisStore::builder`].
///
/// ```
/// use std::time::Duration;
/// use cachefront::ErrorKind;
/// use cachefront::redis::{RedisSettings, RedisStore};
///
/// # #[tokio::main]
/// # async fn main() {
/// let builder = RedisStore::builder("rediss://cache.internal/")
///     .namespace("shop")
///     .tls_ca_file("/etc/shop/ca.pem")
///     .settings(RedisSettings::default().with_response_timeout(Duration::from_millis(300)));
/// // Settings, URL and certificates are checked first: here the file is missing.
/// let error = builder.connect().await.expect_err("there is no such file");
/// assert_eq!(error.kind(), ErrorKind::Config);
/// # }
/// ```
#[must_use]
pub struct RedisStoreBuilder {
    url: String,
    namespace: Option<String>,
    shards: Option<u32>,
    ca: Option<Ca>,
    connect_timeout: Option<Duration>,
    response_timeout: Option<Duration>,
    settings: RedisSettings,
}

impl RedisStoreBuilder {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            namespace: None,
            shards: None,
            ca: None,
            connect_timeout: None,
            response_timeout: None,
            settings: RedisSettings::default(),
        }
    }

    /// Sets the namespace: the name that separates the keys of one service from those of others in the same server. It
    /// has 1 to 64 letters, digits or `-_.:/`. It is required, here or as `?namespace=` in the URL.
    ///
    /// All processes and all releases of one service use the same namespace and the same number of `shards`. They share
    /// entries, and one of them at a time invalidates for all. Two services must not share a namespace, even if they
    /// cache the same tables.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Sets the number of logical shards, each of which has a meta of its own. In a cluster a shard is on one node: give
    /// several times as many as there will ever be nodes. Every process must use the same number, which is checked against
    /// the meta. Default: 64 in a cluster, else 1.
    pub fn shards(mut self, shards: u32) -> Self {
        self.shards = Some(shards);
        self
    }

    /// Sets the file (PEM) with the CA certificates that the certificate of a `rediss://` server must be signed by.
    /// Default: the CAs that the system trusts.
    pub fn tls_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Some(Ca::File(path.into()));
        self
    }

    /// Sets the CA certificates (PEM) themselves, instead of [`tls_ca_file`](Self::tls_ca_file).
    /// Default: the CAs that the system trusts.
    pub fn tls_ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(Ca::Pem(pem.into()));
        self
    }

    /// Sets [`RedisSettings::connect_timeout`]. Default: 1 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// Sets [`RedisSettings::response_timeout`]. Default: 1 s.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = Some(timeout);
        self
    }

    /// Sets all timeouts and limits at once. [`connect_timeout`](Self::connect_timeout) and
    /// [`response_timeout`](Self::response_timeout) take precedence, whether they are called before or after.
    /// Default: `RedisSettings::default()`.
    pub fn settings(mut self, settings: RedisSettings) -> Self {
        self.settings = settings;
        self
    }

    /// The settings with what the other methods have set.
    fn merged_settings(&self) -> RedisSettings {
        RedisSettings {
            connect_timeout: self.connect_timeout.unwrap_or(self.settings.connect_timeout),
            response_timeout: self.response_timeout.unwrap_or(self.settings.response_timeout),
            ..self.settings
        }
    }

    /// Connects, and checks that the namespace was created with the same number of shards.
    ///
    /// # Errors
    /// `Config` if a setting, the URL, the password, a right or a certificate is wrong, or if the namespace has another
    /// number of shards; `Unavailable` or `Timeout` if the server cannot be reached.
    ///
    /// # Cancel safety
    /// Cancel safe: it writes nothing.
    ///
    /// # Process-wide effects
    /// A `rediss://` URL makes *ring* the default cryptographic provider of rustls for the whole process
    /// ([`CryptoProvider::install_default`]), because the Redis client always uses the default one. A provider that was
    /// installed before is kept.
    ///
    /// [`CryptoProvider::install_default`]: rustls::crypto::CryptoProvider::install_default
    pub async fn connect(self) -> Result<RedisStore> {
        let settings = self.merged_settings();
        settings.validate()?;
        let url = ServerUrl::parse(&self.url)?;
        let clients = Clients::new(self.ca.as_ref(), url.has_tls(), settings.tcp_keepalive)?;
        let namespace = self.chosen_namespace(url.namespace)?;
        let in_cluster = matches!(url.servers, url::Servers::Cluster(_));
        let keys = self.key_space(&namespace, self.shards.unwrap_or(if in_cluster { CLUSTER_SHARDS } else { 1 }))?;
        let servers = match url.servers {
            url::Servers::One(info) => {
                Servers::One(Arc::new(Dialer::new(clients.open(info)?, Mode::Standalone, settings)))
            }
            url::Servers::Sentinel { sentinels, name, server } => {
                Servers::One(Arc::new(Dialer::by_sentinel(Sentinels::new(sentinels, name, server, clients)?, settings)))
            }
            url::Servers::Cluster(seeds) => {
                Servers::Cluster(Arc::new(Nodes::new(seeds, clients, slots_of(&keys), settings)?))
            }
        };
        let route = servers.open(Purpose::Readers, &[]).await?;
        let reads = Arc::new(Reads::new(route, keys, &settings));
        // Reading the meta of every shard checks the number of shards.
        let shards = 0..reads.keys.shards() as usize;
        try_join_all(shards.map(|shard| reads.fetch(shard, std::iter::empty()))).await?;
        Ok(RedisStore { shared: Arc::new(Shared::new(reads, servers, settings)) })
    }

    /// The namespace, which is given to the builder or in the URL.
    fn chosen_namespace(&self, in_url: Option<String>) -> Result<String> {
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

    fn key_space(&self, namespace: &str, shards: u32) -> Result<KeySpace> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
        if namespace.is_empty() || namespace.len() > NAMESPACE_BYTES_MAX || !namespace.bytes().all(plain) {
            return Err(invalid(format!(
                "`namespace` must be 1 to {NAMESPACE_BYTES_MAX} letters, digits or `-_.:/`, it is `{}`",
                namespace.escape_debug()
            )));
        }
        if shards == 0 || shards > SHARDS_MAX {
            return Err(invalid(format!("`shards` is {shards}: give 1 to {SHARDS_MAX}")));
        }
        Ok(KeySpace::new(namespace, shards))
    }
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL: it may hold a password.
        f.debug_struct("RedisStoreBuilder")
            .field("namespace", &self.namespace)
            .field("shards", &self.shards)
            .field("settings", &self.merged_settings())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use cachefront_core::{Error, ErrorKind};

    use super::*;

    async fn error(builder: RedisStoreBuilder) -> Error {
        builder.connect().await.expect_err("a wrong setting")
    }

    #[test]
    fn methods_of_the_builder_take_precedence_over_settings() {
        let with_methods = |builder: RedisStoreBuilder| {
            builder.connect_timeout(Duration::from_secs(7)).response_timeout(Duration::from_secs(8))
        };
        let other = RedisSettings::default().with_bus_messages_max(7).with_connect_timeout(Duration::from_secs(9));
        let expected = other.with_connect_timeout(Duration::from_secs(7)).with_response_timeout(Duration::from_secs(8));
        let builder = || RedisStore::builder("redis://127.0.0.1:1/");
        for builder in [with_methods(builder()).settings(other), with_methods(builder().settings(other))] {
            assert_eq!(builder.merged_settings(), expected);
        }
        assert_eq!(builder().settings(other).merged_settings(), other);
    }

    #[tokio::test]
    async fn a_wrong_setting_is_named_before_anything_is_dialed() {
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
            (with("rediss://127.0.0.1:1/").tls_ca_pem("no PEM"), "no certificate"),
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
        let by_sentinel = RedisStore::builder(
            "redis+sentinel://ada:hunter2@127.0.0.1:1/shop?namespace=shop&sentinel_password=hunter2",
        );
        assert!(!format!("{by_sentinel:?}").contains("hunter2"));
        let unreachable = self::error(by_sentinel).await;
        assert_eq!(unreachable.kind(), ErrorKind::Unavailable);
        assert!(unreachable.to_string().contains("127.0.0.1:1 (Sentinel)"), "{unreachable}");
        assert!(!format!("{unreachable:?} {}", unreachable.chain()).contains("hunter2"));
        for url in ["redis://ada:hunter2@:x:/", "redis://ada:12?hunter2@127.0.0.1:1/", "redis://:1/?a&hunter2@host"] {
            let malformed = self::error(RedisStore::builder(url)).await;
            assert_eq!(malformed.kind(), ErrorKind::Config, "{malformed}");
            assert!(!format!("{malformed:?} {}", malformed.chain()).contains("hunter2"), "{malformed}");
        }
    }
}
