//! Decodes Debezium's records into [events](crate::event::Event).
//!
//! `serde_json` reads every record, with borrowed text: rows stay unparsed where the message key has all columns that
//! mappings read. Schemas embedded in the records are parsed once and compared afterwards. (A hand-written scanner for
//! the most common form was measured at 1.7 to 1.9 times the speed of this, less than the time of fetching a record
//! would justify, and removed.)
//!
//! The forms are those of the [MySQL connector]: envelopes with or without schemas, rows flattened by
//! [`ExtractNewRecordState`], CloudEvents, transaction metadata, schema changes and heartbeats.
//!
//! A record that cannot be decoded is a [`DecodeError`]: it has the topic, partition and offset, and says how to fix the
//! cause.
//!
//! [MySQL connector]: https://debezium.io/documentation/reference/stable/connectors/mysql.html#mysql-events
//! [`ExtractNewRecordState`]: https://debezium.io/documentation/reference/stable/transformations/event-flattening.html
//!
//! # How a form is recognised
//!
//! The first line that applies:
//!
//! | record | form |
//! |---|---|
//! | no value | a tombstone; for flattened rows a delete |
//! | first byte is 0 | Avro or Protobuf with a schema id: an error |
//! | `schema` and `payload` | the payload, with the types of the schema, by the lines below |
//! | [`DecoderSettings::form`] says so, and the topic has rows | a flattened row |
//! | `specversion` | a CloudEvent |
//! | `op` | an envelope |
//! | `ddl` and `source` | a definition |
//! | `status` and `id` | BEGIN or END |
//! | `ts_ms`, and the topic has the heartbeat's prefix | ignored |
//! | anything else | an error |

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
mod problem;
mod record;
mod row;
mod schema;
mod schemas;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use cachefront_core::source::TableFilter;

pub use error::{DecodeError, RecordLocation};
pub use record::Record;
pub use settings::{BytesForm, ColumnType, DecoderSettings, Form, HEARTBEAT_PREFIX, TimeUnit};

use crate::event::Event;
use envelope::Known;
use message::{Message, read};
use plan::{Origins, Plans};
use problem::{Part, Problem};
use schema::Types;
use schemas::Schemas;

/// Decodes records. It caches what they have in common (names, origins, schemas), so use one decoder for a whole stream.
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
    /// Returns a decoder for the tables of interest; rows of other tables become [`Event::Ignored`].
    pub fn new(settings: DecoderSettings, filter: &TableFilter) -> Self {
        let known = Known {
            plans: Plans::new(&settings, filter),
            origins: Origins::default(),
            keys: Schemas::default(),
            values: Schemas::default(),
        };
        Self { settings, known }
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// If the record cannot be decoded. Any row may have changed in it, so everything cached must be flushed.
    pub fn decode(&mut self, record: &Record<'_>) -> Result<Event, DecodeError> {
        self.event(record).map_err(|problem| DecodeError::new(record, problem))
    }

    fn event(&mut self, record: &Record<'_>) -> Result<Event, Problem> {
        let flat = self.settings.form == Form::Flattened && !self.is_control(record.topic);
        let Some(value) = record.value else {
            return match flat {
                true => flat::delete(&self.settings, &mut self.known, record),
                false => Ok(Event::Ignored { kind: "tombstone", gtid: None }),
            };
        };
        if value.first() == Some(&0) {
            return Err(Problem::Avro);
        }
        let text = std::str::from_utf8(value).map_err(|_| Problem::NotUtf8(Part::Value))?;
        // The rest after a known schema is the payload only if it is one JSON value.
        if !flat
            && let Some((payload, types)) = self.known.values.strip(record.topic, text)
            && let Ok(message) = read(payload)
        {
            let types = Arc::clone(types);
            return self.message(record, &message, Some(&types));
        }
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

    /// True for topics whose records are not rows, whatever the form of rows.
    fn is_control(&self, topic: &str) -> bool {
        self.is_heartbeat(topic)
            || self.settings.transaction_topic.as_deref() == Some(topic)
            || self.settings.schema_change_topic.as_deref() == Some(topic)
    }

    fn is_heartbeat(&self, topic: &str) -> bool {
        topic.starts_with(&self.settings.heartbeat_prefix)
    }

    /// Returns the payload of a value with a schema, or the value itself if it has none.
    fn unwrap<'a>(&mut self, record: &Record<'_>, text: &'a str) -> Result<(&'a str, Option<Arc<Types>>), Problem> {
        if !text.trim_ascii_start().starts_with('{') || !text.contains("\"payload\"") {
            return Ok((text, None));
        }
        let message: Message<'_> = match read(text) {
            Ok(message) => message,
            // A flattened row may have columns of any name and type.
            Err(_) if self.settings.form == Form::Flattened => return Ok((text, None)),
            Err(problem) => return Err(problem),
        };
        match (message.schema, message.payload) {
            (Some(schema), Some(payload)) if matches!(schema.get().as_bytes(), [b'{', ..]) => {
                let (schema, payload) = (schema.get(), payload.get());
                let types = self.known.values.learn(record.topic, text, schema, payload, Part::Value)?;
                Ok((payload, Some(types)))
            }
            // `schemas.enable=true`, and this record has no schema.
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
            return envelope::decode(known, record, message, types);
        }
        if message.ddl.is_some() && message.source.is_some() {
            return control::schema_change(message, &mut known.plans, &mut known.origins);
        }
        if message.status.is_some() && message.id.is_some() {
            return control::transaction(message, &known.plans, &mut known.origins);
        }
        if message.ts_ms.is_some() && self.is_heartbeat(record.topic) {
            return Ok(Event::Ignored { kind: "heartbeat", gtid: None });
        }
        Err(Problem::NotDebezium(UNKNOWN))
    }

    /// Decodes an envelope whose fields are spread over a CloudEvent.
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
        let header = envelope::Header {
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
            order: message.order_of_cloud_event(),
            connector: message.ce_version,
            log: (message.ce_file, message.ce_pos),
        };
        envelope::change(&mut self.known, record, &header, &rows, types.as_ref())
    }
}

const NULL: &str = "the value is JSON's null, which has no meaning in an envelope: if the connector flattens its rows \
     (ExtractNewRecordState), set the decoder's form to Flattened";
const UNKNOWN: &str = "the value has none of Debezium's forms (envelope, transaction, schema change, heartbeat): if \
     the connector flattens its rows (ExtractNewRecordState), set the decoder's form to Flattened; if this is no topic \
     of Debezium's MySQL connector, leave it out";
const CLOUD: &str = "the value is a CloudEvent without Debezium's data or attributes: set \
     value.converter.data.serializer.type=json and leave the extension attributes on, or use the JSON converter";
