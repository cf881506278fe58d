//! Why a record can not be understood, and what mends it.

use std::fmt;

use cachefront_core::{Error, ErrorKind};

/// A record that can not be understood: where it lies, and what to do about it. Values are never named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("topic `{topic}`, partition {partition}, offset {offset}: {problem}")]
pub struct DecodeError {
    topic: String,
    partition: i32,
    offset: i64,
    problem: Problem,
}

impl DecodeError {
    pub(super) fn new(record: &super::Record<'_>, problem: Problem) -> Self {
        Self { topic: record.topic.to_owned(), partition: record.partition, offset: record.offset, problem }
    }

    /// The topic of the record.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Its partition.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Its offset.
    pub fn offset(&self) -> i64 {
        self.offset
    }
}

impl From<DecodeError> for Error {
    /// A record that can not be understood may have changed anything: a gap.
    fn from(error: DecodeError) -> Self {
        Self::new(ErrorKind::Gap, error.to_string())
    }
}

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Avro,
    NotUtf8(Part),
    NotJson { part: Part, line: usize, column: usize, cut: bool },
    NotDebezium(&'static str),
    Field { name: &'static str, wanted: &'static str },
    Gtid,
    Operation,
    NoTable,
    NoKey,
    Column { column: Box<str>, wanted: &'static str },
}

/// The two parts of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "key",
            Self::Value => "value",
        })
    }
}

impl Problem {
    pub(super) fn json(part: Part, error: &serde_json::Error) -> Self {
        // The error's own text may quote the value, so only the place is kept.
        Self::NotJson { part, line: error.line(), column: error.column(), cut: error.is_eof() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Avro => f.write_str(
                "the value is in a binary form with a schema id (Avro or Protobuf), which is not supported: \
                 set value.converter and key.converter to org.apache.kafka.connect.json.JsonConverter",
            ),
            Self::NotUtf8(part) => {
                write!(f, "the {part} is not UTF-8: the connector must use the JSON converter for keys and values")
            }
            Self::NotJson { part, line, column, cut } => {
                let what = if *cut { "breaks off" } else { "is not the JSON that Debezium writes" };
                write!(
                    f,
                    "the {part} {what} at line {line}, column {column}: check key.converter and value.converter, and \
                     that nothing else writes to this topic"
                )
            }
            Self::NotDebezium(what) => f.write_str(what),
            Self::Field { name, wanted } => {
                write!(f, "`{name}` is not {wanted}: does anything but Debezium's MySQL connector write to this topic?")
            }
            Self::Gtid => f.write_str(
                "the transaction's id is not a GTID of MySQL (`uuid:number` or `uuid:tag:number`): \
                 set gtid_mode=ON on the server that the connector reads",
            ),
            Self::Operation => f.write_str(
                "`op` is none of c, u, d, r, t and m: this version of Debezium says something that is not known here",
            ),
            Self::NoTable => f.write_str(
                "the row does not name its table: name the topic's table in the decoder's `tables`, or add \
                 source.db and source.table to the transformation's add.fields",
            ),
            Self::NoKey => f.write_str(
                "a row was deleted and the record has neither a key nor a value to tell which: use the envelope form \
                 or delete.tombstone.handling.mode=rewrite",
            ),
            Self::Column { column, wanted } => write!(
                f,
                "column `{column}` is not {wanted}: name its type in the decoder's `columns`, or set \
                 schemas.enable=true on the converters"
            ),
        }
    }
}
