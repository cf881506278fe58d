//! Decodes or skips the value of one column. It covers all types of MySQL and never panics.
//!
//! The crate has its own decoder instead of `mysql_common::binlog`, which comes with the driver, for two reasons.
//! `BinlogRow` decodes every column that an image has; here an unmapped column costs the reading of its length. And
//! `BinlogRow` indexes into the metadata of a damaged table map without checks, so a damaged log panics; here it is an
//! error, which becomes a gap.
//!
//! Formats follow the sources of MySQL, and these pages of its manual:
//! <https://dev.mysql.com/doc/refman/8.4/en/storage-requirements.html> (sizes),
//! <https://dev.mysql.com/doc/refman/8.4/en/precision-math-decimal-characteristics.html> (DECIMAL),
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/field__types_8h.html> (type codes).
//!
//! # Values
//!
//! | SQL type | value |
//! |---|---|
//! | integers, BIT, YEAR | `Int` if signed, else `UInt`; a BIT of more than 64 bits is `Bytes` |
//! | FLOAT, DOUBLE | `Float` |
//! | DECIMAL, DATE, TIME, DATETIME, TIMESTAMP, JSON | `Text`, as the server prints it; a TIMESTAMP in UTC |
//! | CHAR, VARCHAR, TEXT | `Text`; `Bytes` if they are not valid in their character set |
//! | BINARY, VARBINARY, BLOB, GEOMETRY, VECTOR | `Bytes` |
//! | ENUM, SET | `Text` with the labels; `UInt` if these are not known |
//! | NULL of any type | `Null` |
//!
//! Keys of the cache are made of these values, so two sources must produce the same ones. The laws
//! that every source is tested by compare them.

mod decimal;
mod json;
mod temporal;

use cachefront_core::event::{Blob, Column as Cell, Text, Value};
use cachefront_core::{Error, ErrorKind, Result};

use crate::charset::Charset;
use crate::column::Kind;
use crate::cursor::Cursor;
use crate::metadata::Labels;

/// How many bytes a value takes that is not NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// This number.
    Fixed(usize),
    /// A length of this number of bytes is in front of it.
    Sized(usize),
    /// The type, of this code, is not known.
    Unknown(u8),
}

/// Returns the size of a type's values.
#[inline]
pub(crate) fn size(kind: &Kind) -> Size {
    Size::Fixed(match kind {
        Kind::Integer { bytes, .. }
        | Kind::Enum { bytes, .. }
        | Kind::Set { bytes, .. }
        | Kind::Unlabelled { bytes } => *bytes,
        Kind::Text { length_bytes, .. }
        | Kind::Bytes { length_bytes, .. }
        | Kind::Json { length_bytes }
        | Kind::Compressed { length_bytes } => return Size::Sized(*length_bytes),
        Kind::Float | Kind::OldTimestamp => 4,
        Kind::Double | Kind::OldDateTime => 8,
        Kind::Decimal { precision, scale } => decimal::size(*precision, *scale),
        Kind::Year => 1,
        Kind::Date | Kind::OldTime => 3,
        Kind::Time { fraction } => 3 + temporal::fraction_bytes(*fraction),
        Kind::DateTime { fraction } => 5 + temporal::fraction_bytes(*fraction),
        Kind::Timestamp { fraction } => 4 + temporal::fraction_bytes(*fraction),
        Kind::Bit { bits } => bits.div_ceil(8),
        Kind::Unknown(code) => return Size::Unknown(*code),
    })
}

/// Skips a value.
///
/// # Errors
/// `Corrupt` if the image ends too early, or the type is unknown.
///
/// It costs one read of a length at most: mappings name few of the columns that an image has.
#[inline]
pub(crate) fn skip(kind: &Kind, cursor: &mut Cursor<'_>) -> Result<()> {
    match size(kind) {
        Size::Fixed(bytes) => cursor.skip(bytes),
        Size::Sized(length_bytes) => {
            let length = cursor.uint(length_bytes)? as usize;
            cursor.skip(length)
        }
        Size::Unknown(code) => Err(unknown(code)),
    }
}

/// Decodes a column that is not NULL. A text whose character set is not known has no value.
///
/// # Errors
/// `Corrupt` if it cannot be decoded.
///
/// Such a column is [`Cell::Unsupported`]: a mapping that reads it gets an error, and the change
/// flushes the caches of the table.
pub(crate) fn cell(kind: &Kind, cursor: &mut Cursor<'_>) -> Result<Cell> {
    match kind {
        Kind::Text { charset, .. } if !charset.is_decodable() => skip(kind, cursor).map(|()| Cell::Unsupported),
        Kind::Unlabelled { .. } | Kind::Compressed { .. } => skip(kind, cursor).map(|()| Cell::Unsupported),
        kind => value(kind, cursor).map(Cell::Value),
    }
}

/// Decodes a column that is not NULL, and appends it. The commonest types are decoded where they are stored.
///
/// # Errors
/// `Corrupt` if it cannot be decoded.
#[inline]
pub(crate) fn push(kind: &Kind, cursor: &mut Cursor<'_>, cells: &mut Vec<Cell>) -> Result<()> {
    match kind {
        Kind::Integer { bytes, unsigned: true } => cells.push(Cell::Value(Value::UInt(cursor.uint(*bytes)?))),
        Kind::Text { length_bytes, charset: Charset::Utf8 } => {
            let bytes = sized(cursor, *length_bytes)?;
            cells.push(Cell::Value(string(bytes, Charset::Utf8)));
        }
        Kind::Timestamp { fraction } => cells.push(Cell::Value(Value::Text(temporal::timestamp(cursor, *fraction)?))),
        kind => cells.push(cell(kind, cursor)?),
    }
    Ok(())
}

/// Decodes a value.
///
/// # Errors
/// `Corrupt` if it cannot be decoded.
fn value(kind: &Kind, cursor: &mut Cursor<'_>) -> Result<Value> {
    Ok(match kind {
        Kind::Integer { bytes, unsigned: true } => Value::UInt(cursor.uint(*bytes)?),
        Kind::Integer { bytes, unsigned: false } => {
            Value::Int(temporal::sign_extend(cursor.uint(*bytes)?, 8 * *bytes as u32))
        }
        Kind::Float => Value::Float(f64::from(f32::from_le_bytes(cursor.array()?))),
        Kind::Double => Value::Float(f64::from_le_bytes(cursor.array()?)),
        Kind::Decimal { precision, scale } => {
            let stored = cursor.take(decimal::size(*precision, *scale))?;
            text(decimal::text(stored, *precision, *scale)?)
        }
        Kind::Year => match cursor.u8()? {
            0 => Value::UInt(0),
            year => Value::UInt(1900 + u64::from(year)),
        },
        Kind::Date => text(temporal::date(cursor)?),
        Kind::OldTime => text(temporal::old_time(cursor)?),
        Kind::OldDateTime => text(temporal::old_datetime(cursor)?),
        Kind::OldTimestamp => text(temporal::old_timestamp(cursor)?),
        Kind::Time { fraction } => text(temporal::time(cursor, *fraction)?),
        Kind::DateTime { fraction } => text(temporal::datetime(cursor, *fraction)?),
        Kind::Timestamp { fraction } => text(temporal::timestamp(cursor, *fraction)?),
        Kind::Bit { bits } => bit(cursor.take(bits.div_ceil(8))?),
        Kind::Enum { bytes, labels } => enumeration(cursor.uint(*bytes)?, labels.as_ref())?,
        Kind::Set { bytes, labels } => set(cursor.uint(*bytes)?, labels.as_ref())?,
        Kind::Text { length_bytes, charset } => string(sized(cursor, *length_bytes)?, *charset),
        Kind::Bytes { length_bytes, pad } => binary(sized(cursor, *length_bytes)?, *pad),
        Kind::Json { length_bytes } => text(json::text(sized(cursor, *length_bytes)?)?),
        Kind::Unlabelled { .. } => return Err(out_of_list("an ENUM or a SET")),
        Kind::Compressed { .. } => return Err(Error::new(ErrorKind::Corrupt, "a compressed value is not decoded")),
        Kind::Unknown(code) => return Err(unknown(*code)),
    })
}

/// Takes bytes with their length in front.
///
/// The length is little-endian.
#[inline]
fn sized<'a>(cursor: &mut Cursor<'a>, length_bytes: usize) -> Result<&'a [u8]> {
    let length = cursor.uint(length_bytes)? as usize;
    cursor.take(length)
}

/// A value that is printed rather than stored as text.
fn text(text: impl Into<Text>) -> Value {
    Value::Text(text.into())
}

/// A BIT value, as a number up to 64 bits.
fn bit(bytes: &[u8]) -> Value {
    match bytes.len() {
        0..=8 => Value::UInt(bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))),
        _ => Value::Bytes(bytes.into()),
    }
}

/// Labels are numbered from 1. 0 is the empty text that MySQL stores for a value that is not in the list.
pub(crate) fn enumeration(number: u64, labels: Option<&Labels>) -> Result<Value> {
    let Some(labels) = labels else { return Ok(Value::UInt(number)) };
    if number == 0 {
        return Ok(Value::Text("".into()));
    }
    let label = usize::try_from(number - 1).ok().and_then(|index| labels.get(index));
    label.map(|label| Value::Text((&**label).into())).ok_or_else(|| out_of_list("an ENUM"))
}

/// The labels of the bits that are set, joined by commas, as MySQL prints a SET.
pub(crate) fn set(bits: u64, labels: Option<&Labels>) -> Result<Value> {
    let Some(labels) = labels else { return Ok(Value::UInt(bits)) };
    // A SET has at most 64 labels; a damaged table map may have more.
    if labels.len() > 64 || (labels.len() < 64 && bits >> labels.len() != 0) {
        return Err(out_of_list("a SET"));
    }
    let mut members = Text::new();
    for (_, label) in labels.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1) {
        if !members.is_empty() {
            members.push(',');
        }
        members.push_str(label);
    }
    Ok(Value::Text(members))
}

/// Text in UTF-8; bytes if they are not valid in the character set.
#[inline]
fn string(bytes: &[u8], charset: Charset) -> Value {
    match charset.decode(bytes) {
        Some(text) => Value::Text(text),
        None => Value::Bytes(bytes.into()),
    }
}

/// Restores the trailing zeros of a BINARY(n), which the log omits and which every reader of the table sees.
fn binary(bytes: &[u8], pad: Option<usize>) -> Value {
    Value::Bytes(match pad {
        Some(size) if bytes.len() < size => {
            let mut bytes = bytes.to_vec();
            bytes.resize(size, 0);
            bytes.into()
        }
        _ => Blob::from(bytes),
    })
}

/// The error of a type that a later server has added.
fn unknown(code: u8) -> Error {
    let text = format!("a column has the unknown type {code}: a newer version of this crate may know it");
    Error::new(ErrorKind::Corrupt, text)
}

/// The error of a number that no label has.
fn out_of_list(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the log has a value of {what} that is not in its list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, bytes: &[u8]) -> Value {
        let (mut read, mut skipped) = (Cursor::new(bytes), Cursor::new(bytes));
        let value = value(&kind, &mut read).expect("a value");
        skip(&kind, &mut skipped).expect("skipped");
        assert!(read.is_empty() && skipped.is_empty(), "{kind:?}: decoding and skipping take the same bytes");
        value
    }

    #[test]
    fn a_mediumint_keeps_its_sign() {
        let medium = |unsigned| Kind::Integer { bytes: 3, unsigned };
        assert_eq!(read(medium(false), &[0xff, 0xff, 0xff]), Value::Int(-1));
        assert_eq!(read(medium(true), &[0xff, 0xff, 0xff]), Value::UInt(16_777_215));
        assert_eq!(read(Kind::Integer { bytes: 8, unsigned: true }, &[0xff; 8]), Value::UInt(u64::MAX));
        assert_eq!(read(Kind::Integer { bytes: 8, unsigned: false }, &[0xff; 8]), Value::Int(-1));
    }

    #[test]
    fn a_set_is_printed_as_by_the_server_and_a_damaged_one_is_an_error() {
        let labels = |count: usize| -> Labels { (0..count).map(|index| format!("l{index}").into()).collect() };
        let text =
            |bits, labels: &Labels| set(bits, Some(labels)).map(|value| value == Value::Text(Text::from("l0,l63")));
        assert!(text(1 << 63 | 1, &labels(64)).expect("a SET"));
        set(1, Some(&labels(65))).expect_err("more labels than a SET has");
        set(2, Some(&labels(1))).expect_err("a label that there is not");
        // The server separates a label from what is before it, if there is anything.
        let with_empty: Labels = ["", "a"].map(Box::from).into();
        assert_eq!(set(3, Some(&with_empty)).expect("a SET"), Value::Text("a".into()));
    }

    #[test]
    fn binary_is_padded_and_bad_utf8_stays_bytes() {
        let sixteen = Kind::Bytes { length_bytes: 1, pad: Some(16) };
        let mut padded = vec![0_u8; 16];
        padded[0] = b'A';
        assert_eq!(read(sixteen, &[1, b'A']), Value::Bytes(padded.into()));
        let utf8 = || Kind::Text { length_bytes: 1, charset: Charset::Utf8 };
        assert_eq!(read(utf8(), &[2, 0xc3, 0xa4]), Value::Text("ä".into()));
        assert_eq!(read(utf8(), &[1, 0xff]), Value::Bytes([0xff].into()));
    }

    #[test]
    fn text_of_an_unknown_character_set_has_no_value() {
        for (charset, cell_of) in [
            (Charset::of_name("gbk"), Cell::Unsupported),
            (Charset::Other, Cell::Unsupported),
            (Charset::of_name("cp1251"), Cell::Value(Value::Text("Ж".into()))),
            (Charset::Binary, Cell::Value(Value::Bytes([0xc6].into()))),
        ] {
            let mut cursor = Cursor::new(&[1, 0xc6]);
            assert_eq!(cell(&Kind::Text { length_bytes: 1, charset }, &mut cursor).expect("a cell"), cell_of);
            assert!(cursor.is_empty());
        }
        let label = cell(&Kind::Unlabelled { bytes: 1 }, &mut Cursor::new(&[1])).expect("a cell");
        assert_eq!(label, Cell::Unsupported);
    }

    #[test]
    fn enum_and_set_values_have_labels_if_these_are_known() {
        let labels: Labels = ["p", "q", "r"].map(Box::from).into();
        let named = |bytes| Kind::Set { bytes, labels: Some(Labels::clone(&labels)) };
        assert_eq!(read(named(1), &[0b101]), Value::Text("p,r".into()));
        assert!(value(&named(1), &mut Cursor::new(&[0b1000])).is_err());
        assert_eq!(read(Kind::Enum { bytes: 1, labels: None }, &[2]), Value::UInt(2));
        assert_eq!(
            read(Kind::Enum { bytes: 2, labels: Some(Labels::clone(&labels)) }, &[2, 0]),
            Value::Text("q".into())
        );
    }

    #[test]
    fn an_unknown_type_is_an_error_and_not_a_panic() {
        assert!(skip(&Kind::Unknown(200), &mut Cursor::new(&[1, 2, 3])).is_err());
        assert!(value(&Kind::Text { length_bytes: 4, charset: Charset::Utf8 }, &mut Cursor::new(&[255; 5])).is_err());
    }
}
