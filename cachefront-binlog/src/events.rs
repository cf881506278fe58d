//! From bytes of the log to events, for streams and files alike: sizes and checksums are verified before anything is decoded,
//! and the events of a compressed transaction are decompressed one at a time.
//!
//! # The header
//! Every event begins with 19 bytes, little-endian, and ends with a CRC32 if `binlog_checksum` is on:
//!
//! | offset | bytes | field |
//! |---:|---:|---|
//! | 0 | 4 | time in seconds since 1970 |
//! | 4 | 1 | type, see [`kind`] |
//! | 5 | 4 | `server_id` of the server that wrote the event first |
//! | 9 | 4 | size of the event, header and checksum included |
//! | 13 | 4 | offset in the file at which the event ends |
//! | 17 | 2 | flags |
//!
//! # Checksums
//! The format description says whether the events after it have one. It has one itself, behind a byte with the algorithm (0 is
//! none, 1 is CRC32), and so have all servers from 5.6.1 on. Events within a compressed transaction have none: that of the
//! transaction's event covers them.
//!
//! # Memory
//! No size of the log is allocated before it was compared with what was received or with
//! `event_bytes_max`. Of a compressed transaction one event is decompressed at a
//! time, besides the window of zstd, which zstd itself limits to 128 MiB.

use std::io::{self, BufReader, Read};

use bytes::Bytes;
use cachefront_core::{Error, ErrorKind, Result};
use mysql_async::binlog::BinlogChecksumAlg;
use mysql_async::binlog::events::BinlogEventFooter;

use crate::cursor::Cursor;
use crate::error::{as_gap, gap};
use crate::event::{self, HEADER_BYTES, kind};

/// Size of a checksum.
const CHECKSUM_BYTES: usize = 4;

/// The smallest body of a format description: version, server, time and header length, then algorithm and checksum.
const FORMAT_BYTES_MIN: usize = 57 + 1 + CHECKSUM_BYTES;

/// Set while the server writes the file; it does not count in the checksum.
const FLAG_IN_USE: u8 = 0x01;

/// What precedes the body of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Seconds since 1970.
    pub(crate) time: u32,
    /// See [`kind`].
    pub(crate) kind: u8,
    pub(crate) server_id: u32,
    /// Size of the event in bytes, header and checksum included.
    pub(crate) size: u32,
    /// Offset in the file at which the event ends.
    pub(crate) end: u32,
    pub(crate) flags: u16,
}

impl Header {
    /// # Errors
    /// `Corrupt` if the bytes are fewer than a header has.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(bytes);
        Ok(Self {
            time: cursor.u32()?,
            kind: cursor.u8()?,
            server_id: cursor.u32()?,
            size: cursor.u32()?,
            end: cursor.u32()?,
            flags: cursor.u16()?,
        })
    }
}

/// An event of the log. Cheap to clone: it refers to the bytes that were read.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) header: Header,
    /// What follows the header, without the checksum.
    pub(crate) body: Bytes,
}

/// How events end, as the last format description says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checksum {
    /// Without one, and so does the format description: a server before 5.6.1.
    Unknown,
    Off,
    Crc32,
}

/// Reads the events of one log.
///
/// It does no I/O: [`read`](EventReader::read) gets the bytes of one event after another, and after each of them
/// [`inside`](EventReader::inside) returns the events of a compressed transaction, until there are no more.
#[derive(Debug)]
pub(crate) struct EventReader {
    checksum: Checksum,
    event_bytes_max: usize,
    /// The compressed transaction whose events come next.
    payload: Option<Payload>,
}

impl EventReader {
    pub(crate) fn new(event_bytes_max: usize) -> Self {
        Self { checksum: Checksum::Off, event_bytes_max, payload: None }
    }

    /// Reads an event. After a compressed transaction its events come from [`EventReader::inside`].
    ///
    /// # Errors
    /// `Gap` if it does not have its declared size or its checksum, or cannot be decoded.
    pub(crate) fn read(&mut self, bytes: Bytes) -> Result<Event> {
        let header = Header::read(&bytes).map_err(|e| as_gap("the header of an event", e))?;
        if header.size as usize != bytes.len() {
            let text = format!("an event of the log is declared as {} bytes and has {}", header.size, bytes.len());
            return Err(gap(text));
        }
        let is_format = header.kind == kind::FORMAT_DESCRIPTION;
        if is_format {
            self.checksum = checksum_of(&bytes[HEADER_BYTES..])?;
        }
        let tail = match self.checksum {
            Checksum::Unknown => 0,
            Checksum::Off | Checksum::Crc32 if is_format => 1 + CHECKSUM_BYTES,
            Checksum::Off => 0,
            Checksum::Crc32 => CHECKSUM_BYTES,
        };
        let end = bytes.len().checked_sub(tail).filter(|end| *end >= HEADER_BYTES);
        let end = end.ok_or_else(|| gap("an event of the log is too short for its checksum"))?;
        if self.checksum == Checksum::Crc32 {
            verify(&bytes)?;
        }
        let body = bytes.slice(HEADER_BYTES..end);
        if header.kind == kind::TRANSACTION_PAYLOAD {
            self.payload = Some(Payload::open(&body).map_err(|e| as_gap("a compressed transaction", e))?);
        }
        Ok(Event { header, body })
    }

    /// Returns the next event of the compressed transaction that was read last. `None` after its last one.
    ///
    /// # Errors
    /// `Gap` if it cannot be decompressed, or does not have its declared size; `Config` if it is larger than `event_bytes_max`.
    pub(crate) fn inside(&mut self) -> Result<Option<Event>> {
        let Some(payload) = &mut self.payload else { return Ok(None) };
        let next = payload.next(self.event_bytes_max);
        if !matches!(next, Ok(Some(_))) {
            self.payload = None;
        }
        next.map_err(|e| as_gap("a compressed transaction", e))
    }
}

/// Reads from the body of a format description whether events have checksums.
fn checksum_of(body: &[u8]) -> Result<Checksum> {
    if body.len() < FORMAT_BYTES_MIN {
        return Err(gap("an event of the log is too short for its checksum"));
    }
    let footer = BinlogEventFooter::read(body)
        .map_err(|cause| Error::with_source(ErrorKind::Gap, "the format of the log cannot be decoded", cause))?;
    match footer.get_checksum_alg() {
        Ok(None) => Ok(Checksum::Unknown),
        Ok(Some(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32)) => Ok(Checksum::Crc32),
        Ok(Some(_)) => Ok(Checksum::Off),
        Err(_) => Err(gap("the log has an unknown checksum algorithm")),
    }
}

/// Verifies the checksum of an event, which is its last four bytes: CRC32 over all others, as zlib computes it.
///
/// A server that rotates its log clears [`FLAG_IN_USE`] in the first event without computing the checksum again, so the flag is
/// cleared here too.
///
/// # Errors
/// `Gap` if it does not match.
fn verify(bytes: &[u8]) -> Result<()> {
    let Some((covered, checksum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(gap("an event of the log is too short for its checksum"));
    };
    let mut hasher = crc32fast::Hasher::new();
    match covered.split_at_checked(HEADER_BYTES - 2) {
        Some((head, [flags, rest @ ..])) if flags & FLAG_IN_USE != 0 => {
            hasher.update(head);
            hasher.update(&[flags & !FLAG_IN_USE]);
            hasher.update(rest);
        }
        _ => hasher.update(covered),
    }
    if hasher.finalize() != u32::from_le_bytes(*checksum) {
        return Err(gap("an event of the log does not match its checksum: the log is damaged"));
    }
    Ok(())
}

/// A compressed transaction whose events are being read.
///
/// What it declares is the sum of the sizes of its events. It must be so in both directions: with less, events at the end
/// would be lost, and with more, the transaction was cut.
struct Payload {
    unpacked: Box<dyn Read + Send + Sync>,
    /// The size of all events together, as it is declared.
    declared: u64,
    /// Bytes of it that have not been read.
    left: u64,
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Payload").field("left", &self.left).finish_non_exhaustive()
    }
}

impl Payload {
    /// Begins to decompress the body of a transaction's event.
    fn open(body: &Bytes) -> Result<Self> {
        let payload = event::payload(body)?;
        let packed = io::Cursor::new(body.slice_ref(payload.packed));
        let unpacked: Box<dyn Read + Send + Sync> = match payload.algorithm {
            0 => Box::new(BufReader::new(zstd::stream::read::Decoder::with_buffer(packed).map_err(undecompressed)?)),
            _ => Box::new(packed),
        };
        Ok(Self { unpacked, declared: payload.unpacked_size, left: payload.unpacked_size })
    }

    /// Decompresses the next event. The bytes that are allocated for it never exceed the ones that were decompressed by
    /// more than a factor.
    fn next(&mut self, event_bytes_max: usize) -> Result<Option<Event>> {
        if self.left == 0 {
            return match self.unpacked.read(&mut [0]).map_err(undecompressed)? {
                0 => Ok(None),
                _ => Err(self.wrong_size("more")),
            };
        }
        let mut bytes = Vec::new();
        self.fill(&mut bytes, HEADER_BYTES)?;
        let header = Header::read(&bytes)?;
        let size = header.size as usize;
        if size < HEADER_BYTES || u64::from(header.size) > self.left {
            let text = format!("one of its events is declared as {size} bytes, and {} are left of it", self.left);
            return Err(Error::new(ErrorKind::Corrupt, text));
        }
        if size > event_bytes_max {
            let text = format!(
                "an event of a compressed transaction has {size} bytes, and `event_bytes_max` allows {event_bytes_max}: raise it"
            );
            return Err(Error::new(ErrorKind::Config, text));
        }
        self.fill(&mut bytes, size)?;
        self.left -= size as u64;
        Ok(Some(Event { header, body: Bytes::from(bytes).slice(HEADER_BYTES..) }))
    }

    /// Decompresses until `bytes` has `size` bytes.
    fn fill(&mut self, bytes: &mut Vec<u8>, size: usize) -> Result<()> {
        let missing = (size - bytes.len()) as u64;
        (&mut self.unpacked).take(missing).read_to_end(bytes).map_err(undecompressed)?;
        if bytes.len() == size { Ok(()) } else { Err(self.wrong_size("fewer")) }
    }

    fn wrong_size(&self, than: &str) -> Error {
        let text = format!("it declares {} bytes of events and has {than}", self.declared);
        Error::new(ErrorKind::Corrupt, text)
    }
}

fn undecompressed(cause: io::Error) -> Error {
    Error::with_source(ErrorKind::Corrupt, "it cannot be decompressed", cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted::{bytes_of, format_body, payload_body};

    fn read(bytes: Vec<u8>) -> Result<Event> {
        EventReader::new(1 << 20).read(bytes.into())
    }

    /// Ends an event with its checksum.
    fn checked(mut bytes: Vec<u8>) -> Vec<u8> {
        let checksum = crc32fast::hash(&bytes).to_le_bytes();
        bytes.extend(checksum);
        bytes
    }

    #[test]
    fn an_event_must_have_its_declared_size() {
        let whole = bytes_of(kind::XID, 0, &[0; 8]);
        assert_eq!(read(whole.clone()).expect("an event").body.len(), 8);
        for (what, bytes) in
            [("cut", whole[..20].to_vec()), ("long", [&whole[..], &[0]].concat()), ("no header", whole[..18].to_vec())]
        {
            assert_eq!(read(bytes).expect_err(what).kind(), ErrorKind::Gap, "{what}");
        }
    }

    #[test]
    fn checksums_are_verified_from_the_format_description_on() {
        let mut reader = EventReader::new(1 << 20);
        let mut format = bytes_of(kind::FORMAT_DESCRIPTION, 0, &format_body(1));
        let covered = format.len() - CHECKSUM_BYTES;
        let checksum = crc32fast::hash(&format[..covered]).to_le_bytes();
        format[covered..].copy_from_slice(&checksum);
        // The flag of a file that is being written does not count.
        format[17] |= FLAG_IN_USE;
        assert_eq!(reader.read(format.into()).expect("a format").body.len(), 57 + 42);
        let mut xid = bytes_of(kind::XID, 0, &[7; 8]);
        xid[9] += CHECKSUM_BYTES as u8;
        let good = checked(xid);
        assert_eq!(&reader.read(good.clone().into()).expect("it matches").body[..], [7; 8]);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert_eq!(reader.read(bad.into()).expect_err("damaged").kind(), ErrorKind::Gap, "byte {at}");
        }
        let short = bytes_of(kind::XID, 0, &[0; 3]);
        assert!(reader.read(short.into()).expect_err("no room").to_string().contains("too short"));
        let unknown = bytes_of(kind::FORMAT_DESCRIPTION, 0, &format_body(9));
        assert!(reader.read(unknown.into()).expect_err("unknown").to_string().contains("unknown checksum algorithm"));
    }

    /// The events of a compressed transaction, or the error that it ends with.
    fn inside(body: &[u8], event_bytes_max: usize) -> Result<usize> {
        let mut reader = EventReader::new(event_bytes_max);
        reader.read(bytes_of(kind::TRANSACTION_PAYLOAD, 0, body).into())?;
        let mut count = 0;
        while reader.inside()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn a_compressed_transaction_must_have_its_declared_size() {
        let events = [bytes_of(kind::QUERY, 0, &[0; 20]), bytes_of(kind::XID, 0, &[0; 8])].concat();
        let size = events.len() as u64;
        let packed = zstd::encode_all(&events[..], 3).expect("compressed");
        for (algorithm, packed) in [(0, &packed), (255, &events)] {
            assert_eq!(inside(&payload_body(algorithm, size, packed), 1 << 20).expect("two events"), 2);
        }
        for (declared, named) in [
            (size + 1, "fewer"),
            (1 << 60, "declares 1152921504606846976 bytes of events and has fewer"),
            (size - 1, "are left of it"),
            (39, "declares 39 bytes of events and has more"),
            (0, "declares 0 bytes of events and has more"),
        ] {
            let error = inside(&payload_body(0, declared, &packed), 1 << 20).expect_err(named);
            assert_eq!(error.kind(), ErrorKind::Gap);
            assert!(error.chain().contains(named), "{declared}: {}", error.chain());
        }
        let error = inside(&payload_body(0, size, &packed), 30).expect_err("a large event");
        assert_eq!(error.kind(), ErrorKind::Config, "as outside of a transaction: no flush helps");
        assert!(error.chain().contains("`event_bytes_max` allows 30"), "{}", error.chain());
        for end in 0..packed.len() {
            assert!(inside(&payload_body(0, size, &packed[..end]), 1 << 20).is_err(), "cut at {end}");
        }
    }
}
