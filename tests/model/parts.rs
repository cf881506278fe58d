//! Configurations of parts of the protocol, each as a small machine of its own.

use cachefront_model::bus::Bus;
use cachefront_model::modes::Modes;
use cachefront_model::primary::Primary;
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
