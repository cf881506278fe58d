//! The quick way against the thorough one, over real records whole and damaged, and over made-up rows.

use std::path::Path;

use cachefront_core::event::TableName;
use cachefront_core::source::{Columns, TableFilter};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// A record that a real connector wrote.
#[derive(Clone, Debug)]
struct Sample {
    case: String,
    topic: String,
    flat: bool,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

#[derive(serde::Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    connector_config: &'a serde_json::value::RawValue,
    topic: &'a str,
    key_bytes: Option<usize>,
    value_bytes: Option<usize>,
    #[serde(borrow)]
    key: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow)]
    value: Option<&'a serde_json::value::RawValue>,
    key_raw: Option<String>,
    value_raw: Option<String>,
}

fn bytes(raw: Option<String>, parsed: Option<&serde_json::value::RawValue>, length: Option<usize>) -> Option<Vec<u8>> {
    length?;
    let (mut quoted, mut escaped) = (false, false);
    let keep = |character: &char| {
        let keep = quoted || !character.is_ascii_whitespace();
        quoted = if quoted { escaped || *character != '"' } else { *character == '"' };
        escaped = quoted && !escaped && *character == '\\';
        keep
    };
    let parsed = parsed.map_or("null", |value| value.get());
    Some(raw.unwrap_or_else(|| parsed.chars().filter(keep).collect()).into_bytes())
}

fn samples() -> Vec<Sample> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/debezium");
    let files = std::fs::read_dir(folder).expect("the records").map(|file| file.expect("a file").path());
    let samples = files.filter(|file| file.extension().is_some_and(|end| end == "json")).map(|path| {
        let text = std::fs::read_to_string(&path).expect("a record");
        let file: File<'_> = serde_json::from_str(&text).expect("a record");
        Sample {
            case: path.file_stem().expect("a name").to_string_lossy().into_owned(),
            topic: file.topic.to_owned(),
            flat: file.connector_config.get().contains("ExtractNewRecordState"),
            key: bytes(file.key_raw, file.key, file.key_bytes),
            value: bytes(file.value_raw, file.value, file.value_bytes),
        }
    });
    let mut samples: Vec<Sample> = samples.collect();
    samples.sort_by(|a, b| a.case.cmp(&b.case));
    samples
}

impl Sample {
    fn record(&self) -> Record<'_> {
        let (key, value) = (self.key.as_deref(), self.value.as_deref());
        Record { topic: &self.topic, partition: 0, offset: 0, key, value }
    }

    fn decoder(&self, columns: &Columns) -> Decoder {
        let mut settings = DecoderSettings::default();
        if self.flat {
            settings.form = Form::Flattened;
            settings.tables.insert(self.topic.clone(), TableName::new("app", "users"));
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

fn quick(decoder: &mut Decoder, record: &Record<'_>) -> Option<String> {
    envelope::quick(&mut decoder.known, record, record.value?).map(|event| format!("{event:?}"))
}

fn thorough(decoder: &mut Decoder, record: &Record<'_>) -> Result<String, Problem> {
    decoder.thorough(record).map(|event| format!("{event:?}"))
}

/// Where the rows of an envelope end; damage behind it is seen by both ways.
fn rows_end(sample: &Sample, decoder: &Decoder) -> Option<usize> {
    let value = sample.value.as_deref()?;
    let payload = decoder.known.values.strip(&sample.topic, value).map_or(value, |(payload, _)| payload);
    let prefix = value.len() - payload.len() - usize::from(payload.len() < value.len());
    Some(prefix + tail::scan(payload)?.0)
}

#[test]
fn both_ways_agree_on_every_record() {
    let mut quickly = 0;
    for sample in samples() {
        for columns in choices() {
            let mut decoder = sample.decoder(&columns);
            let slow = thorough(&mut decoder, &sample.record());
            slow.as_ref().unwrap_or_else(|problem| panic!("{}: {problem}", sample.case));
            if !sample.flat
                && let Some(fast) = quick(&mut decoder, &sample.record())
            {
                quickly += 1;
                assert_eq!(Ok(fast), slow, "{} {columns:?}", sample.case);
            }
        }
    }
    assert!(quickly >= 30 * choices().len(), "the quick way took {quickly} records only");
}

/// The common forms must take the quick way, with schemas from the second record on.
#[test]
fn the_common_forms_are_read_quickly() {
    for sample in samples() {
        let common = ["default-", "schemas-", "types-", "routed-", "message-key", "incremental", "include-query"];
        let rows = sample.value.as_deref().is_some_and(|value| value.windows(7).any(|window| window == b"\"source"));
        if rows && common.iter().any(|start| sample.case.starts_with(start)) && !sample.case.contains("heartbeat") {
            let mut decoder = sample.decoder(&Columns::All);
            thorough(&mut decoder, &sample.record()).expect("an event");
            assert!(quick(&mut decoder, &sample.record()).is_some(), "{}", sample.case);
        }
    }
}

/// The columns of a key are what the rows hold.
#[test]
fn the_key_says_what_the_rows_say() {
    for sample in samples().iter().filter(|sample| sample.case.starts_with("default-") && sample.value.is_some()) {
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

/// What the quick way knows the end of the rows by.
const SOURCE: &[u8] = b",\"source\":";

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    /// Whatever is done to a record: no panic, and where the quick way answers the thorough one answers the same.
    #[test]
    fn damage_is_never_read_in_two_ways(
        sample in proptest::sample::select(samples()),
        columns in proptest::sample::select(choices().to_vec()),
        damages in proptest::collection::vec(damage(), 1..4),
        in_key in proptest::bool::weighted(0.1),
    ) {
        let (mut first, mut second) = (sample.decoder(&columns), sample.decoder(&columns));
        // Both have seen the record whole, so that they know its schema and its names.
        let _ = thorough(&mut first, &sample.record());
        let _ = thorough(&mut second, &sample.record());
        let end = rows_end(&sample, &first);
        let mut damaged = sample.clone();
        let part = if in_key { &mut damaged.key } else { &mut damaged.value };
        for damage in &damages {
            damage.apply(part.get_or_insert_default());
        }
        let fast = if sample.flat { None } else { quick(&mut first, &damaged.record()) };
        let slow = thorough(&mut second, &damaged.record());
        let Some(fast) = fast else { return Ok(()) };
        let rows_untouched = end.is_some_and(|end| {
            let whole = |value: &Option<Vec<u8>>| value.as_deref().and_then(|value| value.get(..end)).map(<[u8]>::to_vec);
            // Right behind the rows is where the quick way must find their end again: what is put there belongs to them.
            let ends_there = damaged.value.as_deref().and_then(|value| value.get(end..));
            let only_there = |rest: &[u8]| {
                rest.starts_with(SOURCE) && memchr::memmem::find_iter(rest, SOURCE).count() == 1
            };
            whole(&damaged.value) == whole(&sample.value) && ends_there.is_some_and(only_there)
        });
        // Where the key is enough, nobody looks at the rows, so damage in them goes unnoticed: that is the bargain.
        if slow.is_ok() || rows_untouched || columns == Columns::All && !fast.starts_with("Nothing") && !fast.starts_with("Tables") {
            prop_assert_eq!(Ok(fast), slow);
        }
    }

    /// Rows of any content, with names and texts that look like an envelope's own parts.
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
        let sample = Sample {
            case: String::new(), topic: "t".into(), flat: false, key: None, value: Some(value.into_bytes()),
        };
        for columns in choices() {
            let mut decoder = sample.decoder(&columns);
            let fast = quick(&mut decoder, &sample.record());
            // A statement's text with more braces than are looked at is left to the thorough way.
            let braces = query.matches('{').count();
            prop_assert!(fast.is_some() || braces > 32, "{}", value_text(&sample));
            if let Some(fast) = fast {
                prop_assert_eq!(Ok(fast), thorough(&mut decoder, &sample.record()));
            }
        }
    }
}

fn value_text(sample: &Sample) -> String {
    String::from_utf8_lossy(sample.value.as_deref().unwrap_or_default()).into_owned()
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
fn what_can_not_be_understood_says_where_and_what_to_do() {
    let sample = Sample { case: String::new(), topic: "dbz.app.users".into(), flat: false, key: None, value: None };
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
        let sample = Sample { value: Some(value), ..sample.clone() };
        let error = sample.decoder(&Columns::All).decode(&sample.record()).expect_err(&text).to_string();
        assert!(error.starts_with("topic `dbz.app.users`, partition 0, offset 0: "), "{error}");
        assert!(error.contains(expected), "{text}: {error}");
    }
}

/// Rows are not quoted in errors: they end in logs.
#[test]
fn errors_hold_no_values() {
    let value =
        br#"{"before":null,"after":{"id":"hunter2"},"source":{"db":"app","table":"users","ts_ms":"hunter2"},"op":"c"}"#;
    let sample = Sample {
        case: String::new(),
        topic: "t".into(),
        flat: false,
        key: Some(b"hunter2".to_vec()),
        value: Some(value.to_vec()),
    };
    let error = sample.decoder(&Columns::All).decode(&sample.record()).expect_err("not a number");
    assert!(!format!("{error} {error:?} {:?}", sample.record()).contains("hunter2"), "{error}");
}

#[test]
fn configured_types_make_values_equal_to_the_logs() {
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
