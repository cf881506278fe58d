//! Reads of many keys, and reads with a loader of their own, at every level.

use std::collections::HashMap;
use std::io;

use super::hooks::{At, Hooked, hooked};
use super::levels::{Server, cache_of, token};
use super::*;
use crate::testing::TokioClock;

/// A loader of batches that fails for large keys, each key's value is ten times the key.
#[derive(Clone, Default)]
struct Tens {
    batches: Arc<std::sync::Mutex<Vec<Vec<u64>>>>,
}

impl Loader<u64, u64> for Tens {
    type Error = io::Error;

    async fn load(&self, key: &u64, cx: &LoadCx) -> Result<Option<u64>, io::Error> {
        Ok(self.load_many(&[*key], cx).await?.remove(key))
    }

    async fn load_many(&self, keys: &[u64], _cx: &LoadCx) -> Result<HashMap<u64, u64>, io::Error> {
        self.batches.lock().expect("unpoisoned").push(keys.to_vec());
        match keys.iter().find(|key| **key >= 100) {
            Some(key) => Err(io::Error::other(format!("no shard has {key}"))),
            None => Ok(keys.iter().map(|key| (*key, key * 10)).collect()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_keys_are_read_at_a_level() {
    let (store, server) = (Arc::new(MemoryStore::new("t")), Server::primary());
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &server);
    assert_eq!(cache.get_many([7, 8]).await.expect("values"), [Some(1), Some(1)]);
    server.reach(2);
    assert_eq!(cache.get_many([7, 8]).await.expect("values"), [Some(1), Some(1)], "a plain read is served");
    // The entry of 7 proves the token from here on, that of 8 does not.
    assert_eq!(cache.get(&7).at_least(token(2)).await.expect("a value"), Some(2));
    let loads = server.loads.load(Ordering::SeqCst);
    let hits = cache.get_many([8, 7, 8]).at_least(token(2)).detailed().await.expect("values");
    let found: Vec<_> = hits.iter().map(|hit| (hit.value, hit.tier)).collect();
    assert_eq!(found, [(Some(2), Tier::Database), (Some(2), Tier::Shared), (Some(2), Tier::Database)]);
    assert_eq!(server.loads.load(Ordering::SeqCst), loads + 1, "one load for both places of 8");
    assert!(hits.iter().all(|hit| hit.position.as_ref().is_some_and(|position| position.covers(&token(2)))));
}

#[tokio::test(start_paused = true)]
async fn many_keys_are_not_returned_without_the_token() {
    let (store, server) = (Arc::new(MemoryStore::new("t")), Server::primary());
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &server);
    let error = cache.get_many([7, 8]).at_least(token(2)).await.expect_err("no server has it");
    assert_eq!(error.kind(), ErrorKind::Unproven);
    let each = cache.get_many([7, 8]).at_least(token(2)).per_key().await;
    assert!(each.iter().all(|hit| hit.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unproven)), "{each:?}");
    let bound = Duration::from_secs(5);
    let replica = cache_of(&Arc::new(MemoryStore::new("t")), &Server::replica());
    let error = replica.get_many([7]).max_staleness(bound).await.expect_err("a replica bounds nothing");
    assert_eq!(error.kind(), ErrorKind::Unproven);
}

#[tokio::test(start_paused = true)]
async fn many_keys_wait_for_a_replica_that_lags() {
    for bypass in [false, true] {
        let (store, server) = (Arc::new(MemoryStore::new("t")), Server::replica());
        let cache = cache_of(&store, &server);
        cache.set_bypass(bypass);
        let read = tokio::spawn(cache.get_many([7, 8]).at_least(token(2)).into_future());
        wait_until("it has loaded without success", || async { server.loads.load(Ordering::SeqCst) > 6 }).await;
        server.reach(2);
        assert_eq!(read.await.expect("joined").expect("values"), [Some(2), Some(2)], "bypass: {bypass}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_strong_read_of_many_loads_all_in_one_batch_and_stores_none() {
    let tens = Tens::default();
    let cache: Cache<u64, u64> =
        Cache::builder("tens").local(Local::max_weight(1 << 20)).loader(tens.clone()).build().expect("a cache");
    for _ in 0..2 {
        let hits = cache.get_many([1, 2, 1]).bypass().detailed().await.expect("values");
        assert!(hits.iter().all(|hit| hit.tier == Tier::Database && hit.ttl.is_none()), "{hits:?}");
    }
    assert_eq!(*tens.batches.lock().expect("unpoisoned"), [vec![1, 2], vec![1, 2]]);
    assert!(cache.peek(&1).await.expect("a peek").is_none());
}

#[tokio::test(start_paused = true)]
async fn one_key_that_fails_does_not_hide_the_others() {
    let tens = Tens::default();
    let cache: Cache<u64, u64> =
        Cache::builder("tens").local(Local::max_weight(1 << 20)).loader(tens.clone()).build().expect("a cache");
    assert_eq!(cache.get_many([2, 1, 2]).await.expect("values"), [Some(20), Some(10), Some(20)]);
    let each = cache.get_many([1, 500, 2, 500]).per_key().await;
    let values: Vec<_> = each.iter().map(|hit| hit.as_ref().ok().and_then(|hit| hit.value)).collect();
    assert_eq!(values, [Some(10), None, Some(20), None]);
    assert!(each[1].as_ref().is_err_and(|error| error.load_error::<io::Error>().is_some()));
    assert_eq!(cache.get_many([1, 500]).await.expect_err("the first error").kind(), ErrorKind::Load);
    let tiers: Vec<_> = cache.get_many([1, 2]).detailed().await.expect("hits").iter().map(|hit| hit.tier).collect();
    assert_eq!(tiers, [Tier::Local, Tier::Local]);
}

#[tokio::test(start_paused = true)]
async fn a_loader_for_one_call_is_held_to_the_level() {
    let (store, server) = (Arc::new(MemoryStore::new("t")), Server::primary());
    let _invalidator = ManualInvalidator::begin(&store).await;
    cache_of(&store, &server).get(&7).await.expect("a value");
    let cache = Cache::<u64, u64>::builder("row")
        .shared(Arc::clone(&store))
        .clock(Arc::new(TokioClock::new()))
        .depends_on("shop.row", |row| Ok(vec![row.get::<u64>("id")?]))
        .build()
        .expect("a cache");
    let load = |commit: u64| {
        move |cx: Arc<LoadCx>| async move {
            cx.position(format!("db:1-{commit}").parse().expect("a position"));
            Ok::<_, io::Error>(Some(commit))
        }
    };
    assert_eq!(cache.get_or_load(&7, load(2)).await.expect("a value"), Some(1), "it is cached");
    let hit = cache.get_or_load(&7, load(2)).at_least(token(2)).detailed().await.expect("a value");
    assert_eq!((hit.value, hit.tier), (Some(2), Tier::Database));
    assert_eq!(cache.get_or_load(&7, load(9)).bypass().await.expect("a value"), Some(9));
    // The loader has run, lacks the token, and there is no other one.
    for bypass in [false, true] {
        cache.set_bypass(bypass);
        let error = cache.get_or_load(&7, load(2)).at_least(token(3)).await.expect_err("commit 3 is missing");
        assert_eq!(error.kind(), ErrorKind::Unproven, "bypass {bypass}: {error}");
    }
}

/// Another process fills the key between this reader's lookup and its lease, with a value that lacks the token: the reader's
/// own loader has not run yet, and must.
#[tokio::test]
async fn a_loader_for_one_call_is_kept_until_it_runs() {
    let (memory, database) = (MemoryStore::new("t"), Database::free());
    let _invalidator = ManualInvalidator::begin(&memory).await;
    let (store, other) = (Hooked::new(&memory), hooked(&Hooked::new(&memory), &database).build().expect("a cache"));
    let cache = Cache::<u64, u64>::builder("row")
        .shared(Arc::clone(&store))
        .depends_on("shop.row", |row| Ok(vec![row.get::<u64>("id")?]))
        .build()
        .expect("a cache");
    store.once(At::BeforeLease, async move {
        other.get(&7).await.expect("a value");
    });
    let load = |cx: Arc<LoadCx>| async move {
        cx.position("db:1-2".parse().expect("a position"));
        Ok::<_, io::Error>(Some(2))
    };
    let value = cache.get_or_load(&7, load).at_least(token(2)).await;
    assert_eq!(value.expect("its own loader has the token"), Some(2));
}

#[tokio::test]
async fn a_token_may_be_absent_and_several_are_all_required() {
    let (store, server) = (Arc::new(MemoryStore::new("t")), Server::primary());
    let _invalidator = ManualInvalidator::begin(&store).await;
    let cache = cache_of(&store, &server);
    let (absent, present) = (None::<Position>, Some(token(1)));
    assert_eq!(cache.get(&7).at_least(&absent).max_staleness(None).await.expect("a value"), Some(1));
    assert_eq!(cache.get(&7).at_least(absent.as_ref()).await.expect("a value"), Some(1));
    assert_eq!(cache.get_many([7]).at_least(present.as_ref()).await.expect("a value"), [Some(1)]);
    assert_eq!(cache.get(&7).at_least(present).at_least(absent).await.expect("a value"), Some(1));
    for (first, second) in [(1, 9), (9, 1)] {
        let error = cache.get(&7).at_least(token(first)).at_least(token(second)).await.expect_err("9 is missing");
        assert_eq!(error.kind(), ErrorKind::Unproven);
    }
}

#[tokio::test]
async fn what_is_known_of_each_value_counts_to_the_return_of_the_last_one() {
    let clock = Arc::new(ManualClock::new());
    let store = Arc::new(MemoryStore::new("t").with_clock(Arc::<ManualClock>::clone(&clock)));
    let (database, _invalidator) = (Database::default(), ManualInvalidator::begin(&store).await);
    let cache: Cache<u64, u64> = Cache::builder("row")
        .clock(Arc::<ManualClock>::clone(&clock))
        .shared(Arc::clone(&store))
        .loader(database.clone())
        .depends_on("shop.row", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]))
        .build()
        .expect("a cache");
    database.0.returning.add_permits(1);
    cache.get(&7).await.expect("a value");
    let many = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_many([7, 8]).detailed().await.expect("values") }
    });
    wait_until("8 is being loaded", || async { database.loads() == 2 }).await;
    let later = Duration::from_secs(2);
    clock.advance(later);
    database.0.returning.add_permits(1);
    let hits = many.await.expect("joined");
    assert_eq!(hits[0].tier, Tier::Shared);
    assert!(hits[0].staleness_bound.is_some_and(|bound| bound >= later), "{:?}", hits[0]);
    assert!(hits.iter().all(|hit| hit.age.is_some_and(|age| age >= later)), "{hits:?}");
}

#[tokio::test]
async fn many_keys_are_loaded_in_one_batch_and_absent_rows_are_cached() {
    #[derive(Clone, Default)]
    struct Batches(Arc<std::sync::Mutex<Vec<Vec<u64>>>>);
    impl Loader<u64, u64> for Batches {
        type Error = std::io::Error;
        async fn load(&self, _key: &u64, _cx: &LoadCx) -> Result<Option<u64>, std::io::Error> {
            Err(std::io::Error::other("single loads are not expected"))
        }
        async fn load_many(
            &self,
            keys: &[u64],
            _cx: &LoadCx,
        ) -> Result<std::collections::HashMap<u64, u64>, std::io::Error> {
            self.0.lock().expect("unpoisoned").push(keys.to_vec());
            Ok(keys.iter().filter(|key| **key < 100).map(|key| (*key, key * 10)).collect())
        }
    }
    let batches = Batches::default();
    let cache: Cache<u64, u64> = Cache::builder("many").loader(batches.clone()).build().expect("a cache");
    let values = cache.get_many([1, 2, 200, 1]).await.expect("values");
    assert_eq!(values, [Some(10), Some(20), None, Some(10)]);
    let values = cache.get_many([2, 3, 200]).await.expect("values");
    assert_eq!(values, [Some(20), Some(30), None]);
    assert_eq!(*batches.0.lock().expect("unpoisoned"), [vec![1, 2, 200], vec![3]]);
}
