//! Codecs: convert typed values to bytes and back.
//!
//! | codec | feature | for |
//! |---|---|---|
//! | [`Json`](https://docs.rs/cachefront/latest/cachefront/codec/struct.Json.html) | `json`, on by default | values that are to be readable in the store |
//! | [`Raw`] | | values that are bytes |
//! | `Postcard` | `postcard` | the smallest and fastest; without names |
//! | `MsgPack` | `msgpack` | small, with names |
//!
//! [`Compression`] is applied to what a codec returns, for values above a size. Encryption is a codec's job: one that wraps another and
//! encrypts what it returns. The guide has one.

#[cfg(any(feature = "json", feature = "postcard", feature = "msgpack"))]
use serde::Serialize;
#[cfg(any(feature = "json", feature = "postcard", feature = "msgpack"))]
use serde::de::DeserializeOwned;

use crate::error::BoxError;

mod compress;

pub use compress::Compression;
pub(crate) use compress::inflate;

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
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not convert values of the type `{V}`",
    note = "`Json`, `Postcard` and `MsgPack` convert what serde can, if their feature is on; name one with `codec`"
)]
pub trait Codec<V>: Send + Sync + 'static {
    /// Returns the id of the codec, which is stored with each payload. An entry with another id is a miss. Ids 1 to 63 are
    /// reserved for this crate; in a cache with tags, 127 is the maximum. With a change between ids that differ by
    /// 128, raise the `schema_version` too: 128 is the mark of values with tags.
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
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

#[cfg(feature = "json")]
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

/// Postcard with serde: the smallest and fastest. It stores no names, so *every* change of the type needs another
/// [`schema_version`](crate::CacheBuilder::schema_version); types whose form depends on their content, such as
/// `serde_json::Value`, cannot be decoded.
#[cfg(feature = "postcard")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Postcard;

#[cfg(feature = "postcard")]
impl<V: Serialize + DeserializeOwned> Codec<V> for Postcard {
    fn id(&self) -> u8 {
        3
    }

    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), BoxError> {
        *out = postcard::to_extend(value, std::mem::take(out))?;
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, BoxError> {
        match postcard::take_from_bytes(bytes)? {
            (value, []) => Ok(value),
            (_, rest) => Err(format!("{} bytes are left after the value", rest.len()).into()),
        }
    }
}

/// MessagePack with serde, with the names of fields, so that a type may get new fields as with JSON (raise
/// [`schema_version`](crate::CacheBuilder::schema_version) if they matter): smaller than JSON, and readable by other programs.
#[cfg(feature = "msgpack")]
#[derive(Clone, Copy, Debug, Default)]
pub struct MsgPack;

#[cfg(feature = "msgpack")]
impl<V: Serialize + DeserializeOwned> Codec<V> for MsgPack {
    fn id(&self) -> u8 {
        4
    }

    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), BoxError> {
        rmp_serde::encode::write_named(out, value).map_err(Into::into)
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, BoxError> {
        let mut rest = bytes;
        let value = rmp_serde::from_read(&mut rest)?;
        if rest.is_empty() { Ok(value) } else { Err(format!("{} bytes are left after the value", rest.len()).into()) }
    }
}

/// The codec of a cache whose builder names none.
#[cfg(feature = "json")]
pub type DefaultCodec = Json;

/// The codec of a cache whose builder names none.
#[cfg(not(feature = "json"))]
pub type DefaultCodec = NoCodec;

/// Without the feature `json` there is no default: name a codec with [`CacheBuilder::codec`](crate::CacheBuilder::codec).
#[cfg(not(feature = "json"))]
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCodec;

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct User {
        id: u64,
        name: String,
        tags: Vec<Option<i16>>,
    }

    fn user() -> User {
        User { id: u64::MAX, name: "Ada \u{1f600}".to_owned(), tags: vec![None, Some(-7)] }
    }

    fn check<C: Codec<User>>(codec: &C) {
        let mut bytes = b"before".to_vec();
        codec.encode(&user(), &mut bytes).expect("it is encoded");
        let bytes = bytes.strip_prefix(b"before").expect("it is appended");
        assert_eq!(codec.decode(bytes).expect("a value"), user());
        for length in 0..bytes.len() {
            assert!(codec.decode(&bytes[..length]).is_err(), "cut after {length} bytes");
        }
        let mut longer = bytes.to_vec();
        longer.push(0xc0);
        assert!(codec.decode(&longer).is_err(), "bytes after the value");
        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0xff;
            // It may be another value; it must not panic.
            let _ = codec.decode(&damaged);
        }
    }

    #[test]
    fn every_codec_decodes_what_it_encodes_and_nothing_that_is_cut() {
        check(&Json);
        check(&Postcard);
        check(&MsgPack);
    }

    #[test]
    fn every_codec_has_an_id_of_its_own() {
        let mut ids =
            [Codec::<u64>::id(&Json), Codec::<u64>::id(&Postcard), Codec::<u64>::id(&MsgPack), Codec::id(&Raw)];
        ids.sort_unstable();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
    }

    #[derive(Serialize, Deserialize)]
    struct Former {
        id: u64,
        name: String,
    }

    #[test]
    fn a_field_that_is_gone_is_ignored_by_codecs_with_names() {
        let mut bytes = Vec::new();
        Codec::<User>::encode(&MsgPack, &user(), &mut bytes).expect("it is encoded");
        assert_eq!(Codec::<Former>::decode(&MsgPack, &bytes).expect("a value").name, user().name);
    }
}
