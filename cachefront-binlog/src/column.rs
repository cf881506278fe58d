//! The storage format of a column in a row image, for every type of MySQL.
//!
//! # Sizes in a row image
//!
//! | SQL type | bytes | format |
//! |---|---:|---|
//! | TINYINT, SMALLINT, MEDIUMINT, INT, BIGINT | 1, 2, 3, 4, 8 | little-endian, two's complement if signed |
//! | FLOAT, DOUBLE | 4, 8 | IEEE 754, little-endian |
//! | DECIMAL(p, s) | varies | see `decode::decimal` |
//! | BIT(n) | (n + 7) / 8 | big-endian |
//! | YEAR, DATE, TIME, DATETIME, TIMESTAMP | varies | see `decode::temporal` |
//! | CHAR, VARCHAR, BINARY, VARBINARY | 1 or 2, then n | length, then the bytes |
//! | TINYTEXT, TEXT, MEDIUMTEXT, LONGTEXT and the BLOBs | 1, 2, 3 or 4, then n | length, then the bytes |
//! | ENUM | 1 or 2 | number of the label; 0 is the empty text of an invalid value |
//! | SET | 1, 2, 3, 4 or 8 | one bit for each label, the first one lowest |
//! | JSON | 4, then n | length, then see `decode::json` |
//! | GEOMETRY, VECTOR | 4, then n | length, then the bytes |
//!
//! A NULL takes no bytes: it is a bit in the head of the image. Source: "Data Type Storage
//! Requirements", <https://dev.mysql.com/doc/refman/8.4/en/storage-requirements.html>.

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
///
/// An event has one code per column. The same code may belong to several SQL types: TEXT and BLOB
/// differ in their collation only, and CHAR, ENUM and SET share the code 254 until their metadata
/// is read.
pub(crate) mod code {
    /// TINYINT and BOOL.
    pub(crate) const TINY: u8 = 1;
    /// SMALLINT.
    pub(crate) const SHORT: u8 = 2;
    /// INT.
    pub(crate) const LONG: u8 = 3;
    /// FLOAT; metadata: its size.
    pub(crate) const FLOAT: u8 = 4;
    /// DOUBLE; metadata: its size.
    pub(crate) const DOUBLE: u8 = 5;
    /// TIMESTAMP as servers before 5.6 store it.
    pub(crate) const TIMESTAMP: u8 = 7;
    /// BIGINT.
    pub(crate) const LONGLONG: u8 = 8;
    /// MEDIUMINT.
    pub(crate) const INT24: u8 = 9;
    /// DATE.
    pub(crate) const DATE: u8 = 10;
    /// TIME as servers before 5.6 store it.
    pub(crate) const TIME: u8 = 11;
    /// DATETIME as servers before 5.6 store it.
    pub(crate) const DATETIME: u8 = 12;
    /// YEAR.
    pub(crate) const YEAR: u8 = 13;
    /// DATE, as the server calls it internally; it is logged as [`DATE`].
    pub(crate) const NEWDATE: u8 = 14;
    /// VARCHAR and VARBINARY; metadata: the maximum length in bytes, in 2 bytes.
    pub(crate) const VARCHAR: u8 = 15;
    /// BIT; metadata: the bits of the incomplete byte, then the number of whole bytes.
    pub(crate) const BIT: u8 = 16;
    /// TIMESTAMP; metadata: number of fractional digits.
    pub(crate) const TIMESTAMP2: u8 = 17;
    /// DATETIME; metadata: number of fractional digits.
    pub(crate) const DATETIME2: u8 = 18;
    /// TIME; metadata: number of fractional digits.
    pub(crate) const TIME2: u8 = 19;
    /// Compressed columns of MariaDB.
    pub(crate) const BLOB_COMPRESSED: u8 = 140;
    pub(crate) const VARCHAR_COMPRESSED: u8 = 141;
    /// VECTOR, from MySQL 9.0 on; metadata: size of the length.
    pub(crate) const VECTOR: u8 = 242;
    /// JSON; metadata: size of the length.
    pub(crate) const JSON: u8 = 245;
    /// DECIMAL; metadata: precision and scale.
    pub(crate) const NEWDECIMAL: u8 = 246;
    /// ENUM, in the metadata of a [`STRING`].
    pub(crate) const ENUM: u8 = 247;
    /// SET, in the metadata of a [`STRING`].
    pub(crate) const SET: u8 = 248;
    /// The log has [`BLOB`] for every size, and the size of the length in the metadata.
    pub(crate) const TINY_BLOB: u8 = 249;
    pub(crate) const MEDIUM_BLOB: u8 = 250;
    pub(crate) const LONG_BLOB: u8 = 251;
    /// All BLOB and TEXT types; metadata: size of the length, 1 to 4.
    pub(crate) const BLOB: u8 = 252;
    /// VARCHAR of old servers; read as [`VARCHAR`].
    pub(crate) const VAR_STRING: u8 = 253;
    /// CHAR and BINARY, and ENUM and SET; metadata: the real type and a length, see
    /// `table::string`.
    pub(crate) const STRING: u8 = 254;
    /// All spatial types; metadata: size of the length.
    pub(crate) const GEOMETRY: u8 = 255;
}

/// The type codes that the log may have for a column of this type, as `information_schema` names it. Without any, the type
/// is not known.
///
/// It serves to compare a table map with columns that were looked up later: another type shows that
/// the table was altered in between.
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
        // On MariaDB it is logged as VARBINARY.
        "vector" => &[code::VECTOR, code::VARCHAR],
        _ => &[],
    }
}
