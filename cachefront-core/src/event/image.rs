//! Row images: the columns that a key mapping may read.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::event::row::{Column, FromValue, Value, shape};

/// One image of a row: column names and values.
#[derive(Clone, Debug)]
pub struct RowImage {
    block: Arc<RowBlock>,
    /// The index of its first column in the block.
    first: usize,
    /// NULL is read as an empty value if a value is expected.
    nulls_are_empty: bool,
}

/// The columns of several images of one table, in one allocation: for sources that decode many rows at once.
///
/// A block may leave out columns that no mapping reads; they are [`Column::Skipped`] then.
#[derive(Debug)]
pub struct RowBlock {
    /// Shared by all blocks of a table. The images do not have it: a reference of each would be counted in one place, by the
    /// thread that decodes and the one that drops.
    names: Arc<[Box<str>]>,
    /// For each column of the table its place in an image. `None` if an image has every column.
    slots: Option<Arc<[Option<u32>]>>,
    cells: Vec<Column>,
}

impl RowBlock {
    /// Makes a block from the columns of all images, one image after the other. `names` has a name for each column of the
    /// table, and `slots` its place in an image; without it an image has every column.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use cachefront::event::{Column, RowBlock, RowImage, Value};
    ///
    /// // Two images of a table (id, note), of which only `id` is kept.
    /// let ids = [7, 8].map(|id| Column::Value(Value::UInt(id)));
    /// let names = ["id", "note"].map(Box::from);
    /// let block = Arc::new(RowBlock::new(names.into(), Some([Some(0), None].into()), ids.into()));
    /// let second = RowImage::of_block(&block, 1);
    /// assert_eq!(second.get::<u64>("id")?, 8);
    /// assert_eq!(second.column("note"), Some(&Column::Skipped));
    /// # Ok::<(), cachefront::Error>(())
    /// ```
    pub fn new(names: Arc<[Box<str>]>, slots: Option<Arc<[Option<u32>]>>, cells: Vec<Column>) -> Self {
        Self { names, slots, cells }
    }
}

impl RowImage {
    /// Makes an image from names and columns of the same number and order.
    pub fn new(names: Arc<[Box<str>]>, columns: Vec<Column>) -> Self {
        debug_assert_eq!(names.len(), columns.len(), "one name for each column");
        Self::of_block(&Arc::new(RowBlock::new(names, None, columns)), 0)
    }

    /// Makes an image from the columns of a block that begin at index `first`.
    pub fn of_block(block: &Arc<RowBlock>, first: usize) -> Self {
        Self { block: Arc::clone(block), first, nulls_are_empty: false }
    }

    /// The column of this index. `None` if there is none.
    fn cell(&self, index: usize) -> Option<&Column> {
        let slot = match &self.block.slots {
            None => index,
            Some(slots) => match slots.get(index)? {
                Some(slot) => *slot as usize,
                None => return Some(&Column::Skipped),
            },
        };
        self.block.cells.get(self.first + slot)
    }

    /// Makes an image from pairs, for tests and for sources without a table map.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let (names, columns): (Vec<Box<str>>, Vec<Column>) =
            pairs.into_iter().map(|(name, value)| (Box::from(name), Column::Value(value))).unzip();
        Self::new(names.into(), columns)
    }

    /// Returns the column `name` as a `T`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the image has no such column or it is not a `T`. A mapping returns this error, and the
    /// invalidator then flushes the mapping's cache rather than miss a key. NULL does not flush: read a column that may be
    /// NULL as an `Option`, or let the mapping skip the keys that are made of it.
    ///
    /// ```
    /// use cachefront::event::{RowImage, Value};
    ///
    /// let row = RowImage::from_pairs([("id", Value::UInt(7)), ("nick", Value::Null)]);
    /// assert_eq!(row.get::<u64>("id")?, 7);
    /// assert_eq!(row.get::<Option<String>>("nick")?, None);
    /// assert!(row.get::<u64>("uid").is_err());
    /// # Ok::<(), cachefront::Error>(())
    /// ```
    pub fn get<T: FromValue>(&self, name: &str) -> Result<T> {
        match self.column(name) {
            Some(Column::Value(value)) => self.read(value).ok_or_else(|| {
                Error::new(ErrorKind::Corrupt, format!("column `{name}` is {}, not {}", shape(value), T::EXPECTED))
            }),
            Some(Column::Missing) => Err(Error::new(
                ErrorKind::Corrupt,
                format!("the row image lacks column `{name}`: set binlog_row_image=FULL on the source"),
            )),
            Some(Column::Skipped) => Err(Error::new(
                ErrorKind::Config,
                format!("column `{name}` was not decoded: name it in the mapping's columns"),
            )),
            Some(Column::Unsupported) => Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "column `{name}` has a type or character set that the source cannot decode: convert it to utf8mb4"
                ),
            )),
            None => Err(Error::new(
                ErrorKind::Corrupt,
                format!("the row has no column `{name}`; it has {}", self.block.names.join(", ")),
            )),
        }
    }

    fn read<T: FromValue>(&self, value: &Value) -> Option<T> {
        let plain = T::from_value(value);
        if plain.is_some() || !self.nulls_are_empty || *value != Value::Null {
            return plain;
        }
        T::empty()
    }

    /// Returns the same image with NULLs read as empty values if a value is expected; `None` if the image has no NULL.
    pub(crate) fn without_nulls(&self) -> Option<Self> {
        let null = Column::Value(Value::Null);
        self.columns().any(|(_, column)| *column == null).then(|| Self { nulls_are_empty: true, ..self.clone() })
    }

    /// Returns the column `name`; `None` if the table has no such column.
    pub fn column(&self, name: &str) -> Option<&Column> {
        // MySQL's column names are case-insensitive.
        let index = self.block.names.iter().position(|candidate| candidate.eq_ignore_ascii_case(name))?;
        self.cell(index)
    }

    /// Returns all names with their columns, in the table's order.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &Column)> {
        let cells = (0..self.block.names.len()).map_while(|index| self.cell(index));
        self.block.names.iter().map(|name| &**name).zip(cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_a_block_are_the_same_as_those_of_their_own() {
        let names: Arc<[Box<str>]> = ["id", "note", "age"].map(Box::from).into();
        let value = |number| Column::Value(Value::UInt(number));
        let null = || Column::Value(Value::Null);
        let cells = vec![value(1), null(), value(2), value(3), value(4), value(5)];
        let whole = Arc::new(RowBlock::new(Arc::clone(&names), None, cells));
        let second = RowImage::of_block(&whole, 3);
        let own = RowImage::new(Arc::clone(&names), vec![value(3), value(4), value(5)]);
        assert!(second.columns().eq(own.columns()));
        assert!(second.without_nulls().is_none(), "the NULL is of the first image");
        let some = RowBlock::new(names, Some([Some(1), None, Some(0)].into()), vec![null(), value(7)]);
        let image = RowImage::of_block(&Arc::new(some), 0);
        assert_eq!(image.get::<u64>("ID").expect("the id"), 7);
        assert_eq!(image.get::<u64>("note").expect_err("it is not kept").kind(), ErrorKind::Config);
        assert_eq!(image.without_nulls().expect("a NULL").get::<u64>("age").expect("zero"), 0);
        assert!(image.get::<u64>("uid").is_err());
        assert_eq!(image.columns().count(), 3);
    }
}
