//! Where to read on after a restart: a place on each partition, kept in the store with the position.

use std::collections::BTreeMap;

use bytes::Bytes;
use cachefront_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

/// The source's own note in a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resume {
    #[serde(rename = "v")]
    version: u8,
    /// The places are the partitions' ends at the beginning of a generation. Commits that the database had not made
    /// visible then may lie before them, so reading starts a little earlier.
    #[serde(rename = "tail", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_end: bool,
    /// Rows came that no transaction counts, so no position after them proves anything.
    #[serde(rename = "u", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) uncounted: bool,
    /// By topic and partition.
    #[serde(rename = "p")]
    pub(crate) places: BTreeMap<String, BTreeMap<i32, Place>>,
}

/// A place on a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The next record to read.
    #[serde(rename = "n")]
    pub(crate) next: i64,
    /// The record before it, by which a topic that was deleted and made again is recognised: its offset and time.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen: Option<(i64, i64)>,
}

impl Resume {
    pub(crate) fn new(is_end: bool) -> Self {
        Self { version: VERSION, is_end, uncounted: false, places: BTreeMap::new() }
    }

    pub(crate) fn set(&mut self, topic: &str, partition: i32, place: Place) {
        match self.places.get_mut(topic) {
            Some(partitions) => {
                partitions.insert(partition, place);
            }
            None => {
                self.places.insert(topic.to_owned(), BTreeMap::from([(partition, place)]));
            }
        }
    }

    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<Place> {
        self.places.get(topic)?.get(&partition).copied()
    }

    /// All places, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, i32, Place)> {
        self.places.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, place)| (topic.as_str(), *partition, *place))
        })
    }

    pub(crate) fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("plain maps and numbers can be written as JSON").into()
    }

    /// # Errors
    /// [`ErrorKind::Gap`] if the note is another source's or unreadable: nothing says then what was read.
    pub(crate) fn decode(note: &[u8]) -> Result<Self> {
        if note.is_empty() {
            return Err(Error::new(
                ErrorKind::Gap,
                "the checkpoint holds no Kafka offsets: another kind of source wrote it",
            ));
        }
        match serde_json::from_slice::<Self>(note) {
            Ok(resume) if resume.version == VERSION => Ok(resume),
            Ok(resume) => Err(Error::new(
                ErrorKind::Gap,
                format!("the checkpoint's Kafka offsets are of version {}, and this is {VERSION}", resume.version),
            )),
            Err(cause) => {
                Err(Error::with_source(ErrorKind::Gap, "the checkpoint's Kafka offsets cannot be read", cause))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_as_it_was() {
        let mut resume = Resume::new(true);
        resume.uncounted = true;
        resume.set("app.users", 1, Place { next: 12, seen: Some((11, 1_700)) });
        resume.set("app.users", 0, Place { next: 0, seen: None });
        assert_eq!(Resume::decode(&resume.encode()).expect("readable"), resume);
    }

    #[test]
    fn a_foreign_note_is_a_gap() {
        for note in ["", "x", "{}", r#"{"v":9,"p":{}}"#, r#"{"v":1,"p":{"t":{"0":{"n":"1"}}}}"#] {
            assert_eq!(Resume::decode(note.as_bytes()).expect_err(note).kind(), ErrorKind::Gap, "{note}");
        }
    }
}
