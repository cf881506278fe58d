//! Records in Debezium's envelope: quickly where they have the common form, thoroughly else.

use std::sync::Arc;

use cachefront_core::Timestamp;
use cachefront_core::event::{Operation, RowChange, RowImage};

use crate::event::{Event, Origin, Snapshot};

use super::error::{Part, Problem};
use super::json::Scan;
use super::message::{Message, Source, read};
use super::plan::{Origins, Plan, Plans};
use super::row::{self, Filling, Shape};
use super::schema::Types;
use super::schemas::Schemas;
use super::tail::{self, Meta};
use super::{Record, key};

/// The tables and names, apart from the settings.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) plans: Plans,
    pub(super) origins: Origins,
    pub(super) keys: Schemas,
    pub(super) values: Schemas,
}

/// The two rows of an envelope.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) before: Option<RowImage>,
    pub(super) after: Option<RowImage>,
}

/// Decodes an envelope in the common form: the fields in Debezium's order, no white space. Nothing if it is not that.
#[inline]
pub(super) fn quick(known: &mut Known, record: &Record<'_>, value: &[u8]) -> Option<Event> {
    let (payload, types) = match known.values.strip(record.topic, value) {
        Some((payload, types)) => (payload, Some(types)),
        None => (value, None),
    };
    let (rows_end, meta) = tail::scan(payload)?;
    let operation = Letter::from(meta.operation)?;
    let origin = origin(&meta, &mut known.origins).ok()?;
    let Some(plan) = known.plans.find(meta.database, meta.table) else {
        return Some(Event::Nothing { kind: "other", gtid: origin.gtid });
    };
    let keyed = if operation.has_row() { key::image(&mut known.keys, record, plan) } else { None };
    let rows = match keyed {
        Some(image) => operation.rows_of_key(image),
        None => {
            plan.row.use_schema(types);
            quick_rows(payload.get(..rows_end)?, plan)?
        }
    };
    event(plan, operation, rows, meta.snapshot, origin).ok()
}

fn quick_rows(head: &[u8], plan: &mut Plan) -> Option<Rows> {
    let mut scan = Scan::new(std::str::from_utf8(head).ok()?);
    scan.eat("{\"before\":")?;
    let before = quick_row(&mut scan, &mut plan.row)?;
    scan.eat(",\"after\":")?;
    let after = quick_row(&mut scan, &mut plan.row)?;
    scan.is_empty().then_some(Rows { before, after })
}

fn quick_row(scan: &mut Scan<'_>, shape: &mut Shape) -> Option<Option<RowImage>> {
    if scan.eat("null").is_some() {
        return Some(None);
    }
    let mut row = Filling::new(shape);
    row::scan(scan, &mut row)?;
    Some(Some(row.finish()))
}

/// Decodes an envelope of any form.
pub(super) fn thorough(
    known: &mut Known,
    record: &Record<'_>,
    message: &Message<'_>,
    types: Option<&Arc<Types>>,
) -> Result<Event, Problem> {
    let source: Source<'_> = match message.source {
        Some(source) => read(source.get())?,
        None => return Err(Problem::Field { name: "source", wanted: "there" }),
    };
    let letter = match message.op.as_deref().unwrap_or_default().as_bytes() {
        [letter] => *letter,
        _ => return Err(Problem::Operation),
    };
    let meta = Meta {
        database: &source.db,
        table: source.table.as_deref().ok_or(Problem::Field { name: "source.table", wanted: "there" })?,
        gtid: source.gtid.as_deref(),
        committed_us: number(source.ts_us).unwrap_or(source.ts_ms.saturating_mul(1_000)),
        captured_us: tail::micros(number(message.ts_us), number(message.ts_ms)).unwrap_or_default(),
        snapshot: source.snapshot.as_deref(),
        operation: letter,
        place: message.transaction.map(super::message::TransactionBlock::place),
    };
    change(known, record, &meta, message, types)
}

/// A time; nothing if it is none: it decides nothing.
fn number(field: Option<&serde_json::value::RawValue>) -> Option<u64> {
    field.and_then(|text| text.get().parse().ok())
}

/// A change of which everything but the rows is known.
pub(super) fn change(
    known: &mut Known,
    record: &Record<'_>,
    meta: &Meta<'_>,
    message: &Message<'_>,
    types: Option<&Arc<Types>>,
) -> Result<Event, Problem> {
    let operation = Letter::from(meta.operation).ok_or(Problem::Operation)?;
    let origin = origin(meta, &mut known.origins)?;
    let Some(plan) = known.plans.find(meta.database, meta.table) else {
        return Ok(Event::Nothing { kind: "other", gtid: origin.gtid });
    };
    let keyed = if operation.has_row() { key::image(&mut known.keys, record, plan) } else { None };
    let rows = match keyed {
        Some(image) => operation.rows_of_key(image),
        None => {
            plan.row.use_schema(types);
            let mut parse = |row: Option<&serde_json::value::RawValue>| {
                row.map(|row| thorough_row(row.get(), &mut plan.row, Part::Value)).transpose()
            };
            Rows { before: parse(message.before)?, after: parse(message.after)? }
        }
    };
    event(plan, operation, rows, meta.snapshot, origin)
}

pub(super) fn thorough_row(text: &str, shape: &mut Shape, part: Part) -> Result<RowImage, Problem> {
    let mut row = Filling::new(shape);
    row::parse(text, &mut row, part)?;
    Ok(row.finish())
}

#[inline]
pub(super) fn origin(meta: &Meta<'_>, origins: &mut Origins) -> Result<Origin, Problem> {
    Ok(Origin {
        gtid: meta.gtid.map(|gtid| origins.gtid(gtid)).transpose()?,
        committed_at: Timestamp::from_micros(meta.committed_us),
        captured_at: Timestamp::from_micros(meta.captured_us),
        place: meta.place,
    })
}

/// `op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Letter {
    Create,
    Update,
    Delete,
    Read,
    Truncate,
    /// A message that an application wrote into the log: no row.
    Message,
}

impl Letter {
    pub(super) fn from(letter: u8) -> Option<Self> {
        Some(match letter {
            b'c' => Self::Create,
            b'u' => Self::Update,
            b'd' => Self::Delete,
            b'r' => Self::Read,
            b't' => Self::Truncate,
            b'm' => Self::Message,
            _ => return None,
        })
    }

    pub(super) fn has_row(self) -> bool {
        !matches!(self, Self::Truncate | Self::Message)
    }

    /// The rows, as far as a key tells them. A key that changes comes as a delete and a create, so an update has the
    /// same key on both sides.
    pub(super) fn rows_of_key(self, image: RowImage) -> Rows {
        match self {
            Self::Delete => Rows { before: Some(image), after: None },
            Self::Update => Rows { before: Some(image.clone()), after: Some(image) },
            _ => Rows { before: None, after: Some(image) },
        }
    }
}

/// The event of a change to a table of interest.
pub(super) fn event(
    plan: &Plan,
    letter: Letter,
    rows: Rows,
    snapshot: Option<&str>,
    origin: Origin,
) -> Result<Event, Problem> {
    let table = plan.table.clone();
    let missing = |name| Problem::Field { name, wanted: "a row, as the operation needs it: set binlog_row_image=FULL" };
    let (operation, before, after) = match letter {
        Letter::Truncate => {
            return Ok(Event::Tables { tables: vec![table], reason: "TRUNCATE".to_owned(), origin });
        }
        Letter::Message => return Ok(Event::Nothing { kind: "message", gtid: origin.gtid }),
        Letter::Read => {
            let row = Some(rows.after.ok_or_else(|| missing("after"))?);
            return Ok(Event::Read { table, snapshot: snapshot_kind(snapshot), row, origin });
        }
        Letter::Create => (Operation::Insert, None, Some(rows.after.ok_or_else(|| missing("after"))?)),
        Letter::Update => {
            let before = rows.before.ok_or_else(|| missing("before"))?;
            (Operation::Update, Some(before), Some(rows.after.ok_or_else(|| missing("after"))?))
        }
        Letter::Delete => (Operation::Delete, Some(rows.before.ok_or_else(|| missing("before"))?), None),
    };
    Ok(Event::Row { row: RowChange { table, operation, before, after }, origin })
}

fn snapshot_kind(snapshot: Option<&str>) -> Snapshot {
    match snapshot {
        Some("first") => Snapshot::First,
        Some("incremental") => Snapshot::Incremental,
        _ => Snapshot::Other,
    }
}
