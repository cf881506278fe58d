//! Reads of many keys of which only the values are asked.

use std::io;

use super::hooks::{At, Hooked};
use super::*;
use crate::loader_fn;

#[tokio::test]
async fn values_that_change_while_many_are_read_are_not_kept() {
    let store = Arc::new(MemoryStore::new("t"));
    let hooked = Hooked::new(&store);
    let load = async |id: u64| Ok::<_, io::Error>(Some(id));
    let other = Cache::builder("users").shared(Arc::clone(&store)).loader(loader_fn(load)).build().expect("a cache");
    let local = Local::max_weight(1 << 20);
    let builder = Cache::builder("users").shared(Arc::clone(&hooked)).local(local);
    let cache: Cache<u64, u64> = builder.loader(loader_fn(load)).build().expect("a cache in TTL mode");
    assert_eq!(other.get_many([7, 8]).await.expect("values"), [Some(7), Some(8)]);
    let seen = cache.clone();
    hooked.once(At::AfterGetMany, async move { seen.invalidate(&7).await.expect("an invalidation") });
    assert_eq!(cache.get_many([7, 8, 7]).await.expect("values"), [Some(7), Some(8), Some(7)]);
    assert_eq!(cache.inner.local_get(&7), None, "a value from before the invalidation");
    assert_eq!(cache.inner.local_get(&8), Some(Some(8)));
}

#[tokio::test]
async fn the_first_error_of_many_is_that_of_the_first_key() {
    let load = |id: u64| async move {
        if id < 10 { Ok(Some(id)) } else { Err(io::Error::other(format!("no shard has {id}"))) }
    };
    let cache: Cache<u64, u64> = Cache::builder("users").loader(loader_fn(load)).build().expect("a cache in TTL mode");
    assert_eq!(cache.get_many([3, 4]).await.expect("values"), [Some(3), Some(4)]);
    let error = cache.get_many([3, 12, 4, 11, 12]).await.expect_err("two cannot be loaded");
    assert_eq!(error.load_error::<io::Error>().expect("the loader's own").to_string(), "no shard has 12");
}

#[tokio::test]
async fn hits_of_many_are_counted_and_reported() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
    let _holder = ManualInvalidator::begin(&store).await;
    let cache = builder(&store, &database).build().expect("a cache");
    cache.get_many(0..5).await.expect("values");
    let before = cache.stats();
    cache.get_many(0..7).await.expect("values");
    let after = cache.stats();
    assert_eq!((after.hits_shared - before.hits_shared, after.misses - before.misses), (5, 2));
}

#[tokio::test]
async fn values_of_many_at_a_level_are_proven_in_the_local_tier_too() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
    let mut holder = ManualInvalidator::begin(&store).await;
    let cache = builder(&store, &database).local(Local::max_weight(1 << 20)).build().expect("a cache");
    followed(&cache, &mut holder).await;
    assert_eq!(cache.get_many([7]).await.expect("values"), [Some(1)]);
    assert_eq!(cache.inner.local_get(&7), Some(Some(1)));
    let token: Position = "db:1-2".parse().expect("a position");
    let read = cache.get_many([7]).at_least(&token).await;
    assert_eq!(read.expect_err("neither the log nor the loader has commit 2").kind(), ErrorKind::Unproven);
}
