//! Reads bytes of the log. Every step is checked; none can panic.

use cachefront_core::{Error, ErrorKind, Result};

/// A byte slice that is read from the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Number of bytes that are left.
    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    /// Returns true if no byte is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes all remaining bytes.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Takes this number of bytes.
    ///
    /// # Errors
    /// `Corrupt` if fewer are left, here and below.
    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(ended()),
        }
    }

    /// Skips this number of bytes.
    #[inline]
    pub(crate) fn skip(&mut self, count: usize) -> Result<()> {
        self.take(count).map(|_| ())
    }

    /// Takes an array.
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(ended()),
        }
    }

    /// Takes one byte.
    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes a little-endian number of 2 bytes.
    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Takes a little-endian number of 4 bytes.
    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Takes a little-endian number of 8 bytes.
    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes a little-endian number of `count` bytes, at most 8.
    #[inline]
    pub(crate) fn uint(&mut self, count: usize) -> Result<u64> {
        match count {
            1 => return self.u8().map(u64::from),
            4 => return self.u32().map(u64::from),
            8 => return self.u64(),
            _ => {}
        }
        Ok(self.take(count)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Takes a big-endian number of `count` bytes, at most 8.
    #[inline]
    pub(crate) fn uint_be(&mut self, count: usize) -> Result<u64> {
        Ok(self.take(count)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Takes a length-encoded integer,
    /// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_dt_integers.html>.
    pub(crate) fn packed(&mut self) -> Result<u64> {
        match self.u8()? {
            0xfc => self.uint(2),
            0xfd => self.uint(3),
            0xfe => self.uint(8),
            0xfb | 0xff => Err(Error::new(ErrorKind::Corrupt, "a length-encoded integer of the log is malformed")),
            small => Ok(u64::from(small)),
        }
    }

    /// Takes a length-encoded integer that is a count of bytes or items, which must not exceed the remaining bytes.
    pub(crate) fn packed_count(&mut self) -> Result<usize> {
        let count = usize::try_from(self.packed()?).map_err(|_| ended())?;
        if count > self.rest.len() { Err(ended()) } else { Ok(count) }
    }

    /// Takes a string with its length-encoded length in front.
    pub(crate) fn packed_bytes(&mut self) -> Result<&'a [u8]> {
        let count = self.packed_count()?;
        self.take(count)
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Corrupt, "an event of the log ends too early")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_the_end_is_an_error() {
        let mut cursor = Cursor::new(&[1, 2, 3, 0xfc, 1, 1, 0xfe, 9]);
        assert_eq!(cursor.uint(3).expect("three bytes"), 0x03_02_01);
        assert_eq!(cursor.packed().expect("two bytes after the mark"), 257);
        assert_eq!(cursor.packed().expect_err("eight bytes are missing").kind(), ErrorKind::Corrupt);
        assert!(Cursor::new(&[5, 1]).packed_bytes().is_err());
        assert!(Cursor::new(&[0xff]).packed().is_err());
    }
}
