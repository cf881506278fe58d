//! Laws of the invalidation: it always breaks the lease, and an entry survives only where its load saw the change.

use super::StoreFixture;
use super::ground::{Ground, LONG, START, header, key, token};
use crate::position::Gtid;
use crate::store::{FillReply, Invalidation, InvalidationMode, LeaseReply, Refusal};

const BROKEN: FillReply = FillReply::Refused(Refusal::LeaseBroken);

pub(super) async fn an_invalidation_breaks_the_lease(fixture: &dyn StoreFixture) {
    let mut ground = Ground::live(fixture).await;
    for covered_from in [None, Some(1), Some(START + 1)] {
        let mine = ground.take(1).await;
        ground.invalidate(&[1], covered_from).await;
        assert_eq!(ground.fill(1, mine, START).await, BROKEN, "{covered_from:?}");
        assert!(ground.value(1).await.is_none());
    }
}

pub(super) async fn a_covered_entry_survives_without_its_lease(fixture: &dyn StoreFixture) {
    let mut ground = Ground::live(fixture).await;
    for covered_from in [1, START] {
        ground.invalidate(&[1], None).await;
        ground.put(1, START).await;
        let before = ground.value(1).await.expect("a value");
        let mine = token();
        assert!(matches!(ground.ask(1, mine, |ask| ask.reload = true).await, LeaseReply::Granted { .. }));
        ground.invalidate(&[1], Some(covered_from)).await;
        assert_eq!(ground.value(1).await, Some(before), "it stands as it was filled");
        assert_eq!(ground.fill(1, mine, START).await, BROKEN);
    }
}

pub(super) async fn an_entry_that_is_not_covered_goes(fixture: &dyn StoreFixture) {
    let mut ground = Ground::live(fixture).await;
    ground.put(1, START).await;
    ground.invalidate(&[1], Some(START + 1)).await;
    assert!(ground.read(1).await.entry.is_none(), "filled before");
    ground.put(2, 0).await;
    ground.invalidate(&[2], Some(0)).await;
    assert!(ground.read(2).await.entry.is_none(), "filled nobody knows when");
    ground.put(3, START + 7).await;
    ground.flush(START).await;
    ground.invalidate(&[3], Some(START)).await;
    assert!(ground.read(3).await.entry.is_none(), "filled in another generation");
    let by_age = header(InvalidationMode::Ttl, ground.generation, START + 7);
    let mine = token();
    assert!(matches!(ground.ask(4, mine, |ask| ask.mode = InvalidationMode::Ttl).await, LeaseReply::Granted { .. }));
    assert_eq!(ground.fill_with(4, mine, &by_age, LONG).await, FillReply::Stored);
    ground.invalidate(&[4], Some(START)).await;
    assert!(ground.read(4).await.entry.is_none(), "filled in the other mode");
    ground.put(5, START + 7).await;
    fixture.lose_metas().await;
    ground.invalidate(&[5], Some(START)).await;
    assert!(ground.read(5).await.entry.is_none(), "no meta says which generation is in force");
}

/// The entries of the ground say that their load had seen the first server's transactions 1 to 9.
pub(super) async fn an_entry_that_had_seen_every_commit_survives_without_its_lease(fixture: &dyn StoreFixture) {
    let mut ground = Ground::live(fixture).await;
    let gtid = |number| Gtid { origin: "3e11fa47-71ca-11e1-9e33-c80aa9429562".into(), number };
    let other = Gtid { origin: "4e11fa47-71ca-11e1-9e33-c80aa9429562".into(), number: 5 };
    let tagged = Gtid { origin: "3e11fa47-71ca-11e1-9e33-c80aa9429562:tag".into(), number: 5 };
    for (id, commits, survives) in [
        (1, vec![gtid(1)], true),
        (2, vec![gtid(9), gtid(4)], true),
        (3, vec![gtid(10)], false),
        (4, vec![gtid(9), gtid(10)], false),
        (5, vec![other], false),
        (6, vec![tagged], false),
        (7, vec![], false),
    ] {
        ground.put(id, START).await;
        let before = ground.value(id).await;
        let mine = token();
        assert!(matches!(ground.ask(id, mine, |ask| ask.reload = true).await, LeaseReply::Granted { .. }));
        let change = Invalidation { key: key(id), commits };
        ground.writer.invalidate_unseen(&[change]).await.expect("an invalidation");
        assert_eq!(ground.value(id).await, before.filter(|_| survives), "{id}");
        assert_eq!(ground.fill(id, mine, START).await, BROKEN);
    }
    ground.put(8, START).await;
    let mine = ground.take(9).await;
    let commits = vec![gtid(1)];
    ground.flush(START).await;
    let changes = [8, 9, 77].map(|id| Invalidation { key: key(id), commits: commits.clone() });
    ground.writer.invalidate_unseen(&changes).await.expect("an invalidation");
    assert!(ground.read(8).await.entry.is_none(), "filled in another generation");
    assert_eq!(ground.fill(9, mine, START).await, BROKEN);
}

pub(super) async fn an_invalidation_without_an_order_removes_all(fixture: &dyn StoreFixture) {
    let mut ground = Ground::live(fixture).await;
    for id in 0..5 {
        ground.put(id, START + id).await;
    }
    ground.invalidate(&[0, 1, 2, 3, 77, 1], None).await;
    for id in 0..4 {
        assert!(ground.read(id).await.entry.is_none(), "{id}");
    }
    assert!(ground.read(4).await.entry.is_some(), "not named, not removed");
    ground.invalidate(&[], None).await;
    ground.invalidate(&[], Some(1)).await;
}

pub(super) async fn a_discard_removes_and_may_be_repeated(fixture: &dyn StoreFixture) {
    let ground = Ground::live(fixture).await;
    ground.put(1, START).await;
    let mine = ground.take(2).await;
    for _ in 0..2 {
        ground.store.discard(&[key(1), key(2), key(3)]).await.expect("a discard");
        assert!(ground.read(1).await.entry.is_none());
    }
    assert_eq!(ground.fill(2, mine, START).await, BROKEN);
    ground.store.discard(&[]).await.expect("a discard of nothing");
}

pub(super) async fn thousands_of_keys_are_removed_at_once(fixture: &dyn StoreFixture) {
    let mut ground = Ground::live(fixture).await;
    let marks: Vec<u64> = (0..3_000).step_by(97).collect();
    for covered_from in [None, Some(START + 1)] {
        for &id in &marks {
            ground.put(id, START).await;
        }
        ground.put(5_000, START).await;
        ground.invalidate(&(0..3_000).collect::<Vec<_>>(), covered_from).await;
        let keys: Vec<_> = marks.iter().map(|&id| key(id)).collect();
        let readings = ground.store.get_many(&keys).await.expect("readings");
        assert!(readings.iter().all(|reading| reading.entry.is_none()));
        assert!(ground.read(5_000).await.entry.is_some());
        ground.invalidate(&[5_000], None).await;
    }
}
