//! The identity of the server at the other end of a connection: its process and its replication history.

use cachefront_core::Result;
use cachefront_core::store::ServerId;
use redis::Value;

use crate::error::{Address, IS_A_REPLICA};

/// A primary, as it was when a connection to it was opened.
///
/// The run id names the process. The replication id names the history of the data; it changes with each promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    run_id: Box<str>,
    replication_id: Box<str>,
    server: ServerId,
}

impl Identity {
    /// Parses the replies to `INFO server` and `INFO replication`.
    ///
    /// # Errors
    /// `Unavailable` if the server is a replica, `Corrupt` if a reply lacks one of the ids.
    pub(crate) fn read(address: &Address, replies: impl IntoIterator<Item = Value>) -> Result<Self> {
        let mut text = String::new();
        for reply in replies {
            match address.check(reply)? {
                Value::BulkString(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
                Value::VerbatimString { text: verbatim, .. } => text.push_str(&verbatim),
                _ => return Err(address.unexpected_reply("INFO")),
            }
        }
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim).filter(|value| !value.is_empty()).ok_or_else(|| address.unexpected_reply("INFO"))
        };
        if field("role")? != "master" {
            return Err(address.unavailable(IS_A_REPLICA));
        }
        Ok(Self::new(field("run_id")?, field("master_replid")?))
    }

    fn new(run_id: &str, replication_id: &str) -> Self {
        Self { run_id: run_id.into(), replication_id: replication_id.into(), server: hash(run_id, replication_id) }
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
    use cachefront_core::ErrorKind;

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
        // Other processes and releases must compute the same number.
        assert_eq!(identity.server().0, 4_220_038_721_955_202_122);
        for other in [Identity::new("aa11", "bb23"), Identity::new("aa12", "bb22"), Identity::new("aa1", "1/bb22")] {
            assert!(!identity.server().is_same(other.server()));
        }
    }

    #[test]
    fn a_replica_and_a_server_without_a_run_id_are_refused() {
        let address = Address::new("cache:6379");
        let replica = Identity::read(&address, info("slave")).expect_err("a replica");
        assert_eq!(replica.kind(), ErrorKind::Unavailable);
        assert!(replica.to_string().contains("cache:6379"), "{replica}");
        let [_, replication] = info("master");
        let nameless = Identity::read(&address, [replication]).expect_err("no run id");
        assert_eq!(nameless.kind(), ErrorKind::Corrupt);
    }
}
