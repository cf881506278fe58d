//! DECIMAL: groups of nine digits, big-endian, with the sign in the first bit.
//!
//! See <https://dev.mysql.com/doc/refman/8.4/en/precision-math-decimal-characteristics.html> and `decimal2bin` in MySQL's
//! `strings/decimal.cc`.
//!
//! # Example
//! `1234567890.1234` in a DECIMAL(14, 4) has ten digits before the point, which are a group of one
//! and a group of nine, and four after it, a group of four:
//!
//! ```text
//! digits         1          234567890       1234
//! number      0x01         0x0DFB38D2     0x04D2
//! stored        81        0D FB 38 D2      04 D2      the first bit is inverted
//! negative      7E        F2 04 C7 2D      FB 2D      every bit is inverted
//! ```
//!
//! So the bytes of two numbers of one column sort as the numbers do.

use cachefront_core::event::Text;
use cachefront_core::event::calendar::push_numbers;
use cachefront_core::{Error, ErrorKind, Result};

use crate::cursor::Cursor;

/// The size in bytes of a group of 0 to 9 digits.
///
/// The index is the number of digits. Nine digits need 30 bits.
const GROUP_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
/// More bytes than a DECIMAL of 65 digits takes, wherever its point is.
const STORED_BYTES_MAX: usize = 40;
/// Number of digits in a whole group.
const GROUP_DIGITS: usize = 9;

/// The size in bytes of a DECIMAL(precision, scale).
///
/// An image has no length in front of a DECIMAL.
pub(crate) fn size(precision: usize, scale: usize) -> usize {
    group_bytes(precision.saturating_sub(scale)) + group_bytes(scale)
}

/// The size in bytes of the digits on one side of the point.
fn group_bytes(digits: usize) -> usize {
    digits / GROUP_DIGITS * 4 + GROUP_BYTES.get(digits % GROUP_DIGITS).copied().unwrap_or_default()
}

/// The exact text, as MySQL prints it: `-12345.678901`, `0.000001`.
///
/// Zeros after the point are kept up to the scale, so that equal texts are equal values of one
/// column.
///
/// # Errors
/// `Corrupt` if it is shorter than its precision needs, or a group has more digits than fit.
pub(crate) fn text(bytes: &[u8], precision: usize, scale: usize) -> Result<Text> {
    let mut stored = [0; STORED_BYTES_MAX];
    let stored = stored.get_mut(..bytes.len()).ok_or_else(malformed)?;
    stored.copy_from_slice(bytes);
    let first = stored.first_mut().ok_or_else(malformed)?;
    let negative = *first & 0x80 == 0;
    *first ^= 0x80;
    if negative {
        stored.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let mut cursor = Cursor::new(stored);
    let integer = digits(&mut cursor, precision.saturating_sub(scale), true)?;
    let fraction = digits(&mut cursor, scale, false)?;
    let integer = integer.trim_start_matches('0');
    let mut text = Text::new();
    if negative {
        text.push('-');
    }
    text.push_str(if integer.is_empty() { "0" } else { integer });
    if scale > 0 {
        text.push('.');
        text.push_str(&fraction);
    }
    Ok(text)
}

/// Decodes the digits on one side of the point. The incomplete group is the one farthest from the point.
fn digits(cursor: &mut Cursor<'_>, count: usize, partial_first: bool) -> Result<Text> {
    let (whole, partial) = (count / GROUP_DIGITS, count % GROUP_DIGITS);
    let mut text = Text::new();
    if partial_first {
        group(cursor, partial, &mut text)?;
    }
    for _ in 0..whole {
        group(cursor, GROUP_DIGITS, &mut text)?;
    }
    if !partial_first {
        group(cursor, partial, &mut text)?;
    }
    Ok(text)
}

/// Decodes one group, with leading zeros.
fn group(cursor: &mut Cursor<'_>, digits: usize, text: &mut Text) -> Result<()> {
    if digits == 0 {
        return Ok(());
    }
    let number = cursor.uint_be(group_bytes(digits))?;
    let begin = text.len();
    // A group has at most four bytes.
    push_numbers(text, '.', &[(number as i64, digits as u32)]);
    if text.len() - begin == digits { Ok(()) } else { Err(malformed()) }
}

/// The error of bytes that no server writes.
fn malformed() -> Error {
    Error::new(ErrorKind::Corrupt, "a DECIMAL of the log is malformed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_mysqls_sources_is_decoded() {
        // 1234567890.1234 as DECIMAL(14,4), the example of `decimal2bin` in MySQL's sources.
        let stored = [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2];
        assert_eq!(size(14, 4), stored.len());
        assert_eq!(text(&stored, 14, 4).expect("a number"), "1234567890.1234");
        let negative = [0x7e, 0xf2, 0x04, 0xc7, 0x2d, 0xfb, 0x2d];
        assert_eq!(text(&negative, 14, 4).expect("a number"), "-1234567890.1234");
        assert_eq!(text(&[0x80, 0x00], 3, 0).expect("zero"), "0");
        assert!(text(&[0x81, 0xff, 0xff, 0xff, 0xff, 0x04, 0xd2], 14, 4).is_err());
    }
}
