//! Rows of the log in the form that Debezium gives to MySQL's rows.

use cachefront::Timestamp;
use cachefront::event::{Change, Column, Operation, RowChange, RowImage, Transaction, Value};
use serde_json::{Map, Value as Json, json};

use super::topics::{PREFIX, topic, transaction_topic};

/// A record for a topic.
#[derive(Debug, PartialEq)]
pub(super) struct Record {
    pub(super) topic: String,
    pub(super) key: String,
    /// `None` for a tombstone.
    pub(super) value: Option<String>,
}

/// Returns the records of a transaction that was read from the log at `captured_at`, in the order in which the
/// connector sends them.
pub(super) fn records(transaction: &Transaction, captured_at: Timestamp) -> Vec<Record> {
    let gtid = transaction.gtid.to_string();
    let ms = transaction.committed_at.as_micros() / 1_000;
    let times = (ms, captured_at.as_micros());
    let mut events = Vec::new();
    for change in &transaction.changes {
        if let Change::Row(row) = change {
            for (operation, before, after) in split(row) {
                let place = events.len() + 1;
                events.push(event(&gtid, times, place, row.table.as_str(), operation, before, after));
            }
        }
    }
    let count = events.len();
    let tables: Vec<Json> = match transaction.changes.first() {
        Some(Change::Row(row)) => vec![json!({"data_collection": row.table.as_str(), "event_count": count})],
        _ => Vec::new(),
    };
    let begin = json!({"status": "BEGIN", "id": gtid, "event_count": null, "data_collections": null, "ts_ms": ms});
    let end = json!({"status": "END", "id": gtid, "event_count": count, "data_collections": tables, "ts_ms": ms});
    let marker = |value: &Json| Record {
        topic: transaction_topic(),
        key: json!({"id": gtid}).to_string(),
        value: Some(value.to_string()),
    };
    [marker(&begin)].into_iter().chain(events).chain([marker(&end)]).collect()
}

type Event<'a> = (&'static str, Option<&'a RowImage>, Option<&'a RowImage>);

/// As in the connector, a changed primary key is a delete of the old row and a create of the new one.
fn split(row: &RowChange) -> Vec<Event<'_>> {
    let (before, after) = (row.before.as_ref(), row.after.as_ref());
    match row.operation {
        Operation::Insert => vec![("c", None, after)],
        Operation::Delete => vec![("d", before, None)],
        _ if before.map(key) != after.map(key) => vec![("d", before, None), ("c", None, after)],
        _ => vec![("u", before, after)],
    }
}

fn event(
    gtid: &str,
    (ms, us): (u64, u64),
    place: usize,
    table: &str,
    operation: &str,
    before: Option<&RowImage>,
    after: Option<&RowImage>,
) -> Record {
    let (database, name) = table.split_once('.').unwrap_or(("main", table));
    // Written field by field: the decoder's fast path expects the connector's order.
    let value = format!(
        r#"{{"before":{},"after":{},"source":{},"transaction":{},"op":"{operation}","ts_ms":{},"ts_us":{us},"ts_ns":{}}}"#,
        image(before),
        image(after),
        format_args!(
            r#"{{"version":"3.6.1.Final","connector":"mysql","name":"{PREFIX}","ts_ms":{ms},"snapshot":"false","db":{},"sequence":null,"ts_us":{},"ts_ns":{},"table":{},"server_id":1,"gtid":{},"file":"cachefront_log","pos":{place},"row":0,"thread":null,"query":null}}"#,
            Json::from(database),
            ms * 1_000,
            ms * 1_000_000,
            Json::from(name),
            Json::from(gtid),
        ),
        format_args!(r#"{{"id":{},"total_order":{place},"data_collection_order":{place}}}"#, Json::from(gtid)),
        us / 1_000,
        us * 1_000,
    );
    let key = before.filter(|_| after.is_none()).or(after).map_or_else(|| "null".to_owned(), key);
    Record { topic: topic(table), key, value: Some(value) }
}

fn key(row: &RowImage) -> String {
    let id = row.columns().find(|(name, _)| *name == "id").map_or(Json::Null, |(_, column)| column_json(column));
    json!({ "id": id }).to_string()
}

fn image(row: Option<&RowImage>) -> Json {
    row.map_or(Json::Null, |row| {
        let columns: Map<String, Json> =
            row.columns().map(|(name, column)| (name.to_owned(), column_json(column))).collect();
        Json::Object(columns)
    })
}

fn column_json(column: &Column) -> Json {
    match column {
        Column::Value(Value::Int(number)) => Json::from(*number),
        Column::Value(Value::UInt(number)) => Json::from(*number),
        Column::Value(Value::Float(number)) => Json::from(*number),
        Column::Value(Value::Text(text)) => Json::from(&**text),
        _ => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use cachefront::Gtid;
    use cachefront::event::TransitTimes;
    use cachefront::kafka::decode::{Decoder, DecoderSettings, Record as Raw};
    use cachefront::kafka::event::Event as Decoded;
    use cachefront::source::{Columns, TableFilter};

    use super::*;

    fn user(id: i64, email: &str) -> RowImage {
        RowImage::from_pairs([("id", Value::Int(id)), ("email", Value::Text(email.into()))])
    }

    fn transaction(row: RowChange) -> Transaction {
        let origin = "3e11fa47-71ca-41e1-8e33-c80aa9429562".into();
        Transaction {
            gtid: Gtid { origin, number: 7 },
            committed_at: Timestamp::from_micros(1_700_000_000_000_000),
            transit: TransitTimes::default(),
            changes: vec![Change::Row(row)],
            complete: true,
        }
    }

    fn decoded(records: &[Record]) -> Vec<Decoded> {
        let mut filter = TableFilter::new();
        filter.add("main.users".into(), &Columns::All);
        let mut decoder = Decoder::new(DecoderSettings::default(), &filter);
        let raw = |record: &Record| {
            let (key, value) = (record.key.clone().into_bytes(), record.value.clone().expect("a value").into_bytes());
            let raw = Raw { topic: &record.topic, partition: 0, offset: 0, key: Some(&key), value: Some(&value) };
            decoder.decode(&raw).expect("the adapter understands it")
        };
        records.iter().map(raw).collect()
    }

    #[test]
    fn the_adapter_understands_what_is_carried() {
        let row = RowChange {
            table: "main.users".into(),
            operation: Operation::Update,
            before: Some(user(1, "a\"b@x")),
            after: Some(user(1, "\u{1F600}\n@x")),
        };
        let events = decoded(&records(&transaction(row), Timestamp::from_micros(2_000_123)));
        let [Decoded::Begin { .. }, Decoded::Row { row, origin }, Decoded::End { events, tables, .. }] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!(row.after.as_ref().expect("an image").get::<String>("email").expect("text"), "\u{1F600}\n@x");
        assert_eq!(row.before.as_ref().expect("an image").get::<u64>("id").expect("a number"), 1);
        assert_eq!(origin.gtid.as_ref().expect("a GTID").number, 7);
        assert_eq!((origin.committed_at.as_millis(), origin.captured_at.as_micros()), (1_700_000_000_000, 2_000_123));
        assert_eq!((*events, tables[0].1), (1, 1));
    }

    #[test]
    fn another_primary_key_is_a_delete_and_a_create() {
        let row = RowChange {
            table: "main.users".into(),
            operation: Operation::Update,
            before: Some(user(1, "a@x")),
            after: Some(user(2, "a@x")),
        };
        let records = records(&transaction(row), Timestamp::from_micros(2_000_123));
        let keys: Vec<&str> = records.iter().map(|record| record.key.as_str()).collect();
        assert_eq!(keys[1..3], [r#"{"id":1}"#, r#"{"id":2}"#]);
        let events = decoded(&records);
        assert!(matches!(&events[3], Decoded::End { events: 2, .. }), "{events:?}");
    }
}
