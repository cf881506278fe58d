//! Makes clients of the Redis library: certificates are read and checked once, then used for every server.

use std::path::PathBuf;
use std::time::Duration;

use cachefront_core::{Error, ErrorKind, Result};
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{Client, ConnectionAddr, ConnectionInfo, TlsCertificates};

use crate::error::invalid;
use crate::url;

/// The CA certificates that the caller named.
pub(crate) enum Ca {
    File(PathBuf),
    Pem(Vec<u8>),
}

/// Makes clients for servers that share credentials and certificates.
#[derive(Clone)]
pub(crate) struct Clients {
    /// The PEM of the CA; `None` for the CAs that the system trusts.
    ca: Option<Vec<u8>>,
    /// [`RedisSettings::tcp_keepalive`](crate::RedisSettings::tcp_keepalive).
    keepalive: Duration,
}

/// Number of signs of life that TCP asks for, at thirds of the time after which it begins, before it ends a connection.
const KEEPALIVE_QUESTIONS: u32 = 3;

impl Clients {
    /// Reads the certificates.
    ///
    /// # Errors
    /// `Config` if a certificate is wrong, or is given and `with_tls` is false.
    pub(crate) fn new(ca: Option<&Ca>, with_tls: bool, keepalive: Duration) -> Result<Self> {
        if !with_tls && ca.is_some() {
            return Err(invalid(
                "a CA is given and the Redis URL is not `rediss://`: no certificate would be checked".to_owned(),
            ));
        }
        Ok(Self { ca: ca.map(ca_pem).transpose()?, keepalive })
    }

    /// Makes a client. It connects to nothing.
    ///
    /// Its connections end when the other host is gone, also those that only wait, such as a subscription.
    ///
    /// # Errors
    /// `Config` if the certificates or the URL cannot be used.
    pub(crate) fn open(&self, info: ConnectionInfo) -> Result<Client> {
        // Without `nodelay` a small command waits until the server has confirmed the bytes of the one before: a round trip.
        let tcp = info.tcp_settings().clone().set_nodelay(true).set_keepalive(keepalive(self.keepalive));
        let info = info.set_tcp_settings(tcp);
        match info.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => Err(invalid(
                "the Redis URL ends in `#insecure`: certificates are always checked; name the server's CA in \
                 `tls_ca_file`"
                    .to_owned(),
            )),
            ConnectionAddr::TcpTls { .. } => {
                install_crypto_provider();
                let certificates = TlsCertificates { client_tls: None, root_cert: self.ca.clone() };
                Client::build_with_tls(info, certificates).map_err(|error| {
                    Error::with_source(
                        ErrorKind::Config,
                        "the certificates of the CA given for Redis cannot be used",
                        error,
                    )
                })
            }
            _ => Client::open(info).map_err(url::malformed),
        }
    }
}

/// What TCP does on a connection that is silent for this long. An interval is at least a second, the unit of the sockets.
fn keepalive(silence: Duration) -> TcpKeepalive {
    let interval = (silence / KEEPALIVE_QUESTIONS).max(Duration::from_secs(1));
    TcpKeepalive::new().with_time(silence).with_interval(interval).with_retries(KEEPALIVE_QUESTIONS)
}

/// Reads the PEM and checks that it has a certificate.
///
/// # Errors
/// `Config` if the file cannot be read, or has no certificate.
fn ca_pem(ca: &Ca) -> Result<Vec<u8>> {
    let pem = match ca {
        Ca::Pem(pem) => pem.clone(),
        Ca::File(path) => std::fs::read(path).map_err(|error| {
            let message = format!("`tls_ca_file` {} cannot be read", path.display());
            Error::with_source(ErrorKind::Config, message, error)
        })?,
    };
    // Without a certificate every handshake would fail, with a message that does not name the cause.
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    if !pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Err(invalid("the CA given for Redis has no certificate in PEM form".to_owned()));
    }
    Ok(pem)
}

/// Installs *ring* as the default provider of the process, unless there is one. The client always uses the default
/// provider, and rustls panics if several are compiled in and none is installed.
fn install_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // It fails only if another thread has just installed one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RedisSettings;

    #[test]
    fn connections_that_only_wait_notice_that_the_other_host_is_gone() {
        let clients = Clients::new(None, true, RedisSettings::default().tcp_keepalive).expect("clients");
        let expected = TcpKeepalive::new()
            .with_time(Duration::from_secs(15))
            .with_interval(Duration::from_secs(5))
            .with_retries(3);
        for url in ["redis://127.0.0.1:1/", "rediss://127.0.0.1:1/", "redis://:secret@127.0.0.1:1/2?protocol=resp3"] {
            let info = redis::IntoConnectionInfo::into_connection_info(url).expect("a URL");
            let client = clients.open(info).expect("a client");
            // The crate shows these values by `Debug` only.
            let set = client.get_connection_info().tcp_settings().keepalive();
            assert_eq!(format!("{set:?}"), format!("{:?}", Some(&expected)), "{url}");
            assert!(client.get_connection_info().tcp_settings().nodelay(), "{url}: a small command waits");
        }
        assert!(format!("{:?}", keepalive(Duration::from_secs(1))).contains("interval: Some(1s)"));
    }
}
