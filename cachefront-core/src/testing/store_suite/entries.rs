//! Laws of the entry: what is read, and which entries are misses.

use std::time::Duration;

use futures_util::FutureExt;

use super::StoreFixture;
use super::harness::{LONG, SCHEMA, START, StoreHarness, header, key, token};
use crate::clock::Timestamp;
use crate::entry::{Entry, PayloadState};
use crate::store::{FillReply, Generation, InvalidationMode, LeaseReply};

/// A read returns the bytes of the last fill, together with the shard's meta.
pub(super) async fn what_was_filled_is_read(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::live(fixture).await;
    let mine = harness.take(1).await;
    let filled = header(InvalidationMode::Cdc, harness.generation, START);
    assert_eq!(harness.fill_with(1, mine, &filled, LONG).await, FillReply::Stored);
    let reading = harness.read(1).await;
    let bytes = reading.entry.expect("an entry");
    assert_eq!(bytes, filled.encode_with(b"value of 1"), "byte for byte");
    let meta = reading.meta.expect("a meta");
    assert_eq!((meta.generation, meta.high_watermark, meta.applied_order), (harness.generation, START, START));
}

/// A peek returns the same entry and meta as a read; only the eviction order may differ.
pub(super) async fn a_peek_sees_what_a_read_sees(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::live(fixture).await;
    let store = fixture.store();
    let absent = store.peek(&key(1)).await.expect("a reading");
    assert!(absent.entry.is_none() && absent.meta.is_some());
    harness.put(1, START).await;
    let (peeked, read) = (store.peek(&key(1)).await.expect("a reading"), harness.read(1).await);
    assert!(peeked.entry.is_some());
    assert_eq!(peeked.entry, read.entry);
    assert_eq!(peeked.meta.expect("a meta").generation, read.meta.expect("a meta").generation);
}

/// A lease request for a key with a valid entry returns the entry, so that the reader does not load.
pub(super) async fn an_entry_that_is_good_is_present(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::live(fixture).await;
    for (id, state) in [(1, PayloadState::Fresh), (2, PayloadState::Negative)] {
        let mine = harness.take(id).await;
        let mut filled = header(InvalidationMode::Cdc, harness.generation, START);
        filled.state = state;
        assert_eq!(harness.fill_with(id, mine, &filled, LONG).await, FillReply::Stored);
        let LeaseReply::Present { meta, entry } = harness.lease(id, token()).await else {
            panic!("the entry is present");
        };
        assert_eq!(meta.expect("a meta").generation, harness.generation);
        assert_eq!(Entry::decode(entry).expect("an entry").header, filled);
    }
    let mine = harness.take(3).await;
    let mut kept = header(InvalidationMode::Cdc, harness.generation, START);
    kept.state = PayloadState::StaleKept;
    assert_eq!(harness.fill_with(3, mine, &kept, LONG).await, FillReply::Stored);
    assert!(matches!(harness.lease(3, token()).await, LeaseReply::Granted { .. }), "a stale value is a miss");
    assert_eq!(harness.value(3).await.expect("a value").header, kept, "and is unchanged");
}

/// TTL mode does not invalidate, so its entries are misses in CDC mode; and the reverse.
pub(super) async fn an_entry_of_the_other_mode_is_a_miss(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::live(fixture).await;
    let in_ttl = |ask: &mut crate::store::LeaseRequest<'_>| ask.mode = InvalidationMode::Ttl;
    // The same generation in it, as if by accident, does not make it valid.
    let by_age = header(InvalidationMode::Ttl, harness.generation, START);
    let mine = token();
    assert!(matches!(harness.ask(1, mine, in_ttl).await, LeaseReply::Granted { .. }));
    assert_eq!(harness.fill_with(1, mine, &by_age, LONG).await, FillReply::Stored);
    assert!(matches!(harness.ask(1, token(), in_ttl).await, LeaseReply::Present { .. }));
    let mine = harness.take(1).await;
    assert_eq!(harness.fill(1, mine, START).await, FillReply::Stored);
    assert!(matches!(harness.ask(1, token(), in_ttl).await, LeaseReply::Granted { .. }));
}

/// Releases with different schema versions share the store: each can only decode its own entries.
pub(super) async fn an_entry_of_another_schema_version_is_a_miss(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::live(fixture).await;
    harness.put(1, START).await;
    let newer = token();
    assert!(matches!(harness.ask(1, newer, |ask| ask.schema_version = SCHEMA + 1).await, LeaseReply::Granted { .. }));
    assert!(
        matches!(harness.lease(1, token()).await, LeaseReply::Present { .. }),
        "processes of its version can read it"
    );
    let mut filled = header(InvalidationMode::Cdc, harness.generation, START);
    filled.schema_version = SCHEMA + 1;
    assert_eq!(harness.fill_with(1, newer, &filled, LONG).await, FillReply::Stored);
    assert!(matches!(harness.lease(1, token()).await, LeaseReply::Granted { .. }));
}

/// An entry is not valid from its hard expiry on, even if the store has not removed it yet.
pub(super) async fn an_entry_past_its_hard_expiry_is_a_miss(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::live(fixture).await;
    for (id, hard_expiry, good) in [(1, 1, false), (2, 1 << 52, true)] {
        let mine = harness.take(id).await;
        let mut filled = header(InvalidationMode::Cdc, harness.generation, START);
        filled.hard_expiry = Timestamp::from_micros(hard_expiry);
        assert_eq!(harness.fill_with(id, mine, &filled, LONG).await, FillReply::Stored);
        let reply = harness.lease(id, token()).await;
        assert_eq!(matches!(reply, LeaseReply::Present { .. }), good, "{reply:?}");
    }
}

/// TTL mode depends on age only: it works without a meta, under a suspended one, and over a flush.
pub(super) async fn the_ttl_mode_needs_no_meta(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::bare(fixture).await;
    let by_age = header(InvalidationMode::Ttl, Generation::default(), 0);
    let mine = token();
    let in_ttl = |ask: &mut crate::store::LeaseRequest<'_>| ask.mode = InvalidationMode::Ttl;
    assert!(matches!(harness.ask(1, mine, in_ttl).await, LeaseReply::Granted { meta: None, .. }));
    assert!(matches!(harness.ask(1, token(), in_ttl).await, LeaseReply::Held { .. }));
    assert_eq!(harness.fill_with(1, mine, &by_age, LONG).await, FillReply::Stored);
    let mut harness = harness;
    harness.flush(START).await;
    harness.store.suspend().await.expect("a suspension");
    assert!(matches!(harness.ask(1, token(), in_ttl).await, LeaseReply::Present { .. }));
    harness.flush(START).await;
    assert!(
        matches!(harness.ask(1, token(), in_ttl).await, LeaseReply::Present { .. }),
        "a flush affects CDC mode only"
    );
}

/// The store removes an entry after the expiry of its fill.
pub(super) async fn an_entry_is_forgotten_after_its_expiry(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::live(fixture).await;
    let mine = harness.take(1).await;
    let short = Duration::from_millis(50);
    let filled = header(InvalidationMode::Cdc, harness.generation, START);
    assert_eq!(harness.fill_with(1, mine, &filled, short).await, FillReply::Stored);
    harness.put(2, START).await;
    fixture.pass(short + Duration::from_millis(1)).await;
    assert!(harness.read(1).await.entry.is_none());
    assert!(harness.read(2).await.entry.is_some());
    assert!(matches!(harness.lease(1, token()).await, LeaseReply::Granted { .. }));
}

/// A read of many keys returns one reading per key, in request order, including keys without an entry.
pub(super) async fn many_keys_are_returned_in_request_order(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::live(fixture).await;
    for id in [3, 1, 4, 15, 9, 26] {
        harness.put(id, START).await;
    }
    let ids = [26, 5, 1, 3, 1, 58, 9];
    let keys: Vec<_> = ids.iter().map(|&id| key(id)).collect();
    let readings = harness.store.get_many(&keys).await.expect("readings");
    let values: Vec<_> = readings
        .iter()
        .map(|reading| {
            assert_eq!(reading.meta.as_ref().expect("a meta").generation, harness.generation);
            let entry = Entry::decode(reading.entry.clone()?).expect("an entry");
            Some(String::from_utf8_lossy(&entry.payload).into_owned())
        })
        .collect();
    let expected = ids.map(|id| (![5, 58].contains(&id)).then(|| format!("value of {id}")));
    assert_eq!(values, expected);
    assert!(harness.store.get_many(&[]).await.expect("readings").is_empty());
}

/// Reads are dropped at every point; the others complete.
pub(super) async fn a_dropped_read_does_not_delay_others(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::live(fixture).await;
    for id in 0..8 {
        harness.put(id, START).await;
    }
    for round in 0..200_u64 {
        let key = key(round % 8);
        let mut dropped = Vec::new();
        for polls in 0..4 {
            let mut read = harness.store.get(&key);
            for _ in 0..polls {
                // Polled a given number of times; it may be ready by then.
                if read.as_mut().now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            dropped.push(read);
        }
        // One reader is kept, and not polled while the others run to their end.
        let stalled = dropped.pop();
        drop(dropped);
        let reading = tokio::time::timeout(LONG, harness.store.get(&key)).await;
        assert!(reading.expect("completed").expect("a reading").entry.is_some());
        drop(stalled);
    }
}
