//! Certificates for servers of a test's own: of the host `localhost`, signed by the tests' own CA.

use std::path::{Path, PathBuf};

/// A file of the certificates.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/tls").join(name)
}

/// The file of the CA.
pub fn ca_file() -> PathBuf {
    file("ca.pem")
}

/// Arguments of a Redis, or lines of a Sentinel's file, that make it listen for TLS on this port too, and speak TLS with others.
pub(super) fn settings(port: u16) -> Vec<(&'static str, String)> {
    let path = |name| file(name).display().to_string();
    vec![
        ("tls-port", port.to_string()),
        ("tls-cert-file", path("server.pem")),
        ("tls-key-file", path("server.key")),
        ("tls-ca-cert-file", path("ca.pem")),
        ("tls-auth-clients", "no".to_owned()),
        ("tls-replication", "yes".to_owned()),
    ]
}

/// The same as arguments.
pub(super) fn arguments(port: u16) -> Vec<String> {
    settings(port).into_iter().flat_map(|(name, value)| [format!("--{name}"), value]).collect()
}
