//! Decodes rows events into row changes. Only the columns that mappings read are decoded.
//!
//! The layout is that of `Rows_event`, see
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/classmysql_1_1binlog_1_1event_1_1Rows__event.html>.
//!
//! # Example
//! An UPDATE that sets `name` of row 42 in a table `(id INT, name VARCHAR(20), note TEXT)`, with
//! full images:
//!
//! ```text
//! before  04              NULL bits: the third column, `note`
//!         2A 00 00 00     id 42
//!         03 41 6E 6E     name, 3 bytes: Ann
//! after   04
//!         2A 00 00 00
//!         03 42 6F 62     Bob
//! ```
//!
//! The bitmaps of the event say which columns an image has; the NULL bits count only those. The
//! number of rows is not stored: images follow each other to the end of the event.

use std::sync::Arc;

use cachefront_core::event::{Change, Column as Cell, Operation, RowBlock, RowChange, RowImage, Value};
use cachefront_core::{Error, ErrorKind, Result};

use crate::column::Kind;
use crate::cursor::Cursor;
use crate::decode;
use crate::error;
use crate::event::Rows;
use crate::table::{Column, Run, Table};

/// Maximum number of cells that one rows event may decode to, besides [`CELLS_PER_BYTE`]. A row of NULLs needs one bit
/// for each column and a decoded cell is much larger, so without a bound a damaged event could take any amount of memory.
const CELLS_MAX: usize = 1 << 16;

/// Cells for each byte of an event: more than any table has whose values are not all NULL.
const CELLS_PER_BYTE: usize = 4;

/// What a row counts in addition to its cells, for the bound of an event.
const ROW_CELLS: usize = 8;

/// Appends the changes of one rows event.
///
/// The rows of an event whose images lack a column that a mapping names, or have no column at all
/// (`binlog_row_image=MINIMAL`), are not known: the event then becomes a change of the whole table. In an update, a column
/// that only the image after the change lacks is unchanged, and is taken from the image before it.
///
/// # Errors
/// `Gap` if the event has no row, or a mapped column cannot be decoded.
pub(crate) fn decode(rows: &Rows<'_>, table: &Table, changes: &mut Vec<Change>) -> Result<()> {
    decode_rows(rows, table, changes).map_err(|cause| error::as_gap(&format!("a row of `{}`", table.name), cause))
}

/// # Errors
/// `Corrupt` if the event does not fit its table map.
fn decode_rows(rows: &Rows<'_>, table: &Table, changes: &mut Vec<Change>) -> Result<()> {
    if rows.columns != table.columns.len() {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!("the image has {} columns and the table map has {}", rows.columns, table.columns.len()),
        ));
    }
    if let Some(column) = lacking(rows, table) {
        add_table(table, format!("rows without column `{column}`, which a mapping reads"), changes);
        return Ok(());
    }
    if let Some(column) = unknown_type(rows, table) {
        add_table(table, format!("rows with column `{column}`, whose type is unknown to this version"), changes);
        return Ok(());
    }
    let widths = [rows.before, rows.after].map(|present| present.map_or(0, |bits| present_count(bits, rows.columns)));
    match (widths, rows.images) {
        // MINIMAL logs no column of a row that has only defaults, so the number of rows is not known either.
        ([0, 0], []) => {
            add_table(table, "rows without any column".into(), changes);
            Ok(())
        }
        ([0, 0], _) => Err(Error::new(ErrorKind::Corrupt, "the images have no column and are followed by bytes")),
        (_, []) => Err(Error::new(ErrorKind::Corrupt, "the event has no row")),
        (widths, _) => decode_images(rows, widths, table, changes),
    }
}

/// Decodes the rows of an event. An image with a column takes at least one byte, so each round advances.
///
/// `widths` are the numbers of columns of the images before and after the change.
fn decode_images(rows: &Rows<'_>, widths: [usize; 2], table: &Table, changes: &mut Vec<Change>) -> Result<()> {
    let rows_max = (CELLS_MAX + CELLS_PER_BYTE * rows.images.len()) / (ROW_CELLS + table.width);
    let mut cursor = Cursor::new(rows.images);
    // The images before they become one block. One row has exactly this many columns, and more rows are made room for after it.
    let images_of_row = usize::from(rows.before.is_some()) + usize::from(rows.after.is_some());
    let mut images: Vec<Cell> = Vec::with_capacity(images_of_row * table.width);
    let mut count = 0;
    while !cursor.is_empty() {
        if count > rows_max {
            add_table(table, "an event with more rows than its size can hold".into(), changes);
            return Ok(());
        }
        let begin = images.len();
        if let Some(present) = rows.before {
            cells(&mut cursor, present, widths[0], None, table, &mut images)?;
        }
        let differences = if rows.is_partial { differences(&mut cursor, table)? } else { None };
        let middle = images.len();
        if let Some(present) = rows.after {
            cells(&mut cursor, present, widths[1], differences, table, &mut images)?;
        }
        let (before, after) = images.split_at_mut(middle);
        if differences.is_some() && after.iter().zip(table.wanted()).any(is_difference) {
            let why = "an update of a JSON column that is logged as a difference (binlog_row_value_options)";
            add_table(table, why.into(), changes);
            return Ok(());
        }
        // A document whose difference is empty is unchanged too, although the image has its column.
        if widths[0] != 0 && (widths[1] != rows.columns || differences.is_some()) {
            keep_unchanged(before.get(begin..).unwrap_or_default(), after);
        }
        count += 1;
        if count == 1 {
            // Rows of one event mostly have about the same size.
            let taken = rows.images.len() - cursor.len();
            images.reserve((cursor.len() / taken.max(1)).saturating_mul(images.len()).min(CELLS_MAX));
        }
    }
    if images.len() < images.capacity() / 2 {
        images.shrink_to_fit();
    }
    add_rows(rows, count, table, images, changes);
    Ok(())
}

/// Adds the changes of `count` rows, whose images follow each other.
fn add_rows(rows: &Rows<'_>, count: usize, table: &Table, images: Vec<Cell>, changes: &mut Vec<Change>) {
    let operation = match (rows.before, rows.after) {
        (None, _) => Operation::Insert,
        (Some(_), None) => Operation::Delete,
        (Some(_), Some(_)) => Operation::Update,
    };
    let block = Arc::new(RowBlock::new(Arc::clone(&table.names), table.slots.clone(), images));
    let mut first = 0;
    let mut next = |present: Option<&[u8]>| {
        present?;
        let image = RowImage::of_block(&block, first);
        first += table.width;
        Some(image)
    };
    changes.reserve(count);
    for _ in 0..count {
        let (before, after) = (next(rows.before), next(rows.after));
        changes.push(Change::Row(RowChange { table: table.name.clone(), operation, before, after }));
    }
}

/// Takes the options of the image after a partial update: a number whose lowest bit says that one bit for each JSON column of
/// the table follows, set if its value is a difference.
fn differences<'a>(cursor: &mut Cursor<'a>, table: &Table) -> Result<Option<&'a [u8]>> {
    if cursor.packed()? & 1 == 0 {
        return Ok(None);
    }
    let documents = table.columns.iter().filter(|column| matches!(column.kind, Kind::Json { .. })).count();
    cursor.take(documents.div_ceil(8)).map(Some)
}

/// Returns true for a document that is known as a difference only.
///
/// Such an update flushes the caches of the table: without the earlier document the new one is
/// unknown.
fn is_difference((cell, column): (&Cell, &Column)) -> bool {
    *cell == Cell::Unsupported && matches!(column.kind, Kind::Json { .. })
}

/// Decodes a document that is logged as a difference: without a length it is unchanged.
fn difference(column: &Column, cursor: &mut Cursor<'_>) -> Result<Cell> {
    let Kind::Json { length_bytes } = column.kind else { return Ok(Cell::Unsupported) };
    let length = cursor.uint(length_bytes)? as usize;
    cursor.skip(length)?;
    Ok(match (column.wanted, length) {
        (false, _) => Cell::Skipped,
        (true, 0) => Cell::Missing,
        (true, _) => Cell::Unsupported,
    })
}

/// Adds a change of the whole table, unless the last change is one.
fn add_table(table: &Table, reason: String, changes: &mut Vec<Change>) {
    let is_last = matches!(changes.last(), Some(Change::Tables { tables, .. }) if *tables == [table.name.clone()]);
    if !is_last {
        changes.push(Change::Tables { tables: vec![table.name.clone()], reason });
    }
}

/// The first column that a mapping names and whose value the images do not tell. An update must have it in the image before
/// the change: what the image after it lacks is unchanged.
///
/// With `binlog_row_image=MINIMAL` the image before the change has the primary key only.
fn lacking<'a>(rows: &Rows<'_>, table: &'a Table) -> Option<&'a str> {
    let present = rows.before.or(rows.after).unwrap_or_default();
    let wanted = table.columns.iter().enumerate().filter(|(_, column)| table.strict && column.wanted);
    let index = wanted.map(|(index, _)| index).find(|&index| !bit(present, index))?;
    Some(table.names.get(index).map_or("?", |name| name))
}

/// The first column of the images whose type is not known: what follows it cannot be found.
fn unknown_type<'a>(rows: &Rows<'_>, table: &'a Table) -> Option<&'a str> {
    let has = |index| [rows.before, rows.after].into_iter().flatten().any(|present| bit(present, index));
    let unknown = |(_, column): &(usize, &Column)| matches!(column.kind, Kind::Unknown(_));
    let index = table.columns.iter().enumerate().filter(unknown).map(|(index, _)| index).find(|&index| has(index))?;
    Some(table.names.get(index).map_or("?", |name| name))
}

/// Completes the image after an update: a column that it lacks has the value of the image before it. An insert has no image
/// before it.
fn keep_unchanged(before: &[Cell], after: &mut [Cell]) {
    for (after, before) in after.iter_mut().zip(before) {
        if *after == Cell::Missing {
            *after = before.clone();
        }
    }
}

/// Decodes the `width` columns of one image: the bits of NULL values, then the values. `present` has one bit for each column
/// of the table. The wanted columns are appended to `cells`.
///
/// `differences` has one bit for each JSON column of the table, set if its value is a difference.
///
/// # Errors
/// `Corrupt` if the event ends within an image.
fn cells(
    cursor: &mut Cursor<'_>,
    present: &[u8],
    width: usize,
    differences: Option<&[u8]>,
    table: &Table,
    cells: &mut Vec<Cell>,
) -> Result<()> {
    let nulls = cursor.take(width.div_ceil(8))?;
    if width == table.columns.len() && differences.is_none() && nulls.iter().all(|&byte| byte == 0) {
        return plain_cells(cursor, table, cells);
    }
    let (mut null_bit, mut document) = (0, 0);
    for (index, column) in table.columns.iter().enumerate() {
        let is_difference = differences.is_some_and(|bits| {
            let is_document = matches!(column.kind, Kind::Json { .. });
            document += usize::from(is_document);
            is_document && bit(bits, document - 1)
        });
        let decoded = if bit(present, index) {
            let null = bit(nulls, null_bit);
            null_bit += 1;
            match is_difference && !null {
                true => difference(column, cursor)?,
                false => cell(cursor, column, null)?,
            }
        } else {
            Cell::Missing
        };
        if column.wanted {
            cells.push(decoded);
        }
    }
    Ok(())
}

/// Decodes an image that has every column and no NULL.
#[inline]
fn plain_cells(cursor: &mut Cursor<'_>, table: &Table, cells: &mut Vec<Cell>) -> Result<()> {
    for run in &table.plan {
        match *run {
            Run::Skip(bytes) => cursor.skip(bytes)?,
            Run::SkipSized(length_bytes) => {
                let length = cursor.uint(length_bytes)? as usize;
                cursor.skip(length)?;
            }
            Run::Decode(index) => {
                let Some(column) = table.columns.get(index) else { continue };
                match column.wanted {
                    true => decode::push(&column.kind, cursor, cells)?,
                    false => decode::skip(&column.kind, cursor)?,
                }
            }
        }
    }
    Ok(())
}

/// Decodes one value, or skips it if no mapping reads the column.
#[inline]
fn cell(cursor: &mut Cursor<'_>, column: &Column, null: bool) -> Result<Cell> {
    match (column.wanted, null) {
        (true, true) => Ok(Cell::Value(Value::Null)),
        (true, false) => decode::cell(&column.kind, cursor),
        (false, true) => Ok(Cell::Skipped),
        (false, false) => decode::skip(&column.kind, cursor).map(|()| Cell::Skipped),
    }
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

    fn table(strict: bool) -> Table {
        let column = |wanted| Column { kind: Kind::Integer { bytes: 1, unsigned: true }, wanted };
        Table::new(
            "shop.users".into(),
            ["id", "age"].map(Box::from).into(),
            vec![column(true), column(!strict)],
            strict,
        )
    }

    fn event<'a>(before: Option<&'a [u8]>, after: Option<&'a [u8]>, images: &'a [u8]) -> Rows<'a> {
        Rows { columns: 2, before, after, is_partial: false, images }
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

    fn tables_of(changes: &[Change]) -> Vec<&str> {
        changes
            .iter()
            .map(|change| match change {
                Change::Tables { tables, .. } => tables[0].as_str(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_missing_column_that_a_mapping_names_changes_the_whole_table() {
        let mut changes = Vec::new();
        for rows in [
            event(None, Some(&[0b10]), &[0, 41]),
            event(Some(&[0b10]), None, &[0, 41]),
            event(Some(&[0b10]), Some(&[0b11]), &[0, 41, 0, 7, 42]),
        ] {
            decode(&rows, &table(true), &mut changes).expect("the table is flushed");
        }
        assert_eq!(tables_of(&changes), ["shop.users"], "once, however many events lack it");
        changes.clear();
        decode(&event(None, Some(&[0b10]), &[0, 41]), &table(false), &mut changes).expect("no column is required");
        assert!(matches!(&changes[..], [Change::Row(_)]));
    }

    #[test]
    fn a_column_that_only_the_image_after_an_update_lacks_is_unchanged() {
        let mut changes = Vec::new();
        decode(&event(Some(&[0b01]), Some(&[0b10]), &[0, 7, 0, 41]), &table(true), &mut changes).expect("an update");
        let [Change::Row(row)] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!(row.after.as_ref().expect("an image").get::<u64>("id").expect("the id"), 7);
    }

    #[test]
    fn a_difference_of_no_length_is_the_document_before() {
        let column = Column { kind: Kind::Json { length_bytes: 1 }, wanted: true };
        let docs = Table::new("shop.docs".into(), ["doc"].map(Box::from).into(), vec![column], true);
        // A 16-bit integer before; the options, the bits of differences, and a difference of no length after.
        let update = |after: &[u8], changes: &mut Vec<Change>| {
            let images = [&[0, 3, 5, 7, 0], after].concat();
            let rows = Rows { columns: 1, before: Some(&[1]), after: Some(&[1]), is_partial: true, images: &images };
            decode(&rows, &docs, changes).expect("an update");
        };
        let mut changes = Vec::new();
        update(&[1, 1, 0, 0], &mut changes);
        let [Change::Row(row)] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!(row.after.as_ref().expect("an image").get::<String>("doc").expect("the document"), "7");
        changes.clear();
        update(&[1, 1, 0, 1, 9], &mut changes);
        assert_eq!(tables_of(&changes), ["shop.docs"]);
    }

    #[test]
    fn an_event_always_has_an_effect_or_is_a_gap() {
        for strict in [true, false] {
            let mut changes = Vec::new();
            let none: &[u8] = &[0];
            for rows in [event(None, Some(none), &[]), event(Some(none), None, &[]), event(Some(none), Some(none), &[])]
            {
                decode(&rows, &table(strict), &mut changes).expect("no column is in the image");
            }
            assert_eq!(tables_of(&changes), ["shop.users"]);
        }
        // An unmapped column is the only one that these images have.
        for rows in [event(None, Some(&[0b11]), &[]), event(Some(&[0b11]), Some(&[0b11]), &[])] {
            let error = decode(&rows, &table(true), &mut Vec::new()).expect_err("an event without a row");
            assert_eq!(error.kind(), ErrorKind::Gap);
        }
    }

    #[test]
    fn images_without_a_column_that_are_followed_by_bytes_are_a_gap() {
        let loose = Table { strict: false, ..table(true) };
        for (before, after) in [(None, Some(&[0_u8][..])), (Some(&[0][..]), None), (Some(&[0][..]), Some(&[0][..]))] {
            let error = decode(&event(before, after, &[0; 100]), &loose, &mut Vec::new()).expect_err("no end");
            assert_eq!(error.kind(), ErrorKind::Gap);
        }
    }

    #[test]
    fn a_column_of_an_unknown_type_costs_its_table_only() {
        let Table { name, names, mut columns, .. } = table(true);
        columns[1].kind = Kind::Unknown(200);
        let later = Table::new(name, names, columns, true);
        let mut changes = Vec::new();
        decode(&event(None, Some(&[0b11]), &[0, 7, 40]), &later, &mut changes).expect("a flush");
        assert_eq!(tables_of(&changes), ["shop.users"]);
        changes.clear();
        decode(&event(Some(&[0b01]), None, &[0, 7]), &later, &mut changes).expect("an image without it");
        assert!(matches!(&changes[..], [Change::Row(_)]));
    }

    #[test]
    fn an_event_decodes_to_a_bounded_number_of_rows() {
        let mut changes = Vec::new();
        let nulls = vec![0b11; 1 << 20];
        decode(&event(None, Some(&[0b11]), &nulls), &table(true), &mut changes).expect("a flush");
        assert_eq!(tables_of(&changes), ["shop.users"]);
        changes.clear();
        decode(&event(None, Some(&[0b11]), &nulls[..6_000]), &table(true), &mut changes).expect("rows");
        assert_eq!(changes.len(), 6_000);
    }

    #[test]
    fn a_truncated_image_is_a_gap() {
        let error = decode(&event(None, Some(&[0b11]), &[0, 7]), &table(true), &mut Vec::new()).expect_err("truncated");
        assert_eq!(error.kind(), ErrorKind::Gap);
    }
}
