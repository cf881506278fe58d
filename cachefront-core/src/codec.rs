//! Codecs: convert typed values to bytes and back.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::BoxError;

/// Converts values to bytes and back.
///
/// ```
/// use cachefront::BoxError;
/// use cachefront::codec::Codec;
///
/// /// Prices in cents, as eight bytes.
/// struct Cents;
///
/// impl Codec<u64> for Cents {
///     fn id(&self) -> u8 {
///         64
///     }
///
///     fn encode(&self, value: &u64, out: &mut Vec<u8>) -> Result<(), BoxError> {
///         out.extend_from_slice(&value.to_be_bytes());
///         Ok(())
///     }
///
///     fn decode(&self, bytes: &[u8]) -> Result<u64, BoxError> {
///         Ok(u64::from_be_bytes(bytes.try_into()?))
///     }
/// }
///
/// let mut bytes = Vec::new();
/// Cents.encode(&1_999, &mut bytes)?;
/// assert_eq!(Cents.decode(&bytes)?, 1_999);
/// # Ok::<(), BoxError>(())
/// ```
pub trait Codec<V>: Send + Sync + 'static {
    /// Returns the id of the codec, which is stored with each payload. An entry with another id is a miss. Ids 1 to 63 are
    /// reserved for this crate, and 127 is the maximum.
    fn id(&self) -> u8;

    /// Appends the value's bytes to `out`.
    ///
    /// # Errors
    /// If the value cannot be encoded. It is then returned to the caller and not cached.
    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), BoxError>;

    /// Decodes a value.
    ///
    /// # Errors
    /// If the bytes cannot be decoded. The entry is then a miss.
    fn decode(&self, bytes: &[u8]) -> Result<V, BoxError>;
}

/// JSON with serde: the default, readable in the store.
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
        // One validation of the whole text is cheaper than one of each string and name in it.
        match std::str::from_utf8(bytes) {
            Ok(text) => serde_json::from_str(text).map_err(Into::into),
            Err(_) => serde_json::from_slice(bytes).map_err(Into::into),
        }
    }
}

/// Bytes without a conversion.
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
