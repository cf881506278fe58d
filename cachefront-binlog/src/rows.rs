//! Decodes rows events into row changes. Only the columns that mappings read are decoded.
//!
//! The layout is that of `Rows_event`, see
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/classmysql_1_1binlog_1_1event_1_1Rows__event.html>.

use std::sync::Arc;

use cachefront_core::event::{Change, Column as Cell, Operation, RowChange, RowImage, Value};
use cachefront_core::{Error, ErrorKind, Result};

use crate::cursor::Cursor;
use crate::decode;
use crate::error;
use crate::event::Rows;
use crate::table::{Column, Table};

/// Appends the changes of one rows event.
///
/// # Errors
/// `Gap` if a mapped column is missing or cannot be decoded.
pub(crate) fn decode(rows: &Rows<'_>, table: &Table, changes: &mut Vec<Change>) -> Result<()> {
    decode_rows(rows, table, changes).map_err(|cause| error::as_gap(&format!("a row of `{}`", table.name), cause))
}

fn decode_rows(rows: &Rows<'_>, table: &Table, changes: &mut Vec<Change>) -> Result<()> {
    if rows.columns != table.columns.len() {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!("the image has {} columns and the table map has {}", rows.columns, table.columns.len()),
        ));
    }
    let operation = match (rows.before, rows.after) {
        (None, _) => Operation::Insert,
        (Some(_), None) => Operation::Delete,
        (Some(_), Some(_)) => Operation::Update,
    };
    let mut cursor = Cursor::new(rows.images);
    while !cursor.is_empty() {
        let before = rows.before.map(|present| image(&mut cursor, present, table)).transpose()?;
        let after = rows.after.map(|present| image(&mut cursor, present, table)).transpose()?;
        changes.push(Change::Row(RowChange { table: table.name.clone(), operation, before, after }));
    }
    Ok(())
}

/// Decodes one image: the bits of NULL values, then the values. `present` has one bit for each column of the table.
fn image(cursor: &mut Cursor<'_>, present: &[u8], table: &Table) -> Result<RowImage> {
    let in_image = present_count(present, table.columns.len());
    let nulls = cursor.take(in_image.div_ceil(8))?;
    let mut cells = Vec::with_capacity(table.columns.len());
    let mut null_bit = 0;
    for (index, column) in table.columns.iter().enumerate() {
        if !bit(present, index) {
            cells.push(absent(column, index, table)?);
            continue;
        }
        let null = bit(nulls, null_bit);
        null_bit += 1;
        cells.push(cell(cursor, column, null)?);
    }
    Ok(RowImage::new(Arc::clone(&table.names), cells))
}

/// Decodes one value, or skips it if no mapping reads the column.
#[inline]
fn cell(cursor: &mut Cursor<'_>, column: &Column, null: bool) -> Result<Cell> {
    match (column.wanted, null) {
        (true, true) => Ok(Cell::Value(Value::Null)),
        (true, false) => decode::value(&column.kind, cursor).map(Cell::Value),
        (false, true) => Ok(Cell::Skipped),
        (false, false) => decode::skip(&column.kind, cursor).map(|()| Cell::Skipped),
    }
}

/// The cell of a column that the image does not have.
fn absent(column: &Column, index: usize, table: &Table) -> Result<Cell> {
    if table.strict && column.wanted {
        let name = table.names.get(index).map_or("?", |name| name);
        return Err(error::gap(format!(
            "an image of `{}` lacks column `{name}`, which a mapping reads: a session wrote it with another \
             binlog_row_image than FULL. SET PERSIST binlog_row_image=FULL, and let no session change it",
            table.name
        )));
    }
    Ok(Cell::Missing)
}

/// Number of columns that an image has.
fn present_count(present: &[u8], columns: usize) -> usize {
    // Bits beyond the last column are padding.
    let whole = columns / 8;
    let ones = |bytes: &[u8]| bytes.iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
    let odd = present.get(whole).map_or(0, |byte| (byte & ((1 << (columns % 8)) - 1)).count_ones() as usize);
    ones(present.get(..whole).unwrap_or(present)) + odd
}

/// Returns a bit; the lowest bit of a byte is the first.
#[inline]
fn bit(bits: &[u8], index: usize) -> bool {
    bits.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::Kind;

    fn table(strict: bool) -> Table {
        let column = |wanted| Column { kind: Kind::Integer { bytes: 1, unsigned: true }, wanted };
        Table {
            name: "shop.users".into(),
            names: ["id", "age"].map(Box::from).into(),
            columns: vec![column(true), column(!strict)],
            strict,
        }
    }

    fn event<'a>(before: Option<&'a [u8]>, after: Option<&'a [u8]>, images: &'a [u8]) -> Rows<'a> {
        Rows { columns: 2, before, after, images }
    }

    #[test]
    fn images_are_decoded_and_unmapped_columns_are_skipped() {
        let mut changes = Vec::new();
        // Two rows: (7, 40) and (8, NULL).
        let rows = event(None, Some(&[0b11]), &[0, 7, 40, 0b10, 8]);
        decode(&rows, &table(true), &mut changes).expect("two inserts");
        let ids: Vec<u64> = changes
            .iter()
            .map(|change| match change {
                Change::Row(row) => row.after.as_ref().expect("an image").get("id").expect("the id"),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ids, [7, 8]);
    }

    #[test]
    fn a_missing_column_is_a_gap_if_a_mapping_names_it() {
        let mut changes = Vec::new();
        let rows = event(Some(&[0b01]), Some(&[0b10]), &[0, 7, 0, 41]);
        let error = decode(&rows, &table(true), &mut changes).expect_err("the image after lacks `id`");
        assert_eq!(error.kind(), ErrorKind::Gap);
        assert!(error.to_string().contains("`id`") && error.to_string().contains("binlog_row_image=FULL"));
        decode(&rows, &table(false), &mut changes).expect("no column is required");
    }

    #[test]
    fn a_truncated_image_is_a_gap() {
        let error = decode(&event(None, Some(&[0b11]), &[0, 7]), &table(true), &mut Vec::new()).expect_err("truncated");
        assert_eq!(error.kind(), ErrorKind::Gap);
    }
}
