//! Log files, decoded by the same code as the stream: for tools, and for tests without a server.
//!
//! A file begins with the four bytes `FE 62 69 6E`, or `FD 62 69 6E` if it is encrypted, and is a
//! sequence of events from there on. The first event is the format description, which says whether
//! events have checksums. A file that is still being written may end within an event or a
//! transaction; that is reported as an error after the last complete transaction.
//!
//! Manual: `mysqlbinlog`, <https://dev.mysql.com/doc/refman/8.4/en/mysqlbinlog.html>.

use std::io::Read;
use std::iter::FusedIterator;

use cachefront_core::event::{Transaction, TransitTimes};
use cachefront_core::source::{Columns, TableFilter};
use cachefront_core::{Error, ErrorKind, Gtid, Result};
use mysql_async::binlog::events::{Event, FormatDescriptionEvent, TransactionPayloadEvent};
use mysql_async::binlog::{BinlogChecksumAlg, BinlogVersion, TransactionPayloadCompressionType};

use crate::assemble::{Assembler, Step};
use crate::config::RowDecoder;
use crate::cursor::Cursor;
use crate::error::{as_gap, gap};
use crate::event::{self, kind};
use crate::mariadb::event::kind as mariadb;
use crate::stream::verified;

/// The first bytes of a plain file.
const MAGIC: &[u8] = b"\xfebin";
/// The beginning of an encrypted file.
const ENCRYPTED: &[u8] = b"\xfdbin";
/// Size of the header of an event.
const HEADER_BYTES: usize = 19;

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
            if event.header().event_type_raw() == kind::TABLE_MAP {
                let name = event::table_map(event.data()).and_then(|map| map.name());
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
            let begins = matches!(
                event.header().event_type_raw(),
                kind::GTID | kind::GTID_TAGGED | kind::ANONYMOUS_GTID | mariadb::GTID
            );
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
///
/// Memory is bounded by the largest compressed transaction.
struct Events<'a> {
    rest: &'a [u8],
    format: FormatDescriptionEvent<'static>,
    /// The decompressed events of a transaction.
    unpacked: Vec<u8>,
    unpacked_at: usize,
}

impl<'a> Events<'a> {
    fn new(rest: &'a [u8]) -> Self {
        let format = FormatDescriptionEvent::new(BinlogVersion::Version4);
        Self { rest, format, unpacked: Vec::new(), unpacked_at: 0 }
    }

    fn next(&mut self) -> Result<Option<Event>> {
        if let Some(inside) = self.unpacked.get(self.unpacked_at..).filter(|inside| !inside.is_empty()) {
            let (event, size) = read_inside(inside, &self.format)?;
            self.unpacked_at += size;
            return Ok(Some(event));
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (bytes, rest) = split(self.rest)?;
        self.rest = rest;
        let event = verified(read(bytes, &self.format)?)?;
        match event.header().event_type_raw() {
            kind::FORMAT_DESCRIPTION => {
                let format: FormatDescriptionEvent<'_> = event.read_event().map_err(malformed)?;
                self.format = format.into_owned().with_footer(event.footer());
            }
            mariadb::START_ENCRYPTION => {
                return Err(gap("the file is encrypted (encrypt_binlog): follow the server, which decrypts it"));
            }
            kind::TRANSACTION_PAYLOAD => {
                self.unpacked = unpack(event.data()).map_err(|e| as_gap("a compressed transaction", e))?;
                self.unpacked_at = 0;
            }
            _ => {}
        }
        Ok(Some(event))
    }
}

/// Splits off the bytes of one event, by the size in its header.
///
/// # Errors
/// `Gap` if fewer bytes are left than the header declares.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let mut cursor = Cursor::new(bytes);
    let size = cursor.skip(9).and_then(|()| cursor.u32()).map_err(|_| truncated())? as usize;
    if size < HEADER_BYTES {
        return Err(gap("an event of the file is declared shorter than its own header"));
    }
    bytes.split_at_checked(size).ok_or_else(truncated)
}

/// Parses one event. The driver's parser panics on an event that is too short, so sizes are checked first.
///
/// # Errors
/// `Gap` if the event is too short, or has an unknown checksum algorithm.
fn read(bytes: &[u8], format: &FormatDescriptionEvent<'static>) -> Result<Event> {
    let is_format = bytes.get(4) == Some(&kind::FORMAT_DESCRIPTION);
    // The smallest format event has version, server, time and header length, then algorithm and checksum.
    let tail = if is_format { 57 + 5 } else { 4 };
    let footer = format.footer();
    let has_checksum = is_format
        || footer.get_checksum_enabled()
            && footer.get_checksum_alg() == Ok(Some(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32));
    if has_checksum && bytes.len() < HEADER_BYTES + tail {
        return Err(gap("an event of the file is too short for its checksum"));
    }
    if footer.get_checksum_alg().is_err() {
        return Err(gap("the file has an unknown checksum algorithm"));
    }
    Event::read(format, bytes).map_err(malformed)
}

/// Parses an event of a compressed transaction, which has no checksum.
fn read_inside(bytes: &[u8], format: &FormatDescriptionEvent<'static>) -> Result<(Event, usize)> {
    let (event, _) = split(bytes)?;
    let mut footer = format.footer();
    footer.set_checksum_enabled(false);
    let size = event.len();
    Ok((read(event, &format.clone().with_footer(footer))?, size))
}

/// Decompresses the events of a compressed transaction.
///
/// # Errors
/// `Corrupt` if the sizes in the event do not match, or the data is no zstd frame.
fn unpack(body: &[u8]) -> Result<Vec<u8>> {
    let payload = event::payload(body)?;
    let algorithm = match payload.algorithm {
        0 => TransactionPayloadCompressionType::ZSTD,
        _ => TransactionPayloadCompressionType::NONE,
    };
    let packed =
        TransactionPayloadEvent::new(payload.packed.len() as u64, algorithm, payload.unpacked_size, payload.packed);
    let mut unpacked = Vec::new();
    let read = packed
        .decompressed()
        // One byte more than declared, so that an excess is detected and a decompression bomb is bounded.
        .and_then(|reader| reader.take(payload.unpacked_size.saturating_add(1)).read_to_end(&mut unpacked))
        .map_err(|cause| Error::with_source(ErrorKind::Corrupt, "it cannot be decompressed", cause))?;
    if read as u64 != payload.unpacked_size {
        return Err(Error::new(ErrorKind::Corrupt, "it does not decompress to its declared size"));
    }
    Ok(unpacked)
}

/// The error of a file that was cut off or is still being written.
fn truncated() -> Error {
    gap("the file ends within an event")
}

/// The error of an event that the driver does not parse.
fn malformed(cause: std::io::Error) -> Error {
    Error::with_source(ErrorKind::Gap, "an event of the file cannot be decoded", cause)
}
