//! The URL of a server: the parts that the client parses, and the `namespace` parameter, which this crate adds.

use cachefront_core::{Error, ErrorKind, Result};
use redis::{ConnectionInfo, IntoConnectionInfo, RedisError};

use crate::error::invalid;

/// Maximum length in bytes of a parameter name that an error repeats.
const SHOWN_BYTES_MAX: usize = 32;

pub(crate) struct ServerUrl {
    pub(crate) info: ConnectionInfo,
    pub(crate) namespace: Option<String>,
}

impl ServerUrl {
    /// Parses a URL and takes the namespace out of it.
    ///
    /// # Errors
    /// `Config`. Messages never contain a part of the URL other than the name of a parameter: a URL may hold a password.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut url = redis::parse_redis_url(text).ok_or_else(|| invalid(expected()))?;
        let is_socket = url.scheme().ends_with("unix");
        let (mut namespace, mut others) = (None, Vec::new());
        for (name, value) in url.query_pairs() {
            match &*name {
                "namespace" if namespace.is_some() => {
                    return Err(invalid("`namespace` is given twice in the Redis URL: give it once".to_owned()));
                }
                "namespace" => namespace = Some(value.into_owned()),
                "protocol" => others.push((name.into_owned(), value.into_owned())),
                "db" | "user" | "pass" if is_socket => others.push((name.into_owned(), value.into_owned())),
                unknown => return Err(invalid(unknown_parameter(unknown, is_socket))),
            }
        }
        if others.is_empty() {
            url.set_query(None);
        } else {
            url.query_pairs_mut().clear().extend_pairs(&others);
        }
        Ok(Self { info: url.into_connection_info().map_err(malformed)?, namespace })
    }
}

fn unknown_parameter(name: &str, is_socket: bool) -> String {
    let known =
        if is_socket { "`namespace`, `protocol`, `db`, `user` and `pass`" } else { "`namespace` and `protocol`" };
    // If the `?` belongs to an unescaped password, the "name" is the rest of that password.
    let plain = name.len() <= SHOWN_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let named = if plain { format!("the parameter `{name}`") } else { "a parameter".to_owned() };
    format!("the Redis URL has {named} that is not known: the known ones are {known}")
}

/// The error of a URL that the client cannot parse.
pub(crate) fn malformed(error: RedisError) -> Error {
    Error::with_source(ErrorKind::Config, expected(), error)
}

fn expected() -> String {
    "the Redis URL is not of the form redis[s]://[user[:password]@]host[:port][/database][?namespace=name]".to_owned()
}

#[cfg(test)]
mod tests {
    use redis::ConnectionAddr;

    use super::*;

    fn parse(url: &str) -> ServerUrl {
        ServerUrl::parse(url).unwrap_or_else(|error| panic!("{url}: {}", error.chain()))
    }

    #[test]
    fn the_namespace_is_taken_out_and_the_client_gets_the_rest() {
        for (url, address, database) in [
            ("redis://cache/?namespace=shop", "cache:6379", 0),
            ("redis://cache:1?namespace=shop", "cache:1", 0),
            ("redis://ada:pw@cache:1/7?namespace=shop&protocol=resp3", "cache:1", 7),
            ("rediss://cache:1/7?protocol=2&namespace=shop", "cache:1", 7),
            ("redis://[::1]:1/?namespace=shop", "::1:1", 0),
        ] {
            let read = parse(url);
            assert_eq!(read.namespace.as_deref(), Some("shop"), "{url}");
            assert_eq!(read.info.addr().to_string(), address, "{url}");
            assert_eq!(read.info.redis_settings().db(), database, "{url}");
        }
        assert!(matches!(parse("rediss://cache/?namespace=a").info.addr(), ConnectionAddr::TcpTls { .. }));
        assert_eq!(parse("redis://cache/").namespace, None);
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_keeps_its_own_parameters() {
        for scheme in ["unix", "redis+unix"] {
            let read = parse(&format!("{scheme}:///run/redis.sock?db=3&user=ada&pass=a%26b&namespace=shop"));
            assert_eq!(read.namespace.as_deref(), Some("shop"));
            assert_eq!(read.info.addr().to_string(), "/run/redis.sock");
            let settings = read.info.redis_settings();
            assert_eq!((settings.db(), settings.username(), settings.password()), (3, Some("ada"), Some("a&b")));
        }
    }

    #[test]
    fn an_unknown_parameter_is_refused_by_name() {
        for (url, word) in [
            ("redis://cache/?namespace=a&namespace=a", "twice"),
            ("redis://cache/?db=1", "`db`"),
            ("redis://cache/?namespaces=a", "`namespaces`"),
            ("redis://cache/?protocol=9", "redis[s]://"),
            ("redis://cache/x?namespace=a", "redis[s]://"),
            ("cache:6379", "redis[s]://"),
        ] {
            let error = ServerUrl::parse(url).err().unwrap_or_else(|| panic!("{url} is refused"));
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(word), "{url}: {error}");
        }
    }
}
