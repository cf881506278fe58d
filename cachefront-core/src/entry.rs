//! The entry: one key's value in the store, a fixed header followed by the payload.
//!
//! Scripts of stores rely on this layout: they read and write the header in place and never the payload. All numbers are
//! big-endian.
//!
//! | offset | bytes | field |
//! |---:|---:|---|
//! | 0 | 2 | magic `CF` |
//! | 2 | 1 | format version, 1 |
//! | 3 | 1 | payload state: 0 none, 1 fresh, 2 negative, 3 stale-kept |
//! | 4 | 1 | mode: 0 cdc, 1 ttl |
//! | 5 | 1 | codec |
//! | 6 | 1 | compression: 0 none |
//! | 7 | 1 | reserved, 0 |
//! | 8 | 4 | schema version |
//! | 12 | 4 | length of the fill position's text |
//! | 16 | 16 | generation |
//! | 32 | 8 | fill order: the meta's high watermark when the lease was granted |
//! | 40 | 8 | fill time, µs since the epoch |
//! | 48 | 8 | soft expiry, µs since the epoch, 0 none |
//! | 56 | 8 | hard expiry, µs since the epoch, 0 none |
//! | 64 | 4 | cost of the load, µs |
//! | 68 | 4 | reserved, 0 |
//! | 72 | 16 | lease token, 0 none |
//! | 88 | 8 | lease expiry, µs since the epoch by the store's clock |
//! | 96 | … | fill position as text, then the payload |

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::{Generation, Token};
use crate::mode::InvalidationMode;
use crate::position::Position;

/// Size of the fixed header, in bytes.
pub const HEADER_BYTES: usize = 96;

/// Offset of the lease token in the header, in bytes.
pub const TOKEN_OFFSET: usize = 72;

/// Maximum length of a fill position's text, in bytes. A longer one is omitted: it would outweigh the value.
pub const FILL_POSITION_BYTES_MAX: usize = 1024;

/// Parses an entry's fill position: what the loader's server had executed. Returns `None` if it is not known.
pub(crate) fn fill_position(text: &[u8]) -> Option<Position> {
    let text = std::str::from_utf8(text).ok().filter(|text| !text.is_empty())?;
    Position::parse_stored(text).ok()
}

/// The kind of an entry's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadState {
    /// No payload: the entry has a lease only.
    None = 0,
    /// A value.
    Fresh = 1,
    /// The database has no such row.
    Negative = 2,
    /// A value that is kept after its invalidation, in case its load fails. Reserved.
    StaleKept = 3,
}

/// Everything in an entry except its lease and payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The kind of the payload.
    pub state: PayloadState,
    /// The mode of the reader that filled it. In CDC mode an entry of TTL mode is a miss.
    pub mode: InvalidationMode,
    /// The id of the codec that encoded the payload.
    pub codec: u8,
    /// How the payload is compressed; 0 for none.
    pub compression: u8,
    /// The version of the value's schema. Another version is a miss.
    pub schema_version: u32,
    /// The cache's generation when the lease was granted.
    pub generation: Generation,
    /// Every batch up to this order was visible to the load; 0 if unknown.
    pub order: u64,
    /// The clock before the load began.
    pub filled_at: Timestamp,
    /// When the value should be refreshed; unknown for never. Reserved.
    pub soft_expiry: Timestamp,
    /// When the value stops being served; unknown for never.
    pub hard_expiry: Timestamp,
    /// How long the load took, in µs.
    pub load_cost_us: u32,
    /// What the loader's server had executed before the read, as text; empty if unknown.
    pub position: Bytes,
}

/// A decoded entry: header, lease and payload. The payload shares the buffer of the store's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Everything except lease and payload.
    pub header: Header,
    /// The token of the lease; `None` if there is no lease.
    pub token: Option<Token>,
    /// When the lease expires, by the store's clock.
    pub lease_expiry: Timestamp,
    /// The encoded value.
    pub payload: Bytes,
}

/// What the fixed header of an entry says. The fill position is not part of it: decoding allocates nothing.
pub(crate) struct Fixed {
    /// The header, with an empty position.
    pub(crate) header: Header,
    token: Option<Token>,
    lease_expiry: Timestamp,
    /// Where the payload begins, and the fill position ends.
    pub(crate) body: usize,
}

impl Fixed {
    /// Decodes the fixed header of an entry, and checks the length of the rest.
    ///
    /// # Errors
    /// As [`Entry::decode`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.len() < HEADER_BYTES {
            return Err(corrupt(format!("an entry of {} bytes is shorter than its header", bytes.len())));
        }
        if bytes.get(..3) != Some(b"CF\x01") {
            return Err(corrupt("an entry does not begin with the magic bytes of format 1".into()));
        }
        let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
        let state = match byte(3) {
            0 => PayloadState::None,
            1 => PayloadState::Fresh,
            2 => PayloadState::Negative,
            3 => PayloadState::StaleKept,
            other => return Err(corrupt(format!("an entry has the unknown payload state {other}"))),
        };
        let mode = match byte(4) {
            0 => InvalidationMode::Cdc,
            1 => InvalidationMode::Ttl,
            other => return Err(corrupt(format!("an entry has the unknown mode {other}"))),
        };
        let position_bytes = u32_at(bytes, 12) as usize;
        if position_bytes > bytes.len() - HEADER_BYTES {
            return Err(corrupt("an entry's fill position is longer than the entry".into()));
        }
        let header = Header {
            state,
            mode,
            codec: byte(5),
            compression: byte(6),
            schema_version: u32_at(bytes, 8),
            generation: Generation(u128_at(bytes, 16)),
            order: u64_at(bytes, 32),
            filled_at: Timestamp::from_micros(u64_at(bytes, 40)),
            soft_expiry: Timestamp::from_micros(u64_at(bytes, 48)),
            hard_expiry: Timestamp::from_micros(u64_at(bytes, 56)),
            load_cost_us: u32_at(bytes, 64),
            position: Bytes::new(),
        };
        Ok(Self {
            header,
            token: Token::from_u128(u128_at(bytes, TOKEN_OFFSET)),
            lease_expiry: Timestamp::from_micros(u64_at(bytes, 88)),
            body: HEADER_BYTES + position_bytes,
        })
    }

    /// Returns the token of the entry's lease; `None` if it has none.
    pub(crate) fn token(&self) -> Option<Token> {
        self.token
    }

    /// Returns when that lease expires, by the store's clock.
    pub(crate) fn lease_expiry(&self) -> Timestamp {
        self.lease_expiry
    }

    /// Returns the payload of the entry that was decoded.
    pub(crate) fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.body..).unwrap_or_default()
    }
}

impl Entry {
    /// Decodes an entry.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the bytes are not an entry of this format. Such an entry counts as a miss.
    pub fn decode(bytes: Bytes) -> Result<Self> {
        let Fixed { header, token, lease_expiry, body } = Fixed::decode(&bytes)?;
        Ok(Self {
            header: Header { position: bytes.slice(HEADER_BYTES..body), ..header },
            token,
            lease_expiry,
            payload: bytes.slice(body..),
        })
    }

    /// Returns the stored bytes with another lease, or without one. Bytes that are too short for a header are returned
    /// unchanged.
    pub fn with_lease(bytes: &[u8], token: Option<Token>, lease_expiry: Timestamp) -> Bytes {
        let mut out = bytes.to_vec();
        if let Some(lease) = out.get_mut(TOKEN_OFFSET..HEADER_BYTES) {
            let (token_bytes, expiry_bytes) = lease.split_at_mut(16);
            token_bytes.copy_from_slice(&token.map_or(0, Token::as_u128).to_be_bytes());
            expiry_bytes.copy_from_slice(&lease_expiry.as_micros().to_be_bytes());
        }
        out.into()
    }

    /// Encodes the entry.
    pub fn encode(&self) -> Vec<u8> {
        encode(&self.header, self.token, self.lease_expiry, &self.payload)
    }
}

impl Header {
    /// Encodes an entry without a lease, for a fill.
    pub fn encode_with(&self, payload: &[u8]) -> Vec<u8> {
        encode(self, None, Timestamp::UNKNOWN, payload)
    }

    /// Returns the number of bytes before the payload.
    pub(crate) fn encoded_bytes(&self) -> usize {
        HEADER_BYTES + self.position.len()
    }

    /// The same as [`encode_with`](Self::encode_with), within the buffer of the payload: nothing is allocated if there is room.
    pub(crate) fn encode_before(&self, mut payload: Vec<u8>) -> Vec<u8> {
        let (before, bytes) = (self.encoded_bytes(), payload.len());
        payload.resize(before + bytes, 0);
        payload.copy_within(..bytes, before);
        payload[..HEADER_BYTES].copy_from_slice(&fixed(self, None, Timestamp::UNKNOWN));
        payload[HEADER_BYTES..before].copy_from_slice(&self.position);
        payload
    }
}

fn encode(header: &Header, token: Option<Token>, lease_expiry: Timestamp, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + header.position.len() + payload.len());
    out.extend_from_slice(&fixed(header, token, lease_expiry));
    out.extend_from_slice(&header.position);
    out.extend_from_slice(payload);
    out
}

/// Encodes the fixed header.
fn fixed(header: &Header, token: Option<Token>, lease_expiry: Timestamp) -> [u8; HEADER_BYTES] {
    let mode = match header.mode {
        InvalidationMode::Cdc => 0,
        InvalidationMode::Ttl => 1,
    };
    let position_bytes = u32::try_from(header.position.len()).unwrap_or(u32::MAX);
    let mut fixed = [0; HEADER_BYTES];
    let mut put = |at: usize, bytes: &[u8]| fixed[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"CF\x01");
    put(3, &[header.state as u8, mode, header.codec, header.compression]);
    put(8, &header.schema_version.to_be_bytes());
    put(12, &position_bytes.to_be_bytes());
    put(16, &header.generation.0.to_be_bytes());
    put(32, &header.order.to_be_bytes());
    put(40, &header.filled_at.as_micros().to_be_bytes());
    put(48, &header.soft_expiry.as_micros().to_be_bytes());
    put(56, &header.hard_expiry.as_micros().to_be_bytes());
    put(64, &header.load_cost_us.to_be_bytes());
    put(TOKEN_OFFSET, &token.map_or(0, Token::as_u128).to_be_bytes());
    put(88, &lease_expiry.as_micros().to_be_bytes());
    fixed
}

/// Reads a big-endian number. Returns zero if bytes are missing, so that no input can panic.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|slice| slice.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// Like [`u32_at`], for 8 bytes.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|slice| slice.try_into().ok()).map_or(0, u64::from_be_bytes)
}

/// Like [`u32_at`], for 16 bytes.
pub(crate) fn u128_at(bytes: &[u8], at: usize) -> u128 {
    bytes.get(at..at + 16).and_then(|slice| slice.try_into().ok()).map_or(0, u128::from_be_bytes)
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            header: Header {
                state: PayloadState::Fresh,
                mode: InvalidationMode::Cdc,
                codec: 1,
                compression: 0,
                schema_version: 3,
                generation: Generation(7 << 100),
                order: 99,
                filled_at: Timestamp::from_micros(5),
                soft_expiry: Timestamp::UNKNOWN,
                hard_expiry: Timestamp::from_micros(6),
                load_cost_us: 250,
                position: Bytes::from_static(b"uuid:1-5"),
            },
            token: Token::from_u128(8),
            lease_expiry: Timestamp::from_micros(9),
            payload: Bytes::from_static(b"{}"),
        }
    }

    #[test]
    fn an_encoded_entry_is_decoded() {
        let bytes = entry().encode();
        assert_eq!(bytes.len(), HEADER_BYTES + 8 + 2);
        assert_eq!(u128_at(&bytes, TOKEN_OFFSET), 8);
        assert_eq!(Entry::decode(bytes.into()).expect("an entry"), entry());
    }

    #[test]
    fn an_entry_is_the_same_in_the_buffer_of_its_payload() {
        let header = entry().header;
        for payload in [&b""[..], b"{}", &[7; 300]] {
            assert_eq!(header.encode_before(payload.to_vec()), header.encode_with(payload));
        }
        let mut roomy = Vec::with_capacity(header.encoded_bytes() + 2);
        roomy.extend_from_slice(b"{}");
        let place = roomy.as_ptr();
        let entry = header.encode_before(roomy);
        assert_eq!(entry.as_ptr(), place, "nothing was allocated");
    }

    #[test]
    fn damaged_bytes_are_an_error_and_never_a_panic() {
        let whole = entry().encode();
        for length in 0..HEADER_BYTES {
            assert!(Entry::decode(Bytes::copy_from_slice(&whole[..length])).is_err());
        }
        for at in [0, 2, 3, 4, 12] {
            let mut damaged = whole.clone();
            damaged[at] = 0xff;
            assert_eq!(Entry::decode(damaged.into()).expect_err("damaged").kind(), ErrorKind::Corrupt);
        }
    }
}
