//! Builds a source: the URL, TLS, settings and rules, checked before the first batch is read.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use cachefront_core::{Position, Result};

use crate::config::{BinlogSettings, Collations, RowDecoder, invalid};
use crate::conn::{Server, Tls};
use crate::preflight::Rules;
use crate::schema::Schema;
use crate::source::BinlogSource;
use crate::stream::Identity;

impl BinlogSource {
    /// Connects to the server at `mysql://user:password@host:3306/`, with the default settings.
    ///
    /// # Cancel safety
    /// Cancel safe.
    ///
    /// # Errors
    /// As [`BinlogSourceBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self> {
        Self::builder(url).connect().await
    }

    /// Returns a builder for a source over the server at `mysql://user:password@host:3306/`.
    pub fn builder(url: impl Into<String>) -> BinlogSourceBuilder {
        BinlogSourceBuilder {
            url: url.into(),
            tls: Ok(Tls::default()),
            settings: BinlogSettings::default(),
            rules: Rules::default(),
            server_id: None,
            decoder: RowDecoder::default(),
        }
    }
}

/// Builds a [`BinlogSource`]; start with [`BinlogSource::builder`].
///
/// ```
/// use std::time::Duration;
/// use cachefront::ErrorKind;
/// use cachefront::binlog::{BinlogSettings, BinlogSource};
///
/// # #[tokio::main]
/// # async fn main() {
/// let builder = BinlogSource::builder("mysql://repl:secret@db.internal/")
///     .tls_ca_file("/etc/shop/ca.pem")
///     .settings(BinlogSettings::default().with_connect_timeout(Duration::from_secs(2)));
/// // Settings, URL and CA file are checked first: here the file is missing.
/// let error = builder.connect().await.expect_err("there is no such file");
/// assert_eq!(error.kind(), ErrorKind::Config);
/// # }
/// ```
#[must_use]
pub struct BinlogSourceBuilder {
    url: String,
    /// The error of a CA file that could not be read, which [`connect`](Self::connect) returns.
    tls: Result<Tls>,
    settings: BinlogSettings,
    rules: Rules,
    server_id: Option<u32>,
    decoder: RowDecoder,
}

impl fmt::Debug for BinlogSourceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL: it holds the password.
        f.debug_struct("BinlogSourceBuilder")
            .field("settings", &self.settings)
            .field("rules", &self.rules)
            .field("server_id", &self.server_id)
            .finish_non_exhaustive()
    }
}

impl BinlogSourceBuilder {
    /// Sets all timeouts and limits at once. Default: [`BinlogSettings::default`].
    pub fn settings(mut self, settings: BinlogSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the server id under which the server lists this reader. It must be above 0, and differ from that of every server in
    /// the topology. Default: random, above 2³¹.
    pub fn server_id(mut self, server_id: u32) -> Self {
        self.server_id = Some(server_id);
        self
    }

    /// Turns on TLS, and sets the file (PEM or DER) with the CA certificate that the server's certificate must be signed
    /// by. Default: TLS as the URL says, with the public CAs.
    pub fn tls_ca_file(mut self, path: impl AsRef<Path>) -> Self {
        self.tls = self.tls.and_then(|tls| tls.with_ca_file(path.as_ref()));
        self
    }

    /// Turns on TLS, and sets the files (PEM or DER) with the client's certificate chain and its private key, for accounts that
    /// require one (`REQUIRE X509`). Default: no certificate.
    pub fn tls_client_files(mut self, certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        self.tls = self.tls.and_then(|tls| tls.with_client_files(certificate.as_ref(), key.as_ref()));
        self
    }

    /// Turns on TLS, and sets the name that the server's certificate must have, for a server behind a tunnel or an
    /// address. Default: the URL's host.
    pub fn tls_server_name(mut self, name: impl Into<String>) -> Self {
        if let Ok(tls) = &mut self.tls {
            tls.server_name = Some(name.into());
        }
        self
    }

    /// Sets what the preflight does about a mapped text column whose collation treats different bytes as equal.
    /// Default: [`Collations::Refuse`].
    pub fn collations(mut self, collations: Collations) -> Self {
        self.rules.collations = collations;
        self
    }

    /// Starts even if a mapped table or column does not exist or is not visible to the user: the preflight reports it as a
    /// warning. For tables that a later migration creates.
    ///
    /// Nothing else is checked about such a table until it is created, and entries of a mistyped one are stale until their time to
    /// live ends. While a mapped column is missing, each change of its table flushes the cache. Default: `false`.
    pub fn allow_missing_tables(mut self, allow: bool) -> Self {
        self.rules.allow_missing_tables = allow;
        self
    }

    /// Sets the decoder of rows. Default: [`RowDecoder::Own`].
    pub fn row_decoder(mut self, decoder: RowDecoder) -> Self {
        self.decoder = decoder;
        self
    }

    /// Connects once, so that a wrong URL, user, password or certificate is detected at once.
    ///
    /// # Cancel safety
    /// Cancel safe: only the connection is lost.
    ///
    /// # Errors
    /// `Config` if a setting, the URL, the user, the password or the certificate is wrong; `Unavailable` or `Timeout`
    /// if the server cannot be reached.
    pub async fn connect(self) -> Result<BinlogSource> {
        self.settings.validate()?;
        if self.server_id == Some(0) {
            // The server does not keep a reader with this id waiting for new events: it ends the stream.
            return Err(invalid("`server_id` is 0: give one above 0 that no server of the topology has".into()));
        }
        let server = Server::new(&self.url, &self.tls?, &self.settings)?;
        let conn = server.connect().await?;
        server.disconnect(conn).await;
        Ok(BinlogSource {
            server,
            identity: Identity::new(self.server_id),
            settings: self.settings,
            rules: self.rules,
            decoder: self.decoder,
            origin: Arc::default(),
            position: Position::new(),
            running: None,
            schema: Schema::default(),
            panicked_at: None,
            missing: BTreeSet::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use cachefront_core::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn a_server_id_of_zero_is_refused_before_anything_is_dialed() {
        let builder = BinlogSource::builder("mysql://repl@127.0.0.1:1/");
        let error = builder.server_id(0).connect().await.expect_err("no server id");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("`server_id`"), "{error}");
    }
}
