//! Flattened rows: the row after the change, with the fields that `add.fields` adds, as the transformation
//! [`ExtractNewRecordState`] writes them.
//!
//! [`ExtractNewRecordState`]: https://debezium.io/documentation/reference/stable/transformations/event-flattening.html
//!
//! ```text
//! {"id": 7, "name": "Bob", "__op": "u", "__source_db": "app", "__source_table": "users",
//!  "__source_gtid": "3e11fa47-..:23", "__source_ts_ms": 1764417229000, "__deleted": "false"}
//! ```
//!
//! Such a record lacks the row before the change. The keys of an update are known only if the
//! primary key has all columns that mappings read; else the table is flushed. Prefer envelopes.

use std::borrow::Cow;
use std::sync::Arc;

use cachefront_core::event::{Operation, RowChange, TableName};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::envelope::{Header, Known, Letter, Rows, event, origin};
use super::key;
use super::message::read;
use super::problem::{Part, Problem};
use super::record::Record;
use super::row::{self, RowBuilder};
use super::schema::Types;
use super::settings::DecoderSettings;
use crate::event::{BlockOrder, Event, Origin};

/// The fields that the transformation adds, under its default prefix.
///
/// Each is absent unless `add.fields` names it. The short names are those of
/// fields that are listed without `source.`.
#[derive(Debug, Deserialize)]
struct Added<'a> {
    #[serde(borrow, default, rename = "__op")]
    operation: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "__deleted")]
    deleted: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "__source_db", alias = "__db")]
    database: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "__source_table", alias = "__table")]
    table: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "__source_gtid", alias = "__gtid")]
    gtid: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "__source_snapshot", alias = "__snapshot")]
    snapshot: Option<Cow<'a, str>>,
    #[serde(default, rename = "__source_ts_ms")]
    committed_ms: Option<u64>,
    #[serde(borrow, default, rename = "__source_version")]
    version: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "__source_file")]
    file: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "__source_pos")]
    pos: Option<&'a RawValue>,
    #[serde(default, rename = "__transaction_total_order")]
    in_transaction: Option<u64>,
    #[serde(default, rename = "__transaction_data_collection_order")]
    in_table: Option<u64>,
}

/// Decodes a delete without a value, which the transformation writes unless `delete.tombstone.handling.mode=rewrite`: only the
/// key identifies the row, only the topic the table, and nothing the transaction.
pub(super) fn delete(settings: &DecoderSettings, known: &mut Known, record: &Record<'_>) -> Result<Event, Problem> {
    let table = settings.tables.get(record.topic).ok_or(Problem::NoTable)?;
    let Some(plan) = known.plans.find_full(table) else {
        return Ok(Event::Ignored { kind: "other", gtid: None });
    };
    match key::columns(&mut known.keys, record, &mut plan.key)? {
        Some((image, whole)) if whole || settings.inspect => {
            event(plan, Letter::Delete, Letter::Delete.rows_of_key(image), None, Origin::default())
        }
        None if settings.inspect => Err(Problem::NoKey),
        _ => Ok(flush(plan.table.clone(), "a delete that names the key only", Origin::default())),
    }
}

/// Decodes a row.
///
/// # Errors
/// As an envelope's; also if the record does not say to which table it belongs.
pub(super) fn row(
    settings: &DecoderSettings,
    known: &mut Known,
    record: &Record<'_>,
    text: &str,
    types: Option<&Arc<Types>>,
) -> Result<Event, Problem> {
    let added: Added<'_> = read(text)?;
    let order = match (added.in_transaction, added.in_table) {
        (Some(in_transaction), Some(in_table)) => Some(BlockOrder { in_transaction, in_table }),
        _ => None,
    };
    let header = Header {
        gtid: added.gtid.as_deref(),
        committed_us: added.committed_ms.unwrap_or_default().saturating_mul(1_000),
        captured_us: 0,
        snapshot: added.snapshot.as_deref(),
        operation: added.operation.as_deref().and_then(|letter| letter.bytes().next()).unwrap_or_default(),
        order,
        connector: added.version,
        log: (added.file, added.pos),
        ..Header::default()
    };
    let letter = match (added.operation.as_deref().map(str::as_bytes), added.deleted.as_deref()) {
        (Some([letter]), _) => Letter::from(*letter).ok_or(Problem::Operation)?,
        (Some(_), _) => return Err(Problem::Operation),
        (None, Some("true")) => Letter::Delete,
        // An insert, an update or a read. An update is the safe assumption: the row may have had other values before.
        (None, _) => Letter::Update,
    };
    let origin = origin(&header, &mut known.origins)?;
    let plan = match (added.database.as_deref(), added.table.as_deref()) {
        (Some(database), Some(table)) => known.plans.find(database, table),
        _ => known.plans.find_full(settings.tables.get(record.topic).ok_or(Problem::NoTable)?),
    };
    let Some(plan) = plan else {
        return Ok(Event::Ignored { kind: "other", gtid: origin.gtid });
    };
    if letter.has_row()
        && let Some(image) = key::image(&mut known.keys, record, plan)
    {
        return event(plan, letter, letter.rows_of_key(image), header.snapshot, origin);
    }
    if letter == Letter::Update && !settings.inspect {
        return Ok(flush(plan.table.clone(), "an update without the row before", origin));
    }
    plan.row.use_schema(types);
    let mut builder = RowBuilder::flat(&mut plan.row);
    row::parse(text, &mut builder, Part::Value)?;
    let image = builder.finish();
    match letter {
        Letter::Update => {
            let table = plan.table.clone();
            let row = RowChange { table, operation: Operation::Update, before: None, after: Some(image) };
            Ok(Event::Row { row, origin })
        }
        Letter::Delete => event(plan, letter, Rows { before: Some(image), after: None }, header.snapshot, origin),
        _ => event(plan, letter, Rows { before: None, after: Some(image) }, header.snapshot, origin),
    }
}

/// The record lacks the row before the change, so only flushing the table invalidates the keys of that row.
fn flush(table: TableName, reason: &str, origin: Origin) -> Event {
    let reason = format!("{reason} (flattened records; the envelope form has it)");
    Event::Tables { tables: vec![table], reason, origin }
}
