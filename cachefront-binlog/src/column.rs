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
    Float,
    Double,
    Decimal {
        precision: usize,
        scale: usize,
    },
    Year,
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
    Bit {
        bits: usize,
    },
    Enum {
        bytes: usize,
        labels: Option<Labels>,
    },
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
    Json {
        length_bytes: usize,
    },
    /// A type of a later server, which can be neither decoded nor skipped.
    Unknown(u8),
}
