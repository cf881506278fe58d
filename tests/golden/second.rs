//! The crate `mysql_cdc` as the second decoder: where it is chosen, every recorded log decodes to the same; and where it is asked
//! for every event, each disagreement is listed by its cause.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use cachefront_binlog::{BinlogFile, RowDecoder};
use cachefront_core::event::{Change, Column, RowImage, Value};
use cachefront_core::source::TableFilter;
use mysql_cdc::events::binlog_event::BinlogEvent;
use mysql_cdc::events::event_header::EventHeader;
use mysql_cdc::events::event_parser::EventParser;
use mysql_cdc::events::row_events::mysql_value::MySqlValue;
use mysql_cdc::events::row_events::row_data::RowData;

use crate::{file, path, print};

const HEADER: usize = 19;
const TABLE_MAP: u8 = 19;

fn cases() -> Vec<String> {
    let names = std::fs::read_dir(path("")).expect("the cases").map(|entry| entry.expect("a file").file_name());
    let mut cases: Vec<String> =
        names.filter_map(|name| name.to_str()?.strip_suffix(".binlog").map(str::to_owned)).collect();
    cases.sort();
    cases
}

#[test]
fn both_decoders_decode_every_log_to_the_same() {
    let shown = |bytes: &[u8], decoder| -> Vec<String> {
        let file = BinlogFile::new(bytes).expect("a log").row_decoder(decoder);
        let tables = file.tables().expect("tables");
        file.inspect(&tables).map(print::transaction).collect()
    };
    for case in cases() {
        let bytes = file(&case);
        assert_eq!(shown(&bytes, RowDecoder::Own), shown(&bytes, RowDecoder::MySqlCdc), "{case}");
    }
}

/// The events of a file, each with its header and without its checksum.
fn events(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut events, mut rest) = (Vec::new(), &bytes[4..]);
    while rest.len() > HEADER {
        let size = u32::from_le_bytes(rest[9..13].try_into().expect("four bytes")) as usize;
        events.push(&rest[..size - 4]);
        rest = &rest[size..];
    }
    events
}

/// The rows of one event, as our decoder reads them.
fn own(table_map: &[u8], rows: &[u8]) -> Vec<(Option<RowImage>, Option<RowImage>)> {
    let mut log = crate::fuzzed::logs::Log::new();
    log.begin(1);
    log.statement(&[], b"BEGIN");
    for event in [table_map, rows] {
        log.event(event[4], &event[HEADER..]);
    }
    log.commit();
    let file = BinlogFile::new(log.bytes()).expect("a log");
    let transactions = file.transactions(&TableFilter::everything());
    let changes = transactions.filter_map(Result::ok).flat_map(|transaction| transaction.changes);
    changes
        .filter_map(|change| match change {
            Change::Row(row) => Some((row.before, row.after)),
            _ => None,
        })
        .collect()
}

fn header(event: &[u8]) -> EventHeader {
    EventHeader {
        timestamp: 0,
        event_type: event[4],
        server_id: 0,
        event_length: 0,
        next_event_position: 0,
        event_flags: 0,
    }
}

/// Why two values differ; `None` if they do not.
fn difference(own: &Value, theirs: &MySqlValue) -> Option<&'static str> {
    let time =
        |hour: u32, minute: u8, second: u8, millis: u32| format!("{hour:02}:{minute:02}:{second:02}.{millis:03}");
    let same_time = |own: &str, theirs: String| {
        let (whole, fraction) = own.split_once('.').unwrap_or((own, ""));
        let lost = fraction.get(3..).is_some_and(|rest| rest.bytes().any(|digit| digit != b'0'));
        let millis = format!("{fraction:0<3}");
        match theirs == format!("{whole}.{}", &millis[..3]) {
            true if lost => Some("its fractions end at milliseconds"),
            true => None,
            false => Some("another time"),
        }
    };
    let unsigned = |number: u64| match own {
        Value::UInt(own) if *own == number => None,
        Value::Int(own) if u64::try_from(*own) == Ok(number) => None,
        Value::Int(own) if *own < 0 => Some("it has no negative numbers"),
        _ => Some("another number"),
    };
    let bytes = |theirs: &[u8]| match own {
        Value::Text(own) if own.as_bytes() == theirs => None,
        Value::Bytes(own) if **own == *theirs => None,
        Value::Bytes(own) if own.starts_with(theirs) => Some("it leaves out the trailing zeros of BINARY"),
        Value::Text(own) if own.starts_with(['{', '[']) => Some("it does not decode JSON"),
        Value::Text(_) => Some("it does not convert character sets"),
        _ => Some("other bytes"),
    };
    match (own, theirs) {
        (_, MySqlValue::TinyInt(number)) => unsigned(u64::from(*number)),
        (_, MySqlValue::SmallInt(number)) => unsigned(u64::from(*number)),
        (_, MySqlValue::MediumInt(number) | MySqlValue::Int(number)) => unsigned(u64::from(*number)),
        (_, MySqlValue::BigInt(number)) => unsigned(*number),
        (Value::Float(own), MySqlValue::Float(number)) if own.total_cmp(&f64::from(*number)).is_eq() => None,
        (Value::Float(own), MySqlValue::Double(number)) if own.total_cmp(number).is_eq() => None,
        (Value::Text(own), MySqlValue::Decimal(text)) if **own == **text => None,
        (_, MySqlValue::String(text)) => bytes(text.as_bytes()),
        (_, MySqlValue::Blob(theirs)) => bytes(theirs),
        (Value::UInt(own), MySqlValue::Bit(bits)) => {
            let number = bits.iter().rev().fold(0_u64, |number, bit| number << 1 | u64::from(*bit));
            (*own != number).then_some("another order of bits")
        }
        // It has numbers instead of labels.
        (_, MySqlValue::Enum(_) | MySqlValue::Set(_)) => None,
        (Value::UInt(own), MySqlValue::Year(year)) if *own == u64::from(*year) => None,
        (Value::UInt(0), MySqlValue::Year(1900)) => Some("the year 0 is 1900"),
        (Value::Text(own), MySqlValue::Date(date))
            if **own == *format!("{:04}-{:02}-{:02}", date.year, date.month, date.day) =>
        {
            None
        }
        (Value::Text(own), MySqlValue::Time(theirs)) => {
            same_time(own, time(theirs.hour.unsigned_abs().into(), theirs.minute, theirs.second, theirs.millis))
        }
        (Value::Text(own), MySqlValue::DateTime(theirs)) => same_time(
            own,
            format!(
                "{:04}-{:02}-{:02} {}",
                theirs.year,
                theirs.month,
                theirs.day,
                time(theirs.hour.into(), theirs.minute, theirs.second, theirs.millis)
            ),
        ),
        // Numbers of milliseconds; ours are texts in UTC.
        (Value::Text(_), MySqlValue::Timestamp(_)) => None,
        _ => Some("another type"),
    }
}

/// Adds the disagreements about the cells of one image.
fn compare(own: Option<&RowImage>, theirs: Option<&RowData>, causes: &mut BTreeMap<String, u32>) {
    let (Some(own), Some(theirs)) = (own, theirs) else { return };
    for ((_, column), cell) in own.columns().zip(&theirs.cells) {
        let cause = match (column, cell) {
            (Column::Value(Value::Null), None) | (Column::Missing, None) => None,
            (Column::Value(own), Some(theirs)) => difference(own, theirs),
            (Column::Unsupported, Some(_)) => Some("bytes of a text that we do not decode"),
            _ => Some("NULL"),
        };
        if let Some(cause) = cause {
            *causes.entry(cause.into()).or_default() += 1;
        }
    }
}

/// Compares the rows of one file.
fn disagreements(bytes: &[u8], causes: &mut BTreeMap<String, u32>) {
    let mut maps = HashMap::new();
    let mut parser = EventParser::new();
    for event in events(bytes) {
        match event[4] {
            TABLE_MAP => {
                let id = event[HEADER..HEADER + 6].to_vec();
                maps.insert(id, event);
                let parsed = catch_unwind(AssertUnwindSafe(|| parser.parse_event(&header(event), &event[HEADER..])));
                if !matches!(parsed, Ok(Ok(_))) {
                    *causes.entry("a table map that it cannot parse".into()).or_default() += 1;
                }
            }
            23..=25 | 30..=32 | 39 | 166..=171 => {
                let Some(map) = maps.get(&event[HEADER..HEADER + 6]) else { continue };
                let own = own(map, event);
                let pairs: Vec<(Option<RowData>, Option<RowData>)> = match catch_unwind(AssertUnwindSafe(|| {
                    parser.parse_event(&header(event), &event[HEADER..])
                })) {
                    Ok(Ok(BinlogEvent::WriteRowsEvent(event))) => {
                        event.rows.into_iter().map(|row| (None, Some(row))).collect()
                    }
                    Ok(Ok(BinlogEvent::DeleteRowsEvent(event))) => {
                        event.rows.into_iter().map(|row| (Some(row), None)).collect()
                    }
                    Ok(Ok(BinlogEvent::UpdateRowsEvent(event))) => {
                        event.rows.into_iter().map(|row| (Some(row.before_update), Some(row.after_update))).collect()
                    }
                    other => {
                        let cause = match other {
                            Ok(Ok(_)) => format!("events of type {} that it leaves out", event[4]),
                            Ok(Err(error)) => format!("error: {error:?}").chars().take(90).collect(),
                            Err(_) => "a panic".into(),
                        };
                        *causes.entry(cause).or_default() += 1;
                        continue;
                    }
                };
                if pairs.len() != own.len() {
                    *causes
                        .entry(format!("another number of rows: ours {}, its {}", own.len(), pairs.len()))
                        .or_default() += 1;
                    continue;
                }
                for (own, theirs) in own.iter().zip(&pairs) {
                    compare(own.0.as_ref(), theirs.0.as_ref(), causes);
                    compare(own.1.as_ref(), theirs.1.as_ref(), causes);
                }
            }
            40 => *causes.entry("compressed transactions that it leaves out".into()).or_default() += 1,
            _ => {}
        }
    }
}

#[test]
fn each_disagreement_with_the_second_decoder_has_a_known_cause() {
    let mut printed = String::new();
    for case in cases() {
        let mut causes = BTreeMap::new();
        disagreements(&file(&case), &mut causes);
        for (cause, count) in causes {
            printed.push_str(&format!("{case}: {count} x {cause}\n"));
        }
    }
    let expected = path("mysql_cdc.expected");
    if std::env::var_os("CACHEFRONT_BLESS").is_some() {
        std::fs::write(&expected, &printed).expect("the expectation is written");
    }
    let expected = std::fs::read_to_string(&expected).expect("the expectation");
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected.lines().collect::<Vec<_>>());
}
