//! From Kafka's errors to the library's: what a caller should do about each.

use cachefront_core::{Error, ErrorKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// The kind of an error, by its code.
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

/// Wraps an error of the client, saying what was being done.
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

/// Records that were to be read are gone, or cannot be understood.
pub(crate) fn gap(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Gap, message.into())
}

/// True if the client mends this by itself while it is polled: brokers away, topics whose metadata lag.
pub(crate) fn passes(code: RDKafkaErrorCode) -> bool {
    matches!(kind_of(code), ErrorKind::Unavailable | ErrorKind::Timeout)
}
