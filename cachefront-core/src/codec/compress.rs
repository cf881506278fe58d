//! Compression of encoded values above a size, and its inverse with a bound.
//!
//! A compressed payload is the length of the value in four bytes, big-endian, and then the compressed bytes. The entry's header
//! names the algorithm, so that processes with other settings read it; one that was built without the algorithm misses.

use std::borrow::Cow;

use crate::error::BoxError;

/// Number of bytes before the compressed ones: the length of the value.
const LENGTH_BYTES: usize = 4;

/// How encoded values are compressed; see [`CacheBuilder::compression`](crate::CacheBuilder::compression).
///
/// ```
/// # #[cfg(feature = "lz4")] {
/// use cachefront::codec::Compression;
///
/// let compression = Compression::lz4().above(4 << 10);
/// # let _ = compression;
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Compression {
    algorithm: Algorithm,
    above: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    #[cfg(feature = "lz4")]
    Lz4,
    #[cfg(feature = "zstd")]
    Zstd { level: i32 },
}

/// The number of an algorithm in an entry's header. 0 is none.
#[cfg(feature = "lz4")]
const LZ4: u8 = 1;
#[cfg(feature = "zstd")]
const ZSTD: u8 = 2;

impl Compression {
    /// Compresses with LZ4, in about a microsecond for a few KiB.
    #[cfg(feature = "lz4")]
    pub const fn lz4() -> Self {
        Self { algorithm: Algorithm::Lz4, above: 1 << 10 }
    }

    /// Compresses with Zstandard at a level from 1 to 22, 3 being usual: smaller than LZ4, and slower. A level above 22 counts as
    /// 22, 0 as 3, and a negative one is faster and compresses less.
    #[cfg(feature = "zstd")]
    pub const fn zstd(level: i32) -> Self {
        Self { algorithm: Algorithm::Zstd { level }, above: 1 << 10 }
    }

    /// Compresses only values that are encoded to more than `bytes`. Default: 1 KiB.
    pub const fn above(mut self, bytes: usize) -> Self {
        self.above = bytes;
        self
    }

    /// Compresses an encoded value. Returns the number of the algorithm and the payload; `None` if the value is to be stored as
    /// it is, because it is small or does not shrink.
    pub(crate) fn compress(&self, encoded: &[u8]) -> Option<(u8, Vec<u8>)> {
        let length = u32::try_from(encoded.len()).ok().filter(|_| encoded.len() > self.above)?;
        let (id, compressed) = self.algorithm.compress(encoded)?;
        let mut payload = Vec::with_capacity(LENGTH_BYTES + compressed.len());
        payload.extend_from_slice(&length.to_be_bytes());
        payload.extend_from_slice(&compressed);
        (payload.len() < encoded.len()).then_some((id, payload))
    }
}

impl Algorithm {
    /// Returns `None` if the bytes cannot be compressed.
    fn compress(self, encoded: &[u8]) -> Option<(u8, Vec<u8>)> {
        #[cfg(not(any(feature = "lz4", feature = "zstd")))]
        let _ = encoded;
        match self {
            #[cfg(feature = "lz4")]
            Self::Lz4 => Some((LZ4, lz4_flex::block::compress(encoded))),
            #[cfg(feature = "zstd")]
            Self::Zstd { level } => Some((ZSTD, zstd::bulk::compress(encoded, level).ok()?)),
        }
    }
}

/// Returns the encoded value of a payload. No more than `max` bytes are ever allocated for it, whatever the payload says.
///
/// # Errors
/// If the payload is damaged, would be longer than `max`, or was compressed by an algorithm that this build does not have.
pub(crate) fn inflate(id: u8, payload: &[u8], max: usize) -> Result<Cow<'_, [u8]>, BoxError> {
    if id == 0 {
        return Ok(Cow::Borrowed(payload));
    }
    let (length, compressed) = payload.split_first_chunk::<LENGTH_BYTES>().ok_or("a compressed value has no length")?;
    let length = u32::from_be_bytes(*length) as usize;
    if length > max {
        return Err(format!("a compressed value has {length} bytes, more than `value_bytes_max` ({max})").into());
    }
    let inflated = decompress(id, compressed, length)?;
    if inflated.len() != length {
        return Err("a compressed value does not have the length that it says".into());
    }
    Ok(Cow::Owned(inflated))
}

/// Returns the bytes that were compressed, `length` at most.
fn decompress(id: u8, compressed: &[u8], length: usize) -> Result<Vec<u8>, BoxError> {
    #[cfg(not(any(feature = "lz4", feature = "zstd")))]
    let _ = (compressed, length);
    match id {
        #[cfg(feature = "lz4")]
        LZ4 => Ok(lz4_flex::block::decompress(compressed, length)?),
        #[cfg(feature = "zstd")]
        ZSTD => Ok(zstd::bulk::decompress(compressed, length)?),
        other => Err(format!("a value is compressed by algorithm {other}, which this build does not have").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1 << 20;

    fn all() -> [Compression; 2] {
        [Compression::lz4(), Compression::zstd(3)]
    }

    #[test]
    fn what_was_compressed_is_inflated() {
        let text = "a value that repeats itself, ".repeat(1_000);
        for compression in all() {
            let (id, payload) = compression.compress(text.as_bytes()).expect("it shrinks");
            assert!(payload.len() < text.len() / 10, "{compression:?}: {} bytes", payload.len());
            assert_eq!(&*inflate(id, &payload, MAX).expect("a value"), text.as_bytes());
        }
    }

    #[test]
    fn small_values_and_those_that_do_not_shrink_are_stored_as_they_are() {
        for compression in all() {
            assert_eq!(compression.compress(&[7; 1 << 10]), None);
            assert!(compression.compress(&[7; (1 << 10) + 1]).is_some());
            let noise: Vec<u8> = (0..5_000_u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
            if let Some((_, payload)) = compression.compress(&noise) {
                assert!(payload.len() < noise.len());
            }
        }
        assert_eq!(&*inflate(0, b"as it is", 1).expect("a value"), b"as it is");
    }

    #[test]
    fn no_payload_inflates_beyond_the_bound() {
        let bomb = vec![0_u8; 1 << 20];
        for compression in all() {
            let (id, mut payload) = compression.compress(&bomb).expect("it shrinks");
            assert!(payload.len() < 10_000, "{}", payload.len());
            inflate(id, &payload, (1 << 20) - 1).expect_err("it would be longer than the bound");
            // A length that lies does not help.
            payload[..LENGTH_BYTES].copy_from_slice(&1_000_u32.to_be_bytes());
            inflate(id, &payload, 2_000).expect_err("it has more bytes than it says");
            payload[..LENGTH_BYTES].copy_from_slice(&(2_u32 << 20).to_be_bytes());
            inflate(id, &payload, 4 << 20).expect_err("it has fewer bytes than it says");
        }
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let text = "a value that repeats itself, ".repeat(100);
        for compression in all() {
            let (id, payload) = compression.compress(text.as_bytes()).expect("it shrinks");
            for length in 0..payload.len() {
                assert!(inflate(id, &payload[..length], MAX).is_err());
            }
            for at in 0..payload.len() {
                let mut damaged = payload.clone();
                damaged[at] ^= 0x55;
                // It may inflate to another value, which its codec judges; it must not panic or grow.
                if let Ok(value) = inflate(id, &damaged, MAX) {
                    assert!(value.len() <= MAX);
                }
            }
        }
        inflate(63, &[0; 8], MAX).expect_err("an algorithm that no build has");
    }
}
