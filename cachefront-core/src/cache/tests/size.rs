//! The size of a read's future, which is allocated for every read that is no hit in the process-local tier.

use std::sync::Arc;

use crate::cache::level::Level;
use crate::cache::plan::Work;
use crate::cache::tests::{Database, builder};
use crate::store::MemoryStore;

#[tokio::test]
async fn the_future_of_a_hit_holds_no_state_of_a_load() {
    let cache = builder(&Arc::new(MemoryStore::new("t")), &Database::free()).build().expect("a cache");
    let read = Arc::clone(&cache.inner).read(1, &Level::EVENTUAL, Work::Registered);
    let bytes = size_of_val(&read);
    assert!(bytes <= 400, "{bytes} bytes: box what a hit does not need");
}
