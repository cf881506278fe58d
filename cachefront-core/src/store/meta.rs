//! The meta value of a shard: its current generation, and what has been applied to it.
//!
//! It is read and written as one value. Scripts of stores rely on this layout; numbers are big-endian.
//!
//! | offset | bytes | field |
//! |---:|---:|---|
//! | 0 | 2 | magic `CM` |
//! | 2 | 1 | format version, 2 |
//! | 3 | 1 | state: 0 live, 1 suspended |
//! | 4 | 4 | number of shards |
//! | 8 | 16 | generation |
//! | 24 | 8 | term |
//! | 32 | 8 | high watermark: the highest order that may have been sent |
//! | 40 | 8 | order of `applied` |
//! | 48 | 8 | source time of `applied`, µs since the epoch, 0 unknown |
//! | 56 | 4 | length of the origin |
//! | 60 | 4 | length of the applied position's text |
//! | 64 | 4 | length of the source's resume data |
//! | 68 | 4 | number of covered caches |
//! | 72 | 4 | beat: incremented by every write of the invalidator |
//! | 76 | 1 | vacant: 1 if the invalidator has left |
//! | 77 | 3 | reserved, 0 |
//! | 80 | 32 each | covered caches, ordered: mapping id (16), generation (16) |
//! | … | … | origin, position text, resume data |
//! | … | … | names of the covered caches, in the same order, each preceded by its length in one byte |

use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::checkpoint::Checkpoint;
use crate::clock::Timestamp;
use crate::entry::{u32_at, u64_at, u128_at};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Generation;
use crate::position::Position;
use crate::store::coverage::{COVERED_BYTES, COVERED_MAX, Coverage};

/// Size of the fixed part, in bytes.
pub const META_HEADER_BYTES: usize = 80;

/// Whether entries of CDC mode are valid under a meta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaState {
    /// Invalidations are applied as the source delivers them.
    Live,
    /// No invalidations are applied: entries of CDC mode are invalid until the next flush.
    Suspended,
}

/// A shard's meta.
#[derive(Clone)]
pub struct Meta {
    /// Whether entries of CDC mode are valid.
    pub state: MetaState,
    /// Number of shards of the namespace. Every process must agree on it.
    pub shards: u32,
    /// The current generation, compared by every write of an invalidator. Each covered cache also has its own.
    pub generation: Generation,
    /// The covered caches. No other cache is served or stored under this meta.
    pub coverage: Coverage,
    /// The term of the invalidator that writes: a fencing token.
    pub term: u64,
    /// Incremented by every write of the invalidator: if it does not change for long, the invalidator is dead.
    pub beat: u32,
    /// True if the invalidator has left, so that another one need not wait for its silence.
    pub vacant: bool,
    /// The highest order of a batch that may have been sent to any shard: the fence of a lease.
    pub high_watermark: u64,
    /// The order of the last batch whose effects are complete on every shard.
    pub applied_order: u64,
    /// When `applied` was last known to be the source's end; unknown if it never was.
    pub source_time: Timestamp,
    /// The source's server, e.g. MySQL's `server_uuid`.
    pub origin: Box<str>,
    /// Source-specific resume data.
    pub resume: Bytes,
    position_text: Box<str>,
    /// Parsed on demand: an eventual read does not need it.
    position: OnceLock<Option<Position>>,
}

impl Meta {
    /// Returns the meta that a flush writes: a new generation in which everything up to `head` is applied.
    pub fn at_head(
        generation: Generation,
        term: u64,
        order: u64,
        shards: u32,
        origin: &str,
        head: &Checkpoint,
    ) -> Self {
        Self {
            state: MetaState::Live,
            shards,
            generation,
            coverage: Coverage::EMPTY,
            term,
            beat: 0,
            vacant: false,
            high_watermark: order,
            applied_order: order,
            source_time: Timestamp::UNKNOWN,
            origin: origin.into(),
            resume: head.resume.clone(),
            position_text: head.position.to_string().into(),
            position: OnceLock::from(Some(head.position.clone())),
        }
    }

    /// Returns the same meta, covering these caches.
    #[must_use]
    pub fn covering(mut self, coverage: Coverage) -> Self {
        self.coverage = coverage;
        self
    }

    /// Returns the applied position: every invalidation for these commits is done. Returns the empty position, which
    /// proves nothing, if the stored text cannot be parsed.
    pub fn applied(&self) -> &Position {
        static EMPTY: Position = Position::EMPTY;
        self.position.get_or_init(|| Position::parse_stored(&self.position_text).ok()).as_ref().unwrap_or(&EMPTY)
    }

    /// Sets the applied position.
    pub fn set_applied(&mut self, position: &Position) {
        self.position_text = position.to_string().into();
        self.position = OnceLock::from(Some(position.clone()));
    }

    /// Returns the text form of the applied position, as stored.
    pub fn applied_text(&self) -> &str {
        &self.position_text
    }

    /// Returns where an invalidator resumes.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the stored position cannot be parsed: a flush is required.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let position = Position::parse_stored(&self.position_text)?;
        Ok(Checkpoint { position, resume: self.resume.clone() })
    }

    /// Returns true if entries of CDC mode may be served and stored under this meta.
    pub fn is_live(&self) -> bool {
        self.state == MetaState::Live
    }

    /// Decodes a meta value.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the bytes are not a meta of this format.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let corrupt = |message: &'static str| Error::new(ErrorKind::Corrupt, message);
        if bytes.len() < META_HEADER_BYTES || bytes.get(..3) != Some(b"CM\x02") {
            return Err(corrupt("the store's meta value does not begin with the magic bytes of format 2"));
        }
        let state = match bytes.get(3) {
            Some(0) => MetaState::Live,
            Some(1) => MetaState::Suspended,
            _ => return Err(corrupt("the store's meta value has an unknown state")),
        };
        let (origin_len, position_len) = (u32_at(bytes, 56) as usize, u32_at(bytes, 60) as usize);
        let resume_len = u32_at(bytes, 64) as usize;
        let covered = u32_at(bytes, 68) as usize;
        if covered > COVERED_MAX {
            return Err(corrupt("the store's meta value names too many caches"));
        }
        let mut rest = bytes.get(META_HEADER_BYTES..).unwrap_or_default();
        let mut take = |length: usize| {
            let (part, others) = rest.split_at_checked(length)?;
            rest = others;
            Some(part)
        };
        let (Some(rows), Some(origin), Some(position), Some(resume)) =
            (take(covered * COVERED_BYTES), take(origin_len), take(position_len), take(resume_len))
        else {
            return Err(corrupt("the store's meta value is cut short"));
        };
        let text = |part: &[u8]| match std::str::from_utf8(part) {
            Ok(text) => Ok(Box::<str>::from(text)),
            Err(_) => Err(corrupt("the store's meta value holds text that is not UTF-8")),
        };
        Ok(Self {
            state,
            shards: u32_at(bytes, 4),
            generation: Generation(u128_at(bytes, 8)),
            coverage: Coverage::decode(rows, rest)?,
            term: u64_at(bytes, 24),
            beat: u32_at(bytes, 72),
            vacant: bytes.get(76) == Some(&1),
            high_watermark: u64_at(bytes, 32),
            applied_order: u64_at(bytes, 40),
            source_time: Timestamp::from_micros(u64_at(bytes, 48)),
            origin: text(origin)?,
            resume: Bytes::copy_from_slice(resume),
            position_text: text(position)?,
            position: OnceLock::new(),
        })
    }

    /// Encodes the meta value.
    pub fn encode(&self) -> Vec<u8> {
        let texts = self.origin.len() + self.position_text.len() + self.resume.len();
        let covered = self.coverage.rows().len();
        let mut out = Vec::with_capacity(META_HEADER_BYTES + texts + covered * (COVERED_BYTES + 16));
        out.extend_from_slice(b"CM\x02");
        out.push(match self.state {
            MetaState::Live => 0,
            MetaState::Suspended => 1,
        });
        out.extend_from_slice(&self.shards.to_be_bytes());
        out.extend_from_slice(&self.generation.0.to_be_bytes());
        for number in [self.term, self.high_watermark, self.applied_order, self.source_time.as_micros()] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for length in [self.origin.len(), self.position_text.len(), self.resume.len(), covered] {
            out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        }
        out.extend_from_slice(&self.beat.to_be_bytes());
        out.extend_from_slice(&[u8::from(self.vacant), 0, 0, 0]);
        self.coverage.encode_rows(&mut out);
        out.extend_from_slice(self.origin.as_bytes());
        out.extend_from_slice(self.position_text.as_bytes());
        out.extend_from_slice(&self.resume);
        self.coverage.encode_names(&mut out);
        out
    }
}

impl PartialEq for Meta {
    fn eq(&self, other: &Self) -> bool {
        self.encode() == other.encode()
    }
}

impl Eq for Meta {}

impl fmt::Debug for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meta")
            .field("state", &self.state)
            .field("shards", &self.shards)
            .field("generation", &self.generation)
            .field("coverage", &self.coverage)
            .field("term", &self.term)
            .field("beat", &self.beat)
            .field("vacant", &self.vacant)
            .field("high_watermark", &self.high_watermark)
            .field("applied_order", &self.applied_order)
            .field("applied", &self.position_text)
            .field("source_time", &self.source_time)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::MappingId;
    use crate::store::coverage::Covered;

    #[test]
    fn a_long_position_is_read_back() {
        let mut position = Position::new();
        for server in 0..500_u64 {
            position.insert_range(&format!("{server:08x}-71ca-11e1-9e33-c80aa9429562").into(), 1, 5);
        }
        let head = Checkpoint { position, ..Checkpoint::default() };
        let meta = Meta::at_head(Generation(1), 1, 1, 1, "server-a", &head);
        let read = Meta::decode(&meta.encode()).expect("a meta");
        assert_eq!(read.checkpoint().expect("a checkpoint"), head);
        assert_eq!(*read.applied(), head.position);
    }

    #[test]
    fn an_encoded_meta_is_decoded_and_damage_is_an_error() {
        let head = Checkpoint { position: "a-b:1-5".parse().expect("a position"), resume: Bytes::from_static(b"x") };
        let covered = |mapping: u128, cache: &str| Covered {
            mapping: MappingId(mapping),
            generation: Generation(mapping + 100),
            cache: cache.into(),
        };
        let mut meta = Meta::at_head(Generation(9), 2, 77, 64, "a-b", &head)
            .covering(Coverage::new([covered(5, "users"), covered(4, "orders")]));
        (meta.beat, meta.vacant) = (3, true);
        let bytes = meta.encode();
        let read = Meta::decode(&bytes).expect("a meta");
        assert_eq!(read, meta);
        assert_eq!(read.checkpoint().expect("a checkpoint"), head);
        for length in 0..bytes.len() {
            assert!(Meta::decode(&bytes[..length]).is_err(), "{length}");
        }
    }
}
