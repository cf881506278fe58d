//! Damaged files: each is read or refused with a reason; none panics, hangs or loses changes in silence.

use cachefront_binlog::BinlogFile;
use cachefront_core::ErrorKind;
use cachefront_core::event::Transaction;
use cachefront_core::source::TableFilter;

use crate::file;

const CASES: [&str; 4] = ["01basic", "02types", "05json_my", "07compress_my"];

/// All of a file's transactions, and how it ended.
fn read(bytes: &[u8], tables: &TableFilter) -> (Vec<Transaction>, Option<ErrorKind>) {
    let Ok(file) = BinlogFile::new(bytes) else { return (Vec::new(), Some(ErrorKind::Corrupt)) };
    let mut transactions = Vec::new();
    for transaction in file.transactions(tables) {
        match transaction {
            Ok(transaction) => transactions.push(transaction),
            Err(error) => return (transactions, Some(error.kind())),
        }
    }
    (transactions, None)
}

#[test]
fn a_file_that_breaks_off_says_so_unless_it_breaks_between_transactions() {
    for case in CASES {
        let bytes = file(case);
        let tables = BinlogFile::new(&bytes).and_then(|file| file.tables()).expect("tables");
        let (whole, _) = read(&bytes, &tables);
        let mut clean = 0;
        for end in 0..bytes.len() {
            let (transactions, error) = read(&bytes[..end], &tables);
            clean += usize::from(error.is_none());
            assert!(transactions.len() <= whole.len(), "{case} cut at {end}");
            assert!(
                matches!(error, None | Some(ErrorKind::Gap | ErrorKind::Corrupt)),
                "{case} cut at {end}: {error:?}"
            );
        }
        // Between transactions, and around the two events that begin a file.
        assert!(clean <= whole.len() + 3, "{case}: {clean} cuts went unnoticed");
    }
}

#[test]
fn a_changed_byte_is_noticed_by_the_checksum() {
    for case in CASES {
        let bytes = file(case);
        let tables = BinlogFile::new(&bytes).and_then(|file| file.tables()).expect("tables");
        for at in 4..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            let (_, error) = read(&damaged, &tables);
            assert_eq!(error, Some(ErrorKind::Gap), "{case}: a damaged byte at {at} went unnoticed");
        }
    }
}
