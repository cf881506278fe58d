//! The last meta of each shard, parsed: it changes once a batch and is read with every key.

use std::sync::{Arc, Mutex, PoisonError};

use cachefront_core::store::Meta;
use cachefront_core::{Error, ErrorKind, Result};
use redis::Value;

use crate::error::unexpected;

/// Spares the parsing, and nothing else: what counts are the bytes that came with the entry.
#[derive(Debug)]
pub(crate) struct MetaCache {
    shards: Box<[Mutex<Known>]>,
}

#[derive(Debug, Default)]
struct Known {
    bytes: Vec<u8>,
    meta: Option<Arc<Meta>>,
}

impl MetaCache {
    pub(crate) fn new(shards: u32) -> Self {
        Self { shards: (0..shards).map(|_| Mutex::default()).collect() }
    }

    /// The meta that stands in a reply. One that cannot be read is none: it proves nothing.
    pub(crate) fn read(&self, shard: usize, value: Value) -> Result<Option<Arc<Meta>>> {
        match value {
            Value::Nil => Ok(None),
            Value::BulkString(bytes) if bytes.is_empty() => Ok(None),
            Value::BulkString(bytes) => self.parse(shard, bytes),
            _ => Err(unexpected("meta")),
        }
    }

    fn parse(&self, shard: usize, bytes: Vec<u8>) -> Result<Option<Arc<Meta>>> {
        // No code panics while it holds the lock.
        let mut known = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        if known.bytes != bytes {
            known.meta = match Meta::decode(&bytes) {
                Ok(meta) => Some(Arc::new(meta)),
                Err(error) => {
                    tracing::warn!(%error, shard, "the meta of a shard cannot be read and counts as absent");
                    None
                }
            };
            known.bytes = bytes;
        }
        match &known.meta {
            Some(meta) => check_shards(meta, self.shards.len()).map(|()| Some(Arc::clone(meta))),
            None => Ok(None),
        }
    }
}

fn check_shards(meta: &Meta, shards: usize) -> Result<()> {
    if meta.shards as usize == shards {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Config,
        format!(
            "the namespace in Redis has {} shards and this process expects {shards}: give the same `shards` \
             everywhere, or another `namespace`",
            meta.shards
        ),
    ))
}
