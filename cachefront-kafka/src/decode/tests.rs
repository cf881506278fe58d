//! The decoder over records of a real connector, whole and damaged, and over generated rows.

#[path = "../../../examples/show/compact.rs"]
mod compact;
#[path = "../../../examples/show/record.rs"]
mod record;

use std::path::Path;

use cachefront_core::event::{Column, TableName, Value};
use cachefront_core::source::{Columns, TableFilter};
use proptest::prelude::*;
use proptest::sample::Index;
use record::SavedRecord;

use super::*;

/// A record that a real connector wrote.
#[derive(Clone, Debug, Default)]
struct Sample {
    case: String,
    saved: SavedRecord,
}

fn samples() -> Vec<Sample> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/debezium");
    let files = std::fs::read_dir(folder).expect("the records").map(|file| file.expect("a file").path());
    let samples = files.filter(|file| file.extension().is_some_and(|end| end == "json")).map(|path| {
        let text = std::fs::read_to_string(&path).expect("a record");
        let case = path.file_stem().expect("a name").to_string_lossy().into_owned();
        Sample { case, saved: SavedRecord::read(&text).expect("a record") }
    });
    let mut samples: Vec<Sample> = samples.collect();
    samples.sort_by(|a, b| a.case.cmp(&b.case));
    samples
}

impl Sample {
    /// A record without a key.
    fn of(topic: &str, value: Vec<u8>) -> Self {
        let saved = SavedRecord { topic: topic.to_owned(), value: Some(value), ..SavedRecord::default() };
        Self { case: String::new(), saved }
    }

    fn record(&self) -> Record<'_> {
        let SavedRecord { topic, partition, offset, key, value, .. } = &self.saved;
        Record { topic, partition: *partition, offset: *offset, key: key.as_deref(), value: value.as_deref() }
    }

    fn decoder(&self, columns: &Columns) -> Decoder {
        let mut settings = DecoderSettings::default();
        if self.saved.is_flattened() {
            settings.form = Form::Flattened;
            settings.tables.insert(self.saved.topic.clone(), "app.users".to_owned());
        }
        let mut filter = TableFilter::new();
        for table in ["users", "kv", "nokey", "odd", "dpk", "spk", "gen", "we-ird.tbl$"] {
            filter.add(TableName::new("app", table), columns);
        }
        Decoder::new(settings, &filter)
    }
}

fn only(names: &[&str]) -> Columns {
    Columns::Only(names.iter().map(|name| Box::from(*name)).collect())
}

fn choices() -> [Columns; 5] {
    [Columns::All, only(&["id"]), only(&["email"]), only(&["id", "NAME"]), only(&["a", "b"])]
}

fn decoded(decoder: &mut Decoder, record: &Record<'_>) -> Result<String, DecodeError> {
    decoder.decode(record).map(|event| format!("{event:?}"))
}

/// The second time the decoder knows the record's schema, names and origin.
#[test]
fn a_record_means_the_same_when_its_schema_is_known() {
    for sample in samples() {
        for columns in choices() {
            let mut decoder = sample.decoder(&columns);
            let first = decoded(&mut decoder, &sample.record());
            first.as_ref().unwrap_or_else(|error| panic!("{}: {error}", sample.case));
            assert_eq!(decoded(&mut decoder, &sample.record()), first, "{} {columns:?}", sample.case);
        }
    }
}

#[test]
fn text_after_the_payload_of_a_known_schema_is_not_lost() {
    let samples = samples();
    let sample = samples.iter().find(|sample| sample.case == "schemas-insert").expect("the record");
    let mut decoder = sample.decoder(&Columns::All);
    let first = decoded(&mut decoder, &sample.record());
    let mut longer = sample.clone();
    if let Some(value) = &mut longer.saved.value {
        value.pop();
        value.extend_from_slice(b",\"other\":1}");
    }
    assert_eq!(decoded(&mut decoder, &longer.record()), first, "a field that is unknown changes nothing");
    if let Some(value) = &mut longer.saved.value {
        value.push(b'}');
    }
    assert!(decoded(&mut decoder, &longer.record()).is_err());
}

#[test]
fn columns_from_the_key_equal_those_from_the_rows() {
    for sample in samples().iter().filter(|sample| sample.case.starts_with("default-") && sample.saved.value.is_some())
    {
        let mut by_key = sample.decoder(&only(&["id"]));
        let mut by_row = sample.decoder(&only(&["id"]));
        by_row.known.plans.never_by_key();
        let (key, row) = (by_key.decode(&sample.record()), by_row.decode(&sample.record()));
        if sample.case.contains("nokey") || sample.case.contains("composite") {
            continue;
        }
        assert_eq!(format!("{key:?}"), format!("{row:?}"), "{}", sample.case);
    }
}

#[derive(Clone, Debug)]
enum Damage {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
    Double(Index, Index),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        match self {
            Self::Set(at, byte) => bytes[at.index(length)] = *byte,
            Self::Insert(at, byte) => bytes.insert(at.index(length), *byte),
            Self::Remove(at) => {
                bytes.remove(at.index(length));
            }
            Self::Cut(at) => bytes.truncate(at.index(length)),
            Self::Double(from, to) => {
                let piece = bytes[from.index(length)..].iter().take(40).copied().collect::<Vec<u8>>();
                let at = to.index(length);
                bytes.splice(at..at, piece);
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = prop_oneof![any::<u8>(), proptest::sample::select(b"{}[]\":,\\ 0123456789nulltruefalse".to_vec())];
    prop_oneof![
        4 => (any::<Index>(), byte.clone()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        2 => (any::<Index>(), byte).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        2 => any::<Index>().prop_map(Damage::Remove),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Double(from, to)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    /// A damaged record causes no panic, is decoded only if it still is JSON, and means the same to a decoder that knows
    /// its schema and to a new one.
    #[test]
    fn a_damaged_record_has_one_meaning(
        sample in proptest::sample::select(samples()),
        columns in proptest::sample::select(choices().to_vec()),
        damages in proptest::collection::vec(damage(), 1..4),
        in_key in proptest::bool::weighted(0.1),
    ) {
        let (mut knowing, mut new) = (sample.decoder(&columns), sample.decoder(&columns));
        let _ = knowing.decode(&sample.record());
        let mut damaged = sample.clone();
        let part = if in_key { &mut damaged.saved.key } else { &mut damaged.saved.value };
        for damage in &damages {
            damage.apply(part.get_or_insert_default());
        }
        let event = decoded(&mut new, &damaged.record());
        let is_json = |value: &Vec<u8>| serde_json::from_slice::<serde::de::IgnoredAny>(value).is_ok();
        prop_assert!(event.is_err() || damaged.saved.value.as_ref().is_none_or(is_json), "{}", value_text(&damaged));
        // A decoder remembers whether keys suffice, so only damage in the value must mean the same to both.
        if !in_key {
            prop_assert_eq!(decoded(&mut knowing, &damaged.record()).ok(), event.ok());
        }
    }

    /// Rows of any content, with names and texts that look like parts of an envelope.
    #[test]
    fn no_content_of_a_row_misleads(
        names in proptest::collection::hash_set(name(), 1..8),
        texts in proptest::collection::vec(text(), 8),
        query in proptest::option::of(text()),
        operation in proptest::sample::select(vec!["c", "u", "d"]),
    ) {
        let cells: Vec<String> = names.iter().zip(&texts).map(|(name, text)| {
            format!("{}:{}", serde_json::to_string(name).expect("text"), serde_json::to_string(text).expect("text"))
        }).collect();
        let row = format!("{{{}}}", cells.join(","));
        let before = if operation == "c" { "null" } else { &row };
        let after = if operation == "d" { "null" } else { &row };
        let query = serde_json::to_string(&query).expect("text");
        let value = format!(
            r#"{{"before":{before},"after":{after},"source":{{"version":"3.6.1.Final","connector":"mysql","name":"dbz","ts_ms":7,"snapshot":"false","db":"app","sequence":null,"table":"users","server_id":2,"gtid":"19fa3897-e6d3-11f1-9dca-02fc00000001:36","query":{query}}},"transaction":null,"op":"{operation}","ts_ms":8}}"#
        );
        let sample = Sample::of("t", value.into_bytes());
        let event = sample.decoder(&Columns::All).decode(&sample.record());
        let Ok(Event::Row { row, .. }) = event else { panic!("{event:?}: {}", value_text(&sample)) };
        prop_assert_eq!(row.table.as_str(), "app.users");
        prop_assert_eq!((row.before.is_none(), row.after.is_none()), (operation == "c", operation == "d"));
        for image in [&row.before, &row.after].into_iter().flatten() {
            let cells: Vec<(&str, &Column)> = image.columns().collect();
            let expected: Vec<Column> =
                texts.iter().map(|text| Column::Value(Value::Text(text.as_str().into()))).collect();
            let expected: Vec<(&str, &Column)> = names.iter().map(String::as_str).zip(&expected).collect();
            prop_assert_eq!(cells, expected);
        }
        for columns in choices() {
            prop_assert!(sample.decoder(&columns).decode(&sample.record()).is_ok());
        }
    }
}

fn value_text(sample: &Sample) -> String {
    String::from_utf8_lossy(sample.saved.value.as_deref().unwrap_or_default()).into_owned()
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec!["before", "after", "source", "op", "transaction", "version", "id", "payload"])
            .prop_map(str::to_owned),
        "\\PC{1,12}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".*",
        proptest::sample::select(vec![
            r#","source":{"version":"x","db":"app","table":"kv"},"op":"d"}"#,
            r#"","source":{"version":"#,
            r#"{"before":null,"after":null,"#,
            r"\",
            r#"\""#,
            "\u{0}\n\t\u{7f}é😀",
        ])
        .prop_map(str::to_owned),
    ]
}

#[test]
fn a_decode_error_has_the_location_and_the_fix() {
    let of_value = |value| Sample::of("dbz.app.users", value);
    let envelope =
        |source: &str, rest: &str| format!(r#"{{"before":null,"after":{{"id":1}},"source":{source}{rest}}}"#);
    let good = r#"{"db":"app","table":"users","ts_ms":1,"gtid":"19fa3897-e6d3-11f1-9dca-02fc00000001:36"}"#;
    for (value, expected) in [
        (b"\x00\x00\x00\x00\x01abc".to_vec(), "JsonConverter"),
        (b"\xff\xfe".to_vec(), "not UTF-8"),
        (b"".to_vec(), "breaks off"),
        (b"{\"before\":null,".to_vec(), "breaks off"),
        (b"null".to_vec(), "Flattened"),
        (b"{\"schema\":{},\"payload\":null}".to_vec(), "Flattened"),
        (b"{\"id\":1}".to_vec(), "Flattened"),
        (b"7".to_vec(), "is not the JSON"),
        (envelope(good, ",\"op\":\"x\"").into_bytes(), "`op`"),
        (envelope(good, ",\"op\":\"u\"").into_bytes(), "`before`"),
        (envelope(good, ",\"op\":\"d\"").into_bytes(), "`before`"),
        (envelope("{\"db\":\"app\",\"ts_ms\":1}", ",\"op\":\"c\"").into_bytes(), "`source.table`"),
        (envelope(&good.replace("19fa", "x y"), ",\"op\":\"c\"").into_bytes(), "gtid_mode"),
        (b"{\"specversion\":\"1.0\"}".to_vec(), "CloudEvent"),
    ] {
        let text = String::from_utf8_lossy(&value).into_owned();
        let sample = of_value(value);
        let error = sample.decoder(&Columns::All).decode(&sample.record()).expect_err(&text).to_string();
        assert!(error.starts_with("topic `dbz.app.users`, partition 0, offset 0: "), "{error}");
        assert!(error.contains(expected), "{text}: {error}");
    }
}

/// Errors are logged, so they must not quote rows.
#[test]
fn errors_hold_no_values() {
    let value =
        br#"{"before":null,"after":{"id":"hunter2"},"source":{"db":"app","table":"users","ts_ms":"hunter2"},"op":"c"}"#;
    let mut sample = Sample::of("t", value.to_vec());
    sample.saved.key = Some(b"hunter2".to_vec());
    let error = sample.decoder(&Columns::All).decode(&sample.record()).expect_err("not a number");
    assert!(!format!("{error} {error:?} {:?}", sample.record()).contains("hunter2"), "{error}");
}

#[test]
fn configured_types_make_values_equal_those_of_the_log() {
    let samples = samples();
    let sample = samples.iter().find(|sample| sample.case == "types-odd").expect("the record");
    let mut filter = TableFilter::new();
    filter.add(TableName::new("app", "odd"), &Columns::All);
    let mut settings = DecoderSettings::default();
    for (column, kind) in [
        ("id", ColumnType::Unsigned),
        ("dbig", ColumnType::Decimal { scale: 10 }),
        ("bin", ColumnType::Bytes(BytesForm::Base64)),
        ("dt0", ColumnType::DateTime { unit: TimeUnit::Millis, digits: Some(0) }),
        ("ts0", ColumnType::Timestamp { digits: Some(0) }),
        ("tm", ColumnType::Time { unit: TimeUnit::Micros, digits: Some(0) }),
        ("zero", ColumnType::Date),
        ("bits20", ColumnType::Bit),
    ] {
        settings.columns.insert(format!("app.odd.{column}"), kind);
    }
    let mut decoder = Decoder::new(settings, &filter);
    for _ in 0..2 {
        let Ok(Event::Row { row, .. }) = decoder.decode(&sample.record()) else { panic!("a row") };
        let after = row.after.expect("an after image");
        let text = |column: &str| after.get::<String>(column).expect("text");
        assert_eq!(after.get::<u64>("id").expect("a number"), u64::MAX);
        assert_eq!(text("dt0"), "2026-03-29 02:30:00");
        assert_eq!(text("ts0"), "2026-01-01 00:00:00");
        assert_eq!(text("tm"), "-838:59:59");
        assert_eq!(text("zero"), "1000-01-01");
        assert_eq!(text("dbig"), "1234567890123456789012345678.0123456789");
        assert_eq!(after.get::<Vec<u8>>("bin").expect("bytes"), [1, 0, 0, 0]);
        assert_eq!(after.get::<u64>("bits20").expect("bits"), 0b1000_0000_0000_0000_0001);
    }
}

#[test]
fn a_cloud_event_has_its_order_in_the_transaction() {
    let samples = samples();
    let sample = samples.iter().find(|sample| sample.case == "cloudevents-insert").expect("the record");
    let value: serde_json::Value =
        serde_json::from_slice(sample.saved.value.as_deref().expect("a value")).expect("an object");
    let order = |total: serde_json::Value, table: serde_json::Value| {
        let (mut sample, mut value) = (sample.clone(), value.clone());
        value["iodebeziumtxtotalorder"] = total;
        value["iodebeziumtxdatacollectionorder"] = table;
        sample.saved.value = Some(value.to_string().into_bytes());
        let decoded = sample.decoder(&Columns::All).decode(&sample.record());
        let Ok(Event::Row { origin, .. }) = decoded else { panic!("{decoded:?}") };
        origin.order.map(|order| (order.in_transaction, order.in_table))
    };
    assert_eq!(order("7".into(), "3".into()), Some((7, 3)));
    assert_eq!(order(7.into(), 3.into()), Some((7, 3)));
    assert_eq!(order(serde_json::Value::Null, serde_json::Value::Null), None);
}
