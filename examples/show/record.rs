//! A record of a topic in a file: a JSON object with `topic`, `partition`, `offset`, `key` and `value`. The tests read the
//! records of a real connector with it too.
//!
//! `key_raw` and `value_raw` are texts that are not JSON. `key_bytes` and `value_bytes` are the lengths on the topic, or
//! null if there was no key or value: a JSON null is a value of four bytes. `connector_config` are the connector's settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The description in a file. A field that is null differs from one that is absent.
#[derive(Deserialize)]
struct Described<'a> {
    #[serde(default)]
    connector_config: BTreeMap<String, String>,
    topic: String,
    #[serde(default)]
    partition: i32,
    #[serde(default)]
    offset: i64,
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

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A record with the bytes that it had on its topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct SavedRecord {
    /// The settings of the connector that wrote it, by name; empty if the file does not say.
    pub(crate) connector: BTreeMap<String, String>,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
}

impl SavedRecord {
    /// Reads a file's text. Returns `None` if it does not describe a record.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let described: Described<'_> = serde_json::from_str(text).ok()?;
        let has_value = described.value.is_some() || described.value_raw.is_some() || described.value_bytes.is_some();
        (has_value || described.key.is_some()).then(|| Self {
            connector: described.connector_config,
            topic: described.topic,
            partition: described.partition,
            offset: described.offset,
            key: bytes(described.key_raw, described.key, described.key_bytes),
            value: bytes(described.value_raw, described.value, described.value_bytes),
        })
    }

    /// Returns true if the connector flattens rows, so that they have no envelope.
    pub(crate) fn is_flattened(&self) -> bool {
        self.connector.values().any(|value| value.ends_with(".ExtractNewRecordState"))
    }
}

/// The bytes of a key or a value. `None` if there was none.
fn bytes(raw: Option<String>, parsed: Option<&RawValue>, length: Option<&RawValue>) -> Option<Vec<u8>> {
    let text = match (raw, parsed) {
        (Some(raw), _) => raw,
        (None, Some(parsed)) => super::compact::compact(parsed.get()),
        (None, None) if length.is_some_and(|length| length.get() == "4") => "null".to_owned(),
        (None, None) => return None,
    };
    Some(text.into_bytes())
}
