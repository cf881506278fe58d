//! How keys are named in the server: one hash tag for each logical shard, so that a script meets one slot only.

use std::io::Write;

use cachefront_core::StoreKey;
use redis::{Cmd, RedisWrite};

/// The names of one namespace: `{cf:<namespace>:<shard>}` before every key of a shard.
#[derive(Clone, Debug)]
pub(crate) struct KeySpace {
    namespace: Box<str>,
    prefixes: Box<[Box<str>]>,
    metas: Box<[Box<str>]>,
    stream: Box<str>,
}

impl KeySpace {
    pub(crate) fn new(namespace: &str, shards: u32) -> Self {
        let prefix = |shard| format!("{{cf:{namespace}:{shard}}}");
        Self {
            namespace: namespace.into(),
            prefixes: (0..shards).map(|shard| prefix(shard).into()).collect(),
            // No entry has this name: a store key always holds a colon.
            metas: (0..shards).map(|shard| format!("{}#meta", prefix(shard)).into()).collect(),
            stream: format!("{{cf:{namespace}:bus}}#stream").into(),
        }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn shards(&self) -> u32 {
        // It was built from a u32.
        self.prefixes.len() as u32
    }

    pub(crate) fn shard_of(&self, key: &StoreKey) -> usize {
        key.shard(self.shards()) as usize
    }

    pub(crate) fn meta(&self, shard: usize) -> &str {
        &self.metas[shard]
    }

    pub(crate) fn metas(&self) -> impl ExactSizeIterator<Item = &str> {
        self.metas.iter().map(|name| &**name)
    }

    pub(crate) fn stream(&self) -> &str {
        &self.stream
    }

    /// Adds a key's full name to a command, without a string of its own.
    pub(crate) fn write(&self, command: &mut Cmd, shard: usize, key: &StoreKey) {
        let mut name = command.writer_for_next_arg();
        // A command grows in memory: writing to it cannot fail.
        let _ = name.write_all(self.prefixes[shard].as_bytes());
        let _ = name.write_all(key.as_str().as_bytes());
    }

    /// Bytes of a key's full name.
    pub(crate) fn name_bytes(&self, shard: usize, key: &StoreKey) -> usize {
        self.prefixes[shard].len() + key.as_str().len()
    }

    /// The keys by shard, each with its place in the list asked for.
    pub(crate) fn by_shard<'a>(&self, keys: &'a [StoreKey]) -> Vec<(usize, Vec<(usize, &'a StoreKey)>)> {
        if self.shards() == 1 {
            return vec![(0, keys.iter().enumerate().collect())];
        }
        let mut shards: Vec<Vec<(usize, &StoreKey)>> = vec![Vec::new(); self.prefixes.len()];
        for (place, key) in keys.iter().enumerate() {
            shards[self.shard_of(key)].push((place, key));
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
    fn every_key_keeps_its_place() {
        let space = KeySpace::new("shop", 4);
        let keys: Vec<_> = (0..100).map(|id| StoreKey::encode("users", &id).expect("a key")).collect();
        let mut places = Vec::new();
        for (shard, keys) in space.by_shard(&keys) {
            assert!(keys.iter().all(|(_, key)| space.shard_of(key) == shard));
            places.extend(keys.iter().map(|(place, _)| *place));
        }
        places.sort_unstable();
        assert!(places.into_iter().eq(0..100));
    }
}
