//! A table as its table map describes it: the storage format and name of each column, and whether a mapping reads it.
//!
//! Types and their metadata are listed at
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/classmysql_1_1binlog_1_1event_1_1Table__map__event.html>.
//!
//! # Metadata of the types
//! A table map has the metadata of all columns in one block, without separators. How many bytes
//! belong to a column follows from its type:
//!
//! | type | bytes | meaning |
//! |---|---:|---|
//! | integers, YEAR, DATE, and times before 5.6 | 0 | |
//! | FLOAT, DOUBLE | 1 | size of the value |
//! | DECIMAL | 2 | precision, scale |
//! | BIT | 2 | bits beyond the last whole byte, whole bytes |
//! | VARCHAR | 2 | maximum length in bytes, little-endian |
//! | STRING | 2 | real type and length, combined |
//! | BLOB, JSON, GEOMETRY, VECTOR | 1 | size of the length, in bytes |
//! | TIME, DATETIME, TIMESTAMP since 5.6 | 1 | number of fractional digits |
//!
//! Whether a number is signed, in which character set a text is, and the columns' names are in the
//! optional metadata ([`metadata`]).

use std::sync::Arc;

use cachefront_core::event::TableName;
use cachefront_core::source::Columns;
use cachefront_core::{Error, ErrorKind, Result};

use crate::charset::Charset;
use crate::column::{Kind, code};
use crate::cursor::Cursor;
use crate::decode::{self, Size};
use crate::event::TableMap;
use crate::metadata::{self, Class, Metadata};
use crate::schema::TableColumns;

/// A column of a mapped table.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) kind: Kind,
    /// True if a mapping reads it. Other columns are skipped.
    pub(crate) wanted: bool,
}

/// A mapped table, as one table map describes it.
///
/// It is built once for each table map that differs from the last one of its table, and shared by
/// all rows until then.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) name: TableName,
    /// The names of the columns, shared by all images.
    pub(crate) names: Arc<[Box<str>]>,
    pub(crate) columns: Vec<Column>,
    /// The place of each column in a decoded image, which has the wanted ones only. `None` if all are wanted.
    pub(crate) slots: Option<Arc<[Option<u32>]>>,
    /// Number of columns that are wanted.
    pub(crate) width: usize,
    /// How to read an image that has every column and no NULL.
    pub(crate) plan: Vec<Run>,
    /// True if every image must have each column that a mapping names.
    pub(crate) strict: bool,
}

/// A part of an image that is read in one step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Run {
    /// This number of bytes is skipped: one or more columns of a known size.
    Skip(usize),
    /// A column is skipped whose length, of this number of bytes, is in front.
    SkipSized(usize),
    /// The column of this index is decoded.
    Decode(usize),
}

impl Table {
    /// Makes the table of these columns.
    pub(crate) fn new(name: TableName, names: Arc<[Box<str>]>, columns: Vec<Column>, strict: bool) -> Self {
        let mut width = 0;
        let mut slots = Vec::with_capacity(columns.len());
        let mut plan = Vec::new();
        for (index, column) in columns.iter().enumerate() {
            slots.push(column.wanted.then_some(width as u32));
            width += usize::from(column.wanted);
            match (column.wanted, decode::size(&column.kind), plan.last_mut()) {
                (false, Size::Fixed(bytes), Some(Run::Skip(before))) => *before += bytes,
                (false, Size::Fixed(bytes), _) => plan.push(Run::Skip(bytes)),
                (false, Size::Sized(length_bytes), _) => plan.push(Run::SkipSized(length_bytes)),
                (true, ..) | (_, Size::Unknown(_), _) => plan.push(Run::Decode(index)),
            }
        }
        let slots = (width < columns.len()).then(|| slots.into());
        Self { name, names, columns, slots, width, plan, strict }
    }

    /// The wanted columns, in the order of an image.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.wanted)
    }
}

/// The storage format of a column, as far as the type alone determines it, and the column's class.
///
/// The class decides which fields of the optional metadata describe the column.
struct Typed {
    kind: Kind,
    class: Class,
}

/// A decoded table map, or what is missing to decode its rows.
pub(crate) enum Described {
    Table(Box<Table>),
    /// The log does not name the columns: they must be looked up.
    NeedsNames,
    /// The columns that were looked up are not those of the log.
    Unfit,
}

/// The source of column names if the log does not have them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Naming<'a> {
    /// None yet.
    LogOnly,
    /// `information_schema`.
    LookedUp(&'a TableColumns),
    /// `@1`, `@2` and so on, because there is no server to query.
    Numbered,
}

/// Decodes the table map of a mapped table. `is_mariadb` says which server wrote the log.
///
/// # Errors
/// `Corrupt` if the metadata ends too early or a value in it is out of range.
pub(crate) fn describe(
    map: &TableMap<'_>,
    name: &TableName,
    wanted: &Columns,
    naming: Naming<'_>,
    is_mariadb: bool,
) -> Result<Described> {
    let typed = types(map)?;
    let classes: Vec<Class> = typed.iter().map(|typed| typed.class).collect();
    let mut metadata = metadata::parse(map.optional_metadata, &classes, is_mariadb)?;
    if metadata.names.is_none() {
        match naming {
            Naming::LogOnly => return Ok(Described::NeedsNames),
            Naming::LookedUp(columns) if !columns.fit(map.types) => return Ok(Described::Unfit),
            Naming::LookedUp(columns) => complete(&mut metadata, columns),
            Naming::Numbered => {
                metadata.names = Some((1..=typed.len()).map(|number| format!("@{number}").into()).collect());
            }
        }
    }
    let names = metadata.names.take().unwrap_or_default();
    let columns = typed
        .into_iter()
        .enumerate()
        .map(|(index, typed)| Column {
            kind: refine(typed, index, &metadata),
            wanted: match wanted {
                Columns::All => true,
                Columns::Only(only) => names.get(index).is_some_and(|name| contains(only, name)),
            },
        })
        .collect();
    let strict = matches!(wanted, Columns::Only(_));
    Ok(Described::Table(Box::new(Table::new(name.clone(), names.into(), columns, strict))))
}

/// Returns true if a list of columns has this name, without regard to case.
fn contains(only: &[Box<str>], name: &str) -> bool {
    only.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
}

/// Adds the description of `information_schema` to that of the log, which takes precedence.
///
/// A server with `binlog_row_metadata=MINIMAL` logs signedness and character sets, but no names and
/// no labels.
fn complete(metadata: &mut Metadata, columns: &TableColumns) {
    metadata.names = Some(columns.names.clone());
    if metadata.unsigned.is_none() {
        metadata.unsigned = Some(columns.unsigned.clone());
    }
    for (slot, labels) in metadata.labels.iter_mut().zip(&columns.labels) {
        *slot = slot.take().or_else(|| labels.clone());
    }
    for (slot, collation) in metadata.collations.iter_mut().zip(&columns.collations) {
        *slot = slot.or(*collation);
    }
}

/// Refines a type by signedness, collation and labels.
///
/// Without the signedness a number is read as signed: servers log it from 8.0 on in either setting
/// of `binlog_row_metadata`.
fn refine(typed: Typed, index: usize, metadata: &Metadata) -> Kind {
    let labels = || metadata.labels.get(index).cloned().flatten();
    match typed.kind {
        Kind::Integer { bytes, .. } => {
            let unsigned = metadata.unsigned.as_ref().and_then(|unsigned| unsigned.get(index)).copied();
            Kind::Integer { bytes, unsigned: unsigned.unwrap_or_default() }
        }
        Kind::Enum { bytes, .. } | Kind::Set { bytes, .. } if metadata.has_unknown_labels(index) => {
            Kind::Unlabelled { bytes }
        }
        Kind::Enum { bytes, .. } => Kind::Enum { bytes, labels: labels() },
        Kind::Set { bytes, .. } => Kind::Set { bytes, labels: labels() },
        Kind::Bytes { length_bytes, pad } if typed.class == Class::Character => {
            match metadata.collations.get(index).copied().flatten().map(Charset::of_collation) {
                Some(Charset::Binary) => Kind::Bytes { length_bytes, pad },
                Some(charset) => Kind::Text { length_bytes, charset },
                // Only servers before MySQL 8.0 do not log it.
                None => Kind::Text { length_bytes, charset: Charset::Binary },
            }
        }
        kind => kind,
    }
}

/// Decodes the types of all columns. An unknown type makes all later columns unknown.
///
/// Nothing in the log has the size of such a column: neither its metadata nor its values have a length in front, the metadata of
/// all columns and the columns of all images follow each other without a separator, and an event does not say how many rows it
/// has. So even a mapping that reads only columns before it cannot find its columns in the second row.
fn types(map: &TableMap<'_>) -> Result<Vec<Typed>> {
    let mut metadata = Cursor::new(map.type_metadata);
    let mut typed = Vec::with_capacity(map.types.len());
    for &code in map.types {
        typed.push(one_type(code, &mut metadata)?);
        if matches!(typed.last(), Some(Typed { kind: Kind::Unknown(_), .. })) {
            // The length of its metadata is unknown, so the metadata of later columns cannot be located.
            typed.resize_with(map.types.len(), || Typed { kind: Kind::Unknown(code), class: Class::Other });
            break;
        }
    }
    Ok(typed)
}

/// Decodes one type and takes its metadata, whose length depends on the type.
fn one_type(code: u8, metadata: &mut Cursor<'_>) -> Result<Typed> {
    use Class::{Character, Number, Other};
    let integer = |bytes| Typed { kind: Kind::Integer { bytes, unsigned: false }, class: Number };
    let plain = |kind| Typed { kind, class: Other };
    Ok(match code {
        code::TINY => integer(1),
        code::SHORT => integer(2),
        code::INT24 => integer(3),
        code::LONG => integer(4),
        code::LONGLONG => integer(8),
        code::FLOAT => after(metadata, 1, Typed { kind: Kind::Float, class: Number })?,
        code::DOUBLE => after(metadata, 1, Typed { kind: Kind::Double, class: Number })?,
        code::NEWDECIMAL => {
            let (precision, scale) = (usize::from(metadata.u8()?), usize::from(metadata.u8()?));
            if scale > precision || precision > 65 {
                return Err(Error::new(ErrorKind::Corrupt, "a DECIMAL column has an invalid precision"));
            }
            Typed { kind: Kind::Decimal { precision, scale }, class: Number }
        }
        code::YEAR => Typed { kind: Kind::Year, class: Number },
        code::DATE | code::NEWDATE => plain(Kind::Date),
        code::TIME => plain(Kind::OldTime),
        code::DATETIME => plain(Kind::OldDateTime),
        code::TIMESTAMP => plain(Kind::OldTimestamp),
        code::TIME2 => plain(Kind::Time { fraction: fraction(metadata)? }),
        code::DATETIME2 => plain(Kind::DateTime { fraction: fraction(metadata)? }),
        code::TIMESTAMP2 => plain(Kind::Timestamp { fraction: fraction(metadata)? }),
        code::BIT => {
            let (odd, bytes) = (usize::from(metadata.u8()?), usize::from(metadata.u8()?));
            plain(Kind::Bit { bits: bytes * 8 + odd })
        }
        code::VARCHAR | code::VAR_STRING => {
            let length_bytes = if metadata.u16()? < 256 { 1 } else { 2 };
            Typed { kind: Kind::Bytes { length_bytes, pad: None }, class: Character }
        }
        code::TINY_BLOB | code::BLOB | code::MEDIUM_BLOB | code::LONG_BLOB => {
            Typed { kind: Kind::Bytes { length_bytes: length_bytes(metadata)?, pad: None }, class: Character }
        }
        code::VARCHAR_COMPRESSED => {
            let length_bytes = if metadata.u16()? < 256 { 1 } else { 2 };
            Typed { kind: Kind::Compressed { length_bytes }, class: Character }
        }
        code::BLOB_COMPRESSED => {
            Typed { kind: Kind::Compressed { length_bytes: length_bytes(metadata)? }, class: Character }
        }
        code::GEOMETRY => {
            Typed { kind: Kind::Bytes { length_bytes: length_bytes(metadata)?, pad: None }, class: Class::Geometry }
        }
        code::VECTOR => plain(Kind::Bytes { length_bytes: length_bytes(metadata)?, pad: None }),
        code::JSON => plain(Kind::Json { length_bytes: length_bytes(metadata)? }),
        code::STRING | code::ENUM | code::SET => string(metadata)?,
        code => plain(Kind::Unknown(code)),
    })
}

/// Decodes the type STRING: CHAR and BINARY, and also ENUM and SET, whose real type is in the metadata.
///
/// `metadata` is two bytes. For a CHAR of up to 255 bytes they are 254 and the length. A longer
/// one, such as CHAR(100) in utf8mb4, needs 9 or 10 bits: the server puts the upper two into bits 4
/// and 5 of the type, inverted, because both are set in every real type.
fn string(metadata: &mut Cursor<'_>) -> Result<Typed> {
    let (first, second) = (metadata.u8()?, usize::from(metadata.u8()?));
    // Two bits that are set in every real type byte hold the inverse of bits 8 and 9 of the length.
    let (real_code, length) = match first & 0x30 {
        0x30 => (first, second),
        bits => (first | 0x30, second | usize::from(bits ^ 0x30) << 4),
    };
    Ok(match real_code {
        code::ENUM => Typed { kind: Kind::Enum { bytes: width(second, 2)?, labels: None }, class: Class::Enum },
        code::SET => Typed { kind: Kind::Set { bytes: width(second, 8)?, labels: None }, class: Class::Set },
        _ => {
            let length_bytes = if length < 256 { 1 } else { 2 };
            Typed { kind: Kind::Bytes { length_bytes, pad: Some(length) }, class: Class::Character }
        }
    })
}

/// Checks a size in bytes.
///
/// Everything that follows is read with this size, so a damaged one is detected here.
fn width(bytes: usize, max: usize) -> Result<usize> {
    if (1..=max).contains(&bytes) { Ok(bytes) } else { Err(invalid()) }
}

/// Takes the number of bytes of a length, 1 to 4.
fn length_bytes(metadata: &mut Cursor<'_>) -> Result<usize> {
    width(usize::from(metadata.u8()?), 4)
}

/// Takes the number of fractional digits, 0 to 6.
fn fraction(metadata: &mut Cursor<'_>) -> Result<usize> {
    let fraction = usize::from(metadata.u8()?);
    if fraction <= 6 { Ok(fraction) } else { Err(invalid()) }
}

/// Skips metadata that decoding does not need.
fn after(metadata: &mut Cursor<'_>, skip: usize, typed: Typed) -> Result<Typed> {
    metadata.skip(skip)?;
    Ok(typed)
}

/// The error of metadata that no server writes.
fn invalid() -> Error {
    Error::new(ErrorKind::Corrupt, "a column's description in the log is invalid")
}
