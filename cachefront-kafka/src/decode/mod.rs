//! From a record of Debezium to what it says.
//!
//! Two ways lead there, and tests hold them to the same answer. The quick one reads the common form by hand: an
//! envelope in Debezium's order of fields and without white space, and of it only what is asked for — where the
//! message key has all columns that mappings read, the rows are not looked at. The thorough one takes whatever
//! `serde_json` can read. The quick one answers nothing where anything is not as it expects, and then the other one
//! decides; so it may be slow to understand a record, but not wrong.
//!
//! A record that neither understands is a [`DecodeError`]: it names topic, partition and offset, and what to do.

mod calendar;
mod control;
mod convert;
mod envelope;
mod error;
mod flat;
mod json;
mod key;
mod message;
mod plan;
mod row;
mod schema;
mod schemas;
mod settings;
mod tail;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use cachefront_core::source::TableFilter;

pub use error::DecodeError;
pub use settings::{BytesForm, ColumnType, DecoderSettings, Form, HEARTBEAT_PREFIX, TimeUnit};

use crate::event::Event;
use envelope::Known;
use error::{Part, Problem};
use message::{Message, read};
use plan::{Origins, Plans};
use schema::Types;
use schemas::Schemas;

/// One record of a topic.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition's number.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// The key's bytes; nothing for a table without a key.
    pub key: Option<&'a [u8]>,
    /// The value's bytes; nothing for a tombstone.
    pub value: Option<&'a [u8]>,
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rows are nobody's business in a log.
        f.debug_struct("Record")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .field("key_bytes", &self.key.map(<[u8]>::len))
            .field("value_bytes", &self.value.map(<[u8]>::len))
            .finish()
    }
}

/// Decodes records. It keeps what they share (names, origins, schemas), so one decoder reads a stream.
///
/// ```
/// use cachefront::event::TableName;
/// use cachefront::source::{Columns, TableFilter};
/// use cachefront::kafka::decode::{Decoder, DecoderSettings, Record};
/// use cachefront::kafka::event::Event;
///
/// let mut filter = TableFilter::new();
/// filter.add(TableName::new("app", "users"), &Columns::Only(vec!["id".into()]));
/// let mut decoder = Decoder::new(DecoderSettings::default(), &filter);
/// let value = br#"{"before":null,"after":{"id":7,"name":"Ada"},"source":{"version":"3.6.1.Final","ts_ms":1,
///     "snapshot":"false","db":"app","table":"users","gtid":"3e11fa47-71ca-11e1-9e33-c80aa9429562:23"},"op":"c"}"#;
/// let record =
///     Record { topic: "dbz.app.users", partition: 0, offset: 0, key: Some(br#"{"id":7}"#), value: Some(value) };
/// let Event::Row { row, .. } = decoder.decode(&record)? else { panic!("a row") };
/// assert_eq!(row.after.expect("an after image").get::<u64>("id")?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    settings: DecoderSettings,
    known: Known,
}

impl Decoder {
    /// A decoder for the tables of interest.
    pub fn new(settings: DecoderSettings, filter: &TableFilter) -> Self {
        let known = Known {
            plans: Plans::new(&settings, filter),
            origins: Origins::default(),
            keys: Schemas::default(),
            values: Schemas::default(),
        };
        Self { settings, known }
    }

    /// What a record says.
    ///
    /// # Errors
    /// If it can not be understood. The changes that it stood for are unknown then: everything cached must be voided.
    #[inline]
    pub fn decode(&mut self, record: &Record<'_>) -> Result<Event, DecodeError> {
        if self.settings.form == Form::Envelope {
            let Some(value) = record.value else {
                return Ok(Event::Nothing { kind: "tombstone", gtid: None });
            };
            if let Some(event) = envelope::quick(&mut self.known, record, value) {
                return Ok(event);
            }
        }
        self.thorough(record).map_err(|problem| DecodeError::new(record, problem))
    }

    /// Decodes without the quick way.
    fn thorough(&mut self, record: &Record<'_>) -> Result<Event, Problem> {
        let flat = self.settings.form == Form::Flattened && !self.is_control(record.topic);
        let Some(value) = record.value else {
            return match flat {
                true => flat::delete(&self.settings, &mut self.known, record),
                false => Ok(Event::Nothing { kind: "tombstone", gtid: None }),
            };
        };
        if value.first() == Some(&0) {
            return Err(Problem::Avro);
        }
        let text = std::str::from_utf8(value).map_err(|_| Problem::NotUtf8(Part::Value))?;
        let (text, types) = self.unwrap(record, text)?;
        if text.trim_ascii() == "null" {
            return match flat {
                true => flat::delete(&self.settings, &mut self.known, record),
                false => Err(Problem::NotDebezium(NULL)),
            };
        }
        if flat {
            return flat::row(&self.settings, &mut self.known, record, text, types.as_ref());
        }
        let message = read(text)?;
        self.message(record, &message, types.as_ref())
    }

    /// True for topics whose records are no rows, whatever the form of those.
    fn is_control(&self, topic: &str) -> bool {
        self.is_heartbeat(topic)
            || self.settings.transaction_topic.as_deref() == Some(topic)
            || self.settings.schema_change_topic.as_deref() == Some(topic)
    }

    fn is_heartbeat(&self, topic: &str) -> bool {
        topic.starts_with(&self.settings.heartbeat_prefix)
    }

    /// The payload of a value with a schema; the value itself if it has none.
    fn unwrap<'a>(&mut self, record: &Record<'_>, text: &'a str) -> Result<(&'a str, Option<Arc<Types>>), Problem> {
        if !text.trim_ascii_start().starts_with('{') || !text.contains("\"payload\"") {
            return Ok((text, None));
        }
        let message: Message<'_> = match read(text) {
            Ok(message) => message,
            // A row may have columns of any name and type.
            Err(_) if self.settings.form == Form::Flattened => return Ok((text, None)),
            Err(problem) => return Err(problem),
        };
        match (message.schema, message.payload) {
            (Some(schema), Some(payload)) if matches!(schema.get().as_bytes(), [b'{', ..]) => {
                let (schema, payload) = (schema.get(), payload.get());
                let types = self.known.values.learn(record.topic, text, schema, payload, Part::Value)?;
                Ok((payload, Some(types)))
            }
            // Schemas are turned on, and this record has none.
            (Some(schema), Some(payload)) if schema.get() == "null" => Ok((payload.get(), None)),
            _ => Ok((text, None)),
        }
    }

    fn message(
        &mut self,
        record: &Record<'_>,
        message: &Message<'_>,
        types: Option<&Arc<Types>>,
    ) -> Result<Event, Problem> {
        let known = &mut self.known;
        if message.specversion.is_some() {
            return self.cloud_event(record, message);
        }
        if message.op.is_some() {
            return envelope::thorough(known, record, message, types);
        }
        if message.ddl.is_some() && message.source.is_some() {
            return control::schema_change(message, &mut known.plans, &mut known.origins);
        }
        if message.status.is_some() && message.id.is_some() {
            return control::transaction(message, &known.plans, &mut known.origins);
        }
        if message.ts_ms.is_some() && self.is_heartbeat(record.topic) {
            return Ok(Event::Nothing { kind: "heartbeat", gtid: None });
        }
        Err(Problem::NotDebezium(UNKNOWN))
    }

    /// An envelope whose fields were spread over a CloudEvent.
    fn cloud_event(&mut self, record: &Record<'_>, message: &Message<'_>) -> Result<Event, Problem> {
        let data = message.data.ok_or(Problem::NotDebezium(CLOUD))?.get();
        let (rows, types) = self.unwrap(record, data)?;
        let rows: Message<'_> = read(rows)?;
        let (Some(operation), Some(database), Some(table)) =
            (message.ce_op.as_deref(), message.ce_database.as_deref(), message.ce_table.as_deref())
        else {
            return Err(Problem::NotDebezium(CLOUD));
        };
        let committed_us =
            message.ce_committed_ms.as_deref().map_or(Some(0), |text| text.parse::<u64>().ok()?.checked_mul(1_000));
        let meta = tail::Meta {
            database,
            table,
            gtid: message.ce_gtid.as_deref(),
            committed_us: committed_us.ok_or(Problem::Field { name: "iodebeziumtsms", wanted: "a number" })?,
            captured_us: 0,
            snapshot: message.ce_snapshot.as_deref(),
            operation: match operation.as_bytes() {
                [letter] => *letter,
                _ => return Err(Problem::Operation),
            },
            place: None,
        };
        envelope::change(&mut self.known, record, &meta, &rows, types.as_ref())
    }
}

const NULL: &str = "the value is JSON's null, which says nothing in an envelope: if the connector flattens its rows \
     (ExtractNewRecordState), set the decoder's form to Flattened";
const UNKNOWN: &str = "the value has none of Debezium's forms (envelope, transaction, schema change, heartbeat): if \
     the connector flattens its rows (ExtractNewRecordState), set the decoder's form to Flattened; if this is no topic \
     of Debezium's MySQL connector, leave it out";
const CLOUD: &str = "the value is a CloudEvent without Debezium's data or attributes: set \
     value.converter.data.serializer.type=json and leave the extension attributes on, or use the JSON converter";
