//! Decodes the bodies of the log's events, as far as a change source needs them.
//!
//! The layouts are those of the namespace `mysql::binlog::event` in MySQL's source documentation
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/namespacemysql_1_1binlog_1_1event.html>) and of the replication
//! protocol (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication_binlog_event.html>). They
//! are decoded here because the driver's decoder of rows decodes every column of an image, where most mappings read a few, and
//! indexes into a table map without checks, so that damage is a panic.
//!
//! Offsets in the tables below count from the end of the header, which is in `events`.

use std::sync::Arc;

use cachefront_core::clock::Timestamp;
use cachefront_core::event::TableName;
use cachefront_core::{Error, ErrorKind, Gtid, Result};
use mysql_async::binlog::BinlogVersion;
use mysql_async::binlog::events::{FormatDescriptionEvent, GtidEvent};
use mysql_common::binlog::BinlogCtx;
use mysql_common::io::ParseBuf;
use uuid::Uuid;

use crate::cursor::Cursor;

/// The types of events (`Log_event_type`).
pub(crate) mod kind {
    /// A statement: BEGIN, DDL, or a change that is logged without its rows.
    pub(crate) const QUERY: u8 = 2;
    /// The server was shut down.
    pub(crate) const STOP: u8 = 3;
    /// The next file begins.
    pub(crate) const ROTATE: u8 = 4;
    pub(crate) const INTVAR: u8 = 5;
    pub(crate) const RAND: u8 = 13;
    pub(crate) const USER_VAR: u8 = 14;
    /// The contents of a file that LOAD DATA reads, and the end of it; the statement is in EXECUTE_LOAD_QUERY.
    pub(crate) const APPEND_BLOCK: u8 = 9;
    pub(crate) const DELETE_FILE: u8 = 11;
    pub(crate) const BEGIN_LOAD_QUERY: u8 = 17;
    pub(crate) const EXECUTE_LOAD_QUERY: u8 = 18;
    /// The first event of a file: version of the server, sizes of headers, checksum algorithm.
    pub(crate) const FORMAT_DESCRIPTION: u8 = 15;
    /// The commit of a transaction of a transactional storage engine.
    pub(crate) const XID: u8 = 16;
    pub(crate) const TABLE_MAP: u8 = 19;
    /// Rows as servers before 5.6 and MariaDB log them; UPDATE is the number in between.
    pub(crate) const WRITE_ROWS_V1: u8 = 23;
    pub(crate) const DELETE_ROWS_V1: u8 = 25;
    /// The server could not log something: changes are lost.
    pub(crate) const INCIDENT: u8 = 26;
    /// Sent without being logged, when there is no event for `heartbeat`.
    pub(crate) const HEARTBEAT: u8 = 27;
    /// Replaces an event that the reader does not know and may skip.
    pub(crate) const IGNORABLE: u8 = 28;
    /// The text of the statement that the rows are of (`binlog_rows_query_log_events`).
    pub(crate) const ROWS_QUERY: u8 = 29;
    /// Rows of INSERT; UPDATE is the number in between.
    pub(crate) const WRITE_ROWS: u8 = 30;
    pub(crate) const DELETE_ROWS: u8 = 32;
    /// The identity of the transaction that follows.
    pub(crate) const GTID: u8 = 33;
    pub(crate) const ANONYMOUS_GTID: u8 = 34;
    /// The transactions of all earlier files.
    pub(crate) const PREVIOUS_GTIDS: u8 = 35;
    /// Of group replication, as the next one: certification data and changes of members.
    pub(crate) const TRANSACTION_CONTEXT: u8 = 36;
    pub(crate) const VIEW_CHANGE: u8 = 37;
    pub(crate) const XA_PREPARE: u8 = 38;
    /// As UPDATE, with differences of JSON documents (`binlog_row_value_options`).
    pub(crate) const PARTIAL_UPDATE_ROWS: u8 = 39;
    pub(crate) const TRANSACTION_PAYLOAD: u8 = 40;
    pub(crate) const HEARTBEAT_V2: u8 = 41;
    /// As GTID, with a tag, from MySQL 8.3 on.
    pub(crate) const GTID_TAGGED: u8 = 42;
}

/// Size of the header of an event.
pub(crate) const HEADER_BYTES: usize = 19;

/// Set on events that a reader may skip if it does not know their type (`LOG_EVENT_IGNORABLE_F`).
pub(crate) const FLAG_IGNORABLE: u16 = 0x0080;

/// Set in the commit time of an untagged GTID event if the original server's commit time follows.
const ORIGINAL_TIME_FOLLOWS: u64 = 1 << 55;

/// Formats server UUIDs as origins. The last one is cached, because almost every transaction has the same.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    last: Option<([u8; 16], Arc<str>)>,
}

impl Origins {
    /// The origin of a GTID without a tag, which is the UUID in lower case.
    fn untagged(&mut self, uuid: [u8; 16]) -> Arc<str> {
        match &self.last {
            Some((known, origin)) if *known == uuid => Arc::clone(origin),
            _ => {
                let origin: Arc<str> = Uuid::from_bytes(uuid).to_string().into();
                self.last = Some((uuid, Arc::clone(&origin)));
                origin
            }
        }
    }
}

/// Decodes a GTID event:
///
/// | bytes | field |
/// |---:|---|
/// | 1 | flags |
/// | 16 | UUID of the server that committed first |
/// | 8 | transaction number |
/// | 1 | 2 if the two numbers for parallel replay follow |
/// | 16 | these numbers |
/// | 7 | commit time in µs; its highest bit is set if the original commit time follows |
///
/// Returns the transaction's identity, and its commit time on the server that the log comes from
/// (`Gtid_event`).
pub(crate) fn gtid(body: &[u8], origins: &mut Origins) -> Result<(Gtid, Timestamp)> {
    let mut cursor = Cursor::new(body);
    cursor.skip(1)?;
    let origin = origins.untagged(cursor.array()?);
    let number = transaction_number(cursor.u64()?)?;
    // A type code, two numbers for parallel replay (16 bytes), then the commit time in microseconds (7 bytes).
    let mut committed_at = Timestamp::UNKNOWN;
    if !cursor.is_empty() && cursor.u8()? == 2 {
        cursor.skip(16)?;
        if !cursor.is_empty() {
            committed_at = Timestamp::from_micros(cursor.uint(7)? & !ORIGINAL_TIME_FOLLOWS);
        }
    }
    Ok((Gtid { origin, number }, committed_at))
}

/// Decodes the event of a GTID with a tag, which has a different format.
pub(crate) fn gtid_tagged(body: &[u8]) -> Result<(Gtid, Timestamp)> {
    let format = FormatDescriptionEvent::new(BinlogVersion::Version4);
    let mut bytes = ParseBuf(body);
    let tagged: GtidEvent = bytes
        .parse(BinlogCtx::new(HEADER_BYTES + body.len(), &format, kind::GTID_TAGGED))
        .map_err(|cause| Error::with_source(ErrorKind::Corrupt, "a tagged GTID event cannot be decoded", cause))?;
    if !bytes.is_empty() {
        return Err(Error::new(ErrorKind::Corrupt, "a tagged GTID event is too long"));
    }
    let mut origin = Uuid::from_bytes(tagged.sid()).to_string();
    if let Some(tag) = tagged.tag() {
        origin.push(':');
        origin.push_str(tag.as_str());
    }
    let committed_at = Timestamp::from_micros(tagged.immediate_commit_timestamp());
    Ok((Gtid { origin: origin.into(), number: transaction_number(tagged.gno())? }, committed_at))
}

/// Checks that a transaction number is in the range that MySQL uses: 1 to 2^63 - 1.
fn transaction_number(number: u64) -> Result<u64> {
    match number {
        1..=0x7fff_ffff_ffff_ffff => Ok(number),
        _ => Err(Error::new(ErrorKind::Corrupt, "a GTID event has no transaction number")),
    }
}

/// A statement of the log, and what its meaning depends on in its session (`Query_event`).
#[derive(Debug, Default)]
pub(crate) struct Query<'a> {
    /// The number of the session, `@@pseudo_thread_id`.
    pub(crate) session: u32,
    /// The current database, in UTF-8.
    pub(crate) database: &'a [u8],
    /// The statement, in the client's character set.
    pub(crate) text: &'a [u8],
    /// The session's `sql_mode`. `None` if it is not logged.
    pub(crate) sql_mode: Option<u64>,
    /// A collation of the client's character set, `@@character_set_client`. `None` if it is not logged.
    pub(crate) client_collation: Option<u64>,
}

/// The types of status variables that precede a statement, as far as they are read (`Query_event::Query_event_status_vars`).
mod variable {
    pub(super) const FLAGS2: u8 = 0;
    pub(super) const SQL_MODE: u8 = 1;
    pub(super) const AUTO_INCREMENT: u8 = 3;
    pub(super) const CHARSET: u8 = 4;
    pub(super) const CATALOG: u8 = 6;
}

/// Decodes a statement:
///
/// | bytes | field |
/// |---:|---|
/// | 4 + 4 | number of the session, execution time |
/// | 1 | length of the database's name |
/// | 2 | error code |
/// | 2 | length of the status variables |
/// | … | status variables, database, a zero byte, the statement |
pub(crate) fn query(body: &[u8]) -> Result<Query<'_>> {
    statement(body, 0)
}

/// Decodes the statement of a LOAD DATA: 13 bytes about the file follow the length of the status variables
/// (`Execute_load_query_event`).
pub(crate) fn load_query(body: &[u8]) -> Result<Query<'_>> {
    statement(body, 13)
}

/// Decodes a statement with `more` bytes before its status variables.
fn statement(body: &[u8], more: usize) -> Result<Query<'_>> {
    let mut cursor = Cursor::new(body);
    let session = cursor.u32()?;
    cursor.skip(4)?;
    let database_length = usize::from(cursor.u8()?);
    cursor.skip(2)?;
    let variables_length = usize::from(cursor.u16()?);
    cursor.skip(more)?;
    let mut variables = Cursor::new(cursor.take(variables_length)?);
    let database = cursor.take(database_length)?;
    cursor.skip(1)?;
    let mut query = Query { session, database, text: cursor.rest(), ..Query::default() };
    status(&mut variables, &mut query)?;
    Ok(query)
}

/// Decodes the status variables: a type byte and a value, whose length depends on the type. Servers write those that are read
/// here first, so the first of another type ends it.
fn status(variables: &mut Cursor<'_>, query: &mut Query<'_>) -> Result<()> {
    while !variables.is_empty() {
        match variables.u8()? {
            variable::FLAGS2 | variable::AUTO_INCREMENT => variables.skip(4)?,
            variable::SQL_MODE => query.sql_mode = Some(variables.u64()?),
            variable::CATALOG => {
                let length = usize::from(variables.u8()?);
                variables.skip(length)?;
            }
            variable::CHARSET => {
                query.client_collation = Some(u64::from(variables.u16()?));
                // The collations of the connection and of the server.
                variables.skip(4)?;
            }
            _ => break,
        }
    }
    Ok(())
}

/// A table map: assigns a table id to a table, and describes its columns (`Table_map_event`).
#[derive(Debug)]
pub(crate) struct TableMap<'a> {
    pub(crate) table_id: u64,
    pub(crate) database: &'a [u8],
    pub(crate) table: &'a [u8],
    /// One type byte for each column.
    pub(crate) types: &'a [u8],
    /// Lengths and precisions, in a format that depends on the type.
    pub(crate) type_metadata: &'a [u8],
    /// Names, signedness and character sets, as far as the server logs them.
    pub(crate) optional_metadata: &'a [u8],
}

impl TableMap<'_> {
    /// The table's name.
    ///
    /// # Errors
    /// `Corrupt` if it is not valid UTF-8.
    pub(crate) fn name(&self) -> Result<TableName> {
        let text = |name| {
            let invalid = |cause| Error::with_source(ErrorKind::Corrupt, "a table's name is not valid UTF-8", cause);
            std::str::from_utf8(name).map_err(invalid)
        };
        Ok(TableName::new(text(self.database)?, text(self.table)?))
    }
}

/// Decodes a table map:
///
/// | bytes | field |
/// |---:|---|
/// | 6 + 2 | table id, flags |
/// | 1 + n + 1 | the database's name with its length and a zero byte |
/// | 1 + n + 1 | the table's name, likewise |
/// | packed | number of columns |
/// | n | one type for each column |
/// | packed + n | metadata of the types, with its length |
/// | n | one bit for each column, set if it may be NULL |
/// | … | optional metadata |
pub(crate) fn table_map(body: &[u8]) -> Result<TableMap<'_>> {
    let mut cursor = Cursor::new(body);
    let table_id = cursor.uint(6)?;
    cursor.skip(2)?;
    let database = name(&mut cursor)?;
    let table = name(&mut cursor)?;
    let count = cursor.packed_count()?;
    let types = cursor.take(count)?;
    let type_metadata = cursor.packed_bytes()?;
    cursor.skip(count.div_ceil(8))?;
    Ok(TableMap { table_id, database, table, types, type_metadata, optional_metadata: cursor.rest() })
}

/// A name with its length in front and a zero byte behind.
fn name<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8]> {
    let length = usize::from(cursor.u8()?);
    let name = cursor.take(length)?;
    cursor.skip(1)?;
    Ok(name)
}

/// The table id of a rows event or a table map.
pub(crate) fn table_id(body: &[u8]) -> Result<u64> {
    Cursor::new(body).uint(6)
}

/// A rows event: the bitmaps of columns that its images have, and the images (`Rows_event`).
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    /// Number of columns of the table.
    pub(crate) columns: usize,
    /// One bit for each column, set if the image before the change has it. `None` for an insert.
    pub(crate) before: Option<&'a [u8]>,
    /// One bit for each column, set if the image after the change has it. `None` for a delete.
    pub(crate) after: Option<&'a [u8]>,
    /// Values of JSON columns may be differences: the image after the change begins with the options that say so.
    pub(crate) is_partial: bool,
    /// For each row its images. An image has one bit for each column that it has, set if the value is NULL, and then the
    /// values that are not NULL.
    pub(crate) images: &'a [u8],
}

/// Decodes a rows event:
///
/// | bytes | field |
/// |---:|---|
/// | 6 + 2 | table id, flags |
/// | 2 + n | extra data with its length; absent in version 1 |
/// | packed | number of columns |
/// | n | bitmap of the images before the change; absent for an insert |
/// | n | bitmap of the images after the change; absent for a delete |
/// | … | the images |
pub(crate) fn rows(event_kind: u8, body: &[u8]) -> Result<Rows<'_>> {
    let mut cursor = Cursor::new(body);
    cursor.skip(8)?;
    if event_kind >= kind::WRITE_ROWS {
        // Extra data, whose length includes the length field.
        let extra = usize::from(cursor.u16()?);
        cursor.skip(extra.saturating_sub(2))?;
    }
    let columns = usize::try_from(cursor.packed()?).unwrap_or(usize::MAX);
    let bitmap = columns.div_ceil(8);
    let (mut before, mut after) = (None, None);
    if !matches!(event_kind, kind::WRITE_ROWS | kind::WRITE_ROWS_V1) {
        before = Some(cursor.take(bitmap)?);
    }
    if !matches!(event_kind, kind::DELETE_ROWS | kind::DELETE_ROWS_V1) {
        after = Some(cursor.take(bitmap)?);
    }
    let is_partial = event_kind == kind::PARTIAL_UPDATE_ROWS;
    Ok(Rows { columns, before, after, is_partial, images: cursor.rest() })
}

/// A compressed transaction: one event that contains its events (`Transaction_payload_event`).
#[derive(Debug, Default)]
pub(crate) struct Payload<'a> {
    /// 0 is zstd, 255 is none.
    pub(crate) algorithm: u64,
    /// Size in bytes of the decompressed events.
    pub(crate) unpacked_size: u64,
    /// The compressed events.
    pub(crate) packed: &'a [u8],
}

/// Decodes a compressed transaction: fields as type, length and value, all packed, up to the type 0, and then the compressed
/// events. Type 1 is the size of these, type 2 the algorithm, type 3 the size of the decompressed events.
///
/// # Errors
/// `Corrupt` if the sizes do not match or the algorithm is unknown.
pub(crate) fn payload(body: &[u8]) -> Result<Payload<'_>> {
    let mut cursor = Cursor::new(body);
    let mut payload = Payload { algorithm: u64::MAX, ..Payload::default() };
    let mut size = None;
    loop {
        let field = cursor.packed()?;
        if field == 0 {
            break;
        }
        let mut value = Cursor::new(cursor.packed_bytes()?);
        match field {
            1 => size = Some(value.packed()?),
            2 => payload.algorithm = value.packed()?,
            3 => payload.unpacked_size = value.packed()?,
            _ => {}
        }
    }
    payload.packed = cursor.rest();
    if size != Some(payload.packed.len() as u64) {
        return Err(Error::new(ErrorKind::Corrupt, "a compressed transaction does not have its declared size"));
    }
    match payload.algorithm {
        0 => {}
        255 => payload.unpacked_size = payload.packed.len() as u64,
        other => {
            let text = format!("a transaction is compressed with unknown algorithm {other}");
            return Err(Error::new(ErrorKind::Corrupt, text));
        }
    }
    Ok(payload)
}

/// Decodes the event that ends the first phase of an XA transaction (`XA_prepare_event`): true if it also commits, and
/// the encoded XID.
pub(crate) fn xa_prepare(body: &[u8]) -> Result<(bool, Vec<u8>)> {
    let mut cursor = Cursor::new(body);
    let one_phase = cursor.u8()? != 0;
    let format = cursor.u32()?;
    let (global, branch) = (cursor.u32()? as usize, cursor.u32()? as usize);
    Ok((one_phase, xid(cursor.take(global)?, cursor.take(branch)?, format)))
}

/// Encodes the parts of an XID as one value, for comparison.
pub(crate) fn xid(global: &[u8], branch: &[u8], format: u32) -> Vec<u8> {
    let mut xid = Vec::with_capacity(global.len() + branch.len() + 8);
    xid.extend_from_slice(&format.to_le_bytes());
    xid.extend_from_slice(&(global.len() as u32).to_le_bytes());
    xid.extend_from_slice(global);
    xid.extend_from_slice(branch);
    xid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gtid_event_names_the_transaction_and_its_commit_time() {
        let mut body = vec![1];
        body.extend([0x3e, 0x11, 0xfa, 0x47, 0x71, 0xca, 0x11, 0xe1, 0x9e, 0x33, 0xc8, 0x0a, 0xa9, 0x42, 0x95, 0x62]);
        body.extend(7_u64.to_le_bytes());
        body.push(2);
        body.extend([0; 16]);
        let time = 1_700_000_000_000_000_u64 | ORIGINAL_TIME_FOLLOWS;
        body.extend(&time.to_le_bytes()[..7]);
        let (gtid, committed_at) = gtid(&body, &mut Origins::default()).expect("a GTID");
        assert_eq!(gtid.to_string(), "3e11fa47-71ca-11e1-9e33-c80aa9429562:7");
        assert_eq!(committed_at, Timestamp::from_micros(1_700_000_000_000_000));
    }

    #[test]
    fn a_statement_comes_with_its_sessions_mode_and_character_set() {
        let variables = [
            &[0, 0, 0, 0, 1][..],
            &[1, 4, 0, 0x10, 0, 0, 0, 0, 0],
            &[6, 3, b's', b't', b'd'],
            &[3, 1, 0, 1, 0],
            &[4, 28, 0, 28, 0, 255, 0],
            &[99, 1, 2, 3],
        ]
        .concat();
        let mut body = vec![7, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, variables.len() as u8, 0];
        body.extend(&variables);
        body.extend(b"shop\0TRUNCATE t");
        let read = query(&body).expect("a statement");
        assert_eq!((read.database, read.text), (&b"shop"[..], &b"TRUNCATE t"[..]));
        assert_eq!((read.sql_mode, read.client_collation), (Some(0x10_0004), Some(28)));
        for end in 0..body.len() {
            // Truncated anywhere, it is parsed or refused, and does not panic.
            let _ = query(&body[..end]);
        }
    }

    #[test]
    fn a_payload_of_another_size_or_algorithm_is_refused() {
        let good = [2, 3, 0xfc, 255, 0, 1, 1, 2, 0, b'a', b'b'];
        assert_eq!(payload(&good).expect("not compressed").unpacked_size, 2);
        assert!(payload(&good[..10]).is_err());
        assert!(payload(&[2, 1, 7, 1, 1, 0, 0]).is_err());
        assert!(payload(&[]).is_err());
    }
}
