//! Laws of the lease: who may fill a key, and until when.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;

use super::StoreFixture;
use super::harness::{LONG, START, StoreHarness, header, token};
use crate::store::{FillReply, InvalidationMode, LeaseReply, Refusal};

const BROKEN: FillReply = FillReply::Refused(Refusal::LeaseBroken);

/// The lease of a first attempt is revoked and a second attempt of the same client begins: only the second token fills.
pub(super) async fn a_lease_belongs_to_one_attempt(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    let first = harness.take(1).await;
    harness.invalidate(&[1]).await;
    let second = harness.take(1).await;
    assert_eq!(harness.fill(1, first, START).await, BROKEN);
    assert_eq!(harness.fill(1, second, START).await, FillReply::Stored);
}

/// A lease expires by the store's clock; after that another attempt gets the lease, and the first one cannot fill.
pub(super) async fn a_lease_that_runs_out_refuses_its_fill(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::live(fixture).await;
    let slow = token();
    let short = Duration::from_millis(50);
    assert!(matches!(harness.ask(1, slow, |ask| ask.duration = short).await, LeaseReply::Granted { .. }));
    let LeaseReply::Held { remaining } = harness.lease(1, token()).await else {
        panic!("the lease is held");
    };
    assert!(remaining <= short, "{remaining:?}");
    fixture.pass(short + Duration::from_millis(1)).await;
    assert_eq!(harness.fill(1, slow, START).await, BROKEN);
    let next = harness.take(1).await;
    assert_eq!(harness.fill(1, next, START).await, FillReply::Stored);
    // The same over an entry that outlives the lease.
    assert!(matches!(
        harness
            .ask(1, slow, |ask| {
                ask.duration = short;
                ask.reload = true;
            })
            .await,
        LeaseReply::Granted { .. }
    ));
    fixture.pass(short + Duration::from_millis(1)).await;
    assert_eq!(harness.fill(1, slow, START).await, BROKEN);
    assert!(harness.value(1).await.is_some(), "the entry stays");
}

/// A fill with the same token is accepted once: a repeated fill is refused, so a retry cannot store an older value.
pub(super) async fn a_fill_consumes_its_lease(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::live(fixture).await;
    let mine = harness.take(1).await;
    assert_eq!(harness.fill(1, mine, START).await, FillReply::Stored);
    assert_eq!(harness.fill(1, mine, START).await, BROKEN);
}

/// Without a lease, or after its eviction, no value is stored. An evicted lease costs a load and never correctness.
pub(super) async fn a_fill_without_a_lease_is_refused(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::live(fixture).await;
    assert_eq!(harness.fill(1, token(), START).await, BROKEN);
    assert!(harness.read(1).await.entry.is_none());
    let mine = harness.take(1).await;
    assert_eq!(harness.fill(1, token(), START).await, BROKEN);
    harness.store.discard(&[super::harness::key(1)]).await.expect("a discard");
    assert_eq!(harness.fill(1, mine, START).await, BROKEN, "a fill without its evicted lease is refused");
    assert!(harness.read(1).await.entry.is_none());
}

/// Of many concurrent requests for one key exactly one is granted: single-flight across processes.
pub(super) async fn many_readers_get_one_lease(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::live(fixture).await;
    for id in 0..10 {
        let replies = join_all((0..64).map(|_| harness.lease(id, token()))).await;
        let granted = replies.iter().filter(|reply| matches!(reply, LeaseReply::Granted { .. })).count();
        let held = replies.iter().filter(|reply| matches!(reply, LeaseReply::Held { .. })).count();
        assert_eq!((granted, held), (1, 63));
    }
}

/// After a failed load the lease is released, and the next attempt need not wait for its expiry. Releasing is idempotent.
pub(super) async fn a_released_lease_is_free_for_others(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::live(fixture).await;
    let mine = harness.take(1).await;
    for _ in 0..2 {
        harness
            .store
            .release(&super::harness::key(1), mine)
            .await
            .expect("a release, also of a lease that no longer exists");
    }
    assert_eq!(harness.fill(1, mine, START).await, BROKEN);
    harness.put(1, START).await;
    let again = token();
    assert!(matches!(harness.ask(1, again, |ask| ask.reload = true).await, LeaseReply::Granted { .. }));
    harness.store.release(&super::harness::key(1), again).await.expect("a release");
    let entry = harness.value(1).await.expect("the value stays");
    assert_eq!((entry.token, entry.lease_expiry.as_micros()), (None, 0));
    assert_eq!(harness.fill(1, again, START).await, BROKEN);
}

/// Only the attempt that holds a lease can release it.
pub(super) async fn a_release_with_another_token_has_no_effect(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::live(fixture).await;
    let mine = harness.take(1).await;
    harness.store.release(&super::harness::key(1), token()).await.expect("a release");
    assert_eq!(harness.fill(1, mine, START).await, FillReply::Stored);
    harness.store.release(&super::harness::key(1), mine).await.expect("a release");
    assert!(harness.value(1).await.is_some());
}

/// A reload takes a lease over a valid entry, which other readers can read until the fill replaces it.
pub(super) async fn a_reload_keeps_the_entry_readable(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::live(fixture).await;
    harness.put(1, START).await;
    let before = harness.value(1).await.expect("a value");
    let mine = token();
    let LeaseReply::Granted { server, meta: Some(meta) } = harness.ask(1, mine, |ask| ask.reload = true).await else {
        panic!("a reload is granted over a valid entry");
    };
    assert_eq!(meta.generation, harness.generation);
    let reading = harness.store.get(&super::harness::key(1)).await.expect("a reading");
    assert_eq!(server, reading.server, "a lease and a reading name the same server");
    let entry = harness.value(1).await.expect("a value");
    assert_eq!((&entry.header, &entry.payload), (&before.header, &before.payload));
    assert_eq!(entry.token, Some(mine));
    assert!(matches!(harness.ask(1, token(), |ask| ask.reload = true).await, LeaseReply::Held { .. }));
    assert!(matches!(harness.lease(1, token()).await, LeaseReply::Present { .. }), "other readers are served");
    assert_eq!(harness.fill(1, mine, START + 1).await, FillReply::Stored);
    let entry = harness.value(1).await.expect("a value");
    assert_eq!((entry.header.order, entry.token), (START + 1, None));
}

/// A reader that waits for the holder of a lease is woken when the lease ends: by a fill, a release or an invalidation. Without a
/// lease there is nothing to wait for. A store that cannot tell says so.
pub(super) async fn a_reader_that_waits_for_a_lease_is_woken_when_it_ends(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    let key = super::harness::key(1);
    if harness.store.entry_changed(&key).await.is_err() {
        return;
    }
    for end in ["fill", "release", "invalidation", "discard"] {
        let mine = harness.take(1).await;
        let store = std::sync::Arc::clone(&harness.store);
        let mut waiting = tokio::spawn({
            let key = key.clone();
            async move { store.entry_changed(&key).await }
        });
        // The time lets it begin to wait; it may also be woken without a change.
        let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
        match end {
            "fill" => assert_eq!(harness.fill(1, mine, START).await, FillReply::Stored),
            "release" => harness.store.release(&key, mine).await.expect("a release"),
            "invalidation" => harness.invalidate(&[1]).await,
            _ => harness.store.discard(std::slice::from_ref(&key)).await.expect("a discard"),
        }
        let woken = match early {
            Ok(early) => Ok(early),
            Err(_) => tokio::time::timeout(crate::testing::WAIT_MAX, waiting).await,
        };
        woken.unwrap_or_else(|_| panic!("not woken by a {end}")).expect("joined").expect("the store tells");
        harness.store.discard(std::slice::from_ref(&key)).await.expect("a discard");
    }
}

/// After a flush a load of the old generation cannot fill, so it does not block other loads.
pub(super) async fn a_lease_of_an_older_generation_does_not_block(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    let old = harness.take(1).await;
    harness.flush(START + 5).await;
    let new = harness.take(1).await;
    assert_eq!(harness.fill(1, old, START).await, BROKEN);
    assert_eq!(harness.fill(1, new, START + 5).await, FillReply::Stored);
}

/// A load that began before a flush may have read an old value: its fill is refused, even if its lease still exists.
pub(super) async fn a_fill_after_a_flush_is_refused(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    let old = harness.generation;
    let mine = harness.take(1).await;
    harness.flush(START + 5).await;
    let late = header(InvalidationMode::Cdc, old, START);
    assert_eq!(harness.fill_with(1, mine, &late, LONG).await, FillReply::Refused(Refusal::GenerationChanged));
    assert!(harness.value(1).await.is_none());
}

/// Without a meta, CDC mode cannot know which entries are valid: values are loaded and returned, never stored.
pub(super) async fn without_a_meta_no_lease_is_granted_and_no_fill_accepted(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::bare(fixture).await;
    assert!(harness.read(1).await.meta.is_none());
    assert!(matches!(harness.lease(1, token()).await, LeaseReply::NoMeta));
    assert_eq!(harness.fill(1, token(), START).await, FillReply::Refused(Refusal::NoMeta));
    let harness = StoreHarness::live(fixture).await;
    let mine = harness.take(1).await;
    fixture.lose_metas().await;
    assert_eq!(harness.fill(1, mine, START).await, FillReply::Refused(Refusal::NoMeta));
}

/// A suspended meta means that invalidations are not applied: no value of CDC mode is stored.
pub(super) async fn a_suspended_meta_grants_no_lease_and_accepts_no_fill(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::live(fixture).await;
    let mine = harness.take(1).await;
    harness.put(2, START).await;
    for _ in 0..2 {
        harness.store.suspend().await.expect("a suspension, also of a suspended meta");
    }
    assert_eq!(harness.fill(1, mine, START).await, FillReply::Refused(Refusal::NoMeta));
    assert!(matches!(harness.lease(2, token()).await, LeaseReply::NoMeta));
    assert!(matches!(harness.ask(2, token(), |ask| ask.reload = true).await, LeaseReply::NoMeta));
    let reading = harness.read(2).await;
    assert!(!reading.meta.expect("a meta").is_live(), "readers see it");
}

/// The meta in a grant is the current one, so that the fill records the high watermark from before the load.
pub(super) async fn the_fence_is_read_at_the_grant(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    let mut seen = BTreeSet::new();
    for order in START + 1..START + 4 {
        let held = harness.held(START);
        harness.writer.raise_high_watermark(&held, order).await.expect("the high watermark is raised");
        let LeaseReply::Granted { meta: Some(meta), .. } = harness.lease(order, token()).await else {
            panic!("granted, with the meta");
        };
        assert_eq!((meta.high_watermark, meta.generation), (order, harness.generation));
        seen.insert(meta.high_watermark);
    }
    assert_eq!(seen.len(), 3);
}
