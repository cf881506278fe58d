//! Settings of the decoder: what the records themselves do not say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The default of [`DecoderSettings::heartbeat_prefix`], which is Debezium's own.
pub const HEARTBEAT_PREFIX: &str = "__debezium-heartbeat";

/// How the connector writes its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Form {
    /// Debezium's envelope: `before`, `after`, `source`, `op`. With or without schemas, routed or not.
    #[default]
    Envelope,
    /// Rows without an envelope, as the transformation [`ExtractNewRecordState`] writes them. It needs
    /// `add.fields=op,source.db,source.table,source.gtid,source.ts_ms,source.snapshot`, or no position is known, and
    /// `delete.tombstone.handling.mode=rewrite`: by default a delete has no value, so it names no transaction, and each one is
    /// a gap. With `source.version` too, the source knows whether the connector's counts hold across its restarts.
    ///
    /// The transformation drops the records of TRUNCATE, so such rows claim no positions unless
    /// [`never_truncated`](crate::KafkaSourceBuilder::never_truncated) states that no mapped table is truncated.
    ///
    /// [`ExtractNewRecordState`]: https://debezium.io/documentation/reference/stable/transformations/event-flattening.html
    Flattened,
}

/// A column's type, needed where the record does not say it: without a schema, or where the schema is ambiguous.
///
/// With the right type a value equals the one that the binary log has for the same column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// `DECIMAL` as base64 (`decimal.handling.mode=precise`, the connector's default). Text with a decimal point, and digits
    /// that cannot be base64, stay as they are. Digits that can be, such as `12345678`, are an error unless the record has a
    /// schema. So do not name this type with `decimal.handling.mode=string`, which is the best choice: its text is exact without a
    /// type. `decimal.format=NUMERIC` on the converters loses digits: a JSON number with a fraction is read as a double.
    Decimal {
        /// Number of digits after the decimal point.
        scale: u32,
    },
    /// `DATE`: days since 1970, or ISO text.
    Date,
    /// `TIME`: a number in this unit, or ISO text.
    Time {
        /// The number's unit: microseconds unless `time.precision.mode` sets another.
        unit: TimeUnit,
        /// Number of fractional digits that the column declares; `None` for as many as the value needs.
        digits: Option<u8>,
    },
    /// `DATETIME`: a number in this unit since 1970, or ISO text.
    DateTime {
        /// The number's unit: milliseconds up to `DATETIME(3)`, microseconds above.
        unit: TimeUnit,
        /// Number of fractional digits that the column declares; `None` for as many as the value needs.
        digits: Option<u8>,
    },
    /// `TIMESTAMP`: ISO text in UTC.
    Timestamp {
        /// Number of fractional digits that the column declares; `None` for those in the record.
        digits: Option<u8>,
    },
    /// `YEAR`.
    Year,
    /// `BIT`: true or false, or base64 in little-endian order.
    Bit,
    /// `BINARY`, `VARBINARY`, `BLOB` as text.
    Bytes(BytesForm),
    /// `JSON`: text, with white space as the server prints it.
    Json,
}

/// The unit of a number that is a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TimeUnit {
    /// 10⁻³ s.
    Millis,
    /// 10⁻⁶ s.
    Micros,
    /// 10⁻⁹ s.
    Nanos,
}

/// How bytes are written, as the connector's `binary.handling.mode` sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BytesForm {
    /// `bytes` (the default) and `base64`.
    Base64,
    /// `base64-url-safe`.
    Base64Url,
    /// `hex`.
    Hex,
}

/// Settings of a [`Decoder`](super::Decoder). The defaults fit a connector with its own defaults and no transformations.
///
/// ```
/// use cachefront::kafka::decode::{ColumnType, DecoderSettings, Form};
///
/// let settings = DecoderSettings::default()
///     .with_form(Form::Flattened)
///     .with_table("shop.users", "app.users")
///     .with_column("app.users.id", ColumnType::Unsigned);
/// assert_eq!(settings.columns["app.users.id"], ColumnType::Unsigned);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DecoderSettings {
    /// How the connector writes its records. Default: [`Form::Envelope`].
    pub form: Form,
    /// The tables, `database.table`, of topics whose records do not name their table: flattened rows without `source.db`
    /// and `source.table`, and flattened deletes, which have no value. Default: none.
    pub tables: BTreeMap<String, String>,
    /// The topic of the begin and end of transactions, `<topic.prefix>.transaction`. Needed for flattened rows only: an
    /// envelope is recognised without it. Default: `None`.
    pub transaction_topic: Option<String>,
    /// The topic of schema changes, `<topic.prefix>`. Needed for flattened rows only: an envelope is recognised without
    /// it. Default: `None`.
    pub schema_change_topic: Option<String>,
    /// The prefix of heartbeat topics (`topic.heartbeat.prefix`). Default: [`HEARTBEAT_PREFIX`].
    pub heartbeat_prefix: String,
    /// Types of columns, by `database.table.column`. They take precedence over schemas in the records. Default: none.
    pub columns: BTreeMap<String, ColumnType>,
    /// Whether columns may be read from the message key. Set it to `false` if a transformation puts other values into the
    /// key under the names of columns. Default: `true`.
    pub key_is_row: bool,
    /// For tools that print records, not for caches: every table is of interest, and flattened updates and deletes are
    /// returned as rows although they lack the row before the change. A cache would keep entries of that row, so by
    /// default such records flush the table. Default: `false`.
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

impl DecoderSettings {
    /// Sets [`form`](Self::form).
    #[must_use]
    pub fn with_form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// Adds a topic to [`tables`](Self::tables); the table is `database.table`.
    #[must_use]
    pub fn with_table(mut self, topic: impl Into<String>, table: impl Into<String>) -> Self {
        self.tables.insert(topic.into(), table.into());
        self
    }

    /// Sets [`transaction_topic`](Self::transaction_topic).
    #[must_use]
    pub fn with_transaction_topic(mut self, topic: impl Into<String>) -> Self {
        self.transaction_topic = Some(topic.into());
        self
    }

    /// Sets [`schema_change_topic`](Self::schema_change_topic).
    #[must_use]
    pub fn with_schema_change_topic(mut self, topic: impl Into<String>) -> Self {
        self.schema_change_topic = Some(topic.into());
        self
    }

    /// Sets [`heartbeat_prefix`](Self::heartbeat_prefix).
    #[must_use]
    pub fn with_heartbeat_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.heartbeat_prefix = prefix.into();
        self
    }

    /// Adds the type of a column, `database.table.column`, to [`columns`](Self::columns).
    #[must_use]
    pub fn with_column(mut self, column: impl Into<String>, kind: ColumnType) -> Self {
        self.columns.insert(column.into(), kind);
        self
    }

    /// Sets [`key_is_row`](Self::key_is_row).
    #[must_use]
    pub fn with_key_is_row(mut self, key_is_row: bool) -> Self {
        self.key_is_row = key_is_row;
        self
    }

    /// Sets [`inspect`](Self::inspect).
    #[must_use]
    pub fn with_inspect(mut self, inspect: bool) -> Self {
        self.inspect = inspect;
        self
    }
}
