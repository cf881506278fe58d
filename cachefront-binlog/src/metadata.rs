//! The optional part of a table map: column names, signs, character sets, and what ENUM and SET values are called.

use std::sync::Arc;

use cachefront_core::Result;

use crate::cursor::Cursor;

/// What the log says about a table's columns beside their types. Every list is by column; a list that the log lacks
/// is empty.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    pub(crate) names: Option<Vec<Box<str>>>,
    /// True for each unsigned number. None if the log does not say.
    pub(crate) unsigned: Option<Vec<bool>>,
    /// The collation of each column that has one.
    pub(crate) collations: Vec<Option<u64>>,
    /// What the values of each ENUM or SET column are called.
    pub(crate) labels: Vec<Option<Labels>>,
}

/// The names of an ENUM's or SET's values, in order.
pub(crate) type Labels = Arc<[Box<str>]>;

/// Which lists of the metadata count a column, by its true type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Number,
    Character,
    Enum,
    Set,
    Other,
}

mod field {
    pub(super) const SIGNEDNESS: u8 = 1;
    pub(super) const DEFAULT_CHARSET: u8 = 2;
    pub(super) const COLUMN_CHARSET: u8 = 3;
    pub(super) const COLUMN_NAME: u8 = 4;
    pub(super) const SET_VALUES: u8 = 5;
    pub(super) const ENUM_VALUES: u8 = 6;
    pub(super) const ENUM_AND_SET_DEFAULT_CHARSET: u8 = 10;
    pub(super) const ENUM_AND_SET_COLUMN_CHARSET: u8 = 11;
}

/// Reads the fields; those of unknown kinds are passed over by their length.
pub(crate) fn parse(bytes: &[u8], classes: &[Class]) -> Result<Metadata> {
    let mut metadata =
        Metadata { collations: vec![None; classes.len()], labels: vec![None; classes.len()], ..Metadata::default() };
    let of = |wanted: &[Class]| -> Vec<usize> {
        classes.iter().enumerate().filter(|(_, class)| wanted.contains(class)).map(|(index, _)| index).collect()
    };
    let mut cursor = Cursor::new(bytes);
    while !cursor.is_empty() {
        let field = cursor.u8()?;
        let mut value = Cursor::new(cursor.packed_bytes()?);
        match field {
            field::SIGNEDNESS => {
                metadata.unsigned = Some(signs(&mut value, &of(&[Class::Number]), classes.len())?);
            }
            field::DEFAULT_CHARSET => default_charset(&mut value, &of(&[Class::Character]), &mut metadata.collations)?,
            field::ENUM_AND_SET_DEFAULT_CHARSET => {
                default_charset(&mut value, &of(&[Class::Enum, Class::Set]), &mut metadata.collations)?;
            }
            field::COLUMN_CHARSET => column_charsets(&mut value, &of(&[Class::Character]), &mut metadata.collations)?,
            field::ENUM_AND_SET_COLUMN_CHARSET => {
                column_charsets(&mut value, &of(&[Class::Enum, Class::Set]), &mut metadata.collations)?;
            }
            field::COLUMN_NAME => metadata.names = Some(strings(&mut value, classes.len())?),
            field::SET_VALUES => labels(&mut value, &of(&[Class::Set]), &mut metadata.labels)?,
            field::ENUM_VALUES => labels(&mut value, &of(&[Class::Enum]), &mut metadata.labels)?,
            _ => {}
        }
    }
    Ok(metadata)
}

/// One bit for each number, the highest of a byte first.
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

/// One collation for all, then the exceptions by their place among the columns that count.
fn default_charset(value: &mut Cursor<'_>, counted: &[usize], collations: &mut [Option<u64>]) -> Result<()> {
    let default = value.packed()?;
    for &column in counted {
        set(collations, column, default);
    }
    while !value.is_empty() {
        let place = usize::try_from(value.packed()?).unwrap_or(usize::MAX);
        let collation = value.packed()?;
        if let Some(&column) = counted.get(place) {
            set(collations, column, collation);
        }
    }
    Ok(())
}

fn column_charsets(value: &mut Cursor<'_>, counted: &[usize], collations: &mut [Option<u64>]) -> Result<()> {
    for &column in counted {
        set(collations, column, value.packed()?);
    }
    Ok(())
}

fn set(collations: &mut [Option<u64>], column: usize, collation: u64) {
    if let Some(slot) = collations.get_mut(column) {
        *slot = Some(collation);
    }
}

fn labels(value: &mut Cursor<'_>, counted: &[usize], labels: &mut [Option<Labels>]) -> Result<()> {
    for &column in counted {
        let count = value.packed_count()?;
        let names = strings(value, count)?;
        if let Some(slot) = labels.get_mut(column) {
            *slot = Some(names.into());
        }
    }
    Ok(())
}

fn strings(value: &mut Cursor<'_>, count: usize) -> Result<Vec<Box<str>>> {
    (0..count).map(|_| Ok(String::from_utf8_lossy(value.packed_bytes()?).into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_reaches_the_columns_that_it_counts() {
        let classes = [Class::Number, Class::Character, Class::Enum, Class::Number, Class::Character];
        let bytes = [
            &[1, 1, 0b0100_0000][..],
            &[2, 3, 45, 1, 8],
            &[4, 10, 1, b'a', 1, b'b', 1, b'c', 1, b'd', 1, b'e'],
            &[6, 5, 2, 1, b'x', 1, b'y'],
            &[99, 2, 0, 0],
        ]
        .concat();
        let metadata = parse(&bytes, &classes).expect("metadata");
        assert_eq!(metadata.unsigned, Some(vec![false, false, false, true, false]));
        assert_eq!(metadata.collations, [None, Some(45), None, None, Some(8)]);
        assert_eq!(metadata.names.map(|names| names.join("")), Some("abcde".into()));
        assert_eq!(metadata.labels[2].as_deref().map(|labels| labels.join(",")), Some("x,y".into()));
        for end in 0..bytes.len() {
            // Cut anywhere, it is read or refused, never worse.
            let _ = parse(&bytes[..end], &classes);
        }
    }
}
