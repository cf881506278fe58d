//! The last meta of each shard, parsed: it changes once per batch and is read with every key.
//!
//! The position of a meta has one interval per server that ever was primary and grows with gaps in
//! the log; to parse it for every read would cost more than the read. Comparing the bytes costs a
//! `memcmp` of a few hundred bytes.

use std::sync::{Arc, Mutex, PoisonError};

use cachefront_core::store::Meta;
use cachefront_core::{Error, ErrorKind, Result};
use redis::Value;

use crate::error::Address;

/// Caches the parsed form of each shard's meta. It only saves parsing: a cached meta is used only if its bytes equal
/// those that the server returned with the entry.
#[derive(Debug)]
pub(crate) struct MetaCache {
    address: Address,
    shards: Box<[Mutex<Cached>]>,
}

/// `None` with bytes is a meta that cannot be decoded. It is kept too, so that the warning is
/// logged once and not by each read.
#[derive(Debug, Default)]
struct Cached {
    bytes: Vec<u8>,
    meta: Option<Arc<Meta>>,
}

impl MetaCache {
    pub(crate) fn new(address: Address, shards: u32) -> Self {
        Self { address, shards: (0..shards).map(|_| Mutex::default()).collect() }
    }

    /// Parses the meta in a reply. Returns `None` if there is none, or if it cannot be decoded: such a meta proves nothing.
    ///
    /// # Errors
    /// `Config` if the namespace was created with another number of shards, `Corrupt` if the reply is of another type.
    pub(crate) fn read(&self, shard: usize, value: Value) -> Result<Option<Arc<Meta>>> {
        match value {
            Value::Nil => Ok(None),
            Value::BulkString(bytes) => self.read_bytes(shard, &bytes),
            _ => Err(self.address.unexpected_reply("a read of a shard's meta")),
        }
    }

    /// Parses the bytes of a meta. Returns `None` if there are none, or if they cannot be decoded.
    ///
    /// # Errors
    /// `Config` if the namespace was created with another number of shards.
    pub(crate) fn read_bytes(&self, shard: usize, bytes: &[u8]) -> Result<Option<Arc<Meta>>> {
        if bytes.is_empty() { Ok(None) } else { self.parse(shard, bytes) }
    }

    /// The lock is held while a new meta is parsed: the readers behind it need the same result.
    fn parse(&self, shard: usize, bytes: &[u8]) -> Result<Option<Arc<Meta>>> {
        // No code panics while it holds the lock.
        let mut cached = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        if cached.bytes != bytes {
            cached.meta = match Meta::decode(bytes) {
                Ok(meta) => Some(Arc::new(meta)),
                Err(error) => {
                    tracing::warn!(%error, shard, "the meta of a shard cannot be decoded and is treated as absent");
                    None
                }
            };
            cached.bytes = bytes.to_vec();
        }
        match &cached.meta {
            Some(meta) => self.check_shards(meta).map(|()| Some(Arc::clone(meta))),
            None => Ok(None),
        }
    }

    /// A process with another number of shards would look for a key under another name, and would
    /// miss invalidations that were sent to the first one.
    fn check_shards(&self, meta: &Meta) -> Result<()> {
        let expected = self.shards.len();
        if meta.shards as usize == expected {
            return Ok(());
        }
        let message = format!(
            "the namespace in Redis at {} has {} shards and this process expects {expected}: use the same `shards` \
             everywhere, or another `namespace`",
            self.address, meta.shards
        );
        Err(Error::new(ErrorKind::Config, message))
    }
}
