//! The error for a record that cannot be decoded, with the record's location.

use std::fmt;

use cachefront_core::{Error, ErrorKind};

use super::problem::Problem;
use super::record::Record;

/// A record that cannot be decoded: where it is, why, and how to fix it. Neither keys nor values of the record appear in
/// it.
///
/// A [`KafkaSource`](crate::KafkaSource) reports it as an [`Error`] of kind [`Gap`](ErrorKind::Gap), with this error as
/// its source:
///
/// ```
/// use std::error::Error as _;
///
/// use cachefront::kafka::decode::DecodeError;
///
/// /// The topic, partition and offset to inspect, if one record is the cause.
/// fn culprit(error: &cachefront::Error) -> Option<String> {
///     let decode: &DecodeError = error.source()?.downcast_ref()?;
///     Some(decode.location().to_string())
/// }
/// # assert_eq!(culprit(&cachefront::Error::new(cachefront::ErrorKind::Gap, "retention")), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {problem}")]
pub struct DecodeError {
    location: RecordLocation,
    problem: Problem,
}

/// Where a record is: topic, partition and offset.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RecordLocation {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
}

impl fmt::Display for RecordLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic `{}`, partition {}, offset {}", self.topic, self.partition, self.offset)
    }
}

impl DecodeError {
    pub(super) fn new(record: &Record<'_>, problem: Problem) -> Self {
        let (topic, partition, offset) = (record.topic.to_owned(), record.partition, record.offset);
        Self { location: RecordLocation { topic, partition, offset }, problem }
    }

    /// The record's location.
    pub fn location(&self) -> &RecordLocation {
        &self.location
    }

    /// Why the record cannot be decoded and how to fix it, without its location.
    pub fn reason(&self) -> impl fmt::Display + '_ {
        &self.problem
    }
}

impl From<DecodeError> for Error {
    /// Any row may have changed in a record that cannot be decoded: a gap. The decode error becomes the source.
    fn from(error: DecodeError) -> Self {
        Self::with_source(ErrorKind::Gap, "a Kafka record cannot be decoded", error)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn the_decode_error_is_the_source_of_the_gap() {
        let record = Record { topic: "shop.app.users", partition: 2, offset: 17, key: None, value: None };
        let error = Error::from(DecodeError::new(&record, Problem::NoKey));
        let source = error.source().and_then(|source| source.downcast_ref::<DecodeError>()).expect("a decode error");
        let location = RecordLocation { topic: "shop.app.users".into(), partition: 2, offset: 17 };
        assert_eq!((error.kind(), source.location()), (ErrorKind::Gap, &location));
        assert!(source.reason().to_string().starts_with("a row was deleted"), "{source}");
    }
}
