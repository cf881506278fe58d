//! Tags: many values are invalidated together, by a marker that each of them names ("Tag markers").
//!
//! A marker is an entry of the store like any other, under a key of its own, whose value is a random version. An entry with
//! tags carries the versions that their markers had *before* its value was loaded, and it is served only while they are the
//! same. Invalidating a tag is invalidating the marker's key: by the log or on request, in the store and on the bus, with the
//! order, the generations and the rewinds of every other key. A marker that is lost, evicted or flushed only costs loads: the
//! next one has another version.
//!
//! An entry with tags has [`TAGGED`] in its codec's number, so that a release that knows no tags takes it for a miss. Its
//! payload begins with the tags:
//!
//! | bytes | field |
//! |---:|---|
//! | 1 | 1 if the database has no such row, else 0 |
//! | 1 | number of tags |
//! | 1, n, 16 for each | length of the tag, the tag, the version of its marker |
//! | … | the encoded value |

use std::sync::Arc;

use crate::cache::epochs::{TagTickets, Ticket};
use crate::key::StoreKey;

/// The bit in a codec's number that says that the payload begins with tags. Codecs of caches without tags may have it.
pub(super) const TAGGED: u8 = 0x80;

/// The codec's number of a marker.
pub(super) const MARKER_CODEC: u8 = 63;

/// The version of a marker: random, and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version(pub(super) u128);

/// A tag of a value, with the version that its marker had before the value was loaded.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) tag: Box<str>,
    pub(super) version: Version,
    /// The key of the marker.
    pub(super) key: StoreKey,
    /// Taken before the marker was read: a value of the process-local tier is valid while it holds.
    pub(super) ticket: Option<Ticket>,
}

/// How the store is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// As a use of the entries.
    Read,
    /// Without an effect on the eviction order.
    Peek,
}

/// Appends the tags of a value to its payload.
pub(super) fn encode(marks: &[Mark], absent: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(&[u8::from(absent), u8::try_from(marks.len()).unwrap_or(u8::MAX)]);
    for mark in marks {
        out.push(u8::try_from(mark.tag.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(mark.tag.as_bytes());
        out.extend_from_slice(&mark.version.0.to_be_bytes());
    }
}

/// A payload without its tags.
pub(super) struct Tagged<'a> {
    pub(super) absent: bool,
    pub(super) marks: Vec<Mark>,
    pub(super) payload: &'a [u8],
}

/// Splits the tags from a payload; `None` if it is damaged.
pub(super) fn split<'a>(cache: &str, bytes: &'a [u8]) -> Option<Tagged<'a>> {
    let (&[absent, count], mut rest) = bytes.split_first_chunk::<2>()?;
    let mut marks = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let (length, after) = rest.split_first()?;
        let (tag, after) = after.split_at_checked(usize::from(*length))?;
        let (version, after) = after.split_first_chunk::<16>()?;
        rest = after;
        let tag = std::str::from_utf8(tag).ok()?;
        let key = StoreKey::of_tag(cache, tag).ok()?;
        marks.push(Mark { tag: tag.into(), version: Version(u128::from_be_bytes(*version)), key, ticket: None });
    }
    Some(Tagged { absent: absent == 1, marks, payload: rest })
}

/// Returns the marks of exactly these tags; `None` if the marker of one was not read.
pub(super) fn select(marks: &[Mark], tags: &[Box<str>]) -> Option<Vec<Mark>> {
    tags.iter().map(|tag| marks.iter().find(|mark| mark.tag == *tag).cloned()).collect()
}

/// Returns the tickets of a value's tags, `None` if it has no tags; or an error if one is not known, and the value must not
/// be put into the process-local tier.
pub(super) fn tickets(marks: &[Mark]) -> Result<Option<TagTickets>, ()> {
    if marks.is_empty() {
        return Ok(None);
    }
    let tickets: Option<Box<[Ticket]>> = marks.iter().map(|mark| mark.ticket).collect();
    tickets.map(|tickets| Some(Arc::new(tickets))).ok_or(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_split_from_the_payload_and_damage_is_noticed() {
        let mark = |tag: &str, version| Mark {
            tag: tag.into(),
            version: Version(version),
            key: StoreKey::of_tag("page", tag).expect("a key"),
            ticket: None,
        };
        let mut bytes = Vec::new();
        encode(&[mark("a", 7), mark("category:ä", u128::MAX)], true, &mut bytes);
        let length = bytes.len();
        bytes.extend_from_slice(b"{}");
        let tagged = split("page", &bytes).expect("tags");
        assert_eq!((tagged.absent, tagged.payload), (true, &b"{}"[..]));
        let found: Vec<_> = tagged.marks.iter().map(|mark| (&*mark.tag, mark.version.0)).collect();
        assert_eq!(found, [("a", 7), ("category:ä", u128::MAX)]);
        assert_eq!(tagged.marks[1].key.as_str(), "page#tags:category:ä");
        assert!((0..length).all(|end| split("page", &bytes[..end]).is_none()));
        assert!(select(&tagged.marks, &["a".into()]).is_some_and(|marks| marks.len() == 1));
        assert!(select(&tagged.marks, &["a".into(), "b".into()]).is_none());
    }
}
