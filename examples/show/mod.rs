//! Changes as JSON, one object per line: the output format of the tools that print records and logs.

use cachefront::event::{Column, RowChange, RowImage, TableName, Value};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// One line of output.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// `database.table`; several are separated by commas.
    pub(crate) table: Option<String>,
    /// One of insert, update, delete, read, truncate, ddl, gap, none; as a mapping: invalidate, flush.
    pub(crate) op: &'static str,
    /// The row before the change.
    pub(crate) before: Option<Row>,
    /// The row after the change.
    pub(crate) after: Option<Row>,
    /// The key that a change makes stale.
    pub(crate) key: Option<Row>,
    /// The transaction's GTID.
    pub(crate) gtid: Option<String>,
    /// What the event was, if `op` is none.
    pub(crate) kind: Option<&'static str>,
    /// The reason of a gap or of a change of whole tables, such as the statement.
    pub(crate) reason: Option<String>,
}

impl Line {
    /// Describes a change of a row.
    pub(crate) fn row(row: &RowChange, gtid: Option<String>) -> Self {
        Self {
            table: Some(row.table.as_str().to_owned()),
            op: row.operation.as_str(),
            before: row.before.as_ref().map(image),
            after: row.after.as_ref().map(image),
            gtid,
            ..Self::default()
        }
    }

    /// Describes a change of whole tables; if `tables` is empty, any table may be affected.
    pub(crate) fn tables(tables: &[TableName], reason: &str, gtid: Option<String>) -> Self {
        let names: Vec<&str> = tables.iter().map(TableName::as_str).collect();
        let truncates = reason.get(..8).is_some_and(|verb| verb.eq_ignore_ascii_case("truncate"));
        Self {
            table: (!names.is_empty()).then(|| names.join(",")),
            op: if truncates { "truncate" } else { "ddl" },
            gtid,
            reason: Some(reason.to_owned()),
            ..Self::default()
        }
    }

    /// Returns the line as JSON.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"op\":\"gap\",\"reason\":\"{error}\"}}"))
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("table", &self.table)?;
        map.serialize_entry("op", self.op)?;
        match &self.key {
            Some(key) => map.serialize_entry("key", key)?,
            None => {
                map.serialize_entry("before", &self.before)?;
                map.serialize_entry("after", &self.after)?;
            }
        }
        map.serialize_entry("gtid", &self.gtid)?;
        if let Some(kind) = self.kind {
            map.serialize_entry("kind", kind)?;
        }
        if let Some(reason) = &self.reason {
            map.serialize_entry("reason", reason)?;
        }
        map.end()
    }
}

/// A row's columns, without those that the image does not contain.
#[derive(Debug, PartialEq)]
pub(crate) struct Row(pub(crate) Vec<(String, Value)>);

/// Converts an image to a row.
pub(crate) fn image(image: &RowImage) -> Row {
    let value = |(name, column): (&str, &Column)| match column {
        Column::Value(value) => Some((name.to_owned(), value.clone())),
        _ => None,
    };
    Row(image.columns().filter_map(value).collect())
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, &Cell(value))?;
        }
        map.end()
    }
}

/// A value: numbers as numbers, bytes as `0x..`, JSON inline, everything else as text.
struct Cell<'a>(&'a Value);

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::UInt(number) => serializer.serialize_u64(*number),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::Text(text) => match inline(text) {
                Some(json) => json.serialize(serializer),
                None => serializer.serialize_str(text),
            },
            Value::Bytes(bytes) => {
                let mut text = String::with_capacity(2 + 2 * bytes.len());
                text.push_str("0x");
                for byte in bytes.iter() {
                    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('?');
                    text.extend([digit(byte >> 4), digit(byte & 15)]);
                }
                serializer.serialize_str(&text)
            }
            other => serializer.serialize_str(&format!("{other:?}")),
        }
    }
}

/// Returns text as JSON if it is an object or an array: an image does not distinguish JSON from text.
fn inline(text: &str) -> Option<Box<RawValue>> {
    if !text.starts_with(['{', '[']) {
        return None;
    }
    serde_json::from_str::<&RawValue>(text).ok()?;
    RawValue::from_string(super::compact::compact(text)).ok()
}
