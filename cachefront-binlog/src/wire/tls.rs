//! TLS by the rules of the driver's own connections: the same options, roots, checks and errors.

use std::sync::Arc;

use mysql_async::{ClientIdentity, DriverError, SslOpts, TlsError};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::{self, PemObject, SliceIter};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::packets::{DriverResult, Duplex};

/// Makes the handshake, with a check of the server's certificate unless the options turn it off.
///
/// # Errors
/// That of the handshake, or of the files of the options.
pub(super) async fn connect(ssl: &SslOpts, host: &str, io: Box<dyn Duplex>) -> DriverResult<Box<dyn Duplex>> {
    let name = ssl.tls_hostname_override().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(TlsError::InvalidDnsName)?;
    let connector = TlsConnector::from(Arc::new(config(ssl).await?));
    Ok(Box::new(connector.connect(name, io).await?))
}

/// Builds the configuration of a client.
async fn config(ssl: &SslOpts) -> DriverResult<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if !ssl.disable_built_in_roots() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for file in ssl.root_certs() {
        for certificate in certificates(&file.read().await?)? {
            roots.add(certificate)?;
        }
    }
    let roots = Arc::new(roots);
    let builder = ClientConfig::builder().with_root_certificates(Arc::clone(&roots));
    let mut config = match ssl.client_identity() {
        Some(identity) => {
            let (chain, key) = client(identity).await?;
            builder.with_client_auth_cert(chain, key)?
        }
        None => builder.with_no_client_auth(),
    };
    if ssl.accept_invalid_certs() {
        let signatures = WebPkiServerVerifier::builder(roots).build().map_err(TlsError::from)?;
        config.dangerous().set_certificate_verifier(Arc::new(Unverified { signatures }));
    }
    Ok(config)
}

/// The certificates of a file, PEM or DER.
fn certificates(bytes: &[u8]) -> DriverResult<Vec<CertificateDer<'static>>> {
    let all = SliceIter::<CertificateDer<'_>>::new(bytes).collect::<Result<Vec<_>, _>>()?;
    Ok(if all.is_empty() && !bytes.is_empty() { vec![CertificateDer::from(bytes.to_vec())] } else { all })
}

/// The certificate chain of the client and its key, PEM or DER.
async fn client(identity: &ClientIdentity) -> DriverResult<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let (chain, key) = (identity.cert_chain(), identity.priv_key());
    let (chain, key) = (chain.read().await?, key.read().await?);
    let key = if std::str::from_utf8(&key).is_err() {
        PrivatePkcs1KeyDer::from(key.into_owned()).into()
    } else {
        PrivateKeyDer::from_pem_slice(&key).map_err(|cause| match cause {
            pem::Error::NoItemsFound => DriverError::NoKeyFound.into(),
            cause => mysql_async::Error::from(cause),
        })?
    };
    Ok((certificates(&chain)?, key))
}

/// Accepts any certificate, for `?verify_ca=false`. That its owner made the handshake is verified.
#[derive(Debug)]
struct Unverified {
    signatures: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_verify_schemes()
    }
}
