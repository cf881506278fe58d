//! The caches of a world, each under its mapping.

use std::sync::Arc;

use cachefront_core::event::RowImage;
use cachefront_core::keymap::KeyMap;
use cachefront_core::{Cache, CacheBuilder, Result};

use crate::config::Config;
use crate::features::Tags;
use crate::keys::{Key, Kind, ORDERS, tag_of};

/// The name of the replica that loaders read.
const REPLICA: &str = "replica";

/// A cache of this kind under its mapping in a release.
pub(crate) fn cache_of(config: &Config, kind: Kind, release: usize) -> CacheBuilder<Key, u64> {
    let mut builder = Cache::builder(kind.cache()).mapping_version(kind.version());
    if config.features.has_tags(kind) {
        builder = builder.depends_on_tags(ORDERS, &["id"], |row| Ok(vec![tag_of(row.get::<u16>("id")?)]));
        if config.features.tags == Tags::OfKeys {
            builder = builder.tags_of(|key: &Key| vec![tag_of(key.number)]);
        }
    } else {
        for (table, keys_of) in kind.rules() {
            builder = builder.depends_on(table, keys_of);
        }
    }
    if let Some(table) = config.features.row_images_of(kind) {
        builder = builder.refresh_in_place(table, written);
    }
    if config.declares_replica(release) {
        builder = builder.loads_from(REPLICA);
        if config.fenced {
            builder = builder.fenced();
        }
    }
    builder
}

fn written(row: &RowImage) -> Result<u64> {
    row.get("written")
}

/// The mapping of a cache, for those that hold no cache themselves.
pub(crate) fn key_map_of(config: &Config, kind: Kind, release: usize) -> Arc<dyn KeyMap> {
    cache_of(config, kind, release).build().expect("a cache").key_map()
}
