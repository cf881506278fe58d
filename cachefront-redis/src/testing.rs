//! The key layout, for tests that look behind a store. It is not part of the API: it may change in every release.

use crate::keys;

/// The key of a shard's meta.
pub fn meta_key(namespace: &str, shard: u32) -> String {
    keys::meta_name(namespace, shard)
}

/// The key of the stream that carries the bus.
pub fn bus_key(namespace: &str) -> String {
    keys::stream_name(namespace)
}

/// A glob pattern that matches every key of the namespace: entries, metas, the bus, and what tools keep there.
pub fn pattern(namespace: &str) -> String {
    format!("{{cf:{namespace}:*")
}
