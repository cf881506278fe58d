//! Prints how the Kafka adapter decodes Debezium's records, as one JSON object per line.
//!
//! `cargo run --example debezium_decode -- FILE..`. A file holds a record's value as it is on the topic, or an object
//! that describes a record: `topic`, `partition`, `offset`, `key`, `value` (or `key_raw`, `value_raw` as text) and, if
//! known, the connector's settings under `connector_config`. For a record that cannot be decoded it prints `gap` with
//! the reason, and the exit code is 3.

#[path = "show/compact.rs"]
mod compact;
#[path = "show/record.rs"]
mod record;
#[path = "show/mod.rs"]
mod show;

use std::io::Write;
use std::process::ExitCode;

use cachefront::event::Operation;
use cachefront::kafka::decode::{Decoder, DecoderSettings, Form, Record};
use cachefront::kafka::event::{Event, Snapshot};
use cachefront::source::TableFilter;
use record::SavedRecord;
use show::{Line, image};

/// A record, with the settings to decode it with.
struct Input {
    record: SavedRecord,
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
        let line = decode(&input(file, bytes));
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

/// The record in a file: the one that it describes, or its bytes as a record's value.
fn input(file: &str, bytes: Vec<u8>) -> Input {
    let described = std::str::from_utf8(&bytes).ok().and_then(SavedRecord::read);
    let mut settings = DecoderSettings::default().with_inspect(true);
    let Some(record) = described else {
        let record = SavedRecord { topic: file.to_owned(), value: Some(bytes), ..SavedRecord::default() };
        return Input { record, settings };
    };
    if record.is_flattened() {
        settings.form = Form::Flattened;
    }
    if let Some(prefix) = record.connector.get("topic.heartbeat.prefix") {
        settings.heartbeat_prefix.clone_from(prefix);
    }
    // A topic is named `prefix.database.table` unless it was routed elsewhere.
    let mut names = record.topic.splitn(3, '.');
    if let (Some(prefix), Some(database), Some(table)) = (names.next(), names.next(), names.next()) {
        settings.transaction_topic = Some(format!("{prefix}.transaction"));
        settings.schema_change_topic = Some(prefix.to_owned());
        settings.tables.insert(record.topic.clone(), format!("{database}.{table}"));
    }
    Input { record, settings }
}

fn decode(Input { record, settings }: &Input) -> Line {
    let taken = Record {
        topic: &record.topic,
        partition: record.partition,
        offset: record.offset,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
    };
    let mut decoder = Decoder::new(settings.clone(), &TableFilter::new());
    match decoder.decode(&taken) {
        Ok(event) => line(event),
        Err(error) => Line { op: "gap", reason: Some(error.to_string()), ..Line::default() },
    }
}

fn line(event: Event) -> Line {
    match event {
        Event::Row { row, origin } => Line::row(&row, origin.gtid.map(|gtid| gtid.to_string())),
        Event::Read { snapshot: Snapshot::Schema, origin, .. } => {
            none("schema", origin.gtid.map(|gtid| gtid.to_string()))
        }
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
