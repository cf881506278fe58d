//! Configurations of one shard, whose store runs on the core's transition functions.

use cachefront_model::config::{Config, LoadTimes};

use crate::Table;

fn base() -> Config {
    Config::default()
}

#[test]
fn leases_with_a_gate() {
    let mut table = Table::new();
    table.holds("A1", "gate, three readers, two evictions", Config { readers: 3, loads: 1, evictions: 2, ..base() });
    table.holds("A3", "gate, two keys, a transaction over both", Config { keys: 2, touches: [3, 1, 3, 3], ..base() });
    table.holds("A5", "gate, fill position unknown", Config { positions: false, ..base() });
    table.holds(
        "A7",
        "gate, commits become visible out of order",
        Config { unordered: true, keys: 2, touches: [1, 2, 3, 3], ..base() },
    );
    table.holds("A9", "gate on the replica too", Config { replica: true, gate_on_replica: true, ..base() });
    table.holds("R5u", "batches of two", Config { batches_of_two: true, commits: 3, loads: 1, ..base() });
    table.holds("W1", "invalidation by hand", Config { by_hand: 1, ..base() });
    table.fails("M1", &["E", "E'", "S"], "no lease", Config { lease: false, ..base() });
    table.fails("M2", &["E", "E'", "S"], "one token for each client", Config { token_per_attempt: false, ..base() });
    table.fails("M3", &["E", "E'", "S"], "no gate", Config { gate: false, ..base() });
    table.fails("M4", &["E", "E'", "S"], "a replica on which no gate waits", Config { replica: true, ..base() });
    table.fails("M7", &["S"], "`applied` first", Config { applied_last: false, ..base() });
    table.fails(
        "M8",
        &["E", "E'", "S"],
        "an entry that survives keeps its lease",
        Config { early: true, breaks_lease: false, by_hand: 0, commits: 3, replica: true, fence: true, ..base() },
    );
    table.fails(
        "H3",
        &["S"],
        "positions are rounded up",
        Config { unordered: true, exact_positions: false, keys: 2, touches: [1, 2, 3, 3], ..base() },
    );
    table.done();
}

#[test]
fn fences() {
    let fenced = Config::fenced;
    let mut table = Table::new();
    table.holds("A2", "fence, replica", fenced());
    table.holds("A4", "fence, two keys, replica", Config { keys: 2, touches: [3, 1, 3, 3], loads: 1, ..fenced() });
    table.holds(
        "A8",
        "fence, commits become visible out of order",
        Config { unordered: true, keys: 2, touches: [1, 2, 3, 3], loads: 1, ..fenced() },
    );
    table.holds(
        "FT",
        "fence, takeover, batches of two",
        Config { second: true, batches_of_two: true, loads: 1, ..fenced() },
    );
    table.holds("FC", "fence, restarts, batches of two", Config { crashes: 1, batches_of_two: true, ..fenced() });
    table.holds("F2", "fence, failover", Config { failover: true, loads: 1, ..fenced() });
    table.holds("G2", "fence, gap", Config { gaps: 1, loads: 1, ..fenced() });
    table.holds("G9f", "fence, gap and failover", Config { gaps: 1, failover: true, loads: 1, ..fenced() });
    table.fails("M5", &["E", "E'", "S"], "a fill is not compared with its fence", Config { fence: false, ..fenced() });
    table.fails("M6", &["E", "E'", "S"], "nothing is named before it is sent", Config { raises: false, ..fenced() });
    table.fails(
        "H1",
        &["E", "E'", "S"],
        "a fence is taken while something is not applied",
        Config { fence_waits: false, ..fenced() },
    );
    table.fails(
        "FS",
        &["E'"],
        "after a restart the next batch counts as all that was sent",
        Config {
            fence_to_end: false,
            crashes: 1,
            batches_of_two: true,
            keys: 2,
            touches: [1, 2, 3, 3],
            readers: 1,
            loads: 1,
            evictions: 0,
            ..fenced()
        },
    );
    table.fails(
        "W2",
        &["E'", "S"],
        "invalidation by hand names no commit: the stated exception",
        Config { by_hand: 1, ..fenced() },
    );
    table.done();
}

#[test]
fn failovers_and_takeovers() {
    let mut table = Table::new();
    let failover = || Config { failover: true, ..base() };
    table.holds("F1", "failover", Config { loads: 2, ..failover() });
    table.holds("F2b", "failover, two keys", Config { keys: 2, touches: [3, 1, 3, 3], loads: 1, ..failover() });
    table.holds("T1", "takeover", Config { second: true, commits: 3, loads: 1, ..base() });
    table.holds("T2", "takeover and failover", Config { second: true, loads: 1, ..failover() });
    table.holds("T5", "takeover and gap", Config { second: true, gaps: 1, loads: 1, ..base() });
    table.holds("P2", "a command fails, `applied` after every reply", Config { failures: 1, ..base() });
    table.holds("C0", "readers and invalidators die", Config { crashes: 2, loads: 1, ..base() });
    table.holds(
        "Z1",
        "gap, failover, takeover, evictions",
        Config { gaps: 1, second: true, evictions: 2, loads: 1, ..failover() },
    );
    table.holds(
        "Z2",
        "fence, gap, failover, takeover",
        Config { gaps: 1, second: true, failover: true, loads: 1, ..Config::fenced() },
    );
    table.fails(
        "F3",
        &["E'"],
        "a failover takes invalidations back: the stated exception",
        Config { judges_survivors: false, ..failover() },
    );
    table.fails(
        "F4",
        &["S", "E'", "E"],
        "a meta that was read earlier survives the failover",
        Config { one_reading: false, ..failover() },
    );
    table.fails(
        "F5",
        &["E", "S", "E'"],
        "nothing is compared",
        Config { compares: false, one_connection: false, ..failover() },
    );
    table.fails(
        "F6",
        &["S", "E", "E'"],
        "a batch goes on over a new connection",
        Config { one_connection: false, ..failover() },
    );
    table.fails(
        "P1",
        &["S", "E"],
        "`applied` in the pipeline of its invalidations",
        Config { failures: 1, applied_after_replies: false, keys: 2, touches: [3, 3, 3, 3], ..base() },
    );
    table.done();
}

#[test]
fn generations() {
    let mut table = Table::new();
    let gap = || Config { gaps: 1, ..base() };
    table.holds("G1", "gap", Config { commits: 2, ..gap() });
    table.holds("G7b", "the meta is evicted", Config { meta_evictions: 1, loads: 1, ..base() });
    table.holds("G9", "gap and failover", Config { failover: true, loads: 1, ..gap() });
    table.fails(
        "G3",
        &["S", "E"],
        "a new generation first, the head noted after",
        Config { head_first: false, replica: true, gate_on_replica: true, ..gap() },
    );
    table.fails("G4", &["S", "E"], "the head is not waited for", Config { head_at_gate: false, ..gap() });
    table.fails(
        "G6",
        &["S", "E"],
        "a fill carries the generation of its end",
        Config { generation_of_lease: false, ..gap() },
    );
    table.fails(
        "G7",
        &["S", "E"],
        "a generation that was used before",
        Config { meta_evictions: 1, new_generations: false, loads: 2, ..base() },
    );
    table.done();
}

#[test]
fn proofs_by_time() {
    let mut table = Table::new();
    let timed = || Config { time: 2, loads: 1, ..base() };
    table.holds("B1", "the clock before the source's end was asked for", timed());
    table.holds("B6", "the same with a fence and a replica", Config { time: 2, loads: 1, ..Config::fenced() });
    table.holds("B7", "the same with a failover", Config { failover: true, ..timed() });
    table.holds("B8", "the same with a gap", Config { gaps: 1, ..timed() });
    table.fails("B2", &["B"], "the clock when the end was known", Config { asked_before: false, ..timed() });
    table.fails("B4", &["B"], "the clock at the fill", Config { load_times: LoadTimes::AtFill, ..timed() });
    table.fails(
        "B5",
        &["B"],
        "the clock before the SELECT on a replica",
        Config { load_times: LoadTimes::OfReplica, time: 2, loads: 1, ..Config::fenced() },
    );
    table.done();
}
