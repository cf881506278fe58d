//! Histories: what may happen to a store, drawn from few enough values that things meet.

use proptest::collection::vec;
use proptest::prelude::*;

/// Keys, tokens, mappings, generations and terms are small numbers here.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Get {
        key: u64,
    },
    GetMany {
        keys: Vec<u64>,
    },
    Lease {
        key: u64,
        token: u128,
        ttl: bool,
        mapping: u128,
        schema: u32,
        reload: bool,
    },
    Fill {
        key: u64,
        token: u128,
        ttl: bool,
        schema: u32,
        generation: FillPick,
        order: u64,
        state: State,
        expired: bool,
    },
    Release {
        key: u64,
        token: u128,
    },
    Discard {
        keys: Vec<u64>,
    },
    DiscardCache,
    FlushCaches {
        rows: Vec<Row>,
    },
    Suspend,
    LoseMetas,
    Invalidate {
        keys: Vec<u64>,
    },
    Flush {
        generation: u128,
        /// How far its term is above the one in force.
        above: u64,
        order: u64,
        covered: Vec<Row>,
        beat: u32,
        vacant: bool,
    },
    InvalidateUnseen {
        keys: Vec<(u64, Vec<u64>)>,
    },
    Replace {
        held: HeldPick,
        values: Vec<Image>,
    },
    Cover {
        held: HeldPick,
        next: u128,
        rows: Vec<(Row, bool)>,
    },
    Resign {
        held: HeldPick,
    },
    RaiseHighWatermark {
        held: HeldPick,
        order: u64,
    },
    Commit {
        held: HeldPick,
        order: u64,
        source_time: u64,
    },
    TakeTerm {
        generation: Pick,
        order: u64,
        above: u64,
    },
    State,
    Term,
}

/// The value of a row image: key, commits, up to which number it contains commits, mapping, codec, schema.
pub(crate) type Image = (u64, Vec<u64>, u64, u128, u8, u32);

fn image() -> impl Strategy<Value = Image> {
    let codec = prop_oneof![5 => Just(1_u8), 1 => Just(2)];
    (key(), vec(1..6_u64, 0..3), 1..7_u64, 1..4_u128, codec, schema())
}

/// What is in force, or some value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pick {
    Current,
    Some(u128),
}

/// The generation that a mapping has, or some value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FillPick {
    Of(u128),
    Some(u128),
}

/// A mapping and a generation. Both are drawn from the same bytes: one must not be taken for the other.
pub(crate) type Row = (u128, u128);

/// What is in force, one of its parts changed or not.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HeldPick {
    Current,
    OtherGeneration,
    OtherTerm,
    OtherOrder(u64),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum State {
    Fresh,
    Negative,
    StaleKept,
}

const ORDERS: std::ops::Range<u64> = 8..16;

fn key() -> impl Strategy<Value = u64> {
    0..4_u64
}

fn token() -> impl Strategy<Value = u128> {
    1..4_u128
}

fn schema() -> impl Strategy<Value = u32> {
    prop_oneof![4 => Just(1_u32), 1 => Just(2)]
}

fn ttl() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.2)
}

fn pick() -> impl Strategy<Value = Pick> {
    prop_oneof![4 => Just(Pick::Current), 1 => (1..4_u128).prop_map(Pick::Some)]
}

fn mapping() -> impl Strategy<Value = u128> {
    prop_oneof![5 => Just(1_u128), 3 => Just(2), 1 => Just(3)]
}

fn fill_pick() -> impl Strategy<Value = FillPick> {
    prop_oneof![4 => mapping().prop_map(FillPick::Of), 1 => (1..4_u128).prop_map(FillPick::Some)]
}

fn row() -> impl Strategy<Value = Row> {
    (mapping(), 1..4_u128)
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop_oneof![3 => Just(vec![(1, 2), (2, 1)]), 2 => vec(row(), 0..4)]
}

fn held() -> impl Strategy<Value = HeldPick> {
    prop_oneof![
        6 => Just(HeldPick::Current),
        1 => Just(HeldPick::OtherGeneration),
        1 => Just(HeldPick::OtherTerm),
        1 => ORDERS.prop_map(HeldPick::OtherOrder),
    ]
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![4 => Just(State::Fresh), 1 => Just(State::Negative), 1 => Just(State::StaleKept)]
}

fn reader() -> impl Strategy<Value = Step> {
    let order = prop_oneof![1 => Just(0_u64), 5 => ORDERS];
    let expired = prop::bool::weighted(0.1);
    prop_oneof![
        2 => key().prop_map(|key| Step::Get { key }),
        1 => vec(key(), 0..5).prop_map(|keys| Step::GetMany { keys }),
        8 => (key(), token(), ttl(), mapping(), schema(), prop::bool::weighted(0.3)).prop_map(
            |(key, token, ttl, mapping, schema, reload)| Step::Lease { key, token, ttl, mapping, schema, reload }
        ),
        8 => (key(), token(), ttl(), schema(), fill_pick(), order, state(), expired).prop_map(
            |(key, token, ttl, schema, generation, order, state, expired)| {
                Step::Fill { key, token, ttl, schema, generation, order, state, expired }
            }
        ),
        2 => (key(), token()).prop_map(|(key, token)| Step::Release { key, token }),
        1 => vec(key(), 0..3).prop_map(|keys| Step::Discard { keys }),
        1 => Just(Step::DiscardCache),
        2 => vec(row(), 0..3).prop_map(|rows| Step::FlushCaches { rows }),
    ]
}

fn invalidator() -> impl Strategy<Value = Step> {
    let source_time = prop_oneof![Just(0_u64), 1..9_u64];
    let beat = prop_oneof![Just(0_u32), Just(255), Just(u32::MAX)];
    prop_oneof![
        3 => vec(key(), 0..4).prop_map(|keys| Step::Invalidate { keys }),
        2 => (1..4_u128, 0..5_u64, ORDERS, rows(), beat, any::<bool>()).prop_map(
            |(generation, above, order, covered, beat, vacant)| {
                Step::Flush { generation, above, order, covered, beat, vacant }
            }
        ),
        3 => (held(), 1..4_u128, vec((row(), prop::bool::weighted(0.3)), 0..4))
            .prop_map(|(held, next, rows)| Step::Cover { held, next, rows }),
        5 => vec((key(), vec(1..6_u64, 0..3)), 1..4).prop_map(|keys| Step::InvalidateUnseen { keys }),
        5 => (held(), vec(image(), 0..4)).prop_map(|(held, values)| Step::Replace { held, values }),
        1 => held().prop_map(|held| Step::Resign { held }),
        3 => (held(), ORDERS).prop_map(|(held, order)| Step::RaiseHighWatermark { held, order }),
        4 => (held(), ORDERS, source_time)
            .prop_map(|(held, order, source_time)| Step::Commit { held, order, source_time }),
        2 => (pick(), ORDERS, 0..5_u64)
            .prop_map(|(generation, order, above)| Step::TakeTerm { generation, order, above }),
        3 => Just(Step::State),
        1 => Just(Step::Term),
        2 => Just(Step::Suspend),
    ]
}

/// A flush early on, so that most histories have a generation, and an entry in every second one; then anything, and now
/// and then a loss.
pub(crate) fn histories() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![12 => reader(), 6 => invalidator(), 1 => Just(Step::LoseMetas)];
    (vec(reader(), 0..3), any::<bool>(), vec(step, 1..60)).prop_map(|(mut history, with_entry, rest)| {
        let covered = vec![(1, 2), (2, 1)];
        history.push(Step::Flush { generation: 1, above: 1, order: 8, covered, beat: 0, vacant: false });
        if with_entry {
            let (key, token, ttl, schema, mapping) = (0, 1, false, 1, 1);
            history.push(Step::Lease { key, token, ttl, mapping, schema, reload: false });
            let (generation, state) = (FillPick::Of(mapping), State::Fresh);
            history.push(Step::Fill { key, token, ttl, schema, generation, order: 8, state, expired: false });
        }
        history.extend(rest);
        history
    })
}
