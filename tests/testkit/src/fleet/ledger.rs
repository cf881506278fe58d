//! When each value of each row was overwritten: a file that all processes of a test share.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use cachefront::{Clock, clock::SystemClock};

/// Values of one row that the file has room for.
const SLOTS: u64 = 1 << 16;

/// For each row and value, when the value was overwritten at the latest, in microseconds of the system's clock.
#[derive(Debug)]
pub struct Ledger(File);

/// The system's clock in microseconds, the same in all processes of this machine.
pub fn now() -> u64 {
    SystemClock::new().now().as_micros()
}

impl Ledger {
    /// Opens the file, and makes it if there is none.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        File::options().read(true).write(true).create(true).truncate(false).open(path).map(Self)
    }

    /// When `value` of the row was overwritten; `None` if that is not known.
    ///
    /// # Panics
    /// If the file cannot be read.
    pub fn overwritten(&self, id: u64, value: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        match self.0.read_at(&mut bytes, offset(id, value)).expect("the ledger can be read") {
            8 => Some(u64::from_le_bytes(bytes)).filter(|at| *at > 0),
            _ => None,
        }
    }

    /// Notes it.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn note(&self, id: u64, value: u64, overwritten: Option<u64>) {
        let bytes = overwritten.unwrap_or(0).to_le_bytes();
        self.0.write_all_at(&bytes, offset(id, value)).expect("the ledger can be written");
    }
}

fn offset(id: u64, value: u64) -> u64 {
    assert!(value < SLOTS, "the ledger has no room for value {value}");
    (id * SLOTS + value) * 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_handle_notes_another_one_reads() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let (writer, reader) = (Ledger::open(file.path()).expect("open"), Ledger::open(file.path()).expect("open"));
        assert_eq!(reader.overwritten(3, 7), None);
        writer.note(3, 7, Some(42));
        assert_eq!(
            (reader.overwritten(3, 7), reader.overwritten(3, 6), reader.overwritten(3, 8)),
            (Some(42), None, None)
        );
        writer.note(3, 7, None);
        assert_eq!(reader.overwritten(3, 7), None);
    }
}
