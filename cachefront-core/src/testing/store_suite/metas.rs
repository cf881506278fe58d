//! Laws of the meta: every write compares what the invalidator expects.

use super::StoreFixture;
use super::harness::{START, StoreHarness, applied, checkpoint, conflict, generation, meta};
use crate::store::{Applied, Expected, MetaState, StoreState};

/// An empty store has no meta and no term, and a suspension does not create one.
pub(super) async fn a_new_store_has_no_meta(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::bare(fixture).await;
    assert_eq!(harness.writer.state().await.expect("a state"), StoreState::Missing);
    assert_eq!(harness.writer.term().await.expect("a term"), 0);
    harness.store.suspend().await.expect("a suspension without a meta");
    assert_eq!(harness.writer.state().await.expect("a state"), StoreState::Missing);
}

/// A flush writes the same meta to every shard, and readers see it with their next read.
pub(super) async fn a_flush_is_read_by_every_reader(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    let state = harness.live_state().await;
    let mut expected = meta(harness.generation, 1, START);
    // The store sets the number of shards.
    expected.shards = state.shards;
    assert_eq!(state, expected);
    assert_eq!(state.checkpoint().expect("a checkpoint"), checkpoint(START));
    for id in 0..20 {
        assert_eq!(*harness.read(id).await.meta.expect("a meta"), expected);
    }
    harness.writer.flush(&meta(generation(), 7, START)).await.expect("a flush");
    assert_eq!(harness.writer.term().await.expect("a term"), 7);
}

/// Of two invalidators that flush concurrently one has the term, and the other one must get an error.
pub(super) async fn a_flush_is_fenced_by_its_term(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    harness.writer.flush(&meta(generation(), 7, START)).await.expect("a flush over a lower term");
    let before = harness.live_state().await;
    for term in [0, 1, 6, 7] {
        let mut other = harness.store.writer().await.expect("a writer");
        conflict(other.flush(&meta(generation(), term, START + 1)).await, "a term as high is current");
        assert_eq!(harness.live_state().await, before, "no shard was written");
    }
    fixture.lose_metas().await;
    harness.new_writer().await;
    harness.writer.flush(&meta(generation(), 1, START)).await.expect("there is no term");
    assert_eq!(harness.live_state().await.term, 1);
}

/// A position that a failed-over database has lost must not block forever: a flush, and only a flush, lowers the high
/// watermark.
pub(super) async fn a_flush_replaces_the_high_watermark(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    let held = harness.held(START);
    harness.writer.raise_high_watermark(&held, 1_000_000).await.expect("the high watermark is raised");
    harness.flush(START + 1).await;
    let state = harness.live_state().await;
    assert_eq!((state.high_watermark, state.applied_order), (START + 1, START + 1));
}

/// Raising the watermark to a lower order has no effect, and another generation, term or applied order is a conflict.
pub(super) async fn the_high_watermark_is_never_lowered(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    let held = harness.held(START);
    // The last one does not fit into 32 bits, and is below the limit of exact numbers in scripts.
    for (order, high_watermark) in
        [(START + 5, START + 5), (START + 2, START + 5), (1 << 52, 1 << 52), (START + 9, 1 << 52)]
    {
        harness.writer.raise_high_watermark(&held, order).await.expect("the high watermark is raised");
        assert_eq!(harness.live_state().await.high_watermark, high_watermark);
    }
    for wrong in [
        Expected { generation: generation(), ..held },
        Expected { term: 2, ..held },
        Expected { applied_order: START + 1, ..held },
    ] {
        harness.new_writer().await;
        conflict(harness.writer.raise_high_watermark(&wrong, START).await, "the expected state is compared");
    }
}

/// A commit sets position, order, resume data and, if known, the source time on every shard.
pub(super) async fn a_commit_moves_what_is_applied(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    let held = harness.held(START);
    harness.writer.raise_high_watermark(&held, START + 3).await.expect("the high watermark is raised");
    harness.writer.commit(&held, &applied(START + 3, 77)).await.expect("a commit");
    let state = harness.live_state().await;
    assert_eq!((state.applied_order, state.high_watermark, state.source_time.as_micros()), (START + 3, START + 3, 77));
    assert_eq!(state.checkpoint().expect("a checkpoint"), checkpoint(START + 3));
    assert_eq!(
        (state.term, state.generation, &*state.origin),
        (1, harness.generation, &*meta(state.generation, 1, 1).origin)
    );
    let held = harness.held(START + 3);
    // A heartbeat: the same order, a later checkpoint; the stored time is kept if none is known.
    let beat = Applied { checkpoint: checkpoint(START + 8), ..applied(START + 3, 0) };
    harness.writer.commit(&held, &beat).await.expect("a heartbeat");
    let state = harness.live_state().await;
    assert_eq!((state.applied_order, state.source_time.as_micros()), (START + 3, 77));
    assert_eq!(state.checkpoint().expect("a checkpoint"), checkpoint(START + 8));
    // A batch that was applied cannot be in progress.
    harness.writer.commit(&held, &applied(START + 6, 99)).await.expect("a commit");
    let state = harness.live_state().await;
    assert_eq!((state.high_watermark, state.source_time.as_micros()), (START + 6, 99));
    for id in 0..20 {
        assert_eq!(harness.read(id).await.meta.expect("a meta").applied_order, START + 6);
    }
}

/// A commit is a compare-and-set on generation, term and applied order; `applied` never moves back.
pub(super) async fn a_commit_compares_before_it_moves(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    let held = harness.held(START);
    let before = harness.live_state().await;
    for (wrong, what) in [
        (Expected { generation: generation(), ..held }, "another generation"),
        (Expected { term: 2, ..held }, "another term"),
        (Expected { term: 0, ..held }, "an older term"),
        (Expected { applied_order: START + 1, ..held }, "the store lost what was applied"),
        (Expected { applied_order: START - 1, ..held }, "another invalidator applied more"),
    ] {
        harness.new_writer().await;
        conflict(harness.writer.commit(&wrong, &applied(START + 5, 5)).await, what);
    }
    harness.new_writer().await;
    conflict(harness.writer.commit(&held, &applied(START - 1, 5)).await, "applied never moves back");
    harness.new_writer().await;
    assert_eq!(harness.live_state().await, before, "no shard was changed");
}

/// In TTL mode an invalidator continues to read, and its checkpoint continues to move.
pub(super) async fn a_suspended_meta_is_moved_and_stays_suspended(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    harness.store.suspend().await.expect("a suspension");
    let held = harness.held(START);
    harness.writer.raise_high_watermark(&held, START + 1).await.expect("the high watermark is raised");
    harness.writer.commit(&held, &applied(START + 1, 42)).await.expect("a commit");
    let StoreState::Suspended(state) = harness.writer.state().await.expect("a state") else {
        panic!("it stays suspended");
    };
    assert_eq!((state.applied_order, state.source_time.as_micros()), (START + 1, 42));
    harness.writer.take_term(&state, 2).await.expect("a term");
    assert!(matches!(harness.writer.state().await.expect("a state"), StoreState::Suspended(meta) if meta.term == 2));
    harness.flush(START + 2).await;
    let mut half = harness.live_state().await;
    // As it is read from a store whose other shard is suspended.
    (half.state, half.term) = (MetaState::Suspended, 0);
    let term = harness.writer.term().await.expect("a term") + 1;
    harness.writer.take_term(&half, term).await.expect("a term");
    assert!(matches!(harness.writer.state().await.expect("a state"), StoreState::Suspended(_)), "on every shard");
}

/// Of two invalidators that take the same term one fails, and a taken term reverts a partial commit of the former holder.
pub(super) async fn a_term_is_taken_by_one(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    let state = harness.live_state().await;
    let mut other = harness.store.writer().await.expect("a writer");
    harness.writer.take_term(&state, 2).await.expect("a term");
    conflict(other.take_term(&state, 2).await, "another invalidator has it");
    let mut other = harness.store.writer().await.expect("a writer");
    conflict(other.take_term(&state, 1).await, "a later one is current");
    assert_eq!(harness.writer.term().await.expect("a term"), 2);
    let held = Expected { term: 2, ..harness.held(START) };
    harness.writer.commit(&held, &applied(START + 1, 0)).await.expect("the holder commits");
    let mut other = harness.store.writer().await.expect("a writer");
    other.take_term(&state, 3).await.expect("a state that was read earlier may be behind");
    assert_eq!(harness.live_state().await.applied_order, START, "the state that was read is taken");
    conflict(
        harness.writer.commit(&Expected { applied_order: START, ..held }, &applied(START + 1, 0)).await,
        "the term was lost",
    );
    let mut lost = state.clone();
    lost.applied_order = START + 100;
    let mut other = harness.store.writer().await.expect("a writer");
    conflict(other.take_term(&lost, 4).await, "the store has applied less than was read");
    let mut strange = state;
    strange.generation = generation();
    let mut other = harness.store.writer().await.expect("a writer");
    conflict(other.take_term(&strange, 4).await, "another generation");
}

/// If the metas are evicted, every write of an invalidator is a conflict: only a flush creates a meta.
pub(super) async fn lost_metas_are_missed_by_every_writer(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::live(fixture).await;
    let state = harness.live_state().await;
    let held = harness.held(START);
    fixture.lose_metas().await;
    assert_eq!(harness.writer.state().await.expect("a state"), StoreState::Missing);
    conflict(harness.writer.commit(&held, &applied(START + 1, 0)).await, "commit");
    harness.new_writer().await;
    conflict(harness.writer.raise_high_watermark(&held, START + 1).await, "raise_high_watermark");
    harness.new_writer().await;
    conflict(harness.writer.take_term(&state, 2).await, "take_term");
    harness.new_writer().await;
    assert_eq!(harness.writer.state().await.expect("a state"), StoreState::Missing, "no shard was written");
}
