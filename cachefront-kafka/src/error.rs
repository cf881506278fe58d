//! Maps errors of the Kafka client to the library's error kinds.
//!
//! The codes are those of librdkafka's [`rd_kafka_resp_err_t`].
//!
//! [`rd_kafka_resp_err_t`]: https://docs.confluent.io/platform/current/clients/librdkafka/html/rdkafka_8h.html
//!
//! | code | kind | the source |
//! |---|---|---|
//! | offset out of range | `Gap` | flushes, and goes on at the end |
//! | request timed out | `Timeout` | opens a new session |
//! | authentication, authorisation, TLS, invalid setting | `Config` | reports it until it is corrected |
//! | all others | `Unavailable` | opens a new session |

use cachefront_core::{Error, ErrorKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Returns the error kind of a client error code.
pub(crate) fn kind_of(code: RDKafkaErrorCode) -> ErrorKind {
    use RDKafkaErrorCode as Code;
    match code {
        Code::OffsetOutOfRange | Code::AutoOffsetReset => ErrorKind::Gap,
        Code::OperationTimedOut | Code::RequestTimedOut | Code::TimedOutQueue => ErrorKind::Timeout,
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::SSL
        | Code::InvalidTopic
        | Code::InvalidArgument => ErrorKind::Config,
        _ => ErrorKind::Unavailable,
    }
}

/// Wraps a client error; `doing` names the operation that failed.
pub(crate) fn failed(doing: &str, cause: KafkaError) -> Error {
    let kind = match &cause {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) => ErrorKind::Config,
        other => other.rdkafka_error_code().map_or(ErrorKind::Unavailable, kind_of),
    };
    let advice = match kind {
        ErrorKind::Config => {
            ": check the client settings, the user's rights (READ and DESCRIBE on the topics, READ on the group) and the certificates"
        }
        _ => "",
    };
    Error::with_source(kind, format!("{doing} failed{advice}"), cause)
}

/// Returns an error of kind [`ErrorKind::Gap`]: records that must be read are gone, or their meaning is unknown.
pub(crate) fn gap(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Gap, message.into())
}

/// True if the client recovers by itself while it is polled: unreachable brokers, topics whose metadata are not there yet.
pub(crate) fn is_transient(code: RDKafkaErrorCode) -> bool {
    matches!(kind_of(code), ErrorKind::Unavailable | ErrorKind::Timeout)
}
