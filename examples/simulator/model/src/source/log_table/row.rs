//! One row of the log: decodes JSON images into a transaction.

use std::sync::Arc;

use cachefront::event::{Change, Operation, RowChange, RowImage, TableName, Transaction, TransitTimes, Value};
use cachefront::source::TableFilter;
use cachefront::{Error, ErrorKind, Gtid, Result, Timestamp};
use rusqlite::Row;
use rusqlite::types::ValueRef;

/// Selects the rows after `?1`, at most `?2` of them.
pub(super) const SELECT: &str =
    "SELECT seq, tbl, op, before, after, at FROM cachefront_log WHERE seq > ?1 ORDER BY seq LIMIT ?2";

/// A row as the table holds it. The images are bytes: another program may have written invalid UTF-8.
#[derive(Debug)]
pub(super) struct LogRow {
    pub(super) seq: u64,
    table: String,
    operation: String,
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
    at_ms: u64,
}

impl LogRow {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get::<_, i64>(0)?.unsigned_abs(),
            table: row.get(1)?,
            operation: row.get(2)?,
            before: image_bytes(row.get_ref(3)?),
            after: image_bytes(row.get_ref(4)?),
            at_ms: row.get::<_, i64>(5)?.unsigned_abs(),
        })
    }

    pub(super) fn bytes(&self) -> usize {
        let length = |image: &Option<Vec<u8>>| image.as_ref().map_or(0, Vec::len);
        length(&self.before) + length(&self.after)
    }

    /// Decodes the row into a transaction, without its change if the filter does not ask for its table.
    ///
    /// # Errors
    /// `Gap` if the row cannot be decoded: the keys that it made stale are then unknown.
    pub(super) fn decode(&self, uuid: &Arc<str>, filter: &TableFilter) -> Result<Transaction> {
        let table = TableName::new("main", &self.table);
        let changes = match filter.get(&table) {
            Some(_) => vec![Change::Row(self.change(table)?)],
            None => Vec::new(),
        };
        let gtid = Gtid { origin: Arc::clone(uuid), number: self.seq };
        let committed_at = Timestamp::from_micros(self.at_ms * 1_000);
        Ok(Transaction { gtid, committed_at, transit: TransitTimes::default(), changes, complete: true })
    }

    fn change(&self, table: TableName) -> Result<RowChange> {
        let operation = match self.operation.as_str() {
            "insert" => Operation::Insert,
            "update" => Operation::Update,
            "delete" => Operation::Delete,
            _ => return Err(self.not_understood("its operation is unknown")),
        };
        let image = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(|bytes| self.image(bytes)).transpose();
        Ok(RowChange { table, operation, before: image(&self.before)?, after: image(&self.after)? })
    }

    fn image(&self, bytes: &[u8]) -> Result<RowImage> {
        let columns: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(bytes).map_err(|_| self.not_understood("an image is not a JSON object"))?;
        Ok(RowImage::from_pairs(columns.iter().map(|(name, value)| (name.as_str(), column(value)))))
    }

    fn not_understood(&self, why: &str) -> Error {
        Error::new(ErrorKind::Gap, format!("row {} of the log cannot be understood: {why}", self.seq))
    }
}

fn image_bytes(value: ValueRef<'_>) -> Option<Vec<u8>> {
    match value {
        ValueRef::Null => None,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.to_vec()),
        // Not an image: decoding reports it.
        ValueRef::Integer(_) | ValueRef::Real(_) => Some(Vec::new()),
    }
}

fn column(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Int(i64::from(*flag)),
        serde_json::Value::String(text) => Value::Text(text.as_str().into()),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::UInt(number),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        nested => Value::Text(nested.to_string().into()),
    }
}
