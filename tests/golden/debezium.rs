//! Records that a real connector wrote, and the events they decode to.
//!
//! `debezium/<case>.json` is a record with the connector's settings; `debezium/<case>.expected` are the decoded events:
//! with all columns, with columns that the key lacks, and with those of the key only. `CACHEFRONT_BLESS=1` rewrites the
//! expectations: review the difference before you commit it.

#[path = "../../examples/show/compact.rs"]
mod compact;
#[path = "../../examples/show/record.rs"]
mod record;

use std::path::{Path, PathBuf};

use cachefront_core::event::{Change, TableName};
use cachefront_core::source::{Columns, TableFilter};
use cachefront_kafka::decode::{Decoder, DecoderSettings, Form, Record};
use cachefront_kafka::event::{Event, Origin};
use record::SavedRecord;

use crate::print;

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

fn settings(saved: &SavedRecord) -> DecoderSettings {
    let mut settings = DecoderSettings::default();
    if saved.is_flattened() {
        settings.form = Form::Flattened;
        settings.tables.insert(saved.topic.clone(), "app.users".to_owned());
    }
    settings
}

/// Reads a record, and checks that key and value are as long as they were on the topic.
fn saved(case: &str) -> SavedRecord {
    let text = std::fs::read_to_string(path(&format!("{case}.json"))).expect("the record");
    let saved = SavedRecord::read(&text).expect("a record");
    let described: serde_json::Value = serde_json::from_str(&text).expect("a record");
    for (part, length) in [(&saved.key, "key_bytes"), (&saved.value, "value_bytes")] {
        let found = part.as_ref().map(|bytes| bytes.len() as u64);
        assert_eq!(found, described[length].as_u64(), "{case}: `{length}` differs");
    }
    saved
}

fn check(case: &str) {
    let saved = saved(case);
    let record = Record {
        topic: &saved.topic,
        partition: saved.partition,
        offset: saved.offset,
        key: saved.key.as_deref(),
        value: saved.value.as_deref(),
    };
    let only = |names: [&str; 1]| Columns::Only(names.map(Box::from).to_vec());
    let mut printed = String::new();
    let inspect = settings(&saved).with_inspect(true);
    for (title, settings, columns) in [
        ("inspect", inspect, Columns::All),
        ("all", settings(&saved), Columns::All),
        ("id", settings(&saved), only(["id"])),
        ("email", settings(&saved), only(["email"])),
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
