//! Configurations of parts of the protocol, each as a small machine of its own.

use cachefront_model::bus::Bus;
use cachefront_model::joiners::Joiners;
use cachefront_model::modes::Modes;
use cachefront_model::primary::Primary;
use cachefront_model::relayed::Relayed;
use cachefront_model::releases::Releases;
use cachefront_model::shards::Shards;
use cachefront_model::transactions::Transactions;

use crate::Table;

#[test]
fn the_process_local_tier() {
    let mut table = Table::new();
    let bus = Bus::default;
    table.holds("L1", "the bus after the store, the count before the value", bus());
    table.holds("L5", "a lost message: off, head, cleared, on", Bus { losses: 1, ..bus() });
    table.holds("L8", "failover: another server is doubt", Bus { failover: true, ..bus() });
    table.holds("LZ", "failover and a lost message", Bus { failover: true, losses: 1, ..bus() });
    table.fails("L2", &["E", "S"], "the bus before the store", Bus { after_store: false, ..bus() });
    table.fails("L3", &["E", "S"], "the count after the value", Bus { ticket_first: false, ..bus() });
    table.fails("L4", &["S"], "a hit is proven by the store's `applied`", Bus { proven_by_bus: false, ..bus() });
    table.fails(
        "L6",
        &["E", "S"],
        "cleared, then resumed at the head",
        Bus { losses: 1, off_in_doubt: false, ..bus() },
    );
    table.fails(
        "L7",
        &["E", "S"],
        "failover: the sequence goes on",
        Bus { failover: true, server_is_doubt: false, ..bus() },
    );
    table.done();
}

#[test]
fn another_primary() {
    let mut table = Table::new();
    table.holds("D1", "a new generation, the loader's server is checked", Primary::default());
    table.fails("D2", &["E"], "the generation stays", Primary { new_generation: false, ..Primary::default() });
    table.fails("D3", &["E"], "a fill from the former primary", Primary { names_server: false, ..Primary::default() });
    table.fails("D4", &["F"], "the high watermark is kept", Primary { replaces_high: false, ..Primary::default() });
    table.done();
}

#[test]
fn changes_of_mode() {
    let mut table = Table::new();
    table.holds("N1", "a flush, and entries of TTL mode are misses", Modes::default());
    table.fails("N2", &["E"], "no flush", Modes { flushes: false, ..Modes::default() });
    table.fails("N3", &["E"], "entries of TTL mode are served", Modes { own_entries: false, ..Modes::default() });
    let failover = || Modes { failover: true, ..Modes::default() };
    table.holds("N4", "under a failover of the store", failover());
    table.fails("N5", &["E"], "failover: a session goes on from memory", Modes { resumes: false, ..failover() });
    table.fails("N6", &["E"], "failover: no flush", Modes { flushes: false, ..failover() });
    table.done();
}

#[test]
fn transactions_over_partitions() {
    let mut table = Table::new();
    table.holds("Q1", "distinct events, complete transactions", Transactions::default());
    table.fails("Q2", &["S"], "repeated events count", Transactions { distinct: false, ..Transactions::default() });
    table.fails("Q3", &["S"], "the newest event counts", Transactions { complete: false, ..Transactions::default() });
    table.done();
}

#[test]
fn shards_with_a_process_local_tier() {
    let mut table = Table::new();
    let shards = Shards::default;
    table.holds("X1", "no failover", Shards { failovers: [false; 2], ..shards() });
    table.holds("X2", "the bus's shard fails over", Shards { failovers: [true, false], ..shards() });
    table.holds("X3", "the other shard fails over", Shards { failovers: [false, true], ..shards() });
    table.holds("X4", "both shards fail over", shards());
    table.fails("X5", &["E", "S"], "the greatest position of the shards", Shards { least: false, ..shards() });
    table.fails(
        "X6",
        &["E", "S"],
        "the identity of the bus's server only",
        Shards { of_all: false, failovers: [false, true], ..shards() },
    );
    table.fails("X7", &["E", "S"], "values of other servers are kept", Shards { one_server: false, ..shards() });
    table.fails("X8", &["E", "S"], "a session outlives a failover", Shards { one_connection: false, ..shards() });
    table.fails(
        "X9",
        &["E", "S"],
        "a count that was read in doubt stays valid",
        Shards { counts_doubt: false, failovers: [false, true], ..shards() },
    );
    table.done();
}

#[test]
fn readers_that_join_a_load() {
    let mut table = Table::new();
    let joiners = Joiners::default;
    table.holds("J1", "a refused value is the leader's, no reader joins after the fill", joiners());
    table.fails("J2", &["E'"], "all take a refused value", Joiners { refused_is_the_leaders: false, ..joiners() });
    table.fails("J3", &["E'"], "readers join after the fill", Joiners { sealed: false, ..joiners() });
    table.fails("J4", &["E'", "E"], "a fill needs no lease", Joiners { lease: false, ..joiners() });
    table.done();
}

#[test]
fn another_primary_behind_kafka() {
    let mut table = Table::new();
    let relayed = Relayed::default;
    table.holds("K1", "a new generation, the loader's server, complete commits", relayed());
    table.fails("K2", &["E", "S"], "the generation stays", Relayed { new_generation: false, ..relayed() });
    table.fails("K3", &["E", "S"], "a fill from the other primary", Relayed { names_server: false, ..relayed() });
    table.fails("K4", &["S"], "the first event of a commit counts", Relayed { complete: false, ..relayed() });
    table.done();
}

#[test]
fn coverage_with_two_releases() {
    let mut table = Table::new();
    let releases = Releases::default;
    table.holds("V1", "rows are dropped, added ones are fresh", releases());
    table.fails("V2", &["S"], "a row that is not mapped stays", Releases { drops: false, ..releases() });
    table.fails("V3", &["S"], "a row comes back with its generation", Releases { fresh: false, ..releases() });
    table.fails("V4", &["S"], "one generation for all caches", Releases { own_row: false, ..releases() });
    table.fails("V5", &["S"], "an added row waits for nothing", Releases { waits: false, ..releases() });
    table.fails("V6", &["S"], "a former holder goes on", Releases { fenced: false, ..releases() });
    table.done();
}
