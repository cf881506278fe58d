//! A bus message in its stored form.
//!
//! Numbers are big-endian: magic `CB`, version 2, event (0 keys, 1 flush, 2 heartbeat), 1 byte whether a position
//! follows, 3 bytes reserved, generation (16), source time (8), time of sending (8), length of the position (4), number of keys (4), the
//! position's text, then each key's length (2) and text.

use cachefront_core::bus::{BusEvent, BusMessage};
use cachefront_core::store::Generation;
use cachefront_core::{Error, ErrorKind, KEY_BYTES_MAX, Position, Result, Timestamp};

const FIXED_BYTES: usize = 48;

pub(crate) fn encode(message: &BusMessage) -> Result<Vec<u8>> {
    let (event, keys): (u8, &[Box<str>]) = match &message.event {
        BusEvent::Keys(keys) => (0, keys),
        BusEvent::Flush => (1, &[]),
        BusEvent::Heartbeat => (2, &[]),
        _ => {
            return Err(Error::new(ErrorKind::Config, "this version of the Redis store cannot carry such a bus event"));
        }
    };
    let position = message.applied.as_ref().map(ToString::to_string);
    let text = position.as_deref().unwrap_or_default();
    let mut out = Vec::with_capacity(FIXED_BYTES + text.len() + keys.iter().map(|key| key.len() + 2).sum::<usize>());
    out.extend_from_slice(b"CB\x02");
    out.extend_from_slice(&[event, u8::from(position.is_some()), 0, 0, 0]);
    out.extend_from_slice(&message.generation.0.to_be_bytes());
    for time in [message.source_time, message.sent_at] {
        out.extend_from_slice(&time.as_micros().to_be_bytes());
    }
    for length in [text.len(), keys.len()] {
        let length = u32::try_from(length)
            .map_err(|error| Error::with_source(ErrorKind::Config, "a bus message is too big", error))?;
        out.extend_from_slice(&length.to_be_bytes());
    }
    out.extend_from_slice(text.as_bytes());
    for key in keys {
        let length = u16::try_from(key.len())
            .map_err(|error| Error::with_source(ErrorKind::Config, "a key on the bus is too long", error))?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(key.as_bytes());
    }
    Ok(out)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<BusMessage> {
    let mut rest = Rest(bytes);
    if rest.take(3)? != b"CB\x02" {
        return Err(corrupt());
    }
    let [event, has_position, ..] = rest.array::<5>()?;
    let generation = Generation(u128::from_be_bytes(rest.array()?));
    let source_time = Timestamp::from_micros(u64::from_be_bytes(rest.array()?));
    let sent_at = Timestamp::from_micros(u64::from_be_bytes(rest.array()?));
    let position_bytes = u32::from_be_bytes(rest.array()?) as usize;
    let count = u32::from_be_bytes(rest.array()?) as usize;
    let text = rest.text(position_bytes)?;
    let applied: Option<Position> = if has_position == 0 { None } else { Some(text.parse()?) };
    let event = match event {
        0 => BusEvent::Keys(keys(&mut rest, count)?),
        1 => BusEvent::Flush,
        2 => BusEvent::Heartbeat,
        _ => return Err(corrupt()),
    };
    Ok(BusMessage { generation, event, applied, source_time, sent_at })
}

fn keys(rest: &mut Rest<'_>, count: usize) -> Result<Vec<Box<str>>> {
    // Every key takes two bytes at least, so no count from outside can ask for more memory than it sent.
    if count > rest.0.len() / 2 {
        return Err(corrupt());
    }
    let mut keys = Vec::with_capacity(count);
    for _ in 0..count {
        let length = usize::from(u16::from_be_bytes(rest.array()?));
        if length > KEY_BYTES_MAX {
            return Err(corrupt());
        }
        keys.push(rest.text(length)?.into());
    }
    Ok(keys)
}

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
    Error::new(ErrorKind::Corrupt, "a message on the bus could not be understood")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> [BusMessage; 3] {
        let message = |event, applied| BusMessage {
            generation: Generation(7 << 90),
            event,
            applied,
            source_time: Timestamp::from_micros(12),
            sent_at: Timestamp::from_micros(13),
        };
        let position: Position = "a-b:1-5".parse().expect("a position");
        [
            message(BusEvent::Keys(vec!["users:1".into(), "".into(), "ü:2".into()]), None),
            message(BusEvent::Flush, Some(Position::new())),
            message(BusEvent::Heartbeat, Some(position)),
        ]
    }

    #[test]
    fn what_was_written_is_read_and_damage_is_an_error() {
        for message in messages() {
            let bytes = encode(&message).expect("a message");
            assert_eq!(decode(&bytes).expect("a message"), message);
            for length in 0..bytes.len() {
                assert_eq!(decode(&bytes[..length]).expect_err("cut short").kind(), ErrorKind::Corrupt);
            }
        }
        let mut bytes = encode(&messages()[0]).expect("a message");
        bytes[44..48].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(decode(&bytes).is_err());
    }
}
