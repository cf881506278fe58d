//! Cachefront's cache: with a process-local tier, and an invalidator over a log in memory.

use std::sync::Arc;
use std::time::Duration;

use cachefront::testing::ScriptedSource;
use cachefront::{Cache, Cdc, CdcHandle, Local, loader_fn};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::times::{Failure, Payload, payload};

/// How long an entry lives, in every cache.
pub(crate) const TTL: Duration = Duration::from_secs(3_600);

/// A value: the store of the process keeps it as JSON, its local tier as it is.
#[derive(Clone, Debug)]
pub(crate) struct Row(pub(crate) Payload);

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0[..])
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        let bytes = bytes.try_into().map_err(|_| serde::de::Error::custom("not 100 bytes"))?;
        Ok(Self(Arc::new(bytes)))
    }
}

/// The cache, and what keeps it correct.
pub(crate) struct Ours {
    pub(crate) cache: Cache<u64, Row>,
    invalidator: CdcHandle,
}

impl Ours {
    /// Builds a cache whose loads take this long.
    pub(crate) async fn new(load: Duration) -> Result<Self, Failure> {
        let cache = Cache::builder("bench")
            .local(Local::max_weight(256 << 20).ttl(TTL))
            .ttl(TTL)
            .loader(loader_fn(move |id: u64| async move {
                if !load.is_zero() {
                    tokio::time::sleep(load).await;
                }
                Ok::<_, std::io::Error>(Some(Row(payload(id))))
            }))
            .depends_on_columns("bench.row", &["id"], |row| Ok(vec![row.get::<u64>("id")?]))
            .build()?;
        let invalidator = Cdc::new(ScriptedSource::new("bench")).bind(&cache).spawn()?;
        invalidator.ready().await?;
        Ok(Self { cache, invalidator })
    }

    pub(crate) async fn stop(self) {
        self.invalidator.shutdown().await;
    }
}
