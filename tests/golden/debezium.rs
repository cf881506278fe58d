//! Records that a real connector wrote, and the events they decode to.
//!
//! `debezium/<case>.json` is a record with the connector's settings; `debezium/<case>.expected` are the decoded events:
//! with all columns, with columns that the key lacks, and with those of the key only. `CACHEFRONT_BLESS=1` rewrites the
//! expectations: review the difference before you commit it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cachefront_core::event::{Change, TableName};
use cachefront_core::source::{Columns, TableFilter};
use cachefront_kafka::decode::{Decoder, DecoderSettings, Form, Record};
use cachefront_kafka::event::{Event, Origin};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::print;

/// A record as stored in the files.
#[derive(Deserialize)]
struct Wrapper<'a> {
    #[serde(borrow)]
    connector_config: BTreeMap<&'a str, String>,
    topic: &'a str,
    partition: i32,
    offset: i64,
    key_bytes: Option<usize>,
    value_bytes: Option<usize>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    key_raw: Option<String>,
    value_raw: Option<String>,
}

/// Returns the bytes of a key or a value as they were on the topic.
fn bytes(raw: Option<&String>, parsed: Option<&RawValue>, length: Option<usize>) -> Option<String> {
    let length = length?;
    let text = raw.cloned().unwrap_or_else(|| compact(parsed.map_or("null", RawValue::get)));
    assert_eq!(text.len(), length, "the length differs from the one on the topic");
    Some(text)
}

/// Returns JSON without the white space between its parts.
fn compact(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let keep = |character: &char| {
        let keep = quoted || !character.is_ascii_whitespace();
        quoted = if quoted { escaped || *character != '"' } else { *character == '"' };
        escaped = quoted && !escaped && *character == '\\';
        keep
    };
    json.chars().filter(keep).collect()
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/debezium").join(name)
}

fn tables(columns: &Columns) -> TableFilter {
    let mut filter = TableFilter::new();
    for table in ["users", "kv", "nokey", "odd", "dpk", "spk", "gen", "we-ird.tbl$"] {
        filter.add(TableName::new("app", table), columns);
    }
    filter
}

fn settings(wrapper: &Wrapper<'_>) -> DecoderSettings {
    let mut settings = DecoderSettings::default();
    if wrapper.connector_config.values().any(|value| value.ends_with("ExtractNewRecordState")) {
        settings.form = Form::Flattened;
        settings.tables.insert(wrapper.topic.to_owned(), "app.users".to_owned());
    }
    settings
}

fn check(case: &str) {
    let text = std::fs::read_to_string(path(&format!("{case}.json"))).expect("the record");
    let wrapper: Wrapper<'_> = serde_json::from_str(&text).expect("a record");
    let key = bytes(wrapper.key_raw.as_ref(), wrapper.key, wrapper.key_bytes);
    let value = bytes(wrapper.value_raw.as_ref(), wrapper.value, wrapper.value_bytes);
    let record = Record {
        topic: wrapper.topic,
        partition: wrapper.partition,
        offset: wrapper.offset,
        key: key.as_deref().map(str::as_bytes),
        value: value.as_deref().map(str::as_bytes),
    };
    let only = |names: [&str; 1]| Columns::Only(names.map(Box::from).to_vec());
    let mut printed = String::new();
    let inspect = settings(&wrapper).with_inspect(true);
    for (title, settings, columns) in [
        ("inspect", inspect, Columns::All),
        ("all", settings(&wrapper), Columns::All),
        ("id", settings(&wrapper), only(["id"])),
        ("email", settings(&wrapper), only(["email"])),
    ] {
        let mut decoder = Decoder::new(settings, &tables(&columns));
        // The second time the decoder knows the record's schema and names.
        let lines = [(); 2].map(|()| match decoder.decode(&record) {
            Ok(event) => line(&event),
            Err(error) => format!("gap: {error}"),
        });
        assert_eq!(lines[0], lines[1], "{case}");
        printed.push_str(&format!("{title}: {}\n", lines[0]));
    }
    let expected = path(&format!("{case}.expected"));
    if std::env::var_os("CACHEFRONT_BLESS").is_some() {
        std::fs::write(&expected, &printed).expect("the expectation is written");
    }
    let expected = std::fs::read_to_string(&expected).expect("the expectation");
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected.lines().collect::<Vec<_>>(), "{case}");
}

fn line(event: &Event) -> String {
    match event {
        Event::Row { row, origin } => format!("{}{}", print::change(&Change::Row(row.clone())), self::origin(origin)),
        Event::Read { table, snapshot, row, origin } => {
            let row = row.as_ref().map_or_else(String::new, |row| format!(" {}", print::image(row)));
            format!("read {table} {snapshot:?}{row}{}", self::origin(origin))
        }
        Event::Tables { tables, reason, origin } => {
            let change = Change::Tables { tables: tables.clone(), reason: reason.clone() };
            format!("{}{}", print::change(&change), self::origin(origin))
        }
        Event::Begin { gtid } => format!("begin{}", self::gtid(gtid.as_ref())),
        Event::End { gtid, events, tables } => {
            let tables: Vec<String> = tables.iter().map(|(table, count)| format!("{table} {count}")).collect();
            format!("end{} {events} events [{}]", self::gtid(gtid.as_ref()), tables.join(", "))
        }
        Event::Ignored { kind, gtid } => format!("nothing: {kind}{}", self::gtid(gtid.as_ref())),
        other => format!("{other:?}"),
    }
}

fn origin(origin: &Origin) -> String {
    let order = origin.order.map_or_else(String::new, |order| {
        format!(" place {} in all, {} in the table", order.in_transaction, order.in_table)
    });
    format!("{} at {}{order}", gtid(origin.gtid.as_ref()), origin.committed_at.as_micros())
}

fn gtid(gtid: Option<&cachefront_core::Gtid>) -> String {
    gtid.map_or_else(String::new, |gtid| format!(" by {gtid}"))
}

#[test]
fn every_record_decodes_to_the_expected_events() {
    let mut cases: Vec<String> = std::fs::read_dir(path(""))
        .expect("the records")
        .filter_map(|file| Some(file.ok()?.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .collect();
    cases.sort();
    assert!(cases.len() >= 70, "{} records", cases.len());
    for case in &cases {
        check(case);
    }
}
