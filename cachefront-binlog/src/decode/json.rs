//! JSON: converts MySQL's binary format to the text that the server prints for it.
//!
//! The format is described in MySQL's `sql-common/json_binary.h`, see
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/json__binary_8h.html>.
//!
//! A document is a type byte and a value. A scalar has its value directly. An object or array has, each as a number of 2
//! bytes (small) or 4 bytes (large): the number of elements, the size in bytes; for an object the offset (2 or 4 bytes) and
//! length (2 bytes) of each key; then for each element a type byte and its value, if it fits, or else its offset.
//!
//! # Types
//!
//! | type | value | inline in a small / large container |
//! |---:|---|---|
//! | 0, 1 | object: small, large | no / no |
//! | 2, 3 | array: small, large | no / no |
//! | 4 | literal: 0 null, 1 true, 2 false | yes / yes |
//! | 5, 6 | 16-bit integer: signed, unsigned | yes / yes |
//! | 7, 8 | 32-bit integer: signed, unsigned | no / yes |
//! | 9, 10 | 64-bit integer: signed, unsigned | no / no |
//! | 11 | double | no / no |
//! | 12 | text: length in groups of seven bits, then UTF-8 | no / no |
//! | 15 | value of another SQL type: type code, length, bytes | no / no |
//!
//! # Example
//! `{"a": [1]}` takes 20 bytes:
//!
//! ```text
//! 00                 small object
//! 01 00  13 00       1 element, 19 bytes
//! 0B 00  01 00       key at offset 11, 1 byte
//! 02     0C 00       value: small array at offset 12
//! 61                 a
//! 01 00  07 00       1 element, 7 bytes
//! 05     01 00       16-bit integer 1, inline
//! ```
//!
//! Keys are sorted by their length and then by their bytes. The order is kept in the text: a reader
//! of the table gets the same one.

use cachefront_core::{Error, ErrorKind, Result};

use crate::cursor::Cursor;
use crate::decode::{decimal, temporal};

/// Maximum depth of a document, as in MySQL.
///
/// A deeper one is `Corrupt`; the server refuses to store it.
const DEPTH_MAX: usize = 100;

/// Maximum size of the text for each byte of a document: a control character is printed as six, a number of 8 bytes as up to
/// 24. Elements of a damaged document may share their bytes, and these again, without end.
const TEXT_PER_BYTE: usize = 8;

/// What is left of the bounds of a document.
///
/// They are passed by value: each branch of a document may be as deep as the bound says.
#[derive(Clone, Copy)]
struct Bounds {
    /// Depth of the containers that may follow.
    depth: usize,
    /// Maximum size of the whole text, in bytes.
    text: usize,
}

/// The types of values.
///
/// They are the numbers of the table above.
mod tag {
    pub(super) const SMALL_OBJECT: u8 = 0;
    pub(super) const LARGE_OBJECT: u8 = 1;
    pub(super) const SMALL_ARRAY: u8 = 2;
    pub(super) const LARGE_ARRAY: u8 = 3;
    pub(super) const LITERAL: u8 = 4;
    pub(super) const INT16: u8 = 5;
    pub(super) const UINT16: u8 = 6;
    pub(super) const INT32: u8 = 7;
    pub(super) const UINT32: u8 = 8;
    pub(super) const INT64: u8 = 9;
    pub(super) const UINT64: u8 = 10;
    pub(super) const DOUBLE: u8 = 11;
    pub(super) const STRING: u8 = 12;
    pub(super) const OPAQUE: u8 = 15;
}

/// The text of a document, with a space after each `:` and `,`.
///
/// # Errors
/// `Corrupt` if an offset or a length leads out of the document, a text is not UTF-8, or the
/// document is deeper or longer than any that a server writes.
pub(crate) fn text(bytes: &[u8]) -> Result<String> {
    // Old servers log an empty value for a NULL that was written to a NOT NULL column.
    let Some((&kind, document)) = bytes.split_first() else { return Ok("null".to_owned()) };
    let mut text = String::with_capacity(bytes.len());
    value(kind, document, Bounds { depth: DEPTH_MAX, text: 64 + TEXT_PER_BYTE * bytes.len() }, &mut text)?;
    Ok(text)
}

/// Prints a value of this type, which begins at the first byte.
fn value(kind: u8, bytes: &[u8], bounds: Bounds, text: &mut String) -> Result<()> {
    let mut cursor = Cursor::new(bytes);
    match kind {
        tag::SMALL_OBJECT => container(bytes, 2, true, bounds, text)?,
        tag::LARGE_OBJECT => container(bytes, 4, true, bounds, text)?,
        tag::SMALL_ARRAY => container(bytes, 2, false, bounds, text)?,
        tag::LARGE_ARRAY => container(bytes, 4, false, bounds, text)?,
        tag::LITERAL => text.push_str(match cursor.u8()? {
            0 => "null",
            1 => "true",
            2 => "false",
            _ => return Err(malformed()),
        }),
        tag::INT16 => text.push_str(&i16::from_le_bytes(cursor.array()?).to_string()),
        tag::UINT16 => text.push_str(&cursor.u16()?.to_string()),
        tag::INT32 => text.push_str(&i32::from_le_bytes(cursor.array()?).to_string()),
        tag::UINT32 => text.push_str(&cursor.u32()?.to_string()),
        tag::INT64 => text.push_str(&i64::from_le_bytes(cursor.array()?).to_string()),
        tag::UINT64 => text.push_str(&cursor.u64()?.to_string()),
        tag::DOUBLE => text.push_str(&number(f64::from_le_bytes(cursor.array()?))?),
        tag::STRING => {
            let length = varying_length(&mut cursor)?;
            quote(utf8(cursor.take(length)?)?, text);
        }
        tag::OPAQUE => opaque(&mut cursor, text)?,
        _ => return Err(malformed()),
    }
    Ok(())
}

/// Prints a number as the server does: with the fewest digits that identify it; with an exponent below 10^-15, and for integers
/// from 10^15 on.
fn number(number: f64) -> Result<String> {
    let scientific = format!("{number:e}");
    // Infinity and NaN have no exponent.
    let exponent: i32 =
        scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).ok_or_else(malformed)?;
    let plain = number.to_string();
    Ok(match exponent {
        -15.. if plain.contains('.') => plain,
        -15..=14 => plain + ".0",
        _ => scientific,
    })
}

/// Prints an object or an array. Counts and offsets have `width` bytes; offsets are relative to the container.
///
/// Small containers hold up to 64 KiB; larger ones have 4 bytes for each count and offset.
fn container(bytes: &[u8], width: usize, object: bool, bounds: Bounds, text: &mut String) -> Result<()> {
    let depth = bounds.depth.checked_sub(1).ok_or_else(malformed)?;
    let mut head = Cursor::new(bytes);
    let count = head.uint(width)? as usize;
    let size = head.uint(width)? as usize;
    let bytes = bytes.get(..size).ok_or_else(malformed)?;
    let mut keys = Cursor::new(if object { head.take(count.saturating_mul(width + 2))? } else { &[] });
    text.push(if object { '{' } else { '[' });
    for index in 0..count {
        if index > 0 {
            text.push_str(", ");
        }
        if object {
            let (offset, length) = (keys.uint(width)? as usize, usize::from(keys.u16()?));
            let key = bytes.get(offset..).and_then(|rest| rest.get(..length)).ok_or_else(malformed)?;
            quote(utf8(key)?, text);
            text.push_str(": ");
        }
        let kind = head.u8()?;
        let slot = head.take(width)?;
        let inline = matches!(kind, tag::LITERAL | tag::INT16 | tag::UINT16)
            || width == 4 && matches!(kind, tag::INT32 | tag::UINT32);
        let element = if inline {
            slot
        } else {
            let offset = Cursor::new(slot).uint(width)? as usize;
            bytes.get(offset..).ok_or_else(malformed)?
        };
        value(kind, element, Bounds { depth, ..bounds }, text)?;
        if text.len() > bounds.text {
            return Err(malformed());
        }
    }
    text.push(if object { '}' } else { ']' });
    Ok(())
}

/// A length in groups of seven bits, the lowest first.
///
/// The highest bit of a byte says that another one follows; five bytes hold 35 bits.
fn varying_length(cursor: &mut Cursor<'_>) -> Result<usize> {
    let mut length = 0_usize;
    for group in 0..5 {
        let byte = cursor.u8()?;
        length |= usize::from(byte & 0x7f) << (7 * group);
        if byte & 0x80 == 0 {
            return Ok(length);
        }
    }
    Err(malformed())
}

/// Prints a value of an SQL type that JSON does not have.
///
/// DECIMAL and the temporal types are printed as the server prints them; others, such as a BLOB, in
/// base64 with their type code.
fn opaque(cursor: &mut Cursor<'_>, text: &mut String) -> Result<()> {
    const TIMESTAMP: u8 = 7;
    const DATE: u8 = 10;
    const TIME: u8 = 11;
    const DATETIME: u8 = 12;
    const NEWDECIMAL: u8 = 246;
    let kind = cursor.u8()?;
    let length = varying_length(cursor)?;
    let bytes = cursor.take(length)?;
    let mut inner = Cursor::new(bytes);
    match kind {
        NEWDECIMAL => {
            let (precision, scale) = (usize::from(inner.u8()?), usize::from(inner.u8()?));
            let stored = inner.take(decimal::size(precision, scale))?;
            text.push_str(&decimal::text(stored, precision, scale)?);
        }
        TIMESTAMP | DATETIME | DATE | TIME => quote(&temporal::packed(inner.u64()?, kind == DATE, kind == TIME), text),
        _ => quote(&format!("base64:type{kind}:{}", base64(bytes)), text),
    }
    Ok(())
}

/// Encodes bytes in base64, as the server prints opaque values.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| DIGITS.get((bits & 63) as usize).copied().map_or('=', char::from);
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        text.push(digit(bits >> 18));
        text.push(digit(bits >> 12));
        text.push(if chunk.len() > 1 { digit(bits >> 6) } else { '=' });
        text.push(if chunk.len() > 2 { digit(bits) } else { '=' });
    }
    text
}

/// Appends a string in double quotes, with the escapes that the server uses.
fn quote(plain: &str, text: &mut String) {
    text.push('"');
    for character in plain.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            control if control < ' ' => text.push_str(&format!("\\u{:04x}", control as u32)),
            other => text.push(other),
        }
    }
    text.push('"');
}

/// Text of a document is always utf8mb4.
fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| malformed())
}

/// The error of a document that no server writes.
fn malformed() -> Error {
    Error::new(ErrorKind::Corrupt, "a JSON value of the log is malformed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_prints_as_the_server_prints_it() {
        // The outer object: 2 members, 33 bytes; keys at 18 and 19, the array at 20, null in place.
        // The array: 2 elements, 13 bytes; 1 in place, the string at 10.
        let document: &[u8] = &[
            0, 2, 0, 33, 0, 18, 0, 1, 0, 19, 0, 1, 0, 2, 20, 0, 4, 0, 0, b'a', b'b', 2, 0, 12, 0, 5, 1, 0, 12, 10, 0,
            1, b'x', 0,
        ];
        assert_eq!(text(document).expect("a document"), r#"{"a": [1, "x"], "b": null}"#);
        for end in 0..document.len() {
            let _ = text(&document[..end]);
        }
        assert_eq!(text(&[5, 0xff, 0xff]).expect("a number"), "-1");
        assert_eq!(text(&[12, 3, b'a', b'"', b'\n']).expect("a string"), r#""a\"\n""#);
        assert!(text(&[99]).is_err());
    }

    #[test]
    fn a_number_prints_as_the_server_prints_it() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.5, "1.5"),
            (0.000_05, "0.00005"),
            (-1e-15, "-0.000000000000001"),
            (1.234_567_890_123_456_8e-15, "0.0000000000000012345678901234568"),
            (1e-16, "1e-16"),
            (1e14, "100000000000000.0"),
            (999_999_999_999_999.9, "999999999999999.9"),
            (1e15, "1e15"),
            (1_000_000_000_000_000.5, "1000000000000000.5"),
            (1.25e15, "1.25e15"),
            (1e16, "1e16"),
            (123_456_789_012_345_680.0, "1.2345678901234568e17"),
            (1e300, "1e300"),
            (2.225_073_858_507_201_4e-308, "2.2250738585072014e-308"),
        ] {
            let document = [&[tag::DOUBLE][..], &f64::to_le_bytes(value)].concat();
            assert_eq!(text(&document).expect("a number"), expected);
        }
    }

    #[test]
    fn elements_that_share_their_bytes_are_malformed() {
        // Arrays of 200 elements, each of which is the array after it.
        let mut document = vec![tag::SMALL_ARRAY];
        let mut arrays = Vec::new();
        for level in 0..8_u16 {
            let last = level == 7;
            arrays.extend(200_u16.to_le_bytes());
            arrays.extend(u16::MAX.to_le_bytes());
            for _ in 0..200 {
                arrays.push(if last { tag::LITERAL } else { tag::SMALL_ARRAY });
                arrays.extend(if last { 0 } else { 604_u16 }.to_le_bytes());
            }
        }
        arrays.resize(usize::from(u16::MAX) + 604 * 8, 0);
        for level in 0..8 {
            let size = (arrays.len() - level * 604).min(60_000) as u16;
            arrays[level * 604 + 2..level * 604 + 4].copy_from_slice(&size.to_le_bytes());
        }
        document.extend(arrays);
        assert!(text(&document).is_err());
    }

    #[test]
    fn opaque_bytes_print_in_base64() {
        assert_eq!(base64(b"light w"), "bGlnaHQgdw==");
        assert_eq!(base64(b""), "");
    }
}
