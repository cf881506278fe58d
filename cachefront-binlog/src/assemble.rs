//! Assembles the log's events into transactions, for streams, files and tests alike. It does no I/O.
//!
//! A transaction in the log is a sequence of events:
//!
//! | event | effect |
//! |---|---|
//! | GTID | opens the transaction; the one before must have ended |
//! | QUERY `BEGIN` or `XA START` | the transaction ends with XID, `COMMIT` or XA PREPARE |
//! | TABLE_MAP | describes a table for the rows events that follow |
//! | WRITE, UPDATE, DELETE ROWS | row changes of mapped tables |
//! | TRANSACTION_PAYLOAD | the events inside of a compressed transaction follow, decompressed |
//! | QUERY with DDL | changes whole tables, and ends the transaction unless it began with `BEGIN` |
//! | XID, QUERY `COMMIT` | ends the transaction |
//!
//! Everything else is skipped if it cannot concern rows, and is a gap otherwise. What statements do is in `statements`.

mod statements;

use std::collections::{BTreeSet, HashMap};

use cachefront_core::clock::Timestamp;
use cachefront_core::event::{Change, TableName};
use cachefront_core::source::{Columns, TableFilter};
use cachefront_core::{Error, ErrorKind, Gtid, Position, Result};

use crate::config::{BinlogSettings, RowDecoder};
use crate::effects::Effects;
use crate::error::{as_gap, gap};
use crate::event::{self, FLAG_IGNORABLE, Origins, TableMap, kind};
use crate::events::Event;
use crate::mariadb::{event as mariadb, position::is_gtid, set};
use crate::names::Names;
use crate::position::place_after;
use crate::queue::Piece;
use crate::rows;
use crate::schema::{Lookup, Schema};
use crate::table::{self, Described, Naming, Table};
use crate::temporary::Temporary;
use crate::xa::{Kept, Prepared};

/// The table ids of a rows event that has no rows and only marks the end of a statement. A table may have one of them too.
const NO_TABLE: [u64; 2] = [0x00ff_ffff, 0xffff_ffff_ffff];

/// Maximum number of table maps that are kept from one transaction to the next. Beyond it they are dropped, because the log
/// repeats a table map before each use.
const MAPS_MAX: usize = 4_096;

/// The result of an event.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    Done,
    /// The log does not name this table's columns: look them up with [`Assembler::schema`], then pass the event again.
    NeedsColumns(TableName),
}

/// Groups events into transactions, and decodes the rows of mapped tables.
#[derive(Debug)]
pub(crate) struct Assembler {
    /// The mapped tables, and the columns that mappings read.
    names: Names,
    /// A transaction with more changes is split.
    part_changes_max: usize,
    /// A transaction with more bytes of log is split.
    part_bytes_max: usize,
    /// Maximum size of an event, also of one that is compressed.
    event_bytes_max: usize,
    origins: Origins,
    /// The current table maps by table id.
    maps: HashMap<u64, Mapped>,
    schema: Schema,
    /// Columns that the log does not name get numbers as names, and are not looked up.
    numbered: bool,
    /// Transactions without a GTID are numbered by their place in the file.
    numbers_anonymous: bool,
    /// The transaction that has begun and not ended.
    open: Option<Open>,
    /// Remaining bytes of a compressed transaction whose events have not been seen yet.
    payload_left: u64,
    /// XA transactions between XA PREPARE and their commit.
    prepared: Prepared,
    #[cfg(feature = "mysql-cdc")]
    second: Option<crate::second::Second>,
    /// What statements change besides the tables that they name.
    effects: Effects,
    /// Temporary tables of sessions that log statements.
    temporary: Temporary,
    /// Mapped tables that were changed as a whole since they were created, or did not exist when they were checked.
    unsettled: BTreeSet<TableName>,
    /// Where the first event of the last transaction without a GTID ends in its file.
    place: u64,
}

/// A table map, as it was logged and as it was decoded.
///
/// The server logs a map before each statement; equal bytes save decoding it again.
#[derive(Debug)]
struct Mapped {
    raw: Box<[u8]>,
    /// `None` if the table is not mapped.
    table: Option<Box<Table>>,
}

/// A transaction that has not ended yet.
#[derive(Debug)]
struct Open {
    gtid: Gtid,
    /// Commit time by the clock of the server.
    committed_at: Timestamp,
    /// True after BEGIN: the transaction ends with XID or COMMIT. Otherwise it is one statement that commits implicitly.
    begun: bool,
    /// Mapped changes since the last part.
    changes: Vec<Change>,
    /// Bytes of the events of these changes.
    bytes: usize,
    /// A part of it was delivered before.
    continued: bool,
    /// A copy of the changes, for an XA transaction.
    kept: Option<Kept>,
    /// Readers get the row images with this transaction: it is not only prepared, and no change was undone.
    visible: bool,
}

impl Assembler {
    pub(crate) fn new(names: Names, schema: Schema, effects: Effects, settings: &BinlogSettings) -> Self {
        Self {
            // With all tables in the filter, a lookup for each would be expensive, and too late for old rows.
            numbered: names.is_everything(),
            numbers_anonymous: false,
            names,
            part_changes_max: settings.part_changes_max,
            part_bytes_max: settings.part_bytes_max,
            event_bytes_max: settings.event_bytes_max,
            origins: Origins::default(),
            maps: HashMap::new(),
            schema,
            open: None,
            payload_left: 0,
            prepared: Prepared::default(),
            #[cfg(feature = "mysql-cdc")]
            second: None,
            effects,
            temporary: Temporary::default(),
            unsettled: BTreeSet::new(),
            place: 0,
        }
    }

    /// Chooses the decoder of rows.
    pub(crate) fn decode_rows_by(&mut self, decoder: RowDecoder) {
        match decoder {
            RowDecoder::Own => {}
            #[cfg(feature = "mysql-cdc")]
            RowDecoder::MySqlCdc => self.second = Some(crate::second::Second::default()),
        }
    }

    /// An assembler for a log without its server: transactions are not split, and columns that the log does not name get
    /// numbers as names.
    pub(crate) fn for_files(filter: TableFilter) -> Self {
        let mut settings = BinlogSettings::default();
        (settings.part_changes_max, settings.part_bytes_max) = (usize::MAX, usize::MAX);
        Self {
            numbered: true,
            numbers_anonymous: true,
            ..Self::new(Names::of_files(filter), Schema::default(), Effects::default(), &settings)
        }
    }

    /// Discards the open transaction after an error, and returns its GTID.
    pub(crate) fn abandon(&mut self) -> Option<Gtid> {
        self.payload_left = 0;
        self.open.take().map(|open| open.gtid)
    }

    /// The transaction that has begun and not ended.
    pub(crate) fn open_transaction(&self) -> Option<&Gtid> {
        self.open.as_ref().map(|open| &open.gtid)
    }

    /// The columns that were looked up because the log does not name them.
    pub(crate) fn schema(&mut self) -> &mut Schema {
        &mut self.schema
    }

    /// What statements change besides the tables that they name.
    pub(crate) fn effects(&mut self) -> &mut Effects {
        &mut self.effects
    }

    /// Takes the tables whose looked-up columns may have changed, and the transactions that changed them. They should be looked
    /// up again before the next event, so that few rows are older than the lookup, and when these transactions are visible.
    pub(crate) fn take_altered(&mut self) -> (Vec<TableName>, Position) {
        self.schema.take_forgotten()
    }

    /// Returns the looked-up columns, for the next stream.
    pub(crate) fn into_schema(self) -> Schema {
        self.schema
    }

    /// Processes the next event. Complete transactions, and parts of large ones, are appended to `out`.
    ///
    /// # Errors
    /// `Gap` if the event cannot be decoded, or shows that changes are missing; `Config` if GTIDs are off.
    pub(crate) fn event(&mut self, event: &Event, out: &mut Vec<Piece>) -> Result<Step> {
        let (event_kind, size) = (event.header.kind, event.header.size as usize);
        if mariadb::has_compressed_rows(event_kind) && self.is_unmapped(&event.body) {
            return Ok(Step::Done);
        }
        let uncompressed = mariadb::uncompressed(event_kind, &event.body, self.event_bytes_max);
        if let Some((plain, body)) = uncompressed.map_err(|e| as_gap("a compressed event", e))? {
            self.body(event, plain, &body, size, out)?;
            return Ok(Step::Done);
        }
        let body = &event.body;
        if event_kind == kind::TABLE_MAP {
            // The event may be passed again, so it is counted only when it is used.
            if let Step::NeedsColumns(table) = self.table_map(body)? {
                return Ok(Step::NeedsColumns(table));
            }
            self.count_payload(event_kind, size)?;
            return Ok(Step::Done);
        }
        self.count_payload(event_kind, size)?;
        self.body(event, event_kind, body, size, out)?;
        Ok(Step::Done)
    }

    /// Processes any event but a table map. It may have another type and body than the log, if those are compressed.
    fn body(&mut self, event: &Event, event_kind: u8, body: &[u8], size: usize, out: &mut Vec<Piece>) -> Result<()> {
        match event_kind {
            kind::WRITE_ROWS..=kind::DELETE_ROWS
            | kind::WRITE_ROWS_V1..=kind::DELETE_ROWS_V1
            | kind::PARTIAL_UPDATE_ROWS => {
                self.rows(event_kind, body, size, out)?;
            }
            kind::GTID => {
                let (gtid, committed_at) =
                    event::gtid(body, &mut self.origins).map_err(|e| as_gap("a GTID event", e))?;
                self.begin(gtid, committed_at)?;
            }
            kind::GTID_TAGGED => {
                let (gtid, committed_at) = event::gtid_tagged(body).map_err(|e| as_gap("a GTID event", e))?;
                self.begin(gtid, committed_at)?;
            }
            mariadb::kind::GTID => self.begin_on_mariadb(event)?,
            kind::ANONYMOUS_GTID if self.numbers_anonymous => {
                let (header, origin) = (event.header, "anonymous".into());
                let committed_at = Timestamp::from_micros(u64::from(header.time) * 1_000_000);
                self.place = place_after(self.place, header.end);
                self.begin(Gtid { origin, number: self.place }, committed_at)?;
            }
            kind::ANONYMOUS_GTID => return Err(anonymous()),
            kind::QUERY => self.query(&event::query(body).map_err(|e| as_gap("a statement", e))?, size, out)?,
            kind::EXECUTE_LOAD_QUERY => {
                self.query(&event::load_query(body).map_err(|e| as_gap("a statement", e))?, size, out)?;
            }
            kind::XID => self.end(out)?,
            kind::XA_PREPARE => self.xa_prepare(body, out)?,
            kind::TRANSACTION_PAYLOAD => {
                let payload = event::payload(body).map_err(|e| as_gap("a compressed transaction", e))?;
                self.payload_left = payload.unpacked_size;
            }
            kind::FORMAT_DESCRIPTION | kind::ROTATE | kind::STOP => self.boundary()?,
            kind::INCIDENT => return Err(gap("the server logged an incident: its log has lost changes")),
            kind::HEARTBEAT | kind::HEARTBEAT_V2 | kind::PREVIOUS_GTIDS | kind::ROWS_QUERY | kind::IGNORABLE => {}
            kind::TRANSACTION_CONTEXT | kind::VIEW_CHANGE => {}
            mariadb::kind::ANNOTATE_ROWS | mariadb::kind::BINLOG_CHECKPOINT | mariadb::kind::GTID_LIST => {}
            // A server sends its log decrypted; in a file nothing that follows can be read.
            mariadb::kind::START_ENCRYPTION => {}
            // They only belong to the statement that follows, which is classified on its own.
            kind::INTVAR | kind::RAND | kind::USER_VAR => {}
            kind::BEGIN_LOAD_QUERY | kind::APPEND_BLOCK | kind::DELETE_FILE => {}
            _ if event.header.flags & FLAG_IGNORABLE != 0 => {}
            other => return Err(gap(format!("the log has an event of unknown type {other}"))),
        }
        Ok(())
    }

    /// Opens a transaction of MariaDB, whose GTID event also says how it ends.
    fn begin_on_mariadb(&mut self, event: &Event) -> Result<()> {
        let header = event.header;
        let begin = mariadb::gtid(&event.body, header.server_id).map_err(|e| as_gap("a GTID event", e))?;
        let committed_at = Timestamp::from_micros(u64::from(header.time) * 1_000_000);
        self.begin(begin.gtid, committed_at)?;
        if let Some(open) = &mut self.open {
            open.begun = !begin.is_standalone;
            open.kept = begin.is_xa.then(Kept::new);
        }
        Ok(())
    }

    /// Checks that all events of a compressed transaction come, and no others before them.
    fn count_payload(&mut self, event_kind: u8, size: usize) -> Result<()> {
        if self.payload_left == 0 {
            return Ok(());
        }
        let inside = matches!(
            event_kind,
            kind::QUERY
                | kind::XID
                | kind::TABLE_MAP
                | kind::ROWS_QUERY
                | kind::XA_PREPARE
                | kind::WRITE_ROWS_V1..=kind::DELETE_ROWS_V1
                | kind::WRITE_ROWS..=kind::DELETE_ROWS
                | kind::PARTIAL_UPDATE_ROWS
                | kind::INTVAR
                | kind::RAND
                | kind::USER_VAR
        );
        match self.payload_left.checked_sub(size as u64).filter(|_| inside && size > 0) {
            Some(left) => {
                self.payload_left = left;
                Ok(())
            }
            None => Err(gap("a compressed transaction does not have the events that it declares: the log is damaged")),
        }
    }

    /// Opens a transaction.
    fn begin(&mut self, gtid: Gtid, committed_at: Timestamp) -> Result<()> {
        if let Some(open) = &self.open {
            return Err(gap(format!("transaction {} has no end in the log", open.gtid)));
        }
        if self.maps.len() > MAPS_MAX {
            self.maps.clear();
        }
        self.open = Some(Open {
            gtid,
            committed_at,
            begun: false,
            changes: Vec::new(),
            bytes: 0,
            continued: false,
            kept: None,
            visible: true,
        });
        Ok(())
    }

    /// Handles the begin or end of a log file, where no transaction may be open.
    ///
    /// A transaction never continues in the next file.
    fn boundary(&mut self) -> Result<()> {
        self.maps.clear();
        // The server may have started again, without its temporary tables.
        self.temporary.clear();
        match &self.open {
            Some(open) => Err(gap(format!("the log ends within transaction {}", open.gtid))),
            None => Ok(()),
        }
    }

    /// Decodes a table map, unless it is the same as the last one of its table id.
    fn table_map(&mut self, body: &[u8]) -> Result<Step> {
        let map = event::table_map(body).map_err(|e| as_gap("a table map", e))?;
        if self.maps.get(&map.table_id).is_some_and(|mapped| *mapped.raw == *body) {
            return Ok(Step::Done);
        }
        let logged = map.name().map_err(|e| as_gap("a table map", e))?;
        let described = match self.names.mapped(&logged) {
            None => None,
            Some((name, wanted)) => match self.describe(&map, &name, wanted)? {
                Described::Table(table) => Some(table),
                Described::NeedsNames => return Ok(Step::NeedsColumns(name)),
                Described::Unfit => {
                    let gtid = self.open.as_ref().map(|open| &open.gtid);
                    gtid.inspect(|gtid| self.schema.forget(&name, gtid));
                    return Err(unfit(&name, map.types.len(), gtid));
                }
            },
        };
        #[cfg(feature = "mysql-cdc")]
        if let (Some(second), true) = (&mut self.second, described.is_some()) {
            second.table_map(body);
        }
        self.maps.insert(map.table_id, Mapped { raw: body.into(), table: described });
        Ok(Step::Done)
    }

    /// Decodes the table map of a mapped table.
    fn describe(&self, map: &TableMap<'_>, name: &TableName, wanted: &Columns) -> Result<Described> {
        let open = self.open.as_ref().ok_or_else(outside)?;
        let is_mariadb = is_gtid(&open.gtid);
        let describe =
            |naming| table::describe(map, name, wanted, naming, is_mariadb).map_err(|e| as_gap("a table map", e));
        match describe(if self.numbered { Naming::Numbered } else { Naming::LogOnly })? {
            Described::NeedsNames => {}
            described => return Ok(described),
        }
        match self.schema.columns(name, &open.gtid) {
            Lookup::Unknown => Ok(Described::NeedsNames),
            Lookup::Columns(columns) => describe(Naming::LookedUp(columns)),
            Lookup::TooNew => Err(gap(format!(
                "the log does not name the columns of `{name}`, and this change is older than the lookup of its columns: {} \
                 avoids such gaps",
                set(Some(&open.gtid), "binlog_row_metadata", "FULL")
            ))),
        }
    }

    /// Decodes the row changes of a mapped table, and splits the transaction if it has become large.
    fn rows(&mut self, event_kind: u8, body: &[u8], size: usize, out: &mut Vec<Piece>) -> Result<()> {
        let Some(table) = Self::table_of(&self.maps, event_kind, body)? else { return Ok(()) };
        let open = self.open.as_mut().ok_or_else(outside)?;
        let rows = event::rows(event_kind, body).map_err(|e| as_gap("a rows event", e))?;
        let known = open.changes.len();
        #[cfg(feature = "mysql-cdc")]
        let decoded = self.second.as_mut().and_then(|second| second.rows(event_kind, body, &rows, table));
        #[cfg(not(feature = "mysql-cdc"))]
        let decoded = None::<Vec<Change>>;
        match decoded {
            Some(changes) => open.changes.extend(changes),
            None => rows::decode(&rows, table, &mut open.changes)?,
        }
        open.note(known, size);
        if open.changes.len() >= self.part_changes_max || open.bytes >= self.part_bytes_max {
            out.push(open.part());
        }
        Ok(())
    }

    /// Returns true if the rows of an event are of a table that is not mapped.
    fn is_unmapped(&self, body: &[u8]) -> bool {
        let mapped = event::table_id(body).ok().and_then(|id| self.maps.get(&id));
        mapped.is_some_and(|mapped| mapped.table.is_none())
    }

    /// The table of a rows event; `None` if it is not mapped.
    fn table_of<'a>(maps: &'a HashMap<u64, Mapped>, event_kind: u8, body: &[u8]) -> Result<Option<&'a Table>> {
        let id = event::table_id(body).map_err(|e| as_gap("a rows event", e))?;
        let is_empty = || event::rows(event_kind, body).is_ok_and(|rows| rows.columns == 0 || rows.images.is_empty());
        match maps.get(&id) {
            Some(mapped) => Ok(mapped.table.as_deref()),
            None if NO_TABLE.contains(&id) && is_empty() => Ok(None),
            None => Err(gap(format!("a rows event has the table id {id}, which no table map has"))),
        }
    }

    /// Ends the open transaction and appends its last piece.
    fn end(&mut self, out: &mut Vec<Piece>) -> Result<()> {
        let open = self.open.take().ok_or_else(outside)?;
        if self.payload_left != 0 {
            return Err(gap(format!("transaction {} ends before all of its compressed events were seen", open.gtid)));
        }
        let Open { gtid, committed_at, changes, bytes, continued, visible, .. } = open;
        out.push(Piece { gtid, committed_at, changes, complete: true, continued, bytes, visible });
        Ok(())
    }
}

impl Open {
    /// Accounts for an event whose changes begin at index `known`. An event without changes counts nothing.
    fn note(&mut self, known: usize, size: usize) {
        let added = self.changes.get(known..).unwrap_or_default();
        if !added.is_empty() {
            self.bytes += size;
            if let Some(kept) = &mut self.kept {
                kept.add(added);
            }
        }
    }

    /// Takes the changes so far, as a part of the transaction.
    fn part(&mut self) -> Piece {
        Piece {
            gtid: self.gtid.clone(),
            committed_at: self.committed_at,
            changes: std::mem::take(&mut self.changes),
            complete: false,
            continued: std::mem::replace(&mut self.continued, true),
            bytes: std::mem::take(&mut self.bytes),
            visible: self.visible,
        }
    }
}

/// The error of an event that a server logs within transactions only.
fn outside() -> Error {
    gap("the log has a change outside of a transaction")
}

/// The error of a log whose transactions have no identity: a position in it could not be compared.
fn anonymous() -> Error {
    let text = "the log has transactions without GTID: SET PERSIST gtid_mode=ON, step by step as MySQL's manual says";
    Error::new(ErrorKind::Config, text)
}

/// The error of a table map that does not have the columns that the server returned.
fn unfit(table: &TableName, columns: usize, gtid: Option<&Gtid>) -> Error {
    gap(format!(
        "the log has rows of `{table}` with {columns} columns that are not those which the table now has: {} on the source, then \
         the log itself names the columns",
        set(gtid, "binlog_row_metadata", "FULL")
    ))
}

#[cfg(test)]
mod tests;
