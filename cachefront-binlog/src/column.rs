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
    /// An ENUM or a SET whose labels are in a character set that cannot be decoded.
    Unlabelled {
        bytes: usize,
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
    /// A value that MariaDB has compressed, with its length in front: it is skipped.
    Compressed {
        length_bytes: usize,
    },
    /// A type of a later server, which can be neither decoded nor skipped.
    Unknown(u8),
}

/// The type codes of columns (`enum_field_types`).
pub(crate) mod code {
    pub(crate) const TINY: u8 = 1;
    pub(crate) const SHORT: u8 = 2;
    pub(crate) const LONG: u8 = 3;
    pub(crate) const FLOAT: u8 = 4;
    pub(crate) const DOUBLE: u8 = 5;
    pub(crate) const TIMESTAMP: u8 = 7;
    pub(crate) const LONGLONG: u8 = 8;
    pub(crate) const INT24: u8 = 9;
    pub(crate) const DATE: u8 = 10;
    pub(crate) const TIME: u8 = 11;
    pub(crate) const DATETIME: u8 = 12;
    pub(crate) const YEAR: u8 = 13;
    pub(crate) const NEWDATE: u8 = 14;
    pub(crate) const VARCHAR: u8 = 15;
    pub(crate) const BIT: u8 = 16;
    pub(crate) const TIMESTAMP2: u8 = 17;
    pub(crate) const DATETIME2: u8 = 18;
    pub(crate) const TIME2: u8 = 19;
    /// Compressed columns of MariaDB.
    pub(crate) const BLOB_COMPRESSED: u8 = 140;
    pub(crate) const VARCHAR_COMPRESSED: u8 = 141;
    pub(crate) const VECTOR: u8 = 242;
    pub(crate) const JSON: u8 = 245;
    pub(crate) const NEWDECIMAL: u8 = 246;
    pub(crate) const ENUM: u8 = 247;
    pub(crate) const SET: u8 = 248;
    pub(crate) const TINY_BLOB: u8 = 249;
    pub(crate) const MEDIUM_BLOB: u8 = 250;
    pub(crate) const LONG_BLOB: u8 = 251;
    pub(crate) const BLOB: u8 = 252;
    pub(crate) const VAR_STRING: u8 = 253;
    pub(crate) const STRING: u8 = 254;
    pub(crate) const GEOMETRY: u8 = 255;
}

/// The type codes that the log may have for a column of this type, as `information_schema` names it. Without any, the type
/// is not known.
pub(crate) fn codes_of(data_type: &str) -> &'static [u8] {
    match data_type {
        "tinyint" => &[code::TINY],
        "smallint" => &[code::SHORT],
        "mediumint" => &[code::INT24],
        "int" => &[code::LONG],
        "bigint" => &[code::LONGLONG],
        "float" => &[code::FLOAT],
        "double" => &[code::DOUBLE],
        "decimal" => &[code::NEWDECIMAL],
        "year" => &[code::YEAR],
        "date" => &[code::DATE, code::NEWDATE],
        "time" => &[code::TIME, code::TIME2],
        "datetime" => &[code::DATETIME, code::DATETIME2],
        "timestamp" => &[code::TIMESTAMP, code::TIMESTAMP2],
        "char" | "binary" | "enum" | "set" => &[code::STRING, code::ENUM, code::SET],
        "varchar" | "varbinary" => &[code::VARCHAR, code::VAR_STRING, code::VARCHAR_COMPRESSED],
        "tinytext" | "text" | "mediumtext" | "longtext" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            &[code::TINY_BLOB, code::BLOB, code::MEDIUM_BLOB, code::LONG_BLOB, code::BLOB_COMPRESSED]
        }
        "bit" => &[code::BIT],
        "json" => &[code::JSON],
        "vector" => &[code::VECTOR],
        _ => &[],
    }
}
