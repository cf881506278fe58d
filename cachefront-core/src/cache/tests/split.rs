//! The commands of readers go to one server of the store, and the bus is read from another one.

use super::hooks::Hooked;
use super::*;

#[tokio::test]
async fn a_fill_on_another_server_than_the_bus_is_not_kept_here() {
    let (former, current) = (Arc::new(MemoryStore::new("t")), Arc::new(MemoryStore::new("t")));
    let (database, split) = (Database::free(), Hooked::with_bus_of(&former, &current));
    let _former_holder = ManualInvalidator::begin(&former).await;
    let mut holder = ManualInvalidator::begin(&current).await;
    let cache = builder(&former, &database).shared(split).local(Local::max_weight(1 << 20)).build().expect("a cache");
    followed(&cache, &mut holder).await;
    holder.apply(2, &key()).await;
    handled(&cache, 2).await;
    // The database that is read is a former primary too: it lacks commit 2.
    assert_eq!(cache.get(&7).await.expect("a value"), Some(1));
    assert!(cache.inner.local_get(&7).is_none());
    let token: Position = "db:1-2".parse().expect("a position");
    let error = cache.get(&7).at_least(&token).await.expect_err("the value lacks commit 2");
    assert_eq!(error.kind(), ErrorKind::Unproven);
}

/// The bus and the readers are on one server, which was demoted while both connections stayed up: it has taken over an older
/// state from the new primary, and its identity is the one that was noted when the connections were made.
#[tokio::test]
async fn a_value_from_before_an_invalidation_is_not_kept_here() {
    let (store, database) = (Arc::new(MemoryStore::new("t")), Database::free());
    let mut holder = ManualInvalidator::begin(&store).await;
    let cache = builder(&store, &database).local(Local::max_weight(1 << 20)).build().expect("a cache");
    let other = builder(&store, &database).build().expect("a cache without a local tier");
    followed(&cache, &mut holder).await;
    assert_eq!(other.get(&7).await.expect("a value"), Some(1));
    let older = store.get(&key()).await.expect("a reading").meta.expect("a meta");
    database.write(2);
    // The message of commit 2 is handled; the store's own state is as it was before.
    holder.position.insert_range(&Arc::from("db"), 1, 2);
    holder.publish(BusEvent::Keys(vec![key().as_str().into()])).await;
    handled(&cache, 2).await;
    assert_eq!(store.get(&key()).await.expect("a reading").meta.expect("a meta"), older);
    let hit = cache.get(&7).detailed().await.expect("a value");
    assert_eq!((hit.value, hit.tier), (Some(1), Tier::Shared), "an eventual read is served by the surviving history");
    assert!(cache.inner.local_get(&7).is_none());
    let token: Position = "db:1-2".parse().expect("a position");
    assert_eq!(cache.get(&7).at_least(&token).await.expect("a value"), Some(2));
}

/// The server that is read has applied everything that this process has handled, and more; but the bus is read from another
/// server.
#[tokio::test]
async fn a_read_from_another_server_than_the_bus_is_not_kept() {
    let (former, current) = (Arc::new(MemoryStore::new("t")), Arc::new(MemoryStore::new("t")));
    let (database, split) = (Database::free(), Hooked::with_bus_of(&former, &current));
    let mut at_former = ManualInvalidator::begin(&former).await;
    let mut holder = ManualInvalidator::begin(&current).await;
    let cache = builder(&former, &database).shared(split).local(Local::max_weight(1 << 20)).build().expect("a cache");
    followed(&cache, &mut holder).await;
    at_former.apply(2, &key()).await;
    for tier in [Tier::Database, Tier::Shared, Tier::Shared] {
        assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, tier);
        assert!(cache.inner.local_get(&7).is_none());
    }
}
