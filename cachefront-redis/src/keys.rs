//! The names of keys in the server: one hash tag for each logical shard, so that a script touches one slot only.
//!
//! | key | value |
//! |---|---|
//! | `{cf:<namespace>:<shard>}<cache>:<key>` | an entry, with its lease in the header |
//! | `{cf:<namespace>:<shard>}#meta` | the meta of a shard |
//! | `{cf:<namespace>:<shard>}#home` | in a cluster: the replication id of the node that the shard was last found on |
//! | `{cf:<namespace>:bus}#stream` | the stream of the bus |
//!
//! A *place* is a shard, or the bus, whose index is the number of shards.
//!
//! The hash tag ends before the cache's name, so that the meta and all entries of a shard are in
//! one slot. The namespace is part of the tag: the shards of two services spread independently.

use std::io::Write;

use cachefront_core::StoreKey;
use redis::{Cmd, RedisWrite};

/// The key names of one namespace: every key of a shard begins with `{cf:<namespace>:<shard>}`.
#[derive(Clone, Debug)]
pub(crate) struct KeySpace {
    namespace: Box<str>,
    prefixes: Box<[Box<str>]>,
    metas: Box<[Box<str>]>,
    homes: Box<[Box<str>]>,
    stream: Box<str>,
}

/// The key of a shard's meta. No entry has this name: a store key always contains a colon, and a meta's has none after
/// the hash tag.
pub(crate) fn meta_name(namespace: &str, shard: u32) -> String {
    format!("{}#meta", prefix(namespace, shard))
}

/// The key of the stream that carries the bus.
pub(crate) fn stream_name(namespace: &str) -> String {
    format!("{{cf:{namespace}:bus}}#stream")
}

fn prefix(namespace: &str, shard: u32) -> String {
    format!("{{cf:{namespace}:{shard}}}")
}

impl KeySpace {
    /// Computes the prefixes and fixed names once.
    pub(crate) fn new(namespace: &str, shards: u32) -> Self {
        Self {
            namespace: namespace.into(),
            prefixes: (0..shards).map(|shard| prefix(namespace, shard).into()).collect(),
            metas: (0..shards).map(|shard| meta_name(namespace, shard).into()).collect(),
            homes: (0..shards).map(|shard| format!("{}#home", prefix(namespace, shard)).into()).collect(),
            stream: stream_name(namespace).into(),
        }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn shards(&self) -> u32 {
        // It was built from a u32.
        self.prefixes.len() as u32
    }

    /// The shard of a key.
    pub(crate) fn shard_of(&self, key: &StoreKey) -> usize {
        key.shard(self.shards()) as usize
    }

    /// The key of a shard's meta.
    pub(crate) fn meta(&self, shard: usize) -> &str {
        &self.metas[shard]
    }

    /// The keys of all metas, in the order of the shards.
    pub(crate) fn metas(&self) -> impl ExactSizeIterator<Item = &str> {
        self.metas.iter().map(|name| &**name)
    }

    /// The key of the replication id of a shard's node.
    pub(crate) fn home(&self, shard: usize) -> &str {
        &self.homes[shard]
    }

    /// A key of a shard that never exists: while the slot of the shard is being moved, it is asked for elsewhere.
    pub(crate) fn absent(&self, shard: usize) -> String {
        format!("{}#absent", self.prefixes[shard])
    }

    /// The place of the bus.
    pub(crate) fn bus(&self) -> usize {
        self.metas.len()
    }

    /// The key of the bus.
    pub(crate) fn stream(&self) -> &str {
        &self.stream
    }

    /// A glob pattern that matches the keys of every shard, and neither the bus nor keys of other tools. It may also
    /// match keys of a namespace that begins with this one: check each with [`parse`](Self::parse).
    pub(crate) fn pattern(&self) -> String {
        // The characters that a namespace may have are literal in a pattern.
        format!("{{cf:{}:[0-9]*}}*", self.namespace)
    }

    /// Splits the name of a key of this namespace into its shard and the rest, which is the text of a store key or the
    /// name of the meta. Returns `None` for a key of another namespace.
    pub(crate) fn parse<'a>(&self, name: &'a [u8]) -> Option<(u32, &'a str)> {
        let rest = std::str::from_utf8(name).ok()?.strip_prefix("{cf:")?;
        let (shard, rest) = rest.strip_prefix(&*self.namespace)?.strip_prefix(':')?.split_once('}')?;
        Some((shard.parse().ok()?, rest))
    }

    /// Appends a key's full name to a command, without an intermediate string.
    pub(crate) fn write(&self, command: &mut Cmd, shard: usize, key: &StoreKey) {
        let mut name = command.writer_for_next_arg();
        // A command grows in memory: writing to it cannot fail.
        let _ = name.write_all(self.prefixes[shard].as_bytes());
        let _ = name.write_all(key.as_str().as_bytes());
    }

    /// A key's full name.
    pub(crate) fn name(&self, shard: usize, key: &StoreKey) -> Box<[u8]> {
        [self.prefixes[shard].as_bytes(), key.as_str().as_bytes()].concat().into()
    }

    /// The length of a key's full name, in bytes.
    pub(crate) fn name_bytes(&self, shard: usize, key: &StoreKey) -> usize {
        self.prefixes[shard].len() + key.as_str().len()
    }

    /// Groups keys by shard, each with its index in `keys`.
    pub(crate) fn by_shard<'a>(&self, keys: &'a [StoreKey]) -> Vec<(usize, Vec<(usize, &'a StoreKey)>)> {
        if self.shards() == 1 {
            return vec![(0, keys.iter().enumerate().collect())];
        }
        let mut shards: Vec<Vec<(usize, &StoreKey)>> = vec![Vec::new(); self.prefixes.len()];
        for (index, key) in keys.iter().enumerate() {
            shards[self.shard_of(key)].push((index, key));
        }
        shards.into_iter().enumerate().filter(|(_, keys)| !keys.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shards_keys_and_its_meta_share_a_hash_tag() {
        let space = KeySpace::new("shop", 4);
        let key = StoreKey::encode("users", &42_u64).expect("a key");
        let shard = space.shard_of(&key);
        let mut command = redis::cmd("GET");
        space.write(&mut command, shard, &key);
        let packed = String::from_utf8(command.get_packed_command()).expect("text");
        let name = format!("{{cf:shop:{shard}}}users:42");
        assert!(packed.contains(&name), "{packed}");
        assert_eq!(space.name_bytes(shard, &key), name.len());
        assert_eq!(space.meta(shard), format!("{{cf:shop:{shard}}}#meta"));
    }

    #[test]
    fn every_key_keeps_its_index() {
        let space = KeySpace::new("shop", 4);
        let keys: Vec<_> = (0..100).map(|id| StoreKey::encode("users", &id).expect("a key")).collect();
        let mut indexes = Vec::new();
        for (shard, keys) in space.by_shard(&keys) {
            assert!(keys.iter().all(|(_, key)| space.shard_of(key) == shard));
            indexes.extend(keys.iter().map(|(index, _)| *index));
        }
        indexes.sort_unstable();
        assert!(indexes.into_iter().eq(0..100));
    }

    #[test]
    fn names_are_parsed_and_other_namespaces_are_not_matched() {
        let space = KeySpace::new("shop", 4);
        assert_eq!(space.parse(b"{cf:shop:3}users:42"), Some((3, "users:42")));
        assert_eq!(space.parse(space.meta(2).as_bytes()), Some((2, "#meta")));
        for other in [
            &b"{cf:shop:0:3}users:42"[..],
            b"{cf:shop2:3}users:42",
            b"{cf:shop:bus}#stream",
            b"users:42",
            b"{cf:shop:3\xff}",
        ] {
            assert_eq!(space.parse(other), None);
        }
    }
}
