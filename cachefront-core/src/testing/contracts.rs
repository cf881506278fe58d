//! Checks of the small contracts: a codec, a key map, a visibility gate. Each panics with the law that does not hold.
//!
//! ```
//! use cachefront::codec::Json;
//! use cachefront::event::{Operation, RowChange, RowImage, Value};
//! use cachefront::keymap::TableRules;
//! use cachefront::source::Columns;
//! use cachefront::testing::{check_codec, check_key_map};
//!
//! check_codec(&Json, &["".to_owned(), "Ada".to_owned()]);
//!
//! let mut rules = TableRules::new("users");
//! rules.add("shop.users".into(), Columns::Only(vec!["id".into()]), |row| Ok(vec![row.get::<u64>("id")?]));
//! let row = |id| RowImage::from_pairs([("id", Value::UInt(id))]);
//! let (before, after) = (Some(row(7)), Some(row(8)));
//! check_key_map(&rules, &[RowChange { table: "shop.users".into(), operation: Operation::Update, before, after }]);
//! ```

use std::fmt::Debug;
use std::time::Duration;

use crate::codec::Codec;
use crate::event::{RowChange, TableName};
use crate::gate::VisibilityGate;
use crate::key::StoreKey;
use crate::keymap::KeyMap;
use crate::position::Position;

/// Timeout of a wait at a gate that must not open.
const SHUT: Duration = Duration::from_millis(50);

/// Checks a codec on sample values: its id is not 0, it appends, it decodes what it has encoded, and bytes that are cut off do
/// not make it panic.
///
/// # Panics
/// If a law does not hold, naming it.
pub fn check_codec<V: PartialEq + Debug>(codec: &impl Codec<V>, samples: &[V]) {
    assert_ne!(codec.id(), 0, "the id of a codec is 1 to 255");
    for value in samples {
        let mut bytes = b"before".to_vec();
        codec.encode(value, &mut bytes).unwrap_or_else(|error| panic!("{value:?} cannot be encoded: {error}"));
        let Some(encoded) = bytes.strip_prefix(b"before") else { panic!("`encode` must append to what is there") };
        match codec.decode(encoded) {
            Ok(decoded) => assert_eq!(&decoded, value, "what was encoded is decoded"),
            Err(error) => panic!("{value:?} cannot be decoded: {error}"),
        }
        for end in 0..encoded.len() {
            // An error, or another value: both are allowed.
            let _ = codec.decode(encoded.get(..end).unwrap_or_default());
        }
    }
}

/// Checks a key map on sample changes: keys are of its cache, both images count, tables that it does not name have no keys, a
/// row's value is that of one of its keys, and the map's id does not change.
///
/// # Panics
/// If a law does not hold, naming it.
pub fn check_key_map(map: &dyn KeyMap, changes: &[RowChange]) {
    assert_eq!(map.mapping(), map.mapping(), "the id of a mapping stays the same");
    let keys_of = |change: &RowChange| {
        let mut keys = Vec::new();
        map.keys(change, &mut keys).unwrap_or_else(|error| panic!("{change:?} cannot be mapped: {}", error.chain()));
        keys
    };
    for change in changes {
        let keys = keys_of(change);
        for key in &keys {
            assert_eq!(StoreKey::cache_of(key.as_str()), map.cache(), "{key} is of another cache");
        }
        let images = [(change.before.clone(), None), (None, change.after.clone())];
        for (before, after) in images.into_iter().filter(|(before, after)| before.is_some() || after.is_some()) {
            let one = RowChange { before, after, ..change.clone() };
            for key in keys_of(&one) {
                assert!(keys.contains(&key), "{key} of one image is missing: both images count");
            }
        }
        if !keys.is_empty() {
            assert!(map.depends_on(&change.table), "it has keys of `{}` and does not depend on it", change.table);
            assert!(map.table_filter().get(&change.table).is_some(), "`{}` is not in its filter", change.table);
        }
        if let Ok(Some(value)) = map.row_value(change) {
            assert!(keys.contains(&value.key), "{} has a value and is no key of the change", value.key);
        }
        let elsewhere = RowChange { table: TableName::new("no-such-database", "no-such-table"), ..change.clone() };
        assert!(keys_of(&elsewhere).is_empty(), "a table that it does not name has keys");
    }
}

/// Checks a visibility gate: it opens for a position that is visible and for an empty one, and stays shut for one that is not
/// visible, until its timeout.
///
/// # Panics
/// If a law does not hold, naming it.
///
/// # Cancel safety
/// Cancel safe: it only waits.
pub async fn check_gate(gate: &dyn VisibilityGate, visible: &Position, hidden: &Position) {
    let open = async |position: &Position, timeout| match gate.wait(position, timeout).await {
        Ok(open) => open,
        Err(error) => panic!("the gate failed for {position}: {}", error.chain()),
    };
    assert!(open(visible, Duration::from_secs(10)).await, "what is visible passes");
    assert!(open(&Position::new(), Duration::from_secs(10)).await, "nothing to wait for passes");
    assert!(!open(hidden, SHUT).await, "what is not visible does not pass");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Json, Raw};
    use crate::error::BoxError;
    use crate::testing::ScriptedSource;

    /// A codec that replaces what is there.
    struct Replaces;

    impl Codec<u64> for Replaces {
        fn id(&self) -> u8 {
            64
        }

        fn encode(&self, value: &u64, out: &mut Vec<u8>) -> Result<(), BoxError> {
            *out = value.to_be_bytes().to_vec();
            Ok(())
        }

        fn decode(&self, bytes: &[u8]) -> Result<u64, BoxError> {
            Ok(u64::from_be_bytes(bytes.try_into()?))
        }
    }

    #[test]
    fn the_crates_codecs_keep_their_contract() {
        check_codec(&Json, &[Some(vec!["ä".to_owned()]), None]);
        check_codec(&Raw, &[bytes::Bytes::from_static(b"\0\xff"), bytes::Bytes::new()]);
    }

    #[test]
    #[should_panic(expected = "`encode` must append")]
    fn a_codec_that_replaces_is_noticed() {
        check_codec(&Replaces, &[7]);
    }

    #[tokio::test]
    async fn a_scripted_gate_keeps_its_contract() {
        use crate::source::ChangeSource;
        let mut source = ScriptedSource::new("db");
        source.open(&crate::source::Checkpoint::default(), &crate::source::TableFilter::new()).await.expect("open");
        source.commit([]);
        let visible = source.executed();
        source.hide();
        source.commit([]);
        let gate = source.gate().expect("a gate");
        check_gate(&*gate, &visible, &source.executed()).await;
    }
}
