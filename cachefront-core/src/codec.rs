//! Codecs: a typed value as bytes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::BoxError;

/// Turns values into bytes and back.
pub trait Codec<V>: Send + Sync + 'static {
    /// A number that says which codec wrote a payload. An entry with another one is a miss. 1 to 63 are this crate's.
    fn id(&self) -> u8;

    /// Appends the value's bytes to `out`.
    ///
    /// # Errors
    /// What kept the value from being written. The value is then returned to the caller and not kept.
    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), BoxError>;

    /// Reads a value.
    ///
    /// # Errors
    /// What kept it from being read. The entry is then a miss.
    fn decode(&self, bytes: &[u8]) -> Result<V, BoxError>;
}

/// JSON by serde: readable in the store, the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl<V: Serialize + DeserializeOwned> Codec<V> for Json {
    fn id(&self) -> u8 {
        1
    }

    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), BoxError> {
        serde_json::to_writer(out, value).map_err(Into::into)
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, BoxError> {
        serde_json::from_slice(bytes).map_err(Into::into)
    }
}

/// Bytes as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec<bytes::Bytes> for Raw {
    fn id(&self) -> u8 {
        2
    }

    fn encode(&self, value: &bytes::Bytes, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(value);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<bytes::Bytes, BoxError> {
        Ok(bytes::Bytes::copy_from_slice(bytes))
    }
}
