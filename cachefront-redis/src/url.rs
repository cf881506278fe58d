//! The URL of one or several servers: the parts that the client parses, and what this crate adds: the `namespace`
//! parameter, and URLs of Sentinel and Cluster, which name several hosts.
//!
//! # Forms
//!
//! | URL | leads to | default port |
//! |---|---|---:|
//! | `redis://[user[:password]@]host[:port][/database]` | one server | 6379 |
//! | `rediss://…` | one server, over TLS | 6379 |
//! | `redis+unix:///path`, `unix:///path` | one server, over a socket | |
//! | `redis[s]+sentinel://…host,host/name[/database]` | the primary that these Sentinels monitor | 26379 |
//! | `redis[s]+cluster://…host,host/` | the cluster of these nodes | 6379 |
//!
//! | parameter | value | where |
//! |---|---|---|
//! | `namespace` | [`RedisStoreBuilder::namespace`](crate::RedisStoreBuilder::namespace) | all |
//! | `protocol` | `resp2` or `resp3`; default: `resp2` | all |
//! | `sentinel_user`, `sentinel_password` | login to the Sentinels; default: none | Sentinel |
//! | `db`, `user`, `pass` | database and login, which the path of a socket cannot hold | socket |
//!
//! User, password and parameters are percent-encoded. Any other parameter is an error, so that a
//! misspelt one is not ignored. A database other than 0 separates keys and not pushes or load; a
//! namespace is enough to separate services.

use cachefront_core::{Error, ErrorKind, Result};
use redis::{ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisError};

use crate::error::invalid;

/// Maximum length in bytes of a parameter name that an error repeats.
const SHOWN_BYTES_MAX: usize = 32;

/// Maximum number of hosts in one URL: each is asked for the topology.
const HOSTS_MAX: usize = 32;

/// The port of a Sentinel if the URL names none.
const SENTINEL_PORT: u16 = 26379;

/// What the URL leads to.
#[derive(Debug)]
pub(crate) enum Servers {
    /// One server.
    One(ConnectionInfo),
    /// The primary that Sentinels know by a name. `server` is how to log in to it; its address is a placeholder.
    Sentinel { sentinels: Vec<ConnectionInfo>, name: String, server: ConnectionInfo },
    /// Some nodes of a cluster, by which the others are found.
    Cluster(Vec<ConnectionInfo>),
}

/// It is not `Debug`: the connection data holds the password.
pub(crate) struct ServerUrl {
    pub(crate) servers: Servers,
    pub(crate) namespace: Option<String>,
}

/// It decides which parameters are known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    One,
    Sentinel,
    Cluster,
}

/// One host of a URL, parsed.
///
/// The hosts of one URL differ in their address only; the login, the database and the parameters
/// are copied to each before it is parsed.
struct Host {
    info: ConnectionInfo,
    namespace: Option<String>,
    /// User and password for Sentinels.
    sentinel: (Option<String>, Option<String>),
}

impl ServerUrl {
    /// Parses a URL and takes the namespace out of it.
    ///
    /// # Errors
    /// `Config`. Messages never contain a part of the URL other than the name of a parameter: a URL may hold a password.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        match scheme.split_once('+') {
            Some((scheme @ ("redis" | "rediss"), "sentinel")) => sentinel(scheme, rest),
            Some((scheme @ ("redis" | "rediss"), "cluster")) => cluster(scheme, rest),
            _ => {
                let host = Host::parse(text, Kind::One)?;
                Ok(Self { servers: Servers::One(host.info), namespace: host.namespace })
            }
        }
    }

    /// True if connections are encrypted.
    pub(crate) fn has_tls(&self) -> bool {
        let info = match &self.servers {
            Servers::One(info) | Servers::Sentinel { server: info, .. } => Some(info),
            Servers::Cluster(nodes) => nodes.first(),
        };
        info.is_some_and(|info| matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }))
    }
}

/// A URL of several hosts, taken apart.
struct Parts<'a> {
    /// User and password with the `@`, or empty.
    login: &'a str,
    hosts: Vec<&'a str>,
    /// The path, without its first slash.
    path: &'a str,
    /// The query and fragment, with their first character.
    query: &'a str,
}

impl<'a> Parts<'a> {
    /// # Errors
    /// `Config` if there are more than `HOSTS_MAX` hosts, or an empty one (`a,,b`).
    fn of(rest: &'a str) -> Result<Self> {
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (path, query) = tail.split_at(tail.find(['?', '#']).unwrap_or(tail.len()));
        let (login, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let hosts: Vec<&str> = hosts.split(',').collect();
        if hosts.len() > HOSTS_MAX {
            return Err(invalid(format!("the Redis URL names {} hosts: give at most {HOSTS_MAX}", hosts.len())));
        }
        if hosts.iter().any(|host| host.is_empty()) {
            return Err(invalid(expected()));
        }
        Ok(Self { login, hosts, path: path.strip_prefix('/').unwrap_or_default(), query })
    }
}

/// `redis+sentinel://[user[:password]@]host[:port],host[:port]/name[/database]`: the login is that of the servers.
///
/// # Errors
/// `Config` if the name of the primary is missing or has other characters than `sentinel monitor`
/// permits.
fn sentinel(scheme: &str, rest: &str) -> Result<ServerUrl> {
    let Parts { login, hosts, path, query } = Parts::of(rest)?;
    let (name, database) = path.split_once('/').unwrap_or((path, ""));
    // The characters that Sentinel permits.
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)) {
        return Err(invalid(
            "the Redis URL of Sentinel names no primary: it is of the form \
             redis[s]+sentinel://[user[:password]@]host[:port],host[:port]/name[/database], with the name that \
             `sentinel monitor` has"
                .to_owned(),
        ));
    }
    let mut parsed = Vec::new();
    for host in hosts {
        let port = if has_port(host) { String::new() } else { format!(":{SENTINEL_PORT}") };
        parsed.push(Host::parse(&format!("{scheme}://{login}{host}{port}/{database}{query}"), Kind::Sentinel)?);
    }
    let Some(Host { info, namespace, sentinel: (user, password) }) = parsed.first() else {
        return Err(invalid(expected()));
    };
    let mut to_sentinels = RedisConnectionInfo::default().set_protocol(info.redis_settings().protocol());
    if let Some(user) = user {
        to_sentinels = to_sentinels.set_username(user);
    }
    if let Some(password) = password {
        to_sentinels = to_sentinels.set_password(password);
    }
    let (server, namespace) = (info.clone(), namespace.clone());
    let sentinels = parsed.into_iter().map(|host| host.info.set_redis_settings(to_sentinels.clone())).collect();
    Ok(ServerUrl { servers: Servers::Sentinel { sentinels, name: name.to_owned(), server }, namespace })
}

/// `redis+cluster://[user[:password]@]host[:port],host[:port]/`
///
/// # Errors
/// `Config` if a database other than 0 is named: a cluster has no other.
fn cluster(scheme: &str, rest: &str) -> Result<ServerUrl> {
    let Parts { login, hosts, path, query } = Parts::of(rest)?;
    if !matches!(path, "" | "0") {
        return Err(invalid("the Redis URL of a cluster names a database: a cluster has none but 0".to_owned()));
    }
    let (mut nodes, mut namespace) = (Vec::new(), None);
    for host in hosts {
        let host = Host::parse(&format!("{scheme}://{login}{host}/{query}"), Kind::Cluster)?;
        namespace = host.namespace;
        nodes.push(host.info);
    }
    Ok(ServerUrl { servers: Servers::Cluster(nodes), namespace })
}

/// True if the text of a host ends in a port. The colons of an IPv6 address are in brackets.
fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'))
}

impl Host {
    /// # Errors
    /// `Config` if the client cannot parse it, or if it has a parameter that is not known.
    fn parse(text: &str, kind: Kind) -> Result<Self> {
        let mut url = redis::parse_redis_url(text).ok_or_else(|| invalid(expected()))?;
        let is_socket = url.scheme().ends_with("unix");
        let (mut namespace, mut others) = (None, Vec::new());
        let mut sentinel = (None, None);
        for (name, value) in url.query_pairs() {
            match &*name {
                "namespace" if namespace.is_some() => {
                    return Err(invalid("`namespace` is given twice in the Redis URL: give it once".to_owned()));
                }
                "namespace" => namespace = Some(value.into_owned()),
                "sentinel_user" if kind == Kind::Sentinel => sentinel.0 = Some(value.into_owned()),
                "sentinel_password" if kind == Kind::Sentinel => sentinel.1 = Some(value.into_owned()),
                "protocol" => others.push((name.into_owned(), value.into_owned())),
                "db" | "user" | "pass" if is_socket => others.push((name.into_owned(), value.into_owned())),
                unknown => return Err(invalid(unknown_parameter(unknown, is_socket, kind))),
            }
        }
        if others.is_empty() {
            url.set_query(None);
        } else {
            url.query_pairs_mut().clear().extend_pairs(&others);
        }
        Ok(Self { info: url.into_connection_info().map_err(malformed)?, namespace, sentinel })
    }
}

/// A password that contains an unescaped `?` would otherwise end up in the log as a parameter's
/// name.
fn unknown_parameter(name: &str, is_socket: bool, kind: Kind) -> String {
    let known = match kind {
        Kind::One if is_socket => "`namespace`, `protocol`, `db`, `user` and `pass`",
        Kind::One | Kind::Cluster => "`namespace` and `protocol`",
        Kind::Sentinel => "`namespace`, `protocol`, `sentinel_user` and `sentinel_password`",
    };
    // If the `?` belongs to an unescaped password, the "name" is the rest of that password.
    let plain = name.len() <= SHOWN_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let named = if plain { format!("the parameter `{name}`") } else { "a parameter".to_owned() };
    format!("the Redis URL has {named} that is not known: the known ones are {known}")
}

/// The error of a URL that the client cannot parse.
pub(crate) fn malformed(error: RedisError) -> Error {
    Error::with_source(ErrorKind::Config, expected(), error)
}

/// The forms of a URL, for messages.
fn expected() -> String {
    "the Redis URL is not of the form redis[s]://[user[:password]@]host[:port][/database][?namespace=name], \
     redis[s]+sentinel://[user[:password]@]host[:port],host[:port]/name[/database] or \
     redis[s]+cluster://[user[:password]@]host[:port],host[:port]/"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use redis::ConnectionAddr;

    use super::*;

    fn parse(url: &str) -> ServerUrl {
        ServerUrl::parse(url).unwrap_or_else(|error| panic!("{url}: {}", error.chain()))
    }

    fn one(url: &str) -> (ConnectionInfo, Option<String>) {
        match parse(url) {
            ServerUrl { servers: Servers::One(info), namespace } => (info, namespace),
            ServerUrl { servers, .. } => panic!("{url}: {servers:?}"),
        }
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
            let (info, namespace) = one(url);
            assert_eq!(namespace.as_deref(), Some("shop"), "{url}");
            assert_eq!(info.addr().to_string(), address, "{url}");
            assert_eq!(info.redis_settings().db(), database, "{url}");
        }
        assert!(matches!(one("rediss://cache/?namespace=a").0.addr(), ConnectionAddr::TcpTls { .. }));
        assert_eq!(parse("redis://cache/").namespace, None);
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_keeps_its_own_parameters() {
        for scheme in ["unix", "redis+unix"] {
            let (info, namespace) = one(&format!("{scheme}:///run/redis.sock?db=3&user=ada&pass=a%26b&namespace=shop"));
            assert_eq!(namespace.as_deref(), Some("shop"));
            assert_eq!(info.addr().to_string(), "/run/redis.sock");
            let settings = info.redis_settings();
            assert_eq!((settings.db(), settings.username(), settings.password()), (3, Some("ada"), Some("a&b")));
        }
    }

    #[test]
    fn sentinels_and_servers_have_logins_of_their_own() {
        let url = "rediss+sentinel://ada:p%40w@one:1,[::1],three/shop.cache-1/3?namespace=shop\
                   &sentinel_user=watch&sentinel_password=a%26b";
        let parsed = parse(url);
        assert!(parsed.has_tls());
        assert_eq!(parsed.namespace.as_deref(), Some("shop"));
        let Servers::Sentinel { sentinels, name, server } = parsed.servers else { panic!("Sentinels") };
        assert_eq!(name, "shop.cache-1");
        let addresses: Vec<String> = sentinels.iter().map(|info| info.addr().to_string()).collect();
        assert_eq!(addresses, ["one:1", "::1:26379", "three:26379"]);
        let login = |info: &ConnectionInfo| {
            let settings = info.redis_settings();
            let text = |text: Option<&str>| text.map(str::to_owned);
            (text(settings.username()), text(settings.password()), settings.db())
        };
        assert_eq!(login(&server), (Some("ada".into()), Some("p@w".into()), 3));
        for info in &sentinels {
            assert_eq!(login(info), (Some("watch".into()), Some("a&b".into()), 0), "no database, no login of servers");
        }
        let Servers::Sentinel { sentinels, server, .. } = parse("redis+sentinel://:pw@one/shop").servers else {
            panic!("Sentinels")
        };
        assert_eq!(login(&sentinels[0]), (None, None, 0), "the servers' password is not sent to Sentinels");
        assert_eq!(login(&server), (None, Some("pw".into()), 0));
    }

    #[test]
    fn a_cluster_is_named_by_some_of_its_nodes() {
        let parsed = parse("redis+cluster://ada:pw@one:1,two/?namespace=shop");
        assert_eq!(parsed.namespace.as_deref(), Some("shop"));
        let Servers::Cluster(nodes) = parsed.servers else { panic!("a cluster") };
        let addresses: Vec<String> = nodes.iter().map(|info| info.addr().to_string()).collect();
        assert_eq!(addresses, ["one:1", "two:6379"]);
        assert!(nodes.iter().all(|info| info.redis_settings().password() == Some("pw")));
    }

    #[test]
    fn an_unknown_parameter_is_refused_by_name() {
        for (url, word) in [
            ("redis://cache/?namespace=a&namespace=a", "twice"),
            ("redis://cache/?db=1", "`db`"),
            ("redis://cache/?namespaces=a", "`namespaces`"),
            ("redis://cache/?sentinel_user=a", "`sentinel_user`"),
            ("redis://cache/?protocol=9", "redis[s]://"),
            ("redis://cache/x?namespace=a", "redis[s]://"),
            ("cache:6379", "redis[s]://"),
            ("redis+sentinel://one,two/?namespace=a", "no primary"),
            ("redis+sentinel://one,two/a%2Fb", "no primary"),
            ("redis+sentinel://one,,two/shop", "redis[s]+sentinel://"),
            ("redis+sentinel://one/shop/x", "redis[s]+sentinel://"),
            ("redis+sentinel://one/shop?db=1", "`sentinel_password`"),
            ("redis+cluster://one,two/3", "a database"),
            ("redis+cluster://one/?sentinel_user=a", "`sentinel_user`"),
            ("redis+proxy://one/", "redis[s]+cluster://"),
        ] {
            let error = ServerUrl::parse(url).err().unwrap_or_else(|| panic!("{url} is refused"));
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(word), "{url}: {error}");
        }
    }
}
