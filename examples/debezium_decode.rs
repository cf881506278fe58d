//! Prints how the Kafka adapter decodes Debezium's records, as one JSON object per line.
//!
//! `cargo run --example debezium_decode -- FILE..`. A file holds a record's value as it is on the topic, or an object
//! that describes a record: `topic`, `partition`, `offset`, `key`, `value` (or `key_raw`, `value_raw` as text) and, if
//! known, the connector's settings under `connector_config`. For a record that cannot be decoded it prints `gap` with
//! the reason, and the exit code is 3.

#[path = "show/mod.rs"]
mod show;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use cachefront::event::Operation;
use cachefront::kafka::decode::{Decoder, DecoderSettings, Form, Record};
use cachefront::kafka::event::Event;
use cachefront::source::TableFilter;
use serde::Deserialize;
use serde_json::value::RawValue;
use show::{Line, compact, image};

/// A record as a file describes it. A field that is null differs from one that is absent.
#[derive(Deserialize)]
struct Described<'a> {
    #[serde(default)]
    connector_config: BTreeMap<String, String>,
    topic: String,
    #[serde(default)]
    partition: i32,
    #[serde(default)]
    offset: i64,
    /// The lengths of key and value on the topic; null if there was none.
    #[serde(borrow, default)]
    key_bytes: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    value_bytes: Option<&'a RawValue>,
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    key_raw: Option<String>,
    value_raw: Option<String>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A record in the form that the decoder takes, with the settings to decode it with.
struct Owned {
    topic: String,
    partition: i32,
    offset: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    settings: DecoderSettings,
}

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: debezium_decode FILE..");
        return ExitCode::from(2);
    }
    let mut out = std::io::stdout().lock();
    let mut code = ExitCode::SUCCESS;
    for file in &files {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) => {
                eprintln!("{file}: {error}");
                return ExitCode::from(1);
            }
        };
        let record = record(file, bytes);
        let line = decode(&record);
        if line.op == "gap" {
            code = ExitCode::from(3);
        }
        if writeln!(out, "{}", line.json()).is_err() {
            // The reader has closed the pipe.
            return code;
        }
    }
    code
}

fn record(file: &str, bytes: Vec<u8>) -> Owned {
    let described = std::str::from_utf8(&bytes).ok().and_then(|text| {
        let described: Described<'_> = serde_json::from_str(text).ok()?;
        let told = described.value.is_some() || described.value_raw.is_some() || described.value_bytes.is_some();
        (told || described.key.is_some()).then(|| owned(described))
    });
    described.unwrap_or_else(|| Owned {
        topic: file.to_owned(),
        partition: 0,
        offset: 0,
        key: None,
        value: Some(bytes),
        settings: DecoderSettings::default().with_inspect(true),
    })
}

fn owned(described: Described<'_>) -> Owned {
    let part = |raw: Option<String>, parsed: Option<&RawValue>, length: Option<&RawValue>| {
        let text = match (raw, parsed) {
            (Some(raw), _) => raw,
            (None, Some(parsed)) => compact(parsed.get()),
            // A JSON null is a value of four bytes; a Kafka null is the absence of a value.
            (None, None) if length.is_some_and(|length| length.get() == "4") => "null".to_owned(),
            (None, None) => return None,
        };
        Some(text.into_bytes())
    };
    let mut settings = DecoderSettings::default().with_inspect(true);
    if described.connector_config.values().any(|value| value.ends_with(".ExtractNewRecordState")) {
        settings.form = Form::Flattened;
    }
    if let Some(prefix) = described.connector_config.get("topic.heartbeat.prefix") {
        settings.heartbeat_prefix.clone_from(prefix);
    }
    // A topic is named `prefix.database.table` unless it was routed elsewhere.
    let mut names = described.topic.splitn(3, '.');
    if let (Some(prefix), Some(database), Some(table)) = (names.next(), names.next(), names.next()) {
        settings.transaction_topic = Some(format!("{prefix}.transaction"));
        settings.schema_change_topic = Some(prefix.to_owned());
        settings.tables.insert(described.topic.clone(), format!("{database}.{table}"));
    }
    Owned {
        key: part(described.key_raw, described.key, described.key_bytes),
        value: part(described.value_raw, described.value, described.value_bytes),
        topic: described.topic,
        partition: described.partition,
        offset: described.offset,
        settings,
    }
}

fn decode(owned: &Owned) -> Line {
    let record = Record {
        topic: &owned.topic,
        partition: owned.partition,
        offset: owned.offset,
        key: owned.key.as_deref(),
        value: owned.value.as_deref(),
    };
    let mut decoder = Decoder::new(owned.settings.clone(), &TableFilter::new());
    match decoder.decode(&record) {
        Ok(event) => line(event),
        Err(error) => Line { op: "gap", reason: Some(error.to_string()), ..Line::default() },
    }
}

fn line(event: Event) -> Line {
    match event {
        Event::Row { row, origin } => Line::row(&row, origin.gtid.map(|gtid| gtid.to_string())),
        Event::Read { table, row, origin, .. } => Line {
            table: Some(table.as_str().to_owned()),
            op: Operation::Read.as_str(),
            after: row.as_ref().map(image),
            gtid: origin.gtid.map(|gtid| gtid.to_string()),
            ..Line::default()
        },
        Event::Tables { tables, reason, origin } => {
            Line::tables(&tables, &reason, origin.gtid.map(|gtid| gtid.to_string()))
        }
        Event::Begin { gtid } => none("begin", gtid.map(|gtid| gtid.to_string())),
        Event::End { gtid, .. } => none("end", gtid.map(|gtid| gtid.to_string())),
        Event::Ignored { kind, gtid } => none(kind, gtid.map(|gtid| gtid.to_string())),
        other => {
            Line { op: "gap", reason: Some(format!("an event that is not known here: {other:?}")), ..Line::default() }
        }
    }
}

fn none(kind: &'static str, gtid: Option<String>) -> Line {
    Line { op: "none", kind: Some(kind), gtid, ..Line::default() }
}
