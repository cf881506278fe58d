//! An optional second decoder of rows: the crate [`mysql_cdc`](https://docs.rs/mysql_cdc), which gets the bytes of the same events.
//!
//! It decodes the events whose images have every column, and of which mappings read only columns that it decodes exactly. All
//! others, and those for which it returns an error or panics, are decoded by this crate: it has no errors for text that is not
//! UTF-8, negative times, and types of later servers; keeps signs, microseconds and trailing zeros; and is bounded in what a
//! damaged event may take. A test lists each disagreement over all recorded logs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cachefront_core::event::{Change, Column as Cell, Operation, RowBlock, RowChange, RowImage, Value};
use mysql_cdc::events::binlog_event::BinlogEvent;
use mysql_cdc::events::event_header::EventHeader;
use mysql_cdc::events::event_parser::EventParser;
use mysql_cdc::events::row_events::mysql_value::MySqlValue;
use mysql_cdc::events::row_events::row_data::RowData;

use crate::charset::Charset;
use crate::column::Kind;
use crate::decode;
use crate::event::{Rows, kind};
use crate::table::{Column, Table};

/// The crate's parser, with the table maps that it needs.
pub(crate) struct Second {
    parser: EventParser,
}

impl std::fmt::Debug for Second {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Second").finish_non_exhaustive()
    }
}

impl Default for Second {
    fn default() -> Self {
        Self { parser: EventParser::new() }
    }
}

impl Second {
    /// Passes a table map, which the rows events after it need.
    pub(crate) fn table_map(&mut self, body: &[u8]) {
        let _ = self.parse(kind::TABLE_MAP, body);
    }

    /// Decodes a rows event. `None` if this crate must.
    pub(crate) fn rows(&mut self, event_kind: u8, body: &[u8], rows: &Rows<'_>, table: &Table) -> Option<Vec<Change>> {
        let is_whole = |present: Option<&[u8]>| present.is_none_or(|bits| has_all(bits, rows.columns));
        let is_exact = table.columns.iter().filter(|column| column.wanted).all(|column| decodes(&column.kind));
        let is_plain =
            !rows.is_partial && rows.columns == table.columns.len() && rows.columns > 0 && !rows.images.is_empty();
        if !is_plain || !is_exact || !is_whole(rows.before) || !is_whole(rows.after) {
            return None;
        }
        let change = |operation, before: Option<&RowData>, after: Option<&RowData>| {
            let image = |row: Option<&RowData>| match row {
                Some(row) => {
                    let names = Arc::clone(&table.names);
                    let block = Arc::new(RowBlock::new(names, table.slots.clone(), cells(row, table)?));
                    Some(Some(RowImage::of_block(&block, 0)))
                }
                None => Some(None),
            };
            Some(Change::Row(RowChange {
                table: table.name.clone(),
                operation,
                before: image(before)?,
                after: image(after)?,
            }))
        };
        match self.parse(event_kind, body)? {
            BinlogEvent::WriteRowsEvent(event) => {
                event.rows.iter().map(|row| change(Operation::Insert, None, Some(row))).collect()
            }
            BinlogEvent::DeleteRowsEvent(event) => {
                event.rows.iter().map(|row| change(Operation::Delete, Some(row), None)).collect()
            }
            BinlogEvent::UpdateRowsEvent(event) => event
                .rows
                .iter()
                .map(|row| change(Operation::Update, Some(&row.before_update), Some(&row.after_update)))
                .collect(),
            _ => None,
        }
    }

    /// Parses an event. `None` if the crate returns an error or panics.
    fn parse(&mut self, event_type: u8, body: &[u8]) -> Option<BinlogEvent> {
        let header = EventHeader {
            timestamp: 0,
            event_type,
            server_id: 0,
            event_length: 0,
            next_event_position: 0,
            event_flags: 0,
        };
        // After a panic its table maps are as before: a map is added when it was parsed.
        catch_unwind(AssertUnwindSafe(|| self.parser.parse_event(&header, body))).ok()?.ok()
    }
}

/// Returns true if an image has all columns.
fn has_all(present: &[u8], columns: usize) -> bool {
    (0..columns).all(|index| present.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1))
}

/// Returns true for the types of which the crate loses nothing.
fn decodes(kind: &Kind) -> bool {
    match kind {
        Kind::Integer { .. } | Kind::Float | Kind::Double | Kind::Year | Kind::Date => true,
        Kind::Enum { .. } | Kind::Set { .. } => true,
        Kind::Text { charset, .. } => *charset == Charset::Utf8,
        _ => false,
    }
}

/// The wanted cells of an image. `None` if one of them has another type than the table map says.
fn cells(row: &RowData, table: &Table) -> Option<Vec<Cell>> {
    let cell = |(value, column): (&Option<MySqlValue>, &Column)| match value {
        None => Some(Cell::Value(Value::Null)),
        Some(value) => self::value(value, &column.kind).map(Cell::Value),
    };
    if row.cells.len() != table.columns.len() {
        return None;
    }
    row.cells.iter().zip(&table.columns).filter(|(_, column)| column.wanted).map(cell).collect()
}

/// A value with what the crate does not know: the sign, the labels.
fn value(value: &MySqlValue, kind: &Kind) -> Option<Value> {
    let integer = |number: u64, bits: u32| match kind {
        Kind::Integer { unsigned: true, .. } => Some(Value::UInt(number)),
        Kind::Integer { .. } => Some(Value::Int((number << (64 - bits)).cast_signed() >> (64 - bits))),
        _ => None,
    };
    match (value, kind) {
        (MySqlValue::TinyInt(number), _) => integer(u64::from(*number), 8),
        (MySqlValue::SmallInt(number), _) => integer(u64::from(*number), 16),
        (MySqlValue::MediumInt(number), _) => integer(u64::from(*number), 24),
        (MySqlValue::Int(number), _) => integer(u64::from(*number), 32),
        (MySqlValue::BigInt(number), _) => integer(*number, 64),
        (MySqlValue::Float(number), Kind::Float) => Some(Value::Float(f64::from(*number))),
        (MySqlValue::Double(number), Kind::Double) => Some(Value::Float(*number)),
        // The stored 0 is no year.
        (MySqlValue::Year(1900), Kind::Year) => Some(Value::UInt(0)),
        (MySqlValue::Year(year), Kind::Year) => Some(Value::UInt(u64::from(*year))),
        (MySqlValue::Date(date), Kind::Date) => {
            Some(Value::Text(format!("{:04}-{:02}-{:02}", date.year, date.month, date.day).into()))
        }
        (MySqlValue::Enum(number), Kind::Enum { labels, .. }) => {
            decode::enumeration(u64::from(*number), labels.as_ref()).ok()
        }
        (MySqlValue::Set(bits), Kind::Set { labels, .. }) => decode::set(*bits, labels.as_ref()).ok(),
        (MySqlValue::String(text), Kind::Text { .. }) => Some(Value::Text(text.as_str().into())),
        (MySqlValue::Blob(bytes), Kind::Text { .. }) => Some(Value::Text(std::str::from_utf8(bytes).ok()?.into())),
        _ => None,
    }
}
