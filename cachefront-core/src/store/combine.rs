//! What all shards together have applied.
//!
//! Each shard may be on a server of its own, which fails over on its own, or comes back with an older state. So the metas of
//! two shards may belong to different histories: the order of a batch was then used twice, for different positions, and says
//! nothing about which shard has applied more. Only positions do ("Positions are sets").

use crate::store::meta::{Meta, MetaState};
use crate::store::state::StoreState;

/// Combines the metas of all shards: the position that every shard has applied, the lowest order, the highest watermark and
/// term, and the coverage that all have. Shards of different generations, a missing meta, and positions of which none is
/// contained in all others are [`StoreState::Mixed`].
pub fn state<'a>(metas: impl Iterator<Item = Option<&'a Meta>>) -> StoreState {
    let (mut shards, mut present) = (0, Vec::new());
    for meta in metas {
        shards += 1;
        present.extend(meta);
    }
    let Some(first) = present.first() else {
        return StoreState::Missing;
    };
    let agreed = present.len() == shards && present.iter().all(|meta| meta.generation == first.generation);
    let Some(least) = least_applied(&present).filter(|_| agreed) else {
        return StoreState::Mixed;
    };
    let mut together = least.clone();
    together.beat = 0;
    for meta in present {
        compose(&mut together, meta);
    }
    if together.is_live() { StoreState::Live(together) } else { StoreState::Suspended(together) }
}

/// The meta whose applied position is contained in that of every other one. Of equal positions the one with the lowest order
/// counts, because its checkpoint is the earliest. `None` if there is no such position.
fn least_applied<'a>(metas: &[&'a Meta]) -> Option<&'a Meta> {
    let least = *metas.iter().min_by(|one, other| {
        if one.applied_text() == other.applied_text() {
            one.applied_order.cmp(&other.applied_order)
        } else if one.applied().covers(other.applied()) {
            std::cmp::Ordering::Greater
        } else {
            std::cmp::Ordering::Less
        }
    })?;
    metas.iter().all(|meta| covers(meta, least)).then_some(least)
}

/// True if everything that `least` has applied is applied by `meta`.
fn covers(meta: &Meta, least: &Meta) -> bool {
    // Comparing the texts avoids parsing them in the usual case.
    meta.applied_text() == least.applied_text() || meta.applied().covers(least.applied())
}

/// Adds a shard's meta to `together`, whose position it has applied.
fn compose(together: &mut Meta, meta: &Meta) {
    together.applied_order = together.applied_order.min(meta.applied_order);
    together.high_watermark = together.high_watermark.max(meta.high_watermark);
    together.term = together.term.max(meta.term);
    together.source_time = together.source_time.min(meta.source_time);
    together.coverage = together.coverage.intersection(&meta.coverage);
    together.beat = together.beat.wrapping_add(meta.beat);
    together.vacant &= meta.vacant;
    if !meta.is_live() {
        together.state = MetaState::Suspended;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Generation;
    use crate::source::Checkpoint;

    /// A shard that has applied the commits up to `last`, as the batch of this order.
    fn shard(term: u64, order: u64, last: u64) -> Meta {
        let position = format!("a:1-{last}").parse().expect("a position");
        let head = Checkpoint { position, ..Checkpoint::default() };
        Meta::at_head(Generation(1), term, order, 2, "a", &head)
    }

    fn combined(shards: [&Meta; 2]) -> StoreState {
        state(shards.into_iter().map(Some))
    }

    /// Shard X came back from a file of term 5, in which order 10 was the batch up to commit 90. Meanwhile shard Y had failed
    /// over to order 8, and the batch after that, of the next term, was order 10 again, up to commit 50 only. The commits 51
    /// to 90 were never invalidated on Y.
    #[test]
    fn an_order_that_was_used_twice_does_not_hide_what_a_shard_lacks() {
        let (restored, other) = (shard(5, 10, 90), shard(6, 10, 50));
        for shards in [[&restored, &other], [&other, &restored]] {
            let StoreState::Live(meta) = combined(shards) else { panic!("both are live") };
            assert_eq!(meta.applied_text(), "a:1-50");
            assert_eq!((meta.term, meta.high_watermark), (6, 10));
        }
        // The same where the order says the opposite of the position.
        let (restored, other) = (shard(5, 9, 90), shard(6, 12, 50));
        for shards in [[&restored, &other], [&other, &restored]] {
            let StoreState::Live(meta) = combined(shards) else { panic!("both are live") };
            assert_eq!((meta.applied_text(), meta.applied_order, meta.high_watermark), ("a:1-50", 9, 12));
            for shard in shards {
                let taken =
                    crate::store::transition::take_term(Some(shard), &meta, 7).expect("every shard can be taken");
                assert_eq!((taken.applied_text(), taken.applied_order), ("a:1-50", 9));
            }
        }
    }

    #[test]
    fn positions_that_do_not_contain_each_other_are_mixed() {
        let (one, mut other) = (shard(5, 10, 90), shard(5, 10, 50));
        other.set_applied(&"a:1-50,b:1-3".parse().expect("a position"));
        assert_eq!(combined([&one, &other]), StoreState::Mixed);
        assert_eq!(combined([&other, &one]), StoreState::Mixed);
    }

    /// A commit that reached one shard only: the lower order counts, also if nothing but the order differs.
    #[test]
    fn of_equal_positions_the_earliest_checkpoint_counts() {
        let (mut earlier, mut later) = (shard(5, 9, 50), shard(5, 10, 50));
        (earlier.resume, later.resume) = (vec![1].into(), vec![2].into());
        for shards in [[&earlier, &later], [&later, &earlier]] {
            let StoreState::Live(meta) = combined(shards) else { panic!("both are live") };
            assert_eq!((meta.applied_order, &*meta.resume), (9, &[1][..]));
        }
    }
}
