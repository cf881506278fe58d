//! Where to resume after a restart: an offset for each partition, stored with the position.
//!
//! # Form
//! JSON with short names, since it is written with each commit:
//!
//! ```text
//! {"v":1,"p":{"shop.app.users":{"0":{"n":812,"s":[811,1764417229000]}},"shop.transaction":{"0":{"n":97}}}}
//! ```
//!
//! `n` is the next offset. `s` has offset and timestamp (ms) of the last record that was read: a topic that
//! was deleted and created again has another record there, or none. It is the one before `n`, or after it if the records of an
//! incomplete transaction are to be read again. `tail` and `u` are written only if they are true.

use std::collections::BTreeMap;

use bytes::Bytes;
use cachefront_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// Raised when an older release could not read the form.
const VERSION: u8 = 1;

/// The source's own data in a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resume {
    #[serde(rename = "v")]
    version: u8,
    /// The offsets are the partitions' ends when a generation began. Commits that were not visible on the database at
    /// that time may precede them, so reading starts a little earlier.
    #[serde(rename = "tail", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_end: bool,
    /// Rows were read that no transaction counts, so no position after them proves anything.
    #[serde(rename = "u", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) uncounted: bool,
    /// By topic and partition.
    #[serde(rename = "p")]
    points: BTreeMap<String, BTreeMap<i32, ResumePoint>>,
}

/// Where to resume on one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResumePoint {
    /// The offset of the next record.
    #[serde(rename = "n")]
    pub(crate) next: i64,
    /// Offset and time of the last record that was read, by which a topic that was deleted and created again is recognised.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen: Option<(i64, i64)>,
}

impl Resume {
    /// A value without partitions.
    pub(crate) fn new(is_end: bool) -> Self {
        Self { version: VERSION, is_end, uncounted: false, points: BTreeMap::new() }
    }

    /// Replaces the point of a partition.
    pub(crate) fn set(&mut self, topic: &str, partition: i32, point: ResumePoint) {
        match self.points.get_mut(topic) {
            Some(partitions) => {
                partitions.insert(partition, point);
            }
            None => {
                self.points.insert(topic.to_owned(), BTreeMap::from([(partition, point)]));
            }
        }
    }

    /// The point of a partition; `None` if it was not read.
    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<ResumePoint> {
        self.points.get(topic)?.get(&partition).copied()
    }

    /// Returns all points, by topic and partition.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, i32, ResumePoint)> {
        self.points.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, point)| (topic.as_str(), *partition, *point))
        })
    }

    /// The form above.
    pub(crate) fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("maps of strings and numbers are always serializable").into()
    }

    /// # Errors
    /// [`ErrorKind::Gap`] if another kind of source wrote the data, or they are unreadable: it is then unknown what was
    /// read.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Err(Error::new(
                ErrorKind::Gap,
                "the checkpoint holds no Kafka offsets: another kind of source wrote it",
            ));
        }
        match serde_json::from_slice::<Self>(bytes) {
            Ok(resume) if resume.version == VERSION => Ok(resume),
            Ok(resume) => Err(Error::new(
                ErrorKind::Gap,
                format!(
                    "the checkpoint's Kafka offsets are of version {}; this release reads version {VERSION}",
                    resume.version
                ),
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
    fn resume_data_survive_a_round_trip() {
        let mut resume = Resume::new(true);
        resume.uncounted = true;
        resume.set("app.users", 1, ResumePoint { next: 12, seen: Some((11, 1_700)) });
        resume.set("app.users", 0, ResumePoint { next: 0, seen: None });
        assert_eq!(Resume::decode(&resume.encode()).expect("readable"), resume);
    }

    #[test]
    fn resume_data_of_another_source_are_a_gap() {
        for note in ["", "x", "{}", r#"{"v":9,"p":{}}"#, r#"{"v":1,"p":{"t":{"0":{"n":"1"}}}}"#] {
            assert_eq!(Resume::decode(note.as_bytes()).expect_err(note).kind(), ErrorKind::Gap, "{note}");
        }
    }
}
