//! The storage format of a column in a row image, for every type of MySQL.

use crate::charset::Charset;
use crate::metadata::Labels;

/// How a column is stored in a row image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// 1, 2, 3, 4 or 8 bytes.
    Integer {
        bytes: usize,
        unsigned: bool,
    },
    /// 4 bytes.
    Float,
    /// 8 bytes.
    Double,
    /// Digits in groups of nine.
    Decimal {
        /// Number of digits.
        precision: usize,
        /// Number of digits after the point.
        scale: usize,
    },
    /// 1 byte, counted from 1900.
    Year,
    /// 3 bytes.
    Date,
    /// The formats before MySQL 5.6, without fractions.
    OldTime,
    OldDateTime,
    OldTimestamp,
    /// The format since MySQL 5.6, with 0 to 6 fractional digits.
    Time {
        fraction: usize,
    },
    DateTime {
        fraction: usize,
    },
    Timestamp {
        fraction: usize,
    },
    /// A bit field, big-endian.
    Bit {
        bits: usize,
    },
    /// The number of a label, counted from 1.
    Enum {
        bytes: usize,
        labels: Option<Labels>,
    },
    /// One bit for each label.
    Set {
        bytes: usize,
        labels: Option<Labels>,
    },
    /// Text with its length in front, which takes `length_bytes`.
    Text {
        length_bytes: usize,
        charset: Charset,
    },
    /// Bytes with their length in front, which takes `length_bytes`. `pad` is the size of a BINARY column, whose trailing
    /// zeros are not logged.
    Bytes {
        length_bytes: usize,
        pad: Option<usize>,
    },
    /// A document in MySQL's binary format.
    Json {
        length_bytes: usize,
    },
    /// A type of a later server, which can be neither decoded nor skipped.
    Unknown(u8),
}
