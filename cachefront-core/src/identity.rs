//! The numbers that identify a server, a generation of entries, and an attempt to fill a key.

use std::fmt;
use std::num::NonZeroU128;

/// One server process of a store with one history, as noted when a connection to it was made.
///
/// A server that restarts, or that is promoted, gets another id. Two readings, or a reading and a message of the bus,
/// belong together only if their servers are known and the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServerId(pub u64);

impl ServerId {
    /// The server is not known. It is never the same as another one, not even as another unknown one.
    pub const UNKNOWN: Self = Self(0);

    /// Returns true if both are known to be the same server.
    pub fn is_same(self, other: Self) -> bool {
        self != Self::UNKNOWN && self == other
    }
}

/// A random number that stands for "everything since the last flush". It is never reused.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Generation(pub u128);

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Generation({:032x})", self.0)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A random number that identifies one attempt to fill one key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(NonZeroU128);

impl Token {
    /// Makes a token of random bits. Returns `None` for zero, which means "no lease" in an entry.
    pub const fn from_u128(bits: u128) -> Option<Self> {
        match NonZeroU128::new(bits) {
            Some(bits) => Some(Self(bits)),
            None => None,
        }
    }

    /// Returns the token's bits.
    pub const fn as_u128(self) -> u128 {
        self.0.get()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:032x})", self.0)
    }
}
