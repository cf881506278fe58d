//! What the decoder has to be told, because the records do not say it.

use std::collections::BTreeMap;

use cachefront_core::event::TableName;

/// The default of [`DecoderSettings::heartbeat_prefix`], which is Debezium's own.
pub const HEARTBEAT_PREFIX: &str = "__debezium-heartbeat";

/// How the connector writes its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// Debezium's envelope: `before`, `after`, `source`, `op`. With or without schemas, routed or not.
    #[default]
    Envelope,
    /// Rows alone, as the transformation `ExtractNewRecordState` leaves them. Give it
    /// `add.fields=op,source.db,source.table,source.gtid,source.ts_ms,source.snapshot`, or no position is known.
    Flattened,
}

/// A column's type, where the record does not say it: without schemas, or where schemas are not enough.
///
/// With the right types a value is equal to the one that the binary log gives for the same column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColumnType {
    /// As the JSON has it: a number, text, or a bit (`true`, `false`).
    #[default]
    Plain,
    /// `BIGINT UNSIGNED`, which wraps to a negative number from 2⁶³ on, or is base64 where
    /// `bigint.unsigned.handling.mode=precise`.
    Unsigned,
    /// `FLOAT`, single precision.
    Float,
    /// `DECIMAL` as base64 (`decimal.handling.mode=precise`, the connector's default); text stays as it is.
    Decimal {
        /// How many digits stand after the point.
        scale: u32,
    },
    /// `DATE`: days since 1970, or ISO text.
    Date,
    /// `TIME`: a number in this unit, or ISO text.
    Time {
        /// The number's unit: microseconds unless `time.precision.mode` says another.
        unit: TimeUnit,
        /// The digits of the fraction, as the column declares them; nothing: as many as it takes.
        digits: Option<u8>,
    },
    /// `DATETIME`: a number in this unit since 1970, or ISO text.
    DateTime {
        /// The number's unit: milliseconds up to `DATETIME(3)`, microseconds above.
        unit: TimeUnit,
        /// The digits of the fraction, as the column declares them; nothing: as many as it takes.
        digits: Option<u8>,
    },
    /// `TIMESTAMP`: ISO text in UTC.
    Timestamp {
        /// The digits of the fraction, as the column declares them; nothing: as the record has them.
        digits: Option<u8>,
    },
    /// `YEAR`.
    Year,
    /// `BIT`: true or false, or base64 with the lowest byte first.
    Bit,
    /// `BINARY`, `VARBINARY`, `BLOB` as text.
    Bytes(BytesForm),
    /// `JSON`: text, with white space as the server prints it.
    Json,
}

/// The unit of a number that is a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeUnit {
    /// 10⁻³ s.
    Millis,
    /// 10⁻⁶ s.
    Micros,
    /// 10⁻⁹ s.
    Nanos,
}

/// How bytes are written, after the connector's `binary.handling.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BytesForm {
    /// `bytes` (the default) and `base64`.
    Base64,
    /// `base64-url-safe`.
    Base64Url,
    /// `hex`.
    Hex,
}

/// What the decoder has to be told. The default fits a connector with its own defaults and no transformations.
#[derive(Clone, Debug)]
pub struct DecoderSettings {
    /// How the connector writes its records.
    pub form: Form,
    /// The tables of topics whose records do not name their table: flattened rows without `source.db` and
    /// `source.table`, and flattened deletes, which have no value.
    pub tables: BTreeMap<String, TableName>,
    /// The topic of the transactions' begins and ends (`<topic.prefix>.transaction`). An envelope needs no telling;
    /// flattened rows do.
    pub transaction_topic: Option<String>,
    /// The topic of schema changes (`<topic.prefix>`). An envelope needs no telling; flattened rows do.
    pub schema_change_topic: Option<String>,
    /// What the heartbeats' topics begin with (`topic.heartbeat.prefix`).
    pub heartbeat_prefix: String,
    /// Types of columns, by `database.table.column`. They win over schemas in the records.
    pub columns: BTreeMap<String, ColumnType>,
    /// Whether columns may be taken from the message key. True unless a transformation puts other values into the key
    /// under the names of columns.
    pub key_is_row: bool,
    /// For tools that show records, not for caches: every table is of interest, and flattened updates and deletes are
    /// handed over as rows although the row before is not in them. A cache would keep what the row before stood for, so
    /// it is told to void the table instead.
    pub inspect: bool,
}

impl Default for DecoderSettings {
    fn default() -> Self {
        Self {
            form: Form::default(),
            tables: BTreeMap::new(),
            transaction_topic: None,
            schema_change_topic: None,
            heartbeat_prefix: HEARTBEAT_PREFIX.to_owned(),
            columns: BTreeMap::new(),
            key_is_row: true,
            inspect: false,
        }
    }
}
