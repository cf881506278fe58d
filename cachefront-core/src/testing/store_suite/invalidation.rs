//! Laws of the invalidation: it always revokes the lease, and an entry survives only if its load saw the change.

use bytes::Bytes;

use super::StoreFixture;
use super::harness::{LONG, MAPPING, ORIGIN, SCHEMA, START, StoreHarness, header, key, token};
use crate::entry::{Entry, Header};
use crate::error::ErrorKind;
use crate::position::{Gtid, Position};
use crate::store::{FillReply, Invalidation, InvalidationMode, LeaseReply, MappingId, Refusal, RowImageValue};

const BROKEN: FillReply = FillReply::Refused(Refusal::LeaseBroken);

/// An invalidation revokes the lease in every case: the load may have read the value from before the change.
pub(super) async fn an_invalidation_breaks_the_lease(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    let mine = harness.take(1).await;
    harness.invalidate(&[1]).await;
    assert_eq!(harness.fill(1, mine, START).await, BROKEN);
    let mine = harness.take(1).await;
    harness.invalidate_seen(&[1]).await;
    assert_eq!(harness.fill(1, mine, START).await, BROKEN);
    assert!(harness.value(1).await.is_none());
}

/// An entry survives only if its fill position, mode and generation prove that its load saw the commits.
pub(super) async fn an_entry_without_proof_does_not_survive(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    let mine = harness.take(2).await;
    let unknown = Header { position: Bytes::new(), ..header(InvalidationMode::Cdc, harness.generation, START) };
    assert_eq!(harness.fill_with(2, mine, &unknown, LONG).await, FillReply::Stored);
    harness.invalidate_seen(&[2]).await;
    assert!(harness.read(2).await.entry.is_none(), "its fill position is unknown");
    harness.put(3, START + 7).await;
    harness.flush(START).await;
    harness.invalidate_seen(&[3]).await;
    assert!(harness.read(3).await.entry.is_none(), "filled in another generation");
    let by_age = header(InvalidationMode::Ttl, harness.generation, START + 7);
    let mine = token();
    assert!(matches!(harness.ask(4, mine, |ask| ask.mode = InvalidationMode::Ttl).await, LeaseReply::Granted { .. }));
    assert_eq!(harness.fill_with(4, mine, &by_age, LONG).await, FillReply::Stored);
    harness.invalidate_seen(&[4]).await;
    assert!(harness.read(4).await.entry.is_none(), "filled in the other mode");
    harness.put(5, START + 7).await;
    fixture.lose_metas().await;
    harness.invalidate_seen(&[5]).await;
    assert!(harness.read(5).await.entry.is_none(), "without a meta no generation is current");
}

/// The fill position of the harness's entries has the first server's transactions 1 to 9.
pub(super) async fn an_entry_that_had_seen_every_commit_survives_without_its_lease(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    let gtid = |number| Gtid { origin: ORIGIN.into(), number };
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
        harness.put(id, START).await;
        let before = harness.value(id).await;
        let mine = token();
        assert!(matches!(harness.ask(id, mine, |ask| ask.reload = true).await, LeaseReply::Granted { .. }));
        let change = Invalidation { key: key(id), commits };
        harness.writer.invalidate_unseen(&[change]).await.expect("an invalidation");
        assert_eq!(harness.value(id).await, before.filter(|_| survives), "{id}");
        assert_eq!(harness.fill(id, mine, START).await, BROKEN);
    }
    harness.put(8, START).await;
    let mine = harness.take(9).await;
    let commits = vec![gtid(1)];
    harness.flush(START).await;
    let changes = [8, 9, 77].map(|id| Invalidation { key: key(id), commits: commits.clone() });
    harness.writer.invalidate_unseen(&changes).await.expect("an invalidation");
    assert!(harness.read(8).await.entry.is_none(), "filled in another generation");
    assert_eq!(harness.fill(9, mine, START).await, BROKEN);
}

/// A plain invalidation removes the given keys, and no others. An empty list is allowed.
pub(super) async fn an_invalidation_removes_every_entry(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    for id in 0..5 {
        harness.put(id, START + id).await;
    }
    harness.invalidate(&[0, 1, 2, 3, 77, 1]).await;
    for id in 0..4 {
        assert!(harness.read(id).await.entry.is_none(), "{id}");
    }
    assert!(harness.read(4).await.entry.is_some(), "it was not in the list");
    harness.invalidate(&[]).await;
    harness.invalidate_seen(&[]).await;
}

/// A row image replaces a value whose fill position is known and contained in what the image contains, by an invalidator that
/// holds the term. It keeps a value that has seen the commits, removes every other one, makes none, and always breaks the lease.
/// A store that does not replace values may remove them.
pub(super) async fn a_row_image_replaces_only_what_is_known_to_be_older(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    let contains = |last| format!("{ORIGIN}:1-{last}").parse::<Position>().expect("a position");
    let image = |id: u64, number: u64, last: u64| RowImageValue {
        key: key(id),
        commits: vec![Gtid { origin: ORIGIN.into(), number }],
        contains: contains(last),
        mapping: MAPPING,
        codec: 1,
        schema_version: SCHEMA,
        payload: bytes::Bytes::from_static(b"new"),
    };
    // The suite's entries contain 1 to 9.
    let other_codec = RowImageValue { codec: 2, ..image(4, 10, 10) };
    let other_schema = RowImageValue { schema_version: SCHEMA + 1, ..image(5, 10, 10) };
    let other_mapping = RowImageValue { mapping: MappingId(MAPPING.0 + 1), ..image(6, 10, 10) };
    for (value, survives, new) in [
        (image(1, 10, 10), true, true),
        (image(2, 9, 9), true, false),
        (image(3, 10, 8), false, false),
        (other_codec, false, false),
        (other_schema, false, false),
        (other_mapping, false, false),
    ] {
        let id = value.key.clone();
        let number = id.as_str().rsplit(':').next().and_then(|text| text.parse().ok()).expect("a number");
        harness.put(number, START).await;
        let before = harness.value(number).await.expect("a value");
        let mine = token();
        assert!(matches!(harness.ask(number, mine, |ask| ask.reload = true).await, LeaseReply::Granted { .. }));
        let held = harness.held(START);
        let counts = harness.writer.replace(&held, &[value]).await.expect("a replacement");
        assert_eq!(harness.fill(number, mine, START).await, BROKEN, "{id}");
        if counts.removed == 0 {
            let entry = Entry::decode(harness.read(number).await.entry.expect("it survives")).expect("an entry");
            let expected = if new { &b"new"[..] } else { &before.payload };
            assert!(survives && entry.payload == expected && entry.token.is_none(), "{id}");
            let position = if new { format!("{ORIGIN}:1-10") } else { format!("{ORIGIN}:1-9") };
            assert_eq!(entry.header.position, position.as_bytes(), "{id}");
            assert_eq!(entry.header.hard_expiry, before.header.hard_expiry);
        } else {
            assert!(harness.read(number).await.entry.is_none(), "{id}");
        }
    }
    let held = harness.held(START);
    harness.writer.replace(&held, &[image(77, 10, 10)]).await.expect("a replacement");
    assert!(harness.read(77).await.entry.is_none(), "nothing is made");
    // Another invalidator holds the term: the values of a former holder are late.
    harness.put(8, START).await;
    let late = harness.held(START);
    harness.writer.raise_high_watermark(&late, START + 1).await.expect("raised");
    harness.commit(START, START + 1).await;
    let mut writer = harness.store.writer().await.expect("a writer");
    match writer.replace(&late, &[image(8, 10, 10)]).await {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
        Ok(counts) => assert_eq!((counts.replaced, counts.removed), (0, 1)),
    }
}

/// A discard removes entries and revokes leases; it is idempotent.
pub(super) async fn a_discard_removes_and_may_be_repeated(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::live(fixture).await;
    harness.put(1, START).await;
    let mine = harness.take(2).await;
    for _ in 0..2 {
        harness.store.discard(&[key(1), key(2), key(3)]).await.expect("a discard");
        assert!(harness.read(1).await.entry.is_none());
    }
    assert_eq!(harness.fill(2, mine, START).await, BROKEN);
    harness.store.discard(&[]).await.expect("an empty discard");
}

/// Both invalidations work for more keys than fit into one command of a server.
pub(super) async fn thousands_of_keys_are_removed_at_once(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    let marks: Vec<u64> = (0..3_000).step_by(97).collect();
    let all: Vec<u64> = (0..3_000).collect();
    for compared in [false, true] {
        for &id in &marks {
            harness.put(id, START).await;
        }
        harness.put(5_000, START).await;
        if compared {
            harness.invalidate_unseen(&all).await;
        } else {
            harness.invalidate(&all).await;
        }
        let keys: Vec<_> = marks.iter().map(|&id| key(id)).collect();
        let readings = harness.store.get_many(&keys).await.expect("readings");
        assert!(readings.iter().all(|reading| reading.entry.is_none()));
        assert!(harness.read(5_000).await.entry.is_some());
        harness.invalidate(&[5_000]).await;
    }
}
