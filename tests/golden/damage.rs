//! Damaged files: each is read or refused with a reason; none panics, hangs or loses changes in silence.

use std::sync::mpsc;
use std::time::Duration;

use cachefront_binlog::BinlogFile;
use cachefront_core::ErrorKind;
use cachefront_core::event::Transaction;
use cachefront_core::source::TableFilter;

use crate::{file, path};

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
fn a_file_that_breaks_off_in_a_transaction_says_so() {
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

/// Every log file of the golden cases, without checksums: damage in them is not detected by those.
fn unprotected() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path("")).expect("the cases") {
        let name = entry.expect("a file").file_name().into_string().expect("a name");
        if let Some(case) = name.strip_suffix(".binlog") {
            files.push((case.to_owned(), without_checksums(&file(case))));
        }
    }
    assert!(files.len() >= 15, "{}", files.len());
    files.sort();
    files
}

const MAGIC: usize = 4;
const HEADER: usize = 19;
const ROWS: [u8; 6] = [23, 24, 25, 30, 31, 32];
const FORMAT: u8 = 15;

/// Where each event of a file begins, and its type.
fn events(bytes: &[u8]) -> Vec<(std::ops::Range<usize>, u8)> {
    let mut events = Vec::new();
    let mut at = MAGIC;
    while at < bytes.len() {
        let size = u32::from_le_bytes(bytes[at + 9..at + 13].try_into().expect("four bytes")) as usize;
        events.push((at..at + size, bytes[at + 4]));
        at += size;
    }
    events
}

/// The same file as a server with `binlog_checksum=NONE` writes it.
fn without_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut plain = bytes[..MAGIC].to_vec();
    for (range, kind) in events(bytes) {
        let mut event = bytes[range].to_vec();
        if kind == FORMAT {
            // It always has a checksum; the algorithm is before it.
            let algorithm = event.len() - 5;
            event[algorithm] = 0;
        } else {
            resize(&mut event, |size| size - 4);
        }
        plain.extend(event);
    }
    plain
}

/// Changes the size of an event, in its header too.
fn resize(event: &mut Vec<u8>, size: impl Fn(usize) -> usize) {
    let size = size(event.len());
    event.resize(size, 0);
    event[9..13].copy_from_slice(&(size as u32).to_le_bytes());
}

/// A generator of numbers that a seed decides (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        const ODD: [u8; 8] = [0, 1, 0x7f, 0x80, 0xfb, 0xfd, 0xfe, 0xff];
        if self.below(2) == 0 { ODD[self.below(ODD.len())] } else { self.below(256) as u8 }
    }
}

/// Damages one event: some of its bytes, its length, or what follows it.
fn damage(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let events = events(bytes);
    let hit = random.below(events.len());
    let mut damaged = bytes[..MAGIC].to_vec();
    for (index, (range, _)) in events.into_iter().enumerate() {
        let mut event = bytes[range].to_vec();
        if index == hit {
            match random.below(4) {
                0 | 1 => {
                    for _ in 0..=random.below(6) {
                        let at = HEADER.min(event.len() - 1) + random.below(event.len().saturating_sub(HEADER));
                        let at = at.min(event.len() - 1);
                        event[at] = random.byte();
                    }
                }
                2 => {
                    let cut = random.below(event.len() - HEADER + 1);
                    resize(&mut event, |size| size - cut);
                }
                _ => {
                    let more = 1 + random.below(4_000);
                    resize(&mut event, |size| size + more);
                    let known = event.len() - more;
                    let fill = random.byte();
                    event[known..].iter_mut().for_each(|byte| *byte = fill);
                }
            }
        }
        damaged.extend(event);
    }
    damaged
}

/// The most memory that reading a file may take at once. A cell of a row is much larger than the bit of a NULL that it is
/// decoded from.
fn bytes_max(size: usize) -> u64 {
    (4 << 20) + 512 * size as u64
}

/// Reads a damaged file within a time and a size.
fn survives(name: &str, bytes: Vec<u8>, tables: &TableFilter) {
    let limit = bytes_max(bytes.len());
    let (tables, name) = (tables.clone(), name.to_owned());
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let mut error = None;
        let used = allocation_counter::measure(|| error = read(&bytes, &tables).1);
        let _ = done.send((used.bytes_max, error));
    });
    let (used, error) = ended.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("{name} does not end"));
    assert!(used <= limit, "{name}: {used} bytes, at most {limit} are expected");
    assert!(matches!(error, None | Some(ErrorKind::Gap | ErrorKind::Corrupt | ErrorKind::Config)), "{name}: {error:?}");
}

#[test]
fn damage_that_no_checksum_detects_ends_in_bounded_time_and_memory() {
    for (case, bytes) in unprotected() {
        let tables = BinlogFile::new(&bytes).and_then(|file| file.tables()).expect("tables");
        let (_, error) = read(&bytes, &tables);
        assert!(matches!(error, None | Some(ErrorKind::Gap)), "{case} without checksums: {error:?}");
        for seed in 1..=150_u64 {
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            survives(&format!("{case}, seed {seed}"), damage(&bytes, &mut random), &tables);
        }
    }
}

#[test]
fn a_rows_event_without_columns_that_has_bytes_is_a_gap() {
    for (case, bytes) in unprotected() {
        let tables = BinlogFile::new(&bytes).and_then(|file| file.tables()).expect("tables");
        for (range, kind) in events(&bytes).into_iter().filter(|(_, kind)| ROWS.contains(kind)) {
            let mut event = bytes[range.clone()].to_vec();
            resize(&mut event, |size| size + 64);
            // Everything after the number of columns: the bitmaps, and images of zeros.
            let columns = HEADER + 8 + if kind >= 30 { 2 } else { 0 };
            event[columns + 1..].fill(0);
            let damaged = [&bytes[..range.start], &event, &bytes[range.end..]].concat();
            survives(&format!("{case} at {}", range.start), damaged.clone(), &tables);
            let (_, error) = read(&damaged, &tables);
            assert_eq!(error, Some(ErrorKind::Gap), "{case} at {}", range.start);
        }
    }
}
