//! The optional part of a table map: column names, signedness, character sets, and the labels of ENUM and SET columns.
//!
//! Fields are those of `Optional_metadata_fields`, see
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/classmysql_1_1binlog_1_1event_1_1Table__map__event.html>. What a server
//! logs depends on
//! [`binlog_row_metadata`](https://dev.mysql.com/doc/refman/8.4/en/replication-options-binary-log.html).
//!
//! # Fields
//!
//! | type | name | value | logged with |
//! |---:|---|---|---|
//! | 1 | SIGNEDNESS | one bit per number, 1 is unsigned | MINIMAL |
//! | 2 | DEFAULT_CHARSET | a collation, then pairs of index and collation; MariaDB also counts GEOMETRY columns | MINIMAL |
//! | 3 | COLUMN_CHARSET | a collation per text column; of MariaDB also per GEOMETRY column | MINIMAL |
//! | 4 | COLUMN_NAME | length and name per column | FULL |
//! | 5 | SET_STR_VALUE | per SET column a count, then length and label each | FULL |
//! | 6 | ENUM_STR_VALUE | the same per ENUM column | FULL |
//! | 7 | GEOMETRY_TYPE | skipped | MINIMAL |
//! | 8, 9 | SIMPLE_PRIMARY_KEY, PRIMARY_KEY_WITH_PREFIX | skipped | FULL |
//! | 10, 11 | as 2 and 3, for ENUM and SET columns | | FULL |
//! | 12, 13 | COLUMN_VISIBILITY, VECTOR_DIMENSIONALITY | skipped | later servers |
//!
//! A server logs either DEFAULT_CHARSET or COLUMN_CHARSET, whichever is shorter. All counts,
//! lengths and collations are length-encoded integers.

use std::sync::Arc;

use cachefront_core::Result;

use crate::charset::Charset;
use crate::cursor::Cursor;

/// The description of a table's columns, except for their types. Each list has one item for each column.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    pub(crate) names: Option<Vec<Box<str>>>,
    /// True for each unsigned number. `None` if it is not logged.
    pub(crate) unsigned: Option<Vec<bool>>,
    /// The collation of each column that has one.
    pub(crate) collations: Vec<Option<u64>>,
    /// The labels of each ENUM or SET column.
    pub(crate) labels: Vec<Option<Labels>>,
}

impl Metadata {
    /// Returns true if the labels of this ENUM or SET column are not known, because its character set cannot be decoded.
    pub(crate) fn has_unknown_labels(&self, column: usize) -> bool {
        let collation = self.collations.get(column).copied().flatten();
        self.labels.get(column).is_none_or(Option::is_none)
            && collation.is_some_and(|collation| !Charset::of_collation(collation).is_decodable())
    }
}

/// The labels of an ENUM or SET column, in order.
pub(crate) type Labels = Arc<[Box<str>]>;

/// The class of a column by its real type. A field of the metadata describes the columns of certain classes only.
///
/// It follows from the type code and the type's metadata, see `table::one_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Number,
    Character,
    Enum,
    Set,
    /// On MariaDB it has a collation, `binary`, as texts have.
    Geometry,
    Other,
}

/// The types of fields. A field is its type (1 byte), its length (packed) and its value.
mod field {
    /// Of the columns of class `Number`.
    pub(super) const SIGNEDNESS: u8 = 1;
    /// Of the columns of class `Character`.
    pub(super) const DEFAULT_CHARSET: u8 = 2;
    /// Of the columns of class `Character`.
    pub(super) const COLUMN_CHARSET: u8 = 3;
    /// Of all columns.
    pub(super) const COLUMN_NAME: u8 = 4;
    /// Of the columns of class `Set`.
    pub(super) const SET_VALUES: u8 = 5;
    /// Of the columns of class `Enum`.
    pub(super) const ENUM_VALUES: u8 = 6;
    /// Of the columns of both classes, counted together.
    pub(super) const ENUM_AND_SET_DEFAULT_CHARSET: u8 = 10;
    /// Of the columns of both classes, counted together.
    pub(super) const ENUM_AND_SET_COLUMN_CHARSET: u8 = 11;
}

/// Parses the fields. Unknown ones are skipped by their length.
///
/// `classes` has one item per column of the table map, in its order. `is_mariadb` says which server wrote the log.
///
/// # Errors
/// `Corrupt` if a field ends too early. A field of an unknown type is no error: later servers add
/// some.
pub(crate) fn parse(bytes: &[u8], classes: &[Class], is_mariadb: bool) -> Result<Metadata> {
    let mut metadata =
        Metadata { collations: vec![None; classes.len()], labels: vec![None; classes.len()], ..Metadata::default() };
    let of = |wanted: &[Class]| -> Vec<usize> {
        classes.iter().enumerate().filter(|(_, class)| wanted.contains(class)).map(|(index, _)| index).collect()
    };
    let texts = || of(if is_mariadb { &[Class::Character, Class::Geometry] } else { &[Class::Character] });
    let mut stored: Vec<Option<Vec<&[u8]>>> = vec![None; classes.len()];
    let mut cursor = Cursor::new(bytes);
    while !cursor.is_empty() {
        let field = cursor.u8()?;
        let mut value = Cursor::new(cursor.packed_bytes()?);
        match field {
            field::SIGNEDNESS => {
                metadata.unsigned = Some(signs(&mut value, &of(&[Class::Number]), classes.len())?);
            }
            field::DEFAULT_CHARSET => default_charset(&mut value, &texts(), &mut metadata.collations)?,
            field::ENUM_AND_SET_DEFAULT_CHARSET => {
                default_charset(&mut value, &of(&[Class::Enum, Class::Set]), &mut metadata.collations)?;
            }
            field::COLUMN_CHARSET => column_charsets(&mut value, &texts(), &mut metadata.collations)?,
            field::ENUM_AND_SET_COLUMN_CHARSET => {
                column_charsets(&mut value, &of(&[Class::Enum, Class::Set]), &mut metadata.collations)?;
            }
            field::COLUMN_NAME => metadata.names = Some(strings(&mut value, classes.len())?),
            field::SET_VALUES => labels(&mut value, &of(&[Class::Set]), &mut stored)?,
            field::ENUM_VALUES => labels(&mut value, &of(&[Class::Enum]), &mut stored)?,
            _ => {}
        }
    }
    // Their character set may come after them.
    for ((slot, stored), collation) in metadata.labels.iter_mut().zip(stored).zip(&metadata.collations) {
        let charset = collation.map_or(Charset::Other, Charset::of_collation);
        *slot = stored.and_then(|labels| labels.into_iter().map(|label| decode_label(charset, label)).collect());
    }
    Ok(metadata)
}

/// A label in UTF-8. `None` if its character set cannot be decoded.
///
/// A label is compared with nothing here; it becomes the value of the column, as a reader of the
/// table gets it.
fn decode_label(charset: Charset, label: &[u8]) -> Option<Box<str>> {
    match charset {
        // Labels of a `binary` column are ASCII, or their text is not known.
        Charset::Binary => std::str::from_utf8(label).ok().map(Box::from),
        // ASCII characters are the same in all of these.
        Charset::Multi(_) | Charset::Other if label.is_ascii() => std::str::from_utf8(label).ok().map(Box::from),
        charset => charset.decode(label).map(|label| Box::from(&*label)),
    }
}

/// Parses one bit for each number; the highest bit of a byte is the first.
fn signs(value: &mut Cursor<'_>, numbers: &[usize], columns: usize) -> Result<Vec<bool>> {
    let bits = value.take(numbers.len().div_ceil(8))?;
    let mut unsigned = vec![false; columns];
    for (bit, &column) in numbers.iter().enumerate() {
        let byte = bits.get(bit / 8).copied().unwrap_or_default();
        if let Some(flag) = unsigned.get_mut(column) {
            *flag = byte & (0x80 >> (bit % 8)) != 0;
        }
    }
    Ok(unsigned)
}

/// Parses one collation for all columns, then exceptions by their index among the columns of these classes.
///
/// An index counts the columns of these classes only, from 0.
fn default_charset(value: &mut Cursor<'_>, counted: &[usize], collations: &mut [Option<u64>]) -> Result<()> {
    let default = value.packed()?;
    for &column in counted {
        set(collations, column, default);
    }
    while !value.is_empty() {
        let index = usize::try_from(value.packed()?).unwrap_or(usize::MAX);
        let collation = value.packed()?;
        if let Some(&column) = counted.get(index) {
            set(collations, column, collation);
        }
    }
    Ok(())
}

/// Parses one collation for each column of these classes.
fn column_charsets(value: &mut Cursor<'_>, counted: &[usize], collations: &mut [Option<u64>]) -> Result<()> {
    for &column in counted {
        set(collations, column, value.packed()?);
    }
    Ok(())
}

/// An index beyond the last column is ignored: the number of columns is checked elsewhere.
fn set(collations: &mut [Option<u64>], column: usize, collation: u64) {
    if let Some(slot) = collations.get_mut(column) {
        *slot = Some(collation);
    }
}

/// Parses the labels of each column of these classes.
fn labels<'a>(value: &mut Cursor<'a>, counted: &[usize], labels: &mut [Option<Vec<&'a [u8]>>]) -> Result<()> {
    for &column in counted {
        let count = value.packed_count()?;
        let names = (0..count).map(|_| value.packed_bytes()).collect::<Result<_>>()?;
        if let Some(slot) = labels.get_mut(column) {
            *slot = Some(names);
        }
    }
    Ok(())
}

/// Parses strings, each with its length in front.
fn strings(value: &mut Cursor<'_>, count: usize) -> Result<Vec<Box<str>>> {
    (0..count).map(|_| Ok(String::from_utf8_lossy(value.packed_bytes()?).into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_describes_the_columns_of_its_classes() {
        let classes = [Class::Number, Class::Character, Class::Enum, Class::Number, Class::Character];
        let bytes = [
            &[1, 1, 0b0100_0000][..],
            &[2, 3, 45, 1, 8],
            &[4, 10, 1, b'a', 1, b'b', 1, b'c', 1, b'd', 1, b'e'],
            &[6, 5, 2, 1, b'x', 1, b'y'],
            &[99, 2, 0, 0],
        ]
        .concat();
        let metadata = parse(&bytes, &classes, false).expect("metadata");
        assert_eq!(metadata.unsigned, Some(vec![false, false, false, true, false]));
        assert_eq!(metadata.collations, [None, Some(45), None, None, Some(8)]);
        assert_eq!(metadata.names.map(|names| names.join("")), Some("abcde".into()));
        assert_eq!(metadata.labels[2].as_deref().map(|labels| labels.join(",")), Some("x,y".into()));
        for end in 0..bytes.len() {
            // Truncated anywhere, it is parsed or refused, and does not panic.
            let _ = parse(&bytes[..end], &classes, false);
        }
    }

    #[test]
    fn a_geometry_has_a_collation_on_mariadb_only() {
        let classes = [Class::Number, Class::Geometry, Class::Character, Class::Character];
        let read = |bytes: &[u8], is_mariadb| parse(bytes, &classes, is_mariadb).expect("metadata").collations;
        let each = [3, 5, 63, 8, 0xfc, 0x2e, 4];
        assert_eq!(read(&each, true), [None, Some(63), Some(8), Some(1_070)]);
        assert_eq!(read(&[3, 4, 8, 0xfc, 0x2e, 4], false), [None, None, Some(8), Some(1_070)]);
        let default = [2, 3, 63, 1, 45];
        assert_eq!(read(&default, true), [None, Some(63), Some(45), Some(63)]);
        assert_eq!(read(&default, false), [None, None, Some(63), Some(45)]);
    }
}
