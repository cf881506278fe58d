//! What is wrong with a record, and how to fix it. Messages name columns and positions, never values.

use std::fmt;

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
    Ambiguous { column: Box<str> },
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
    /// Keeps only the position of a JSON error: its own text may quote the value.
    pub(super) fn json(part: Part, error: &serde_json::Error) -> Self {
        Self::NotJson { part, line: error.line(), column: error.column(), cut: error.is_eof() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Avro => f.write_str(
                "the value is binary with a schema id (Avro or Protobuf), which is not supported: \
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
                     that no other program writes to this topic"
                )
            }
            Self::NotDebezium(what) => f.write_str(what),
            Self::Field { name, wanted } => {
                write!(f, "`{name}` is not {wanted}: check that only Debezium's MySQL connector writes to this topic")
            }
            Self::Gtid => f.write_str(
                "the transaction's id is not a GTID of MySQL (`uuid:number` or `uuid:tag:number`): \
                 set gtid_mode=ON on the server that the connector reads",
            ),
            Self::Operation => f.write_str(
                "`op` is none of c, u, d, r, t and m: this version of Debezium writes an operation that the decoder \
                 does not know",
            ),
            Self::NoTable => f.write_str(
                "the row does not name its table: name the topic's table with `table_of_topic`, or add \
                 source.db and source.table to the transformation's add.fields and set \
                 delete.tombstone.handling.mode=rewrite, because a delete without a value names nothing",
            ),
            Self::NoKey => f.write_str(
                "a row was deleted and the record has neither a key nor a value that identifies it: use the envelope \
                 form or delete.tombstone.handling.mode=rewrite",
            ),
            Self::Column { column, wanted } => write!(
                f,
                "column `{column}` is not {wanted}: name its type with `column_type`, or set \
                 schemas.enable=true on the converters"
            ),
            Self::Ambiguous { column } => write!(
                f,
                "column `{column}` has a number that is valid base64 too: set decimal.handling.mode=string and leave its type \
                 out, or schemas.enable=true on the converters"
            ),
        }
    }
}
