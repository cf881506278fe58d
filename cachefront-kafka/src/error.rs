//! Maps errors of the Kafka client to the library's error kinds.
//!
//! The codes are those of librdkafka's [`rd_kafka_resp_err_t`].
//!
//! [`rd_kafka_resp_err_t`]: https://docs.confluent.io/platform/current/clients/librdkafka/html/rdkafka_8h.html
//!
//! | code | kind | the source |
//! |---|---|---|
//! | offset out of range, a record that is damaged or cannot be decompressed | `Gap` | flushes, and goes on at the end |
//! | request timed out | `Timeout` | opens a new session |
//! | authentication, authorisation, TLS, invalid setting, a compression that this build lacks | `Config` | reports it until it is corrected |
//! | all others | `Unavailable` | opens a new session |

use cachefront_core::{Error, ErrorKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Returns the error kind of a client error code.
pub(crate) fn kind_of(code: RDKafkaErrorCode) -> ErrorKind {
    use RDKafkaErrorCode as Code;
    match code {
        Code::OffsetOutOfRange
        | Code::AutoOffsetReset
        | Code::LogTruncation
        | Code::BadMessage
        | Code::BadCompression
        | Code::InvalidMessage
        | Code::InvalidMessageSize
        | Code::Underflow => ErrorKind::Gap,
        Code::OperationTimedOut | Code::RequestTimedOut | Code::TimedOutQueue => ErrorKind::Timeout,
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::SSL
        | Code::InvalidTopic
        | Code::InvalidArgument
        | Code::InvalidSessionTimeout
        | Code::InvalidGroupId
        | Code::InconsistentGroupProtocol
        | Code::NotImplemented
        | Code::UnsupportedFeature
        | Code::UnsupportedVersion
        | Code::UnsupportedCompressionType => ErrorKind::Config,
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

/// True if the client recovers by itself while it is polled: unreachable brokers, partitions whose leader changes, topics whose
/// metadata are not there yet, a group that is being balanced. Any other code ends the session.
pub(crate) fn is_transient(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::BrokerDestroy
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::TimedOutQueue
            | Code::PartitionEOF
            | Code::UnknownPartition
            | Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopicId
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::PreferredLeaderNotAvailable
            | Code::ListenerNotFound
            | Code::OffsetNotAvailable
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NetworkException
            | Code::KafkaStorageError
            | Code::FetchSessionIdNotFound
            | Code::InvalidFetchSessionEpoch
            | Code::ThrottlingQuotaExceeded
            | Code::NodeUpdate
            | Code::WaitingForCoordinator
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::RebalanceInProgress
            | Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::MemberIdRequired
            | Code::AssignmentLost
            | Code::PollExceeded
            | Code::WaitCache
            | Code::InProgress
            | Code::Retry
            | Code::RebootstrapRequired
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_client_recovers_from_is_passed_over() {
        use RDKafkaErrorCode as Code;
        for code in [
            Code::AllBrokersDown,
            Code::BrokerTransportFailure,
            Code::UnknownTopicOrPartition,
            Code::NotLeaderForPartition,
            Code::RebalanceInProgress,
            Code::OperationTimedOut,
        ] {
            assert!(is_transient(code), "{code:?}");
        }
        for (code, kind) in [
            (Code::BadMessage, ErrorKind::Gap),
            (Code::BadCompression, ErrorKind::Gap),
            (Code::OffsetOutOfRange, ErrorKind::Gap),
            (Code::NotImplemented, ErrorKind::Config),
            (Code::InvalidSessionTimeout, ErrorKind::Config),
            (Code::TopicAuthorizationFailed, ErrorKind::Config),
            (Code::Fatal, ErrorKind::Unavailable),
            (Code::MessageSizeTooLarge, ErrorKind::Unavailable),
            (Code::Unknown, ErrorKind::Unavailable),
        ] {
            assert!(!is_transient(code) && kind_of(code) == kind, "{code:?}");
        }
    }
}
