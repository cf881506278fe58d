//! Changes in Debezium's envelope, `before`, `after`, `source` and `op`, as described under [change event values]; and
//! the parts that flattened rows share with it.
//!
//! [change event values]: https://debezium.io/documentation/reference/stable/connectors/mysql.html#mysql-change-event-values
//!
//! ```text
//! {"before": {"id": 7, "name": "Ann"}, "after": {"id": 7, "name": "Bob"},
//!  "source": {"db": "app", "table": "users", "gtid": "3e11fa47-..:23", "ts_ms": 1764417229000, "snapshot": "false"},
//!  "transaction": {"id": "3e11fa47-..:23", "total_order": 1, "data_collection_order": 1},
//!  "op": "u", "ts_ms": 1764417229012}
//! ```
//!
//! | `op` | change | rows |
//! |---|---|---|
//! | `c` | insert | `after` |
//! | `u` | update | both |
//! | `d` | delete | `before` |
//! | `r` | a row that a snapshot has read | `after` |
//! | `t` | TRUNCATE | none |
//! | `m` | a message of the application | none |
//!
//! `source.ts_ms` is the time of the commit by MySQL's clock, `ts_ms` that of the connector's
//! reading.

use std::sync::Arc;

use cachefront_core::Timestamp;
use cachefront_core::event::{Operation, RowChange, RowImage};
use serde_json::value::RawValue;

use super::key;
use super::message::{Message, Source, TransactionBlock, read, snapshot_at, version};
use super::plan::{Origins, Plan, Plans};
use super::problem::{Part, Problem};
use super::record::Record;
use super::row::{self, RowBuilder, Shape};
use super::schema::Types;
use super::schemas::Schemas;
use crate::event::{BlockOrder, Event, Origin, Snapshot};

/// What the decoder has learnt from the records so far.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) plans: Plans,
    pub(super) origins: Origins,
    pub(super) keys: Schemas,
    pub(super) values: Schemas,
}

/// Everything a change says besides its rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Header<'a> {
    pub(super) database: &'a str,
    pub(super) table: &'a str,
    pub(super) gtid: Option<&'a str>,
    pub(super) committed_us: u64,
    pub(super) captured_us: u64,
    pub(super) snapshot: Option<&'a str>,
    pub(super) operation: u8,
    pub(super) order: Option<BlockOrder>,
    pub(super) connector: Option<&'a RawValue>,
    /// File and offset of the log; used of snapshots only.
    pub(super) log: (Option<&'a RawValue>, Option<&'a RawValue>),
}

/// The two rows of a change.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) before: Option<RowImage>,
    pub(super) after: Option<RowImage>,
}

/// Decodes an envelope.
///
/// # Errors
/// A field that is missing, an operation that is not known, or a row that cannot be read.
pub(super) fn decode(
    known: &mut Known,
    record: &Record<'_>,
    message: &Message<'_>,
    types: Option<&Arc<Types>>,
) -> Result<Event, Problem> {
    let source: Source<'_> = match message.source {
        Some(source) => read(source.get())?,
        None => return Err(Problem::Field { name: "source", wanted: "present" }),
    };
    let operation = match message.op.as_deref().unwrap_or_default().as_bytes() {
        [letter] => *letter,
        _ => return Err(Problem::Operation),
    };
    let header = Header {
        database: &source.db,
        table: source.table.as_deref().ok_or(Problem::Field { name: "source.table", wanted: "present" })?,
        gtid: source.gtid.as_deref(),
        committed_us: time(source.ts_us).unwrap_or(source.ts_ms.saturating_mul(1_000)),
        captured_us: time(message.ts_us)
            .or_else(|| time(message.ts_ms).map(|millis| millis.saturating_mul(1_000)))
            .unwrap_or_default(),
        snapshot: source.snapshot.as_deref(),
        operation,
        order: message.transaction.map(TransactionBlock::order),
        connector: source.version,
        log: (source.file, source.pos),
    };
    change(known, record, &header, message, types)
}

/// Returns a time; `None` if the field is absent or no number. No decision depends on it, so that is no error.
fn time(field: Option<&RawValue>) -> Option<u64> {
    field.and_then(|text| text.get().parse().ok())
}

/// Decodes the rows of a change whose header is known.
pub(super) fn change(
    known: &mut Known,
    record: &Record<'_>,
    header: &Header<'_>,
    message: &Message<'_>,
    types: Option<&Arc<Types>>,
) -> Result<Event, Problem> {
    let operation = Letter::from(header.operation).ok_or(Problem::Operation)?;
    let origin = origin(header, &mut known.origins)?;
    let Some(plan) = known.plans.find(header.database, header.table) else {
        return Ok(Event::Ignored { kind: "other", gtid: origin.gtid });
    };
    let keyed = if operation.has_row() { key::image(&mut known.keys, record, plan) } else { None };
    let rows = match keyed {
        Some(image) => operation.rows_of_key(image),
        None => {
            plan.row.use_schema(types);
            Rows { before: image(message.before, &mut plan.row)?, after: image(message.after, &mut plan.row)? }
        }
    };
    event(plan, operation, rows, header.snapshot, origin)
}

/// Decodes one row; `null` is no row.
fn image(row: Option<&RawValue>, shape: &mut Shape) -> Result<Option<RowImage>, Problem> {
    let Some(text) = row else { return Ok(None) };
    let mut row = RowBuilder::new(shape);
    row::parse(text.get(), &mut row, Part::Value)?;
    Ok(Some(row.finish()))
}

/// # Errors
/// `Problem::Gtid` if the text is not a GTID.
pub(super) fn origin(header: &Header<'_>, origins: &mut Origins) -> Result<Origin, Problem> {
    let is_snapshot = header.operation == b'r';
    Ok(Origin {
        gtid: header.gtid.map(|gtid| origins.gtid(gtid)).transpose()?,
        committed_at: Timestamp::from_micros(header.committed_us),
        captured_at: Timestamp::from_micros(header.captured_us),
        order: header.order,
        connector: header.connector.and_then(version),
        snapshot_at: if is_snapshot { snapshot_at(header.log.0, header.log.1) } else { None },
    })
}

/// The operation, `op`.
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
    /// The operation of a letter.
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

    /// True for all operations on one row.
    pub(super) fn has_row(self) -> bool {
        !matches!(self, Self::Truncate | Self::Message)
    }

    /// Returns the rows, reduced to the columns of the key. A change of the key itself is emitted as a delete and a
    /// create ([primary key updates]), so an update has the same key before and after.
    ///
    /// [primary key updates]: https://debezium.io/documentation/reference/stable/connectors/mysql.html#mysql-primary-key-updates
    pub(super) fn rows_of_key(self, image: RowImage) -> Rows {
        match self {
            Self::Delete => Rows { before: Some(image), after: None },
            Self::Update => Rows { before: Some(image.clone()), after: Some(image) },
            _ => Rows { before: None, after: Some(image) },
        }
    }
}

/// Returns the event of a change to a table of interest.
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
        Letter::Message => return Ok(Event::Ignored { kind: "message", gtid: origin.gtid }),
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

/// Values such as `true`, `last` and `first_in_data_collection` are rows of a full snapshot.
fn snapshot_kind(snapshot: Option<&str>) -> Snapshot {
    match snapshot {
        Some("first") => Snapshot::First,
        Some("incremental") => Snapshot::Incremental,
        _ => Snapshot::Other,
    }
}
