//! The stored form of a bus message.
//!
//! Numbers are big-endian. The header has 56 bytes:
//!
//! | offset | bytes | field |
//! |---:|---:|---|
//! | 0 | 3 | magic `CB`, version 3 |
//! | 3 | 1 | event: 0 keys, 1 flush, 2 heartbeat, 3 caches |
//! | 4 | 1 | 1 if a position follows, else 0 |
//! | 5 | 3 | reserved |
//! | 8 | 16 | publisher |
//! | 24 | 8 | the server that the publisher is connected to |
//! | 32 | 8 | source time |
//! | 40 | 8 | time of sending |
//! | 48 | 4 | length of the position |
//! | 52 | 4 | number of items |
//!
//! The text of the position follows, then the items: each key or cache as a length (2 bytes) and its text, each mapping
//! of a heartbeat as 16 bytes.

use cachefront_core::bus::{BusEvent, BusMessage, Publisher};
use cachefront_core::store::{MappingId, ServerId};
use cachefront_core::{Error, ErrorKind, KEY_BYTES_MAX, Position, Result, Timestamp};

const FIXED_BYTES: usize = 56;

/// A message, and the server that its publisher was connected to.
///
/// A reader on another server must not use the message: the position in it is true of the server
/// that it was published on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) server: ServerId,
    pub(crate) message: BusMessage,
}

/// Encodes a message for the bus. `server` is the identity of everything that the message speaks of: the same server, or the set
/// of nodes that it is one of.
///
/// # Errors
/// `Config` if a part of it is too long, or its event is newer than this crate.
pub(crate) fn encode(server: ServerId, message: &BusMessage) -> Result<Vec<u8>> {
    let none: (&[Box<str>], &[MappingId]) = (&[], &[]);
    let (event, (texts, mappings)) = match &message.event {
        BusEvent::Keys(keys) => (0, (keys.as_slice(), none.1)),
        BusEvent::Flush => (1, none),
        BusEvent::Heartbeat(mappings) => (2, (none.0, mappings.as_slice())),
        BusEvent::Caches(caches) => (3, (caches.as_slice(), none.1)),
        _ => {
            return Err(Error::new(ErrorKind::Config, "this version of the Redis store cannot encode this bus event"));
        }
    };
    let position = message.applied.as_ref().map(ToString::to_string);
    let position_text = position.as_deref().unwrap_or_default();
    let items = texts.iter().map(|text| text.len() + 2).sum::<usize>() + 16 * mappings.len();
    let mut out = Vec::with_capacity(FIXED_BYTES + position_text.len() + items);
    out.extend_from_slice(b"CB\x03");
    out.extend_from_slice(&[event, u8::from(position.is_some()), 0, 0, 0]);
    out.extend_from_slice(&message.publisher.0.to_be_bytes());
    for number in [server.0, message.source_time.as_micros(), message.sent_at.as_micros()] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    for length in [position_text.len(), texts.len() + mappings.len()] {
        let length = u32::try_from(length)
            .map_err(|error| Error::with_source(ErrorKind::Config, "a bus message is too large", error))?;
        out.extend_from_slice(&length.to_be_bytes());
    }
    out.extend_from_slice(position_text.as_bytes());
    for text in texts {
        let length = u16::try_from(text.len())
            .map_err(|error| Error::with_source(ErrorKind::Config, "a key on the bus is too long", error))?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    for mapping in mappings {
        out.extend_from_slice(&mapping.0.to_be_bytes());
    }
    Ok(out)
}

/// Decodes a message of the bus.
///
/// # Errors
/// `Corrupt` if it is truncated or malformed.
pub(crate) fn decode(bytes: &[u8]) -> Result<Sent> {
    let mut rest = Rest(bytes);
    if rest.take(3)? != b"CB\x03" {
        return Err(corrupt());
    }
    let [event, has_position, ..] = rest.array::<5>()?;
    let publisher = Publisher(u128::from_be_bytes(rest.array()?));
    let server = ServerId(u64::from_be_bytes(rest.array()?));
    let source_time = Timestamp::from_micros(u64::from_be_bytes(rest.array()?));
    let sent_at = Timestamp::from_micros(u64::from_be_bytes(rest.array()?));
    let position_bytes = u32::from_be_bytes(rest.array()?) as usize;
    let count = u32::from_be_bytes(rest.array()?) as usize;
    let text = rest.text(position_bytes)?;
    let applied = if has_position == 0 { None } else { Some(Position::parse_stored(text)?) };
    let event = match event {
        0 => BusEvent::Keys(texts(&mut rest, count)?),
        1 => BusEvent::Flush,
        2 => BusEvent::Heartbeat(mappings(&mut rest, count)?),
        3 => BusEvent::Caches(texts(&mut rest, count)?),
        _ => return Err(corrupt()),
    };
    Ok(Sent { server, message: BusMessage { publisher, event, applied, source_time, sent_at } })
}

/// # Errors
/// `Corrupt` if there are fewer bytes than the count asks for.
fn mappings(rest: &mut Rest<'_>, count: usize) -> Result<Vec<MappingId>> {
    let bytes = rest.take(count.checked_mul(16).ok_or_else(corrupt)?)?;
    let mapping = |bytes: &[u8]| bytes.try_into().map(|bytes| MappingId(u128::from_be_bytes(bytes)));
    bytes.chunks_exact(16).map(|bytes| mapping(bytes).map_err(|_| corrupt())).collect()
}

/// # Errors
/// `Corrupt` if a text is longer than a key may be, is not UTF-8, or ends after the message.
fn texts(rest: &mut Rest<'_>, count: usize) -> Result<Vec<Box<str>>> {
    // Each text takes at least two bytes, so a damaged count cannot allocate more than the message is long.
    if count > rest.0.len() / 2 {
        return Err(corrupt());
    }
    let mut texts = Vec::with_capacity(count);
    for _ in 0..count {
        let length = usize::from(u16::from_be_bytes(rest.array()?));
        if length > KEY_BYTES_MAX {
            return Err(corrupt());
        }
        texts.push(rest.text(length)?.into());
    }
    Ok(texts)
}

/// The bytes that are not decoded yet.
///
/// Every access is checked: the bytes come from a server that other programs may write to.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(corrupt)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| corrupt())
    }

    fn text(&mut self, count: usize) -> Result<&'a str> {
        std::str::from_utf8(self.take(count)?).map_err(|_| corrupt())
    }
}

fn corrupt() -> Error {
    Error::new(ErrorKind::Corrupt, "the message is malformed")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: ServerId = ServerId(0x0102_0304_0506_0708);

    fn messages() -> [BusMessage; 5] {
        let message = |event, applied| BusMessage {
            publisher: Publisher(7 << 90),
            event,
            applied,
            source_time: Timestamp::from_micros(12),
            sent_at: Timestamp::from_micros(13),
        };
        let position: Position = "a-b:1-5".parse().expect("a position");
        [
            message(BusEvent::Keys(vec!["users:1".into(), "".into(), "ü:2".into()]), None),
            message(BusEvent::Flush, Some(Position::new())),
            message(BusEvent::Heartbeat(vec![MappingId(1), MappingId(u128::MAX)]), Some(position)),
            message(BusEvent::Heartbeat(Vec::new()), None),
            message(BusEvent::Caches(vec!["users".into()]), None),
        ]
    }

    #[test]
    fn messages_are_read_back_and_damage_is_an_error() {
        for message in messages() {
            let bytes = encode(SERVER, &message).expect("a message");
            assert_eq!(decode(&bytes).expect("a message"), Sent { server: SERVER, message });
            for length in 0..bytes.len() {
                assert_eq!(decode(&bytes[..length]).expect_err("cut short").kind(), ErrorKind::Corrupt);
            }
        }
        for message in messages() {
            let mut bytes = encode(SERVER, &message).expect("a message");
            bytes[52..56].copy_from_slice(&u32::MAX.to_be_bytes());
            assert_eq!(decode(&bytes).is_err(), message.event != BusEvent::Flush, "a count without its items");
        }
    }

    #[test]
    fn a_long_position_is_read_back() {
        let mut position = Position::new();
        for server in 0..500_u64 {
            position.insert_range(&format!("{server:08x}-71ca-11e1-9e33-c80aa9429562").into(), 1, 5);
        }
        let message = BusMessage { applied: Some(position), ..messages()[2].clone() };
        let bytes = encode(SERVER, &message).expect("a message");
        assert_eq!(decode(&bytes).expect("a message").message, message);
    }
}
