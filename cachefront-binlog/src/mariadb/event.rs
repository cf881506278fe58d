//! Events that only MariaDB logs: its GTIDs, and events with compressed contents (`log_bin_compress`).
//!
//! The layouts are those of <https://mariadb.com/kb/en/replication-protocol/>.
//!
//! # The GTID event
//!
//! | bytes | field |
//! |---:|---|
//! | 8 | sequence number |
//! | 4 | domain |
//! | 1 | flags: 1 standalone, 2 with a group commit id, 4 transactional, 64 prepared by XA |
//! | 8 or 6 | group commit id, or padding; not read |
//!
//! # Compressed contents
//! A compressed event has the head of the plain one, then a byte whose upper half is 8 and whose
//! lower three bits are the size of the length, then the length, big-endian, and a zlib stream.

use std::io::Read;

use cachefront_core::{Error, ErrorKind, Gtid, Result};
use flate2::read::ZlibDecoder;

use crate::cursor::Cursor;
use crate::event::kind as mysql;
use crate::mariadb::position;

/// The types of events.
pub(crate) mod kind {
    /// The text of the statement that the rows are of.
    pub(crate) const ANNOTATE_ROWS: u8 = 160;
    /// The oldest file that crash recovery needs.
    pub(crate) const BINLOG_CHECKPOINT: u8 = 161;
    /// The identity of the transaction that follows, and how it ends.
    pub(crate) const GTID: u8 = 162;
    /// The last transactions of all earlier files.
    pub(crate) const GTID_LIST: u8 = 163;
    /// In a file only: all that follows is encrypted.
    pub(crate) const START_ENCRYPTION: u8 = 164;
    /// A statement whose text is compressed.
    pub(crate) const QUERY_COMPRESSED: u8 = 165;
    /// Rows whose images are compressed; UPDATE is the number in between.
    pub(crate) const WRITE_ROWS_COMPRESSED_V1: u8 = 166;
    pub(crate) const DELETE_ROWS_COMPRESSED_V1: u8 = 168;
    pub(crate) const WRITE_ROWS_COMPRESSED: u8 = 169;
    pub(crate) const DELETE_ROWS_COMPRESSED: u8 = 171;
}

/// The transaction is one statement without a beginning and an end.
const FL_STANDALONE: u8 = 1;
/// The transaction is prepared by XA.
const FL_PREPARED_XA: u8 = 64;

/// The beginning of a transaction.
#[derive(Debug, PartialEq)]
pub(crate) struct Begin {
    pub(crate) gtid: Gtid,
    /// One statement, which commits by itself.
    pub(crate) is_standalone: bool,
    pub(crate) is_xa: bool,
}

/// Decodes a GTID event: 8 bytes sequence, 4 bytes domain, 1 byte flags. The server is that of the event's header.
///
/// # Errors
/// `Corrupt` if it cannot be decoded.
pub(crate) fn gtid(body: &[u8], server: u32) -> Result<Begin> {
    let mut cursor = Cursor::new(body);
    let (number, domain, flags) = (cursor.u64()?, cursor.u32()?, cursor.u8()?);
    if number == 0 || number > i64::MAX as u64 - 1 {
        return Err(Error::new(ErrorKind::Corrupt, "a GTID event has no transaction number"));
    }
    let gtid = Gtid { origin: position::origin(domain, server), number };
    Ok(Begin { gtid, is_standalone: flags & FL_STANDALONE != 0, is_xa: flags & FL_PREPARED_XA != 0 })
}

/// Returns true for the types of events whose row images are compressed. The table id is not.
pub(crate) fn has_compressed_rows(event_kind: u8) -> bool {
    (kind::WRITE_ROWS_COMPRESSED_V1..=kind::DELETE_ROWS_COMPRESSED).contains(&event_kind)
}

/// Returns the type and body of the event that a compressed one stands for. `None` if the type is not a compressed one.
///
/// # Errors
/// `Corrupt` if it cannot be decompressed; `Config` if it has more than `bytes_max` bytes.
pub(crate) fn uncompressed(event_kind: u8, body: &[u8], bytes_max: usize) -> Result<Option<(u8, Vec<u8>)>> {
    let (plain, head) = match event_kind {
        kind::QUERY_COMPRESSED => (mysql::QUERY, query_head(body)?),
        kind::WRITE_ROWS_COMPRESSED_V1..=kind::DELETE_ROWS_COMPRESSED_V1 => {
            let plain = event_kind - kind::WRITE_ROWS_COMPRESSED_V1 + mysql::WRITE_ROWS_V1;
            (plain, rows_head(plain, body)?)
        }
        kind::WRITE_ROWS_COMPRESSED..=kind::DELETE_ROWS_COMPRESSED => {
            let plain = event_kind - kind::WRITE_ROWS_COMPRESSED + mysql::WRITE_ROWS;
            (plain, rows_head(plain, body)?)
        }
        _ => return Ok(None),
    };
    let mut cursor = Cursor::new(body);
    let mut whole = cursor.take(head)?.to_vec();
    inflate(cursor.rest(), bytes_max, &mut whole)?;
    Ok(Some((plain, whole)))
}

/// The size of what precedes a compressed statement: its header, status variables, and database with a zero byte.
fn query_head(body: &[u8]) -> Result<usize> {
    let mut cursor = Cursor::new(body);
    cursor.skip(8)?;
    let database = usize::from(cursor.u8()?);
    cursor.skip(2)?;
    let variables = usize::from(cursor.u16()?);
    Ok(13 + variables + database + 1)
}

/// The size of what precedes compressed images: the header and the bitmaps.
fn rows_head(plain: u8, body: &[u8]) -> Result<usize> {
    let rows = crate::event::rows(plain, body)?;
    Ok(body.len() - rows.images.len())
}

/// The most that zlib can compress: about a thousand to one.
const RATIO_MAX: usize = 1_040;

/// Decompresses: a byte with the algorithm and the size of the length, the length with the highest byte first, the data.
fn inflate(packed: &[u8], bytes_max: usize, whole: &mut Vec<u8>) -> Result<()> {
    let mut cursor = Cursor::new(packed);
    let mark = cursor.u8()?;
    if mark & 0xf0 != 0x80 {
        return Err(Error::new(ErrorKind::Corrupt, "an event is compressed with an unknown algorithm"));
    }
    let length = usize::try_from(cursor.uint_be(usize::from(mark & 7))?).unwrap_or(usize::MAX);
    let data = cursor.rest();
    let wrong = || Error::new(ErrorKind::Corrupt, "an event does not decompress to its declared size");
    if length > data.len().saturating_mul(RATIO_MAX) {
        return Err(wrong());
    }
    if length > bytes_max.saturating_sub(whole.len()) {
        let text = format!(
            "a compressed event has {length} bytes, and `event_bytes_max` allows {bytes_max} for all of it: raise it"
        );
        return Err(Error::new(ErrorKind::Config, text));
    }
    // One byte more than declared, so that an excess is detected.
    let read = ZlibDecoder::new(data).take(length as u64 + 1).read_to_end(whole);
    let read =
        read.map_err(|cause| Error::with_source(ErrorKind::Corrupt, "an event cannot be decompressed", cause))?;
    if read == length { Ok(()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gtid_event_says_how_its_transaction_ends() {
        let mut body = 110_u64.to_le_bytes().to_vec();
        body.extend(3_u32.to_le_bytes());
        body.extend([FL_STANDALONE, 0, 0]);
        let begin = gtid(&body, 101).expect("a GTID");
        assert_eq!((begin.gtid.to_string().as_str(), begin.is_standalone, begin.is_xa), ("3-101:110", true, false));
        body[12] = 4 | FL_PREPARED_XA;
        assert_eq!(gtid(&body, 101).map(|begin| (begin.is_standalone, begin.is_xa)).expect("a GTID"), (false, true));
        for end in 0..13 {
            assert!(gtid(&body[..end], 101).is_err());
        }
        assert!(gtid(&[0; 13], 101).is_err(), "no number");
    }

    #[test]
    fn compressed_events_are_bounded_by_their_size() {
        let mut out = Vec::new();
        // 5 bytes in a stored block.
        let stored =
            [0x81, 5, 0x78, 0x01, 0x01, 5, 0, 0xfa, 0xff, b'h', b'e', b'l', b'l', b'o', 0x06, 0x2c, 0x02, 0x15];
        inflate(&stored, 5, &mut out).expect("it fits");
        assert_eq!(out, b"hello");
        assert_eq!(inflate(&stored, 5, &mut vec![0]).expect_err("6 bytes").kind(), ErrorKind::Config);
        let mut wrong = stored;
        wrong[1] = 4;
        let is_refused = |packed: &[u8]| {
            inflate(packed, 1 << 30, &mut Vec::new()).is_err_and(|error| error.kind() == ErrorKind::Corrupt)
        };
        assert!(is_refused(&wrong));
        wrong[1] = 6;
        assert!(is_refused(&wrong));
        assert!(is_refused(&[0x84, 0xff, 0xff, 0xff, 0xff, 0x78, 0x01]), "4 GiB of 2 bytes");
        assert!(is_refused(&[0x91, 5, 0]));
        for end in 0..stored.len() {
            let _ = uncompressed(kind::QUERY_COMPRESSED, &stored[..end], 1 << 20);
            let _ = uncompressed(kind::WRITE_ROWS_COMPRESSED, &stored[..end], 1 << 20);
        }
        assert_eq!(uncompressed(kind::GTID, &stored, 1 << 20).expect("not compressed"), None);
    }
}
