//! The stored form of a key: its text, its hash and its shard.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::Arc;

use quick_cache::DefaultHashBuilder;

use crate::error::{Error, ErrorKind, Result};
use crate::key::cache_key::CacheKey;

/// Maximum length of an encoded key, in bytes, including its cache's name: far above what ids need, far below what hurts a
/// store.
pub const KEY_BYTES_MAX: usize = 1024;

/// Follows the cache's name in keys of markers.
const TAGS_SUFFIX: &str = "#tags";

/// A key in its stored form: the cache's name, a colon, and the encoded key; with its hash.
///
/// ```
/// use cachefront::StoreKey;
///
/// let key = StoreKey::encode("users", &42_u64)?;
/// assert_eq!(key.as_str(), "users:42");
/// assert!(key.shard(64) < 64);
/// # Ok::<(), cachefront::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StoreKey {
    text: Arc<str>,
    hash: u64,
}

/// Something for each key. Its hash function is the one of the process-local tier: seeded as the standard library's is, and several
/// times as fast. The hash that a key has already does not do, because anyone can make keys whose hashes are equal.
pub(crate) type ByKey<T> = HashMap<StoreKey, T, DefaultHashBuilder>;

impl StoreKey {
    /// Encodes `key` for the cache named `cache`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the key's own encoding fails or is longer than [`KEY_BYTES_MAX`].
    pub fn encode(cache: &str, key: &(impl CacheKey + ?Sized)) -> Result<Self> {
        Self::from_text(Self::text_of(cache, key)?.as_str())
    }

    /// Like [`encode`](Self::encode), but returns `None` if the key is too long: such a key is never stored.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the key's own encoding fails.
    pub fn encode_short(cache: &str, key: &(impl CacheKey + ?Sized)) -> Result<Option<Self>> {
        let text = Self::text_of(cache, key)?;
        let text = text.as_str();
        if text.len() > KEY_BYTES_MAX { Ok(None) } else { Self::from_text(text).map(Some) }
    }

    /// Appends what [`encode_short`](Self::encode_short) returns, unless it is the last of `keys` already.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the key's own encoding fails.
    pub(crate) fn append_short(keys: &mut Vec<Self>, cache: &str, key: &(impl CacheKey + ?Sized)) -> Result<()> {
        let text = Self::text_of(cache, key)?;
        let text = text.as_str();
        if text.len() <= KEY_BYTES_MAX && keys.last().is_none_or(|last| last.as_str() != text) {
            keys.push(Self::from_text(text)?);
        }
        Ok(())
    }

    fn text_of(cache: &str, key: &(impl CacheKey + ?Sized)) -> Result<KeyText> {
        let mut text = KeyText::default();
        text.write_str(cache).and_then(|()| text.write_char(':')).and_then(|()| key.encode(&mut text)).map_err(
            |error| Error::with_source(ErrorKind::Config, format!("a key of cache `{cache}` has no text form"), error),
        )?;
        Ok(text)
    }

    /// Makes a key from text that is already encoded, as in messages of the bus.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if it is longer than [`KEY_BYTES_MAX`].
    pub fn from_text(text: impl Into<Arc<str>>) -> Result<Self> {
        let text = text.into();
        if text.len() > KEY_BYTES_MAX {
            let start: String = text.chars().take(32).collect();
            return Err(Error::new(
                ErrorKind::Config,
                format!("a key of {} bytes is too long (`{start}…`): at most {KEY_BYTES_MAX}", text.len()),
            ));
        }
        let hash = stable_hash(text.as_bytes());
        Ok(Self { text, hash })
    }

    /// Makes the key of the marker of a tag. Its text begins with the cache's name and `#tags`, so it is never that of a value: a
    /// cache's name has no `#`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if it is longer than [`KEY_BYTES_MAX`].
    pub(crate) fn of_tag(cache: &str, tag: &str) -> Result<Self> {
        Self::from_text(format!("{cache}{TAGS_SUFFIX}:{tag}"))
    }

    /// Returns the name of the cache that a key's text belongs to: that of a value, or of the marker of a tag.
    pub(crate) fn cache_of(text: &str) -> &str {
        let name = text.split_once(':').map_or(text, |(name, _)| name);
        name.strip_suffix(TAGS_SUFFIX).unwrap_or(name)
    }

    /// Returns the hash of the key with this text; `None` if it is longer than [`KEY_BYTES_MAX`].
    pub(crate) fn hash_of(text: &str) -> Option<u64> {
        (text.len() <= KEY_BYTES_MAX).then(|| stable_hash(text.as_bytes()))
    }

    /// Returns the key's text: cache name, colon, encoded key.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns a hash that is the same in every process and release.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Returns the logical shard of this key among `shards`.
    pub fn shard(&self, shards: u32) -> u32 {
        // The upper half, so that the lower bits stay free for tables inside one process.
        ((self.hash >> 32) % u64::from(shards.max(1))) as u32
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreKey({})", self.text)
    }
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Text that is on the stack while it is short, so that a key costs only its own allocation.
struct KeyText {
    inline: [u8; Self::INLINE_BYTES],
    used: usize,
    /// The whole text, once it is longer than `inline`.
    spilled: String,
}

impl KeyText {
    /// Longer than almost every key.
    const INLINE_BYTES: usize = 128;

    fn as_str(&self) -> &str {
        if self.spilled.is_empty() {
            // Only whole strings were written, so the bytes are UTF-8.
            std::str::from_utf8(self.inline.get(..self.used).unwrap_or_default()).unwrap_or_default()
        } else {
            &self.spilled
        }
    }
}

impl Default for KeyText {
    fn default() -> Self {
        Self { inline: [0; Self::INLINE_BYTES], used: 0, spilled: String::new() }
    }
}

impl Write for KeyText {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let end = self.used + part.len();
        match self.inline.get_mut(self.used..end) {
            Some(room) if self.spilled.is_empty() => {
                room.copy_from_slice(part.as_bytes());
                self.used = end;
            }
            _ => {
                if self.spilled.is_empty() {
                    self.spilled = self.as_str().to_owned();
                }
                self.spilled.push_str(part);
            }
        }
        Ok(())
    }
}

/// FNV-1a with a final mix. It selects the shard of a key, so it must never change.
fn stable_hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for &byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_pinned() {
        let key = StoreKey::encode("users", &42_u64).expect("a key");
        assert_eq!(key.as_str(), "users:42");
        assert_eq!(key.hash(), stable_hash(b"users:42"));
        assert_eq!(stable_hash(b""), 17_058_014_651_485_797_458);
        assert_eq!(key.shard(1), 0);
        assert!(key.shard(64) < 64);
    }

    #[test]
    fn short_and_long_keys_have_the_same_encoding() {
        for length in [0, 1, 121, 122, 123, 124, 300] {
            let id = "é".repeat(length / 2) + &"x".repeat(length % 2);
            assert_eq!(StoreKey::encode("users", &id).expect("a key").as_str(), format!("users:{id}"));
        }
    }

    #[test]
    fn a_key_above_the_maximum_length_is_refused() {
        let error = StoreKey::encode("users", &"x".repeat(KEY_BYTES_MAX)).expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
