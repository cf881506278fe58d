//! Which server process, with which history, is at the other end of a connection.

use cachefront_core::store::ServerId;
use cachefront_core::{Error, ErrorKind, Result};
use redis::Value;

use crate::error::{Address, IS_A_REPLICA, unexpected};

/// A primary as it was when a connection to it was made.
///
/// The process has a run id; its history has a replication id, which is another one after each promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    run_id: Box<str>,
    replication_id: Box<str>,
    server: ServerId,
}

impl Identity {
    /// Reads the replies to `INFO server` and `INFO replication`.
    ///
    /// # Errors
    /// `Unavailable` if the server is a replica, `Corrupt` if it does not name itself.
    pub(crate) fn read(address: &Address, replies: impl IntoIterator<Item = Value>) -> Result<Self> {
        let mut text = String::new();
        for reply in replies {
            match address.check(reply)? {
                Value::BulkString(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
                Value::VerbatimString { text: verbatim, .. } => text.push_str(&verbatim),
                _ => return Err(unexpected("INFO")),
            }
        }
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim).filter(|value| !value.is_empty()).ok_or_else(|| unexpected("INFO"))
        };
        if field("role")? != "master" {
            return Err(Error::new(ErrorKind::Unavailable, format!("Redis at {address} {IS_A_REPLICA}")));
        }
        Ok(Self::new(field("run_id")?, field("master_replid")?))
    }

    fn new(run_id: &str, replication_id: &str) -> Self {
        Self { run_id: run_id.into(), replication_id: replication_id.into(), server: hash(run_id, replication_id) }
    }

    /// The id of the history, as the server names it.
    pub(crate) fn replication_id(&self) -> &str {
        &self.replication_id
    }

    /// Both, in one number that is the same in every process and release.
    pub(crate) fn server(&self) -> ServerId {
        self.server
    }
}

/// FNV-1a with 64 bits. The ids are random numbers of the server's own, of one length.
fn hash(run_id: &str, replication_id: &str) -> ServerId {
    let bytes = run_id.bytes().chain([b'/']).chain(replication_id.bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // 0 stands for an unknown server.
    ServerId(hash.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(role: &str) -> [Value; 2] {
        let text = |text: String| Value::BulkString(text.into_bytes());
        [
            text("# Server\r\nredis_version:7.4.0\r\nrun_id:aa11\r\n".into()),
            text(format!("# Replication\r\nrole:{role}\r\nmaster_replid:bb22\r\nmaster_replid2:0000\r\n")),
        ]
    }

    #[test]
    fn a_primary_is_known_by_both_of_its_ids() {
        let address = Address::new("cache:6379");
        let identity = Identity::read(&address, info("master")).expect("a primary");
        assert_eq!(identity, Identity::new("aa11", "bb22"));
        // Other processes and releases rely on this very number.
        assert_eq!(identity.server().0, 4_220_038_721_955_202_122);
        for other in [Identity::new("aa11", "bb23"), Identity::new("aa12", "bb22"), Identity::new("aa1", "1/bb22")] {
            assert!(!identity.server().is_same(other.server()));
        }
    }

    #[test]
    fn a_replica_and_a_server_without_a_name_are_refused() {
        let address = Address::new("cache:6379");
        let replica = Identity::read(&address, info("slave")).expect_err("a replica");
        assert_eq!(replica.kind(), ErrorKind::Unavailable);
        assert!(replica.to_string().contains("cache:6379"), "{replica}");
        let [_, replication] = info("master");
        let nameless = Identity::read(&address, [replication]).expect_err("no run id");
        assert_eq!(nameless.kind(), ErrorKind::Corrupt);
    }
}
