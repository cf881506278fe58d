//! Log files that a real server wrote, and the transactions they decode to, line by line.
//!
//! The server wrote `data/<case>.binlog` for the statements in `data/<case>.sql`; `data/<case>.expected` are the decoded
//! transactions. `CACHEFRONT_BLESS=1` rewrites the expectations: review the difference before you commit it.

mod allocations;
mod damage;
mod debezium;
mod fuzzed;
mod print;
mod second;

use std::path::{Path, PathBuf};

use cachefront_binlog::BinlogFile;
use cachefront_core::source::{Columns, TableFilter};

pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/data").join(name)
}

pub(crate) fn file(case: &str) -> Vec<u8> {
    std::fs::read(path(&format!("{case}.binlog"))).expect("the log file")
}

/// Checks a case with all tables of its file.
fn check_all(case: &str) {
    let bytes = file(case);
    check(case, &BinlogFile::new(&bytes).and_then(|file| file.tables()).expect("its tables"));
}

/// Checks a case with these tables, as a mapping names them.
fn check_mapped(case: &str, tables: &[(&str, &str)], columns: &Columns) {
    let mut filter = TableFilter::new();
    for &table in tables {
        filter.add(table.into(), columns);
    }
    check(case, &filter);
}

fn check(case: &str, tables: &TableFilter) {
    let bytes = file(case);
    let file = BinlogFile::new(&bytes).expect("a log file");
    let mut printed = String::new();
    for transaction in file.transactions(tables) {
        printed.push_str(&print::transaction(transaction));
    }
    let expected = path(&format!("{case}.expected"));
    if std::env::var_os("CACHEFRONT_BLESS").is_some() {
        std::fs::write(&expected, &printed).expect("the expectation is written");
    }
    let expected = std::fs::read_to_string(&expected).expect("the expectation");
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected.lines().collect::<Vec<_>>(), "{case}");
}

macro_rules! cases {
    ($($name:ident: $case:literal;)*) => {$(
        #[test]
        fn $name() {
            check_all($case);
        }
    )*};
}

/// Cases with tables as mappings name them; only these columns are read, or all of them.
macro_rules! mapped {
    ($($name:ident: $case:literal, [$($column:literal),*], [$($table:expr),*];)*) => {$(
        #[test]
        fn $name() {
            let columns: &[&str] = &[$($column),*];
            let columns = match columns {
                [] => Columns::All,
                names => Columns::Only(names.iter().map(|&name| name.into()).collect()),
            };
            check_mapped($case, &[$($table),*], &columns);
        }
    )*};
}

cases! {
    a_new_schema: "00setup";
    every_statement_that_changes_rows: "01basic";
    every_type: "02types";
    images_that_lack_columns: "04minimal";
    json_whole_and_as_a_difference: "05json_my";
    compressed_transactions: "07compress_my";
    tagged_and_untagged_gtids: "08tagged_my";
    rows_changed_by_statements: "12stmt";
    text_and_labels_of_many_character_sets: "21character_sets";
    rows_of_mariadb: "23mariadb_rows";
    types_of_mariadb: "24mariadb_types";
    compressed_events_of_mariadb: "25mariadb_compressed";
    every_form_of_a_transaction_of_mariadb: "26mariadb_transactions";
    columns_that_only_mariadb_has: "27mariadb_columns";
    transactions_without_gtids: "28without_gtids";
}

mapped! {
    rows_of_which_the_log_has_no_column: "13minimal_defaults", ["id"],
        [("shop", "users"), ("shop", "nokey"), ("shop", "minted")];
    statements_of_a_client_in_latin1: "14client_latin1", ["id"], [("shop", "café"), ("shop", "né"), ("dé", "t")];
    statements_of_a_client_in_gbk: "15client_gbk", ["id"],
        [("shop", "表誠"), ("shop", "誠"), ("功", "t"), ("shop", "plain")];
    statements_of_a_client_in_sjis: "16client_sjis", ["id"],
        [("shop", "表"), ("shop", "ソ能"), ("ソ", "t"), ("shop", "plain")];
    statements_of_a_client_in_cp1251: "17client_cp1251", ["id"], [("shop", "Жук"), ("shop", "ёж"), ("Ж", "t")];
    statements_of_a_client_in_big5: "18client_big5", ["id"],
        [("shop", "功許"), ("shop", "許"), ("功", "t"), ("shop", "plain")];
    quotes_and_backslashes_of_sql_modes: "19sql_modes", [],
        [("shop", "us\\ers"), ("shop", "users"), ("shop", "gone"), ("shop", "people"), ("shop", "plain")];
    names_that_have_a_dot: "20dotted_names", [], [("shop.example.org", "users"), ("shop", "example.org.users")];
    names_in_another_case: "22folded_names", [], [("Shop", "Users"), ("Shop", "Übersicht")];
}
