//! The end of an envelope: which table, which transaction, what was done. It is found from the record's end, so that
//! rows need not be read where the key says enough.
//!
//! Debezium writes an envelope's fields in a fixed order: the rows, then `source`, `transaction`, `op` and times. The
//! search goes back from brace to brace for `,"source":{"version":`. In JSON this can not stand inside of a string,
//! where a quote follows a backslash; so it is a field of some object. Then all that follows is read, strictly: if it
//! closes one object and ends the record with it, that object is the record itself. In all other cases the answer is
//! nothing, and the whole record is parsed.

use crate::event::Place;

use super::json::Scan;

const FIELD: &[u8] = b",\"source\":";
const VALUE: &[u8] = b"{\"version\":";
/// Braces occur in the statement's text that `include.query` adds; beyond this many the whole record is parsed.
const BRACES_MAX: usize = 64;

/// What an envelope says beside its rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Meta<'a> {
    pub(super) database: &'a str,
    pub(super) table: &'a str,
    pub(super) gtid: Option<&'a str>,
    pub(super) committed_us: u64,
    pub(super) captured_us: u64,
    pub(super) snapshot: Option<&'a str>,
    pub(super) operation: u8,
    pub(super) place: Option<Place>,
}

/// Where the rows end, and what follows them.
#[inline]
pub(super) fn scan(value: &[u8]) -> Option<(usize, Meta<'_>)> {
    let (rows_end, source) = find(value)?;
    let mut scan = Scan::new(std::str::from_utf8(source).ok()?);
    let mut meta = Meta::default();
    read_source(&mut scan, &mut meta)?;
    let (mut transaction, mut operation, mut time) = (false, false, Time::default());
    while scan.peek()? == b',' {
        scan.eat(",")?;
        match field(&mut scan)? {
            "transaction" if !std::mem::replace(&mut transaction, true) => meta.place = read_transaction(&mut scan)?,
            "op" if !std::mem::replace(&mut operation, true) => meta.operation = single(scan.string()?.plain()?)?,
            "ts_ms" if time.millis.is_none() => time.millis = Some(nullable_number(&mut scan)?),
            "ts_us" if time.micros.is_none() => time.micros = Some(nullable_number(&mut scan)?),
            "ts_ns" => scan.skip()?,
            // A field that is not known, or a field twice.
            _ => return None,
        }
    }
    scan.eat("}")?;
    meta.captured_us = time.micros().unwrap_or_default();
    (operation && scan.is_empty()).then_some((rows_end, meta))
}

fn find(value: &[u8]) -> Option<(usize, &[u8])> {
    let mut before = value;
    for _ in 0..BRACES_MAX {
        let brace = memchr::memrchr(b'{', before)?;
        let source = value.get(brace..)?;
        before = before.get(..brace)?;
        if source.starts_with(VALUE)
            && let Some(rows) = before.strip_suffix(FIELD)
            // Rows are objects, or null.
            && matches!(rows.last(), Some(b'}' | b'l'))
        {
            return Some((rows.len(), source));
        }
    }
    None
}

fn read_source<'a>(scan: &mut Scan<'a>, meta: &mut Meta<'a>) -> Option<()> {
    let (mut database, mut table, mut gtid, mut snapshot, mut time) = (None, None, None, None, Time::default());
    scan.eat("{")?;
    loop {
        match field(scan)? {
            "db" if database.is_none() => database = Some(scan.string()?.plain()?),
            "table" if table.is_none() => table = Some(scan.string()?.plain()?),
            "gtid" if gtid.is_none() => gtid = Some(nullable(scan)?),
            "snapshot" if snapshot.is_none() => snapshot = Some(nullable(scan)?),
            "ts_ms" if time.millis.is_none() => time.millis = Some(Some(scan.unsigned()?)),
            "ts_us" if time.micros.is_none() => time.micros = Some(nullable_number(scan)?),
            "db" | "table" | "gtid" | "snapshot" | "ts_ms" | "ts_us" => return None,
            _ => scan.skip()?,
        }
        match scan.peek()? {
            b',' => scan.eat(",")?,
            _ => break,
        }
    }
    scan.eat("}")?;
    time.millis?;
    (meta.database, meta.table, meta.committed_us) = (database?, table?, time.micros()?);
    (meta.gtid, meta.snapshot) = (gtid.flatten(), snapshot.flatten());
    Some(())
}

fn read_transaction(scan: &mut Scan<'_>) -> Option<Option<Place>> {
    if scan.eat("null").is_some() {
        return Some(None);
    }
    scan.eat("{")?;
    let (mut id, mut in_transaction, mut in_table) = (false, None, None);
    loop {
        match field(scan)? {
            "id" if !id => {
                id = true;
                scan.skip()?;
            }
            "total_order" if in_transaction.is_none() => in_transaction = Some(scan.unsigned()?),
            "data_collection_order" if in_table.is_none() => in_table = Some(scan.unsigned()?),
            _ => return None,
        }
        match scan.peek()? {
            b',' => scan.eat(",")?,
            _ => break,
        }
    }
    scan.eat("}")?;
    Some(Some(Place { in_transaction: in_transaction?, in_table: in_table? }))
}

#[inline]
fn field<'a>(scan: &mut Scan<'a>) -> Option<&'a str> {
    let name = scan.string()?.plain()?;
    scan.eat(":")?;
    Some(name)
}

fn nullable<'a>(scan: &mut Scan<'a>) -> Option<Option<&'a str>> {
    match scan.peek()? {
        b'n' => scan.eat("null").map(|()| None),
        _ => Some(Some(scan.string()?.plain()?)),
    }
}

fn nullable_number(scan: &mut Scan<'_>) -> Option<Option<u64>> {
    match scan.peek()? {
        b'n' => scan.eat("null").map(|()| None),
        _ => Some(Some(scan.unsigned()?)),
    }
}

/// A moment in the two units that a record has it in; the outer part says whether the field came.
#[derive(Clone, Copy, Debug, Default)]
struct Time {
    millis: Option<Option<u64>>,
    micros: Option<Option<u64>>,
}

impl Time {
    /// The finer one, where there is one.
    fn micros(self) -> Option<u64> {
        micros(self.micros.flatten(), self.millis.flatten())
    }
}

/// A moment in µs, from µs or else ms.
pub(super) fn micros(micros: Option<u64>, millis: Option<u64>) -> Option<u64> {
    micros.or(millis.map(|millis| millis.saturating_mul(1_000)))
}

fn single(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [letter] => Some(*letter),
        _ => None,
    }
}
