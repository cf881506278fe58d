//! Rows alone, as the transformation `ExtractNewRecordState` leaves them: the row after, and what `add.fields` adds.

use std::borrow::Cow;
use std::sync::Arc;

use cachefront_core::event::{Operation, RowChange, TableName};
use serde::Deserialize;

use crate::event::{Event, Origin, Place};

use super::envelope::{Known, Letter, Rows, event, origin};
use super::error::{Part, Problem};
use super::message::read;
use super::row::{self, Filling};
use super::schema::Types;
use super::settings::DecoderSettings;
use super::tail::Meta;
use super::{Record, key};

/// The fields that the transformation adds, under its own prefix.
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
    #[serde(default, rename = "__transaction_total_order")]
    in_transaction: Option<u64>,
    #[serde(default, rename = "__transaction_data_collection_order")]
    in_table: Option<u64>,
}

/// A delete whose record has no value: the key alone tells the row, the topic alone the table.
pub(super) fn delete(settings: &DecoderSettings, known: &mut Known, record: &Record<'_>) -> Result<Event, Problem> {
    let table = settings.tables.get(record.topic).ok_or(Problem::NoTable)?;
    let Some(plan) = known.plans.find_full(table) else {
        return Ok(Event::Nothing { kind: "other", gtid: None });
    };
    match key::columns(&mut known.keys, record, &mut plan.key)? {
        Some((image, whole)) if whole || settings.inspect => {
            event(plan, Letter::Delete, Letter::Delete.rows_of_key(image), None, Origin::default())
        }
        None if settings.inspect => Err(Problem::NoKey),
        _ => Ok(void(plan.table.clone(), "a delete that names the key only", Origin::default())),
    }
}

/// A row.
pub(super) fn row(
    settings: &DecoderSettings,
    known: &mut Known,
    record: &Record<'_>,
    text: &str,
    types: Option<&Arc<Types>>,
) -> Result<Event, Problem> {
    let added: Added<'_> = read(text)?;
    let place = match (added.in_transaction, added.in_table) {
        (Some(in_transaction), Some(in_table)) => Some(Place { in_transaction, in_table }),
        _ => None,
    };
    let meta = Meta {
        gtid: added.gtid.as_deref(),
        committed_us: added.committed_ms.unwrap_or_default().saturating_mul(1_000),
        captured_us: 0,
        snapshot: added.snapshot.as_deref(),
        place,
        ..Meta::default()
    };
    let letter = match (added.operation.as_deref().map(str::as_bytes), added.deleted.as_deref()) {
        (Some([letter]), _) => Letter::from(*letter).ok_or(Problem::Operation)?,
        (Some(_), _) => return Err(Problem::Operation),
        (None, Some("true")) => Letter::Delete,
        // An insert, an update or a read: the row is as it says now, and was perhaps another one before.
        (None, _) => Letter::Update,
    };
    let origin = origin(&meta, &mut known.origins)?;
    let plan = match (added.database.as_deref(), added.table.as_deref()) {
        (Some(database), Some(table)) => known.plans.find(database, table),
        _ => known.plans.find_full(settings.tables.get(record.topic).ok_or(Problem::NoTable)?),
    };
    let Some(plan) = plan else {
        return Ok(Event::Nothing { kind: "other", gtid: origin.gtid });
    };
    if letter.has_row()
        && let Some(image) = key::image(&mut known.keys, record, plan)
    {
        return event(plan, letter, letter.rows_of_key(image), meta.snapshot, origin);
    }
    if letter == Letter::Update && !settings.inspect {
        return Ok(void(plan.table.clone(), "an update without the row before", origin));
    }
    plan.row.use_schema(types);
    let mut filling = Filling::flat(&mut plan.row);
    row::parse(text, &mut filling, Part::Value)?;
    let image = filling.finish();
    match letter {
        Letter::Update => {
            let table = plan.table.clone();
            let row = RowChange { table, operation: Operation::Update, before: None, after: Some(image) };
            Ok(Event::Row { row, origin })
        }
        Letter::Delete => event(plan, letter, Rows { before: Some(image), after: None }, meta.snapshot, origin),
        _ => event(plan, letter, Rows { before: None, after: Some(image) }, meta.snapshot, origin),
    }
}

/// The record does not say what its row was before: only voiding the table voids what that row stood for.
fn void(table: TableName, reason: &str, origin: Origin) -> Event {
    let reason = format!("{reason} (flattened records; the envelope form has it)");
    Event::Tables { tables: vec![table], reason, origin }
}
