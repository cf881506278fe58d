//! The identity of the server at the other end of a connection: its kind, its process and its replication history.
//!
//! # Fields of `INFO` that are used
//!
//! | section | field | meaning |
//! |---|---|---|
//! | server | `run_id` | random, 40 hexadecimal digits, new with each start of the process |
//! | server | `redis_mode`, or `server_mode` | `standalone`, `cluster` or `sentinel` |
//! | replication | `role` | `master` for a primary |
//! | replication | `master_replid` | random, 40 hexadecimal digits, new with each promotion |
//! | replication | `master_replid2` | the id before the last promotion, or zeros |
//!
//! A restart changes the run id, a promotion the replication id. In both cases what was written
//! before may be missing, and everything that rests on "the same server" begins again. Manual: <https://redis.io/docs/latest/commands/info/>.

use cachefront_core::store::ServerId;
use cachefront_core::{Error, ErrorKind, Result};
use redis::Value;

use crate::error::{Address, IS_A_REPLICA};

/// The kind of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A single server, with replicas or without.
    Standalone,
    /// A node of a cluster.
    Cluster,
}

/// A primary, as it was when a connection to it was opened.
///
/// The run id names the process. The replication id names the history of the data; it changes with each promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The address that the connection was opened to.
    address: Address,
    run_id: Box<str>,
    replication_id: Box<str>,
    /// The history that this one continues, after a promotion.
    former_replication_id: Box<str>,
    server: ServerId,
}

impl Identity {
    /// Parses the replies to `INFO server` and `INFO replication`.
    ///
    /// # Errors
    /// `Config` if the server is of another kind, `Unavailable` if it is a replica, `Corrupt` if a reply lacks one of the
    /// ids.
    pub(crate) fn read(address: &Address, mode: Mode, replies: impl IntoIterator<Item = Value>) -> Result<Self> {
        let text = text_of(address, replies)?;
        check_mode(address, mode, mode_of(&text))?;
        let field = |name: &str| line_of(&text, name).ok_or_else(|| address.unexpected_reply("INFO"));
        if field("role")? != "master" {
            return Err(address.unavailable(IS_A_REPLICA));
        }
        let mut identity = Self::new(address.clone(), field("run_id")?, field("master_replid")?);
        identity.former_replication_id = line_of(&text, "master_replid2").unwrap_or_default().into();
        Ok(identity)
    }

    /// Compares the kind of a server, in its reply to `INFO server`, with the one that is expected.
    ///
    /// # Errors
    /// `Config` if it is of another kind, `Corrupt` if the reply has another shape.
    pub(crate) fn check_mode(address: &Address, mode: Mode, reply: Value) -> Result<()> {
        let text = text_of(address, [reply])?;
        check_mode(address, mode, mode_of(&text))
    }

    fn new(address: Address, run_id: &str, replication_id: &str) -> Self {
        let server = hash(run_id, replication_id);
        let (run_id, replication_id, former_replication_id) = (run_id.into(), replication_id.into(), "".into());
        Self { address, run_id, replication_id, former_replication_id, server }
    }

    /// True if this server has the history of this replication id: it is the same server, or was promoted in its place.
    pub(crate) fn continues(&self, replication_id: &str) -> bool {
        *self.replication_id == *replication_id || *self.former_replication_id == *replication_id
    }

    /// The address that the connection was opened to.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The replication id.
    pub(crate) fn replication_id(&self) -> &str {
        &self.replication_id
    }

    /// A hash of both ids, which is the same in every process and release.
    pub(crate) fn server(&self) -> ServerId {
        self.server
    }
}

/// Joins the texts of replies to `INFO`.
pub(crate) fn text_of(address: &Address, replies: impl IntoIterator<Item = Value>) -> Result<String> {
    let mut text = String::new();
    for reply in replies {
        match address.check(reply)? {
            Value::BulkString(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
            Value::VerbatimString { text: verbatim, .. } => text.push_str(&verbatim),
            _ => return Err(address.unexpected_reply("INFO")),
        }
    }
    Ok(text)
}

/// The value of a field; `None` if it is missing or empty.
pub(crate) fn line_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(str::trim).filter(|value| !value.is_empty())
}

/// The kind of the server. Valkey may call it `server_mode`.
fn mode_of(text: &str) -> Option<&str> {
    line_of(text, "redis_mode").or_else(|| line_of(text, "server_mode"))
}

/// Compares the kind of a server with the one that the URL says. A server that does not say its kind is accepted as
/// standalone only: a cluster's commands fail there.
fn check_mode(address: &Address, expected: Mode, said: Option<&str>) -> Result<()> {
    let what = match (expected, said) {
        (Mode::Standalone, Some("cluster")) => {
            "is a node of a cluster: give a URL of the form redis[s]+cluster://host[:port],host[:port]/"
        }
        (Mode::Standalone, Some("sentinel")) => {
            "is a Sentinel: give a URL of the form redis[s]+sentinel://host[:port],host[:port]/name"
        }
        (Mode::Cluster, Some("cluster")) | (Mode::Standalone, _) => return Ok(()),
        (Mode::Cluster, _) => {
            "is not a node of a cluster: give a URL of the form redis[s]://host[:port]/, or turn on `cluster-enabled`"
        }
    };
    Err(Error::new(ErrorKind::Config, format!("Redis at {address} {what}")))
}

/// FNV-1a with 64 bits. The server chooses both ids at random; they have a fixed length.
fn hash(run_id: &str, replication_id: &str) -> ServerId {
    let bytes = run_id.bytes().chain([b'/']).chain(replication_id.bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // 0 is `ServerId::UNKNOWN`.
    ServerId(hash.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Role;

    fn info(role: &str) -> [Value; 2] {
        let text = |text: String| Value::BulkString(text.into_bytes());
        [
            text("# Server\r\nredis_version:7.4.0\r\nredis_mode:standalone\r\nrun_id:aa11\r\n".into()),
            text(format!("# Replication\r\nrole:{role}\r\nmaster_replid:bb22\r\nmaster_replid2:0000\r\n")),
        ]
    }

    #[test]
    fn a_primary_is_known_by_both_of_its_ids() {
        let address = Address::new("cache:6379", Role::Server);
        let identity = Identity::read(&address, Mode::Standalone, info("master")).expect("a primary");
        assert_eq!((&*identity.run_id, identity.replication_id()), ("aa11", "bb22"));
        // Other processes and releases must compute the same number.
        assert_eq!(identity.server().0, 4_220_038_721_955_202_122);
        for (run_id, replication_id) in [("aa11", "bb23"), ("aa12", "bb22"), ("aa1", "1/bb22")] {
            let other = Identity::new(address.clone(), run_id, replication_id);
            assert!(!identity.server().is_same(other.server()));
        }
    }

    #[test]
    fn a_replica_and_a_server_without_a_run_id_are_refused() {
        let address = Address::new("cache:6379", Role::Server);
        let replica = Identity::read(&address, Mode::Standalone, info("slave")).expect_err("a replica");
        assert_eq!(replica.kind(), ErrorKind::Unavailable);
        assert!(replica.to_string().contains("cache:6379"), "{replica}");
        let [_, replication] = info("master");
        let nameless = Identity::read(&address, Mode::Standalone, [replication]).expect_err("no run id");
        assert_eq!(nameless.kind(), ErrorKind::Corrupt);
    }
    #[test]
    fn a_server_of_another_kind_is_refused_with_the_url_that_fits() {
        let address = Address::new("cache:6379", Role::Server);
        for (expected, said, word) in [
            (Mode::Standalone, Some("cluster"), "redis[s]+cluster://"),
            (Mode::Standalone, Some("sentinel"), "redis[s]+sentinel://"),
            (Mode::Cluster, Some("standalone"), "redis[s]://"),
            (Mode::Cluster, None, "redis[s]://"),
        ] {
            let error = check_mode(&address, expected, said).expect_err("another kind");
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(word), "{error}");
        }
        for (expected, said) in
            [(Mode::Standalone, Some("standalone")), (Mode::Standalone, None), (Mode::Cluster, Some("cluster"))]
        {
            check_mode(&address, expected, said).expect("the kind that is expected");
        }
    }
}
