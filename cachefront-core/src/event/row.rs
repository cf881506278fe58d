//! The values of columns, and what they can be read as.

use std::sync::Arc;

use bytes::Bytes;

use crate::event::text::{Blob, Text};

/// A column's value, in the types that keys are made of.
///
/// It takes 32 bytes, and no allocation for a text of up to 30 bytes or up to 22 bytes of other kinds:
///
/// ```
/// use cachefront::event::Value;
///
/// let name = Value::Text("Ann".into());
/// assert!(matches!(&name, Value::Text(text) if text == "Ann"));
/// assert_eq!(Value::Bytes([7; 16].into()), Value::Bytes(vec![7; 16].into()));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    UInt(u64),
    /// A floating-point number.
    Float(f64),
    /// Text, and every type with one exact text form: DECIMAL, date and time (UTC), JSON.
    Text(Text),
    /// Bytes: BINARY, BLOB, and text that is not valid in its character set.
    Bytes(Blob),
}

/// One column of a row image.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Column {
    /// The column's value.
    Value(Value),
    /// The log's image does not contain this column.
    Missing,
    /// The column was not decoded because no mapping asked for it.
    Skipped,
    /// The source cannot decode the column.
    Unsupported,
}

/// A type that a column can be converted to.
pub trait FromValue: Sized {
    /// The expected type, for error messages.
    const EXPECTED: &'static str;

    /// Converts the value; returns `None` if it cannot be converted without loss.
    fn from_value(value: &Value) -> Option<Self>;

    /// Returns the value that stands for a NULL in a mapping which does not expect one, so that the keys that the mapping
    /// makes of other columns are found nevertheless.
    ///
    /// Default: what empty text, 0, no bytes or 0.0 is converted to, whichever can be. A type that can be made of none of
    /// them must return a value, or a NULL flushes the cache.
    fn empty() -> Option<Self> {
        let empty = [Value::Text("".into()), Value::UInt(0), Value::Bytes(Blob::from([])), Value::Float(0.0)];
        empty.iter().find_map(Self::from_value)
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl FromValue for $type {
            const EXPECTED: &'static str = concat!("an integer that fits ", stringify!($type));

            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Int(number) => Self::try_from(*number).ok(),
                    Value::UInt(number) => Self::try_from(*number).ok(),
                    _ => None,
                }
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);

macro_rules! texts {
    ($($type:ty),*) => {$(
        impl FromValue for $type {
            const EXPECTED: &'static str = "text";

            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Text(text) => Some(Self::from(&**text)),
                    _ => None,
                }
            }
        }
    )*};
}

texts!(String, Box<str>, Arc<str>);

macro_rules! byte_strings {
    ($($type:ty),*) => {$(
        impl FromValue for $type {
            const EXPECTED: &'static str = "bytes or text";

            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Bytes(bytes) => Some(Self::from(bytes.to_vec())),
                    Value::Text(text) => Some(Self::from(text.as_bytes().to_vec())),
                    _ => None,
                }
            }
        }
    )*};
}

byte_strings!(Vec<u8>, Bytes);

/// A BINARY column of this size; the source restores the zeros at its end that the log omits.
impl<const N: usize> FromValue for [u8; N] {
    const EXPECTED: &'static str = "bytes of the array's length";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => (**bytes).try_into().ok(),
            Value::Text(text) => text.as_bytes().try_into().ok(),
            _ => None,
        }
    }

    fn empty() -> Option<Self> {
        Some([0; N])
    }
}

/// A BINARY(16) column, or the text of a UUID.
#[cfg(feature = "uuid")]
impl FromValue for uuid::Uuid {
    const EXPECTED: &'static str = "16 bytes or the text of a UUID";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => Self::from_slice(bytes).ok(),
            Value::Text(text) => Self::try_parse(text).ok(),
            _ => None,
        }
    }

    fn empty() -> Option<Self> {
        Some(Self::nil())
    }
}

impl FromValue for Value {
    const EXPECTED: &'static str = "any value";

    fn from_value(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

pub(super) fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL",
        Value::Int(_) | Value::UInt(_) => "an integer",
        Value::Float(_) => "a floating-point number",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RowImage;

    #[test]
    fn bytes_of_another_length_are_no_array() {
        let row = RowImage::from_pairs([("id", Value::Bytes([7; 16].into())), ("short", Value::Bytes([7; 15].into()))]);
        assert_eq!(row.get::<[u8; 16]>("id").expect("16 bytes"), [7; 16]);
        assert_eq!(row.get::<Bytes>("id").expect("bytes"), [7; 16].as_slice());
        row.get::<[u8; 16]>("short").expect_err("15 bytes");
    }

    #[cfg(feature = "uuid")]
    #[test]
    fn a_uuid_is_read_from_bytes_and_from_text() {
        use uuid::Uuid;

        let row = RowImage::from_pairs([
            ("id", Value::Bytes([7; 16].into())),
            ("short", Value::Bytes([7; 15].into())),
            ("text", Value::Text("67E55044-10B1-426F-9247-BB680E5FE0C8".into())),
            ("null", Value::Null),
        ]);
        assert_eq!(row.get::<Uuid>("id").expect("16 bytes"), Uuid::from_bytes([7; 16]));
        row.get::<Uuid>("short").expect_err("15 bytes");
        assert_eq!(row.get::<Uuid>("text").expect("text").to_string(), "67e55044-10b1-426f-9247-bb680e5fe0c8");
        assert!(row.without_nulls().expect("a NULL").get::<Uuid>("null").expect("the nil UUID").is_nil());
    }

    #[test]
    fn every_type_of_a_column_has_a_value_for_null() {
        let row = RowImage::from_pairs([("x", Value::Null)]).without_nulls().expect("it has a NULL");
        assert_eq!(row.get::<[u8; 16]>("x").expect("zeros"), [0; 16]);
        assert_eq!(row.get::<Bytes>("x").expect("no bytes"), "");
        assert_eq!(&*row.get::<Arc<str>>("x").expect("no text"), "");
        assert_eq!(row.get::<u128>("x").expect("zero"), 0);
    }
}
