//! Log files that a real server wrote, and the transactions they decode to, line by line.
//!
//! The server wrote `data/<case>.binlog` for the statements in `data/<case>.sql`; `data/<case>.expected` are the decoded
//! transactions. `CACHEFRONT_BLESS=1` rewrites the expectations: review the difference before you commit it.

mod damage;
mod debezium;
mod print;

use std::path::{Path, PathBuf};

use cachefront_binlog::BinlogFile;

pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/data").join(name)
}

pub(crate) fn file(case: &str) -> Vec<u8> {
    std::fs::read(path(&format!("{case}.binlog"))).expect("the log file")
}

fn check(case: &str) {
    let bytes = file(case);
    let file = BinlogFile::new(&bytes).expect("a log file");
    let tables = file.tables().expect("its tables");
    let mut printed = String::new();
    for transaction in file.transactions(&tables) {
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
            check($case);
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
}
