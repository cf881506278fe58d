//! The key of the second cache: an e-mail address of any length.

use std::fmt::{self, Write};

use cachefront::{CacheKey, KEY_BYTES_MAX};
use ring::digest::{SHA256, digest};

/// The name of the cache of users by address.
pub const BY_EMAIL: &str = "users_by_email";

/// A longer address does not fit into a key together with the cache's name. 255 characters may take 1,020 bytes.
const PLAIN_BYTES_MAX: usize = KEY_BYTES_MAX - BY_EMAIL.len() - 1;

/// Prefix of the hash of an address.
const HASHED: &str = "sha256:";

/// An e-mail address as a key. Readers, the key map and the inspector must all use this one encoding.
///
/// The key is the address itself if that fits, else its SHA-256. An address that looks like a hash is hashed as well,
/// so that it never gets the key of another address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EmailKey(String);

impl EmailKey {
    pub fn new(email: impl Into<String>) -> Self {
        Self(email.into())
    }

    /// Parses a key from a list of keys. Returns `None` if the list holds only the hash of the address.
    pub fn from_text(text: &str) -> Option<Self> {
        (!text.starts_with(HASHED)).then(|| Self::new(text))
    }

    pub fn email(&self) -> &str {
        &self.0
    }

    /// The key's text in the store, without the cache's name.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = self.encode(&mut text);
        text
    }
}

impl CacheKey for EmailKey {
    fn encode(&self, out: &mut dyn Write) -> fmt::Result {
        if self.0.len() <= PLAIN_BYTES_MAX && !self.0.starts_with(HASHED) {
            return out.write_str(&self.0);
        }
        out.write_str(HASHED)?;
        digest(&SHA256, self.0.as_bytes()).as_ref().iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use cachefront::StoreKey;

    use super::*;

    fn key(email: &str) -> String {
        StoreKey::encode(BY_EMAIL, &EmailKey::new(email)).expect("a key").as_str().to_owned()
    }

    #[test]
    fn every_address_has_a_key_and_two_addresses_never_share_one() {
        assert_eq!(key("ada@example.org"), "users_by_email:ada@example.org");
        let longest_plain = "😀".repeat(252);
        assert_eq!(key(&longest_plain), format!("users_by_email:{longest_plain}"));
        let mut keys: Vec<String> = (252..=255).map(|count| key(&"😀".repeat(count))).collect();
        // An address that equals the hash of another one does not get the other's key.
        let hashed = keys[1].clone();
        assert_eq!(hashed.len(), "users_by_email:sha256:".len() + 64);
        keys.push(key(hashed.strip_prefix("users_by_email:").expect("the cache's name")));
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 5);
    }
}
