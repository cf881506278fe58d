//! Log files, decoded by the same code as the stream: for tools, and for tests without a server.
//!
//! A file begins with the four bytes `FE 62 69 6E`, or `FD 62 69 6E` if it is encrypted, and is a
//! sequence of events from there on. The first event is the format description, which says whether
//! events have checksums. A file that is still being written may end within an event or a
//! transaction; that is reported as an error after the last complete transaction.
//!
//! Manual: `mysqlbinlog`, <https://dev.mysql.com/doc/refman/8.4/en/mysqlbinlog.html>.

use std::iter::FusedIterator;

use bytes::Bytes;
use cachefront_core::event::{Transaction, TransitTimes};
use cachefront_core::source::{Columns, TableFilter};
use cachefront_core::{Error, ErrorKind, Gtid, Result};

use crate::assemble::{Assembler, Step};
use crate::config::{BinlogSettings, RowDecoder};
use crate::error::{as_gap, gap};
use crate::event::{self, HEADER_BYTES, kind};
use crate::events::{Event, EventReader, Header};
use crate::mariadb::event::kind as mariadb;

/// The first bytes of a plain file.
const MAGIC: &[u8] = b"\xfebin";
/// The beginning of an encrypted file.
const ENCRYPTED: &[u8] = b"\xfdbin";

/// A file of MySQL's binary log, in memory.
///
/// ```no_run
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use cachefront::binlog::BinlogFile;
///
/// let bytes = std::fs::read("binlog.000042")?;
/// let file = BinlogFile::new(&bytes)?;
/// for transaction in file.transactions(&file.tables()?) {
///     println!("{:?}", transaction?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// Cloning is cheap: it refers to the bytes.
#[derive(Clone, Copy)]
pub struct BinlogFile<'a> {
    events: &'a [u8],
    decoder: RowDecoder,
}

impl std::fmt::Debug for BinlogFile<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BinlogFile").field("bytes", &self.events.len()).finish()
    }
}

impl<'a> BinlogFile<'a> {
    /// Wraps the contents of a file.
    ///
    /// # Errors
    /// `Corrupt` if it is not a binary log.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        match bytes.strip_prefix(MAGIC) {
            Some(events) => Ok(Self { events, decoder: RowDecoder::Own }),
            None if bytes.starts_with(ENCRYPTED) => Err(Error::new(
                ErrorKind::Corrupt,
                "this binary log is encrypted (binlog_encryption): follow the server, which decrypts it",
            )),
            None => Err(Error::new(
                ErrorKind::Corrupt,
                "this is not a binary log of MySQL: it does not begin with FE 62 69 6E",
            )),
        }
    }

    /// Sets the decoder of rows. Default: [`RowDecoder::Own`].
    #[must_use]
    pub fn row_decoder(self, decoder: RowDecoder) -> Self {
        Self { decoder, ..self }
    }

    /// Returns a filter with every table that the file has rows of, with all columns.
    ///
    /// # Errors
    /// `Gap` if the file is damaged.
    pub fn tables(&self) -> Result<TableFilter> {
        let mut filter = TableFilter::new();
        let mut events = Events::new(self.events);
        while let Some(event) = events.next()? {
            if event.header.kind == kind::TABLE_MAP {
                let name = event::table_map(&event.body).and_then(|map| map.name());
                filter.add(name.map_err(|e| as_gap("a table map", e))?, &Columns::All);
            }
        }
        Ok(filter)
    }

    /// Iterates over the file's transactions in order, including those without a change that the filter selects. Columns
    /// that the log does not name are called `@1`, `@2` and so on. Transactions without a GTID have the origin `anonymous`, and
    /// as number the place in the file where their first event ends.
    ///
    /// The iterator ends after an error (`Gap`: the file is damaged, or a part of it cannot be followed exactly).
    pub fn transactions(&self, filter: &TableFilter) -> Transactions<'a> {
        let mut assembler = Assembler::for_files(filter.clone());
        assembler.decode_rows_by(self.decoder);
        Transactions {
            events: Events::new(self.events),
            assembler,
            ready: Vec::new(),
            ended: false,
            resumes: false,
            skipping: false,
            refused: None,
        }
    }

    /// As [`transactions`](BinlogFile::transactions), for tools that print a file: the iterator continues after a
    /// transaction that cannot be followed exactly (a statement instead of rows, a difference of JSON documents). It ends
    /// at damage.
    pub fn inspect(&self, filter: &TableFilter) -> Transactions<'a> {
        Transactions { resumes: true, ..self.transactions(filter) }
    }
}

/// The transactions of a [`BinlogFile`].
///
/// After a transaction that was refused, [`Transactions::refused`] names it; with
/// [`BinlogFile::inspect`] the iteration goes on behind it.
pub struct Transactions<'a> {
    events: Events<'a>,
    assembler: Assembler,
    ready: Vec<crate::queue::Piece>,
    ended: bool,
    /// Continues after a transaction that cannot be followed.
    resumes: bool,
    /// Skips events until the next transaction begins.
    skipping: bool,
    refused: Option<Gtid>,
}

impl std::fmt::Debug for Transactions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transactions").field("bytes_left", &self.events.rest.len()).finish_non_exhaustive()
    }
}

impl Transactions<'_> {
    /// Returns the transaction that caused the last error. `None` if the error was not about a transaction.
    pub fn refused(&self) -> Option<&Gtid> {
        self.refused.as_ref()
    }

    /// Returns the next transaction. `None` at the end of the file.
    ///
    /// # Errors
    /// `Gap` if an event is damaged, or cannot be followed exactly.
    fn advance(&mut self) -> Result<Option<Transaction>> {
        loop {
            // An event ends at most one transaction, and transactions are not split.
            if let Some(piece) = self.ready.pop() {
                let crate::queue::Piece { gtid, committed_at, changes, complete, .. } = piece;
                return Ok(Some(Transaction {
                    gtid,
                    committed_at,
                    transit: TransitTimes::default(),
                    changes,
                    complete,
                }));
            }
            let event = self.events.next().inspect_err(|_| self.skipping = false)?;
            let Some(event) = event else {
                self.skipping = false;
                return match self.assembler.open_transaction() {
                    Some(gtid) => Err(gap(format!("the file ends within transaction {gtid}"))),
                    None => Ok(None),
                };
            };
            let begins =
                matches!(event.header.kind, kind::GTID | kind::GTID_TAGGED | kind::ANONYMOUS_GTID | mariadb::GTID);
            if self.skipping && !begins {
                continue;
            }
            self.skipping = false;
            self.take(&event).inspect_err(|_| self.skipping = self.resumes)?;
        }
    }

    /// Passes one event to the assembler.
    fn take(&mut self, event: &Event) -> Result<()> {
        match self.assembler.event(event, &mut self.ready)? {
            Step::Done => Ok(()),
            Step::NeedsColumns(table) => Err(gap(format!("the columns of `{table}` have no names"))),
        }
    }
}

impl Iterator for Transactions<'_> {
    type Item = Result<Transaction>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.advance().transpose();
        if matches!(next, Some(Err(_))) {
            self.refused = self.assembler.abandon();
        }
        self.ended = !self.skipping && !matches!(next, Some(Ok(_)));
        next
    }
}

impl FusedIterator for Transactions<'_> {}

/// The events of a file. A compressed transaction is followed by its decompressed events.
struct Events<'a> {
    rest: &'a [u8],
    reader: EventReader,
}

impl<'a> Events<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { rest, reader: EventReader::new(BinlogSettings::default().event_bytes_max) }
    }

    fn next(&mut self) -> Result<Option<Event>> {
        if let Some(event) = self.reader.inside()? {
            return Ok(Some(event));
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (bytes, rest) = split(self.rest)?;
        self.rest = rest;
        let event = self.reader.read(Bytes::copy_from_slice(bytes))?;
        if event.header.kind == mariadb::START_ENCRYPTION {
            return Err(gap("the file is encrypted (encrypt_binlog): follow the server, which decrypts it"));
        }
        Ok(Some(event))
    }
}

/// Splits off the bytes of one event, by the size in its header.
///
/// # Errors
/// `Gap` if fewer bytes are left than the header declares.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let size = Header::read(bytes).map_err(|_| truncated())?.size as usize;
    if size < HEADER_BYTES {
        return Err(gap("an event of the file is declared shorter than its own header"));
    }
    bytes.split_at_checked(size).ok_or_else(truncated)
}

/// The error of a file that was cut off or is still being written.
fn truncated() -> Error {
    gap("the file ends within an event")
}
