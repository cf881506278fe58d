//! Laws of the coverage: a meta covers the caches that it lists, each with its own generation.

use super::StoreFixture;
use super::harness::{
    LONG, MAPPING, START, StoreHarness, applied, checkpoint, conflict, generation, header, meta, token,
};
use crate::entry::Entry;
use crate::key::StoreKey;
use crate::position::Position;
use crate::source::Checkpoint;
use crate::store::{
    Applied, Cover, Coverage, Covered, Expected, FillReply, Generation, InvalidationMode, LeaseReply, LeaseRequest,
    MappingId, Refusal, StoreState, Token,
};

const FLUSHED: FillReply = FillReply::Refused(Refusal::GenerationChanged);

/// A second cache, next to the one that all laws use.
const OTHER: MappingId = MappingId(3 << 100);

/// A cache that is covered later, or never.
const THIRD: MappingId = MappingId(u128::MAX);

fn covered(mapping: MappingId, generation: Generation) -> Covered {
    Covered { mapping, generation, cache: format!("cache {:x}", mapping.0).into() }
}

fn cover(mapping: MappingId, generation: Generation, fresh: bool) -> Cover {
    Cover { covered: covered(mapping, generation), fresh }
}

/// A harness with two covered caches. All three generations are different.
struct Two {
    harness: StoreHarness,
    mine: Generation,
    other: Generation,
}

impl Two {
    async fn covered(fixture: &dyn StoreFixture) -> Self {
        let mut harness = StoreHarness::bare(fixture).await;
        let [whole, mine, other] = [generation(), generation(), generation()];
        (harness.generation, harness.term) = (whole, 1);
        let coverage = Coverage::new([covered(MAPPING, mine), covered(OTHER, other)]);
        harness.writer.flush(&meta(whole, 1, START).covering(coverage)).await.expect("a flush");
        Self { harness, mine, other }
    }

    async fn cover(&mut self, rows: &[Cover]) {
        let (held, next) = (self.harness.held(START), generation());
        self.harness.writer.cover(&held, next, rows).await.expect("a change of coverage");
        self.harness.generation = next;
    }

    async fn lease(&mut self, id: u64, mapping: MappingId) -> (Token, LeaseReply) {
        let token = token();
        (token, self.harness.ask(id, token, |ask| ask.mapping = mapping).await)
    }

    async fn take(&mut self, id: u64, mapping: MappingId) -> Token {
        let (token, reply) = self.lease(id, mapping).await;
        assert!(matches!(reply, LeaseReply::Granted { meta: Some(_), .. }), "granted, not {reply:?}");
        token
    }

    async fn fill(&mut self, id: u64, token: Token, generation: Generation) -> FillReply {
        self.harness.fill_with(id, token, &header(InvalidationMode::Cdc, generation, START), LONG).await
    }

    async fn put(&mut self, id: u64, mapping: MappingId, generation: Generation) {
        let token = self.take(id, mapping).await;
        assert_eq!(self.fill(id, token, generation).await, FillReply::Stored);
    }
}

/// A reader that clears a cache ends its entries and leases on every shard, and changes nothing else: neither another cache
/// nor what the invalidator compares.
pub(super) async fn caches_that_are_flushed_by_a_reader_end_alone(fixture: &dyn StoreFixture) {
    let mut two = Two::covered(fixture).await;
    for id in 0..20 {
        two.put(id, MAPPING, two.mine).await;
        two.put(100 + id, OTHER, two.other).await;
    }
    let (mine, old) = (two.take(200, MAPPING).await, two.mine);
    let other = two.take(201, OTHER).await;
    let new = generation();
    let rows = [(MAPPING, new), (THIRD, generation())];
    let covered = two.harness.store.covered().await.expect("the coverage");
    assert_eq!(covered.generation(MAPPING), Some(two.mine));
    assert_eq!((covered.generation(OTHER), covered.rows().len()), (Some(two.other), 2));
    two.harness.store.flush_caches(&rows).await.expect("a flush");
    for id in 0..20 {
        let (_, reply) = two.lease(id, MAPPING).await;
        assert!(matches!(reply, LeaseReply::Granted { .. }), "{id}: an old entry counts, {reply:?}");
        let (_, reply) = two.lease(100 + id, OTHER).await;
        assert!(matches!(reply, LeaseReply::Present { .. }), "{id}: the other cache lost its entry, {reply:?}");
    }
    assert_eq!(two.fill(200, mine, old).await, FLUSHED);
    assert_eq!(two.fill(201, other, two.other).await, FillReply::Stored);
    assert!(matches!(two.lease(300, THIRD).await.1, LeaseReply::NotCovered), "it is covered by a flush");
    two.put(200, MAPPING, new).await;
    // The invalidator goes on with what it expects, and keeps the new generation.
    let held = two.harness.held(START);
    two.harness.writer.commit(&held, &applied(START + 1, 0)).await.expect("a commit");
    let meta = two.harness.read(200).await.meta.expect("a meta");
    assert_eq!(meta.coverage.generation(MAPPING), Some(new));
    assert_eq!(meta.coverage.generation(OTHER), Some(two.other));
}

/// All entries and leases of one cache are discarded by its name, and none of a cache whose name begins with it.
pub(super) async fn a_cache_is_discarded_by_its_name(fixture: &dyn StoreFixture) {
    let store = fixture.store();
    let key = |cache: &str, id: u64| StoreKey::encode(cache, &id).expect("a key");
    let lease = async |key: &StoreKey| {
        let request = LeaseRequest {
            key,
            token: token(),
            duration: LONG,
            mode: InvalidationMode::Ttl,
            mapping: MappingId::default(),
            schema_version: 0,
            reload: false,
        };
        store.lease(&request).await.expect("a reply")
    };
    for id in 0..50 {
        for cache in ["users", "users2", "user"] {
            assert!(matches!(lease(&key(cache, id)).await, LeaseReply::Granted { .. }));
        }
    }
    store.discard_cache("users").await.expect("discarded");
    for id in 0..50 {
        assert!(store.get(&key("users", id)).await.expect("a reading").entry.is_none(), "{id} is still there");
        for cache in ["users2", "user"] {
            assert!(store.get(&key(cache, id)).await.expect("a reading").entry.is_some(), "{cache}:{id} is gone");
        }
    }
}

/// A cache that the coverage table does not list is not cached, because its keys are not invalidated.
pub(super) async fn a_cache_that_is_not_covered_gets_no_lease_and_no_fill(fixture: &dyn StoreFixture) {
    let mut two = Two::covered(fixture).await;
    for mapping in [THIRD, MappingId(MAPPING.0 ^ 1), MappingId(two.mine.0), MappingId(two.other.0)] {
        assert!(matches!(two.lease(1, mapping).await.1, LeaseReply::NotCovered), "{mapping:?}");
        assert!(two.harness.read(1).await.entry.is_none(), "nothing was written");
        let by_age =
            two.harness.ask(2, token(), |ask| (ask.mapping, ask.mode) = (mapping, InvalidationMode::Ttl)).await;
        assert!(
            matches!(by_age, LeaseReply::Granted { .. } | LeaseReply::Held { .. }),
            "TTL mode requires no coverage: {by_age:?}"
        );
    }
    let token = two.take(3, MAPPING).await;
    for stranger in [two.harness.generation, Generation(MAPPING.0), Generation(OTHER.0), Generation::default()] {
        assert_eq!(two.fill(3, token, stranger).await, FLUSHED, "{stranger:?} is no cache's generation");
    }
    assert_eq!(two.fill(3, token, two.mine).await, FillReply::Stored);
}

/// A lease belongs to the generation of the requesting cache, and an entry is valid for that cache only.
pub(super) async fn a_lease_is_of_its_caches_generation(fixture: &dyn StoreFixture) {
    let mut two = Two::covered(fixture).await;
    for (id, mapping, generation) in [(1, MAPPING, two.mine), (2, OTHER, two.other)] {
        let token = two.take(id, mapping).await;
        let bytes = two.harness.read(id).await.entry.expect("a lease");
        assert_eq!(Entry::decode(bytes).expect("an entry").header.generation, generation);
        assert_eq!(two.fill(id, token, generation).await, FillReply::Stored);
        let (_, reply) = two.lease(id, mapping).await;
        assert!(matches!(reply, LeaseReply::Present { .. }), "{reply:?}");
    }
    // An entry of one cache is not valid in another one, and is replaced there.
    let (_, reply) = two.lease(1, OTHER).await;
    assert!(matches!(reply, LeaseReply::Granted { .. }), "{reply:?}");
}

/// A fresh row, or a dropped one, ends the leases of its cache.
pub(super) async fn a_fill_is_refused_after_its_cache_was_flushed(fixture: &dyn StoreFixture) {
    let mut two = Two::covered(fixture).await;
    let token = two.take(1, MAPPING).await;
    let other = two.other;
    two.cover(&[cover(MAPPING, generation(), true), cover(OTHER, other, false)]).await;
    assert_eq!(two.fill(1, token, two.mine).await, FLUSHED, "the cache was flushed");
    let token = two.take(2, OTHER).await;
    let mine = two.mine;
    two.cover(&[cover(MAPPING, mine, false)]).await;
    assert_eq!(two.fill(2, token, two.other).await, FLUSHED, "it is no longer covered");
    assert!(two.harness.value(1).await.is_none() && two.harness.value(2).await.is_none());
}

/// A flush of one cache does not affect loads of other caches, although the meta's own generation changes.
pub(super) async fn a_fill_is_accepted_after_another_cache_was_flushed(fixture: &dyn StoreFixture) {
    let mut two = Two::covered(fixture).await;
    let (mine, other) = (two.mine, two.other);
    two.put(1, MAPPING, mine).await;
    let token = two.take(2, MAPPING).await;
    two.cover(&[cover(MAPPING, generation(), false), cover(OTHER, generation(), true)]).await;
    assert_eq!(two.fill(2, token, mine).await, FillReply::Stored, "its cache was not flushed");
    assert!(matches!(two.lease(1, MAPPING).await.1, LeaseReply::Present { .. }));
    let token = two.take(3, MAPPING).await;
    two.cover(&[cover(MAPPING, generation(), false)]).await;
    assert_eq!(two.fill(3, token, mine).await, FillReply::Stored, "nor by one that is no longer covered");
    assert!(matches!(two.lease(4, OTHER).await.1, LeaseReply::NotCovered), "{other:?}");
}

/// An invalidation keeps an entry only if its generation is that of a covered cache.
pub(super) async fn an_entry_of_a_flushed_cache_does_not_survive(fixture: &dyn StoreFixture) {
    let mut two = Two::covered(fixture).await;
    let (mine, other) = (two.mine, two.other);
    for id in [1, 2] {
        two.put(id, MAPPING, mine).await;
        two.put(id + 10, OTHER, other).await;
    }
    two.harness.invalidate_seen(&[1, 11]).await;
    for id in [1, 11] {
        assert!(two.harness.value(id).await.is_some(), "{id} has a generation that a covered cache has");
    }
    two.cover(&[cover(MAPPING, generation(), true), cover(OTHER, other, false)]).await;
    two.harness.invalidate_seen(&[2, 12]).await;
    assert!(two.harness.read(2).await.entry.is_none());
    assert!(two.harness.value(12).await.is_some());
}

/// Writing the coverage table keeps position, order, high watermark, source time and term.
pub(super) async fn covering_changes_the_coverage_only(fixture: &dyn StoreFixture) {
    let mut two = Two::covered(fixture).await;
    let held = two.harness.held(START);
    two.harness.writer.raise_high_watermark(&held, START + 4).await.expect("the high watermark is raised");
    let mut expected = two.harness.live_state().await;
    let [fresh, added] = [generation(), generation()];
    // Of two rows with the same mapping the first one counts.
    let rows = [
        cover(THIRD, added, false),
        cover(MAPPING, generation(), false),
        cover(OTHER, fresh, true),
        cover(MAPPING, generation(), true),
    ];
    two.cover(&rows).await;
    let table = [covered(MAPPING, two.mine), covered(OTHER, fresh), covered(THIRD, added)];
    expected.coverage = Coverage::new(table);
    let state = two.harness.live_state().await;
    expected.beat = state.beat;
    assert_ne!(state.generation, expected.generation, "the expected generation changes with the table");
    expected.generation = two.harness.generation;
    assert_eq!(state, expected);
    for id in 0..20 {
        let meta = two.harness.read(id).await.meta.expect("a meta");
        assert_eq!(meta.coverage, expected.coverage, "every shard, names included");
    }
    two.cover(&[]).await;
    assert!(two.harness.live_state().await.coverage.is_empty());
    assert_eq!(two.harness.live_state().await.applied_order, START);
    let many: Vec<_> = (0..100_u128).map(|id| cover(MappingId(id << 90), Generation(id + 1), false)).collect();
    two.cover(&many).await;
    assert_eq!(two.harness.live_state().await.coverage.rows().len(), 100);
    two.put(1, MappingId(99 << 90), Generation(100)).await;
}

/// Writing the coverage table and resigning are compare-and-sets, like a commit.
pub(super) async fn covering_and_resigning_compare_first(fixture: &dyn StoreFixture) {
    let mut two = Two::covered(fixture).await;
    let before = two.harness.live_state().await;
    let held = two.harness.held(START);
    for wrong in [
        Expected { generation: two.mine, ..held },
        Expected { term: 2, ..held },
        Expected { term: 0, ..held },
        Expected { applied_order: START + 1, ..held },
    ] {
        two.harness.new_writer().await;
        conflict(two.harness.writer.cover(&wrong, generation(), &[cover(THIRD, generation(), false)]).await, "cover");
        two.harness.new_writer().await;
        conflict(two.harness.writer.resign(&wrong).await, "resign");
    }
    two.harness.new_writer().await;
    assert_eq!(two.harness.live_state().await, before, "nothing was written");
    // Writing a table changes the expected generation, so that an older table that comes back is noticed.
    two.cover(&[cover(THIRD, generation(), false)]).await;
    conflict(two.harness.writer.commit(&held, &applied(START, 0)).await, "the generation before the table");
    two.harness.new_writer().await;
    let now = two.harness.held(START);
    two.harness.writer.commit(&now, &applied(START, 0)).await.expect("as expected");
}

/// Taking the term does not change the coverage table; the new holder writes its own table next.
pub(super) async fn a_term_keeps_what_is_covered(fixture: &dyn StoreFixture) {
    let mut two = Two::covered(fixture).await;
    let before = two.harness.live_state().await;
    let mut state = before.clone();
    state.coverage = Coverage::new([covered(THIRD, generation())]);
    two.harness.writer.take_term(&state, 2).await.expect("a term");
    let after = two.harness.live_state().await;
    assert_eq!((&after.coverage, after.term), (&before.coverage, 2));
    assert_eq!(after.checkpoint().expect("a checkpoint"), checkpoint(START));
    two.put(1, MAPPING, two.mine).await;
}

/// The vacant mark is visible on every shard until the next holder takes the term or flushes.
pub(super) async fn a_resignation_is_visible_until_the_term_is_taken(fixture: &dyn StoreFixture) {
    let mut two = Two::covered(fixture).await;
    assert!(!two.harness.live_state().await.vacant);
    let held = two.harness.held(START);
    two.harness.writer.resign(&held).await.expect("a resignation");
    let state = two.harness.live_state().await;
    assert!(state.vacant);
    for id in 0..20 {
        assert!(two.harness.read(id).await.meta.expect("a meta").vacant, "readers see it");
    }
    two.put(1, MAPPING, two.mine).await;
    two.harness.writer.take_term(&state, 2).await.expect("a term");
    assert!(!two.harness.live_state().await.vacant, "the term is taken");
    two.harness.writer.resign(&Expected { term: 2, ..held }).await.expect("a resignation");
    assert!(two.harness.live_state().await.vacant);
    two.harness.flush(START).await;
    assert!(!two.harness.live_state().await.vacant, "a flush takes it too");
}

/// A standby watches the beat: every write of the holder must change it.
pub(super) async fn every_write_moves_the_beat(fixture: &dyn StoreFixture) {
    let mut two = Two::covered(fixture).await;
    let mut held = two.harness.held(START);
    let mut beat = two.harness.live_state().await.beat;
    let mine = two.mine;
    for write in ["raise_high_watermark", "commit", "cover", "take_term"] {
        let state = two.harness.live_state().await;
        let writer = &mut two.harness.writer;
        let outcome = match write {
            "raise_high_watermark" => writer.raise_high_watermark(&held, START).await,
            "commit" => writer.commit(&held, &applied(START, 0)).await,
            "cover" => {
                let before = std::mem::replace(&mut held.generation, generation());
                let rows = [cover(MAPPING, mine, false)];
                writer.cover(&Expected { generation: before, ..held }, held.generation, &rows).await
            }
            _ => writer.take_term(&state, 2).await,
        };
        outcome.unwrap_or_else(|error| panic!("{write}: {error}"));
        let next = two.harness.live_state().await.beat;
        assert_ne!(next, beat, "{write}");
        beat = next;
    }
}

/// A topology with hundreds of servers has a GTID set of tens of thousands of bytes.
pub(super) async fn a_long_position_is_kept(fixture: &dyn StoreFixture) {
    let mut two = Two::covered(fixture).await;
    let mut position = Position::new();
    for server in 0..500_u64 {
        position.insert_range(&format!("{server:08x}-71ca-11e1-9e33-c80aa9429562").into(), 1, 5 + server);
    }
    let long = Checkpoint { position, ..checkpoint(1) };
    let held = two.harness.held(START);
    let next = Applied { checkpoint: long.clone(), ..applied(START, 9) };
    two.harness.writer.commit(&held, &next).await.expect("a commit");
    let state = two.harness.live_state().await;
    assert_eq!(state.checkpoint().expect("a checkpoint"), long);
    two.cover(&[cover(MAPPING, generation(), true)]).await;
    let state = two.harness.live_state().await;
    two.harness.writer.take_term(&state, 2).await.expect("a term");
    let StoreState::Live(state) = two.harness.writer.state().await.expect("a state") else {
        panic!("it should be live");
    };
    assert_eq!((state.checkpoint().expect("a checkpoint"), state.term), (long.clone(), 2));
    let meta = two.harness.read(1).await.meta.expect("a meta");
    assert_eq!(*meta.applied(), long.position);
}
