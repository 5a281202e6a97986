//! What a client's error means. The client redacts its messages, so the codes in the chain of sources are read instead.

use std::error::Error;

use messaging::{BrokerError, SendError};
use rocketmq_client_rust::{ClientError, MQBrokerException, MQClientException};
use rocketmq_protocol::code::response_code::ResponseCode;

/// Codes the client makes up itself, above the broker's.
const CLIENT_TOPIC_NOT_FOUND: i32 = 10_005;

/// An error, sorted by what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// Nobody answered, or not in time: the client is no longer good.
    #[error("{0}")]
    Unavailable(String),
    /// The broker answered that it can't right now: the client is good, try again.
    #[error("{0}")]
    Busy(String),
    /// The broker or the name server does not know the topic, which may only mean "not yet".
    #[error("unknown topic: {0}")]
    UnknownTopic(String),
    /// The broker found a message too large.
    #[error("{0}")]
    TooLarge(String),
    /// The broker answered, and said no.
    #[error("{0}")]
    Rejected(String),
}

impl Failure {
    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable(reason.into())
    }

    /// Whether the client it happened to should be replaced.
    pub(crate) fn spoils_the_client(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let reason = explain(&error);
        match response_code(&error) {
            Some(code) => by_code(code, reason),
            None => Self::Unavailable(reason),
        }
    }
}

impl From<Failure> for BrokerError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unavailable(reason) | Failure::Busy(reason) => Self::Unavailable(reason),
            Failure::UnknownTopic(topic) => Self::UnknownTopic(topic),
            Failure::TooLarge(reason) | Failure::Rejected(reason) => Self::Rejected(reason),
        }
    }
}

impl From<Failure> for SendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unavailable(reason) | Failure::Busy(reason) => Self::Unavailable(reason),
            Failure::UnknownTopic(topic) => Self::UnknownTopic(topic),
            Failure::TooLarge(reason) | Failure::Rejected(reason) => Self::Rejected(reason),
        }
    }
}

fn by_code(code: i32, reason: String) -> Failure {
    const BUSY: [ResponseCode; 6] = [
        ResponseCode::SystemError,
        ResponseCode::SystemBusy,
        ResponseCode::FlushDiskTimeout,
        ResponseCode::SlaveNotAvailable,
        ResponseCode::FlushSlaveTimeout,
        ResponseCode::ServiceNotAvailable,
    ];
    if code == ResponseCode::TopicNotExist as i32 || code == CLIENT_TOPIC_NOT_FOUND {
        Failure::UnknownTopic(reason)
    } else if code == ResponseCode::MessageIllegal as i32 {
        Failure::TooLarge(reason)
    } else if BUSY.iter().any(|busy| *busy as i32 == code) {
        Failure::Busy(reason)
    } else if code > 0 {
        Failure::Rejected(reason)
    } else {
        // The client gives a code below 1 to what has none: a refused connection, a time-out, a lost answer.
        Failure::Unavailable(reason)
    }
}

/// The first code in the chain of sources.
fn response_code(error: &ClientError) -> Option<i32> {
    if let Some(code) = error.broker_response_code() {
        return Some(code);
    }
    let mut current: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = current {
        let code = if let Some(client) = error.downcast_ref::<MQClientException>() {
            Some(client.response_code())
        } else if let Some(broker) = error.downcast_ref::<MQBrokerException>() {
            Some(broker.response_code())
        } else {
            error.downcast_ref::<ClientError>().and_then(ClientError::broker_response_code)
        };
        if code.is_some() {
            return code;
        }
        current = error.source();
    }
    None
}

/// Every link of the chain once, in one line, with the broker's code where there is one.
fn explain(error: &ClientError) -> String {
    let mut links: Vec<String> = Vec::new();
    let mut current: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = current {
        let link = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if !link.is_empty() && links.last() != Some(&link) {
            links.push(link);
        }
        current = error.source();
    }
    if let Some(code) = error.broker_response_code() {
        links.push(format!("broker code {code}"));
    }
    links.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: ResponseCode) -> Failure {
        ClientError::broker_operation_failed("SEND", code as i32, "details").into()
    }

    #[test]
    fn the_brokers_code_tells_unknown_topic_oversize_busy_and_refused_apart() {
        assert!(matches!(answered(ResponseCode::TopicNotExist), Failure::UnknownTopic(_)));
        assert!(matches!(answered(ResponseCode::MessageIllegal), Failure::TooLarge(_)));
        assert!(matches!(answered(ResponseCode::SystemBusy), Failure::Busy(_)));
        assert!(matches!(answered(ResponseCode::NoPermission), Failure::Rejected(_)));
    }

    #[test]
    fn a_code_deep_in_the_chain_is_found() {
        let inner = ClientError::from(MQClientException::new_with_code(CLIENT_TOPIC_NOT_FOUND, "No route info"));
        let outer = ClientError::internal("send", inner);

        assert!(matches!(Failure::from(outer), Failure::UnknownTopic(_)));
    }

    #[test]
    fn what_has_no_code_is_unavailable_and_says_why() {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        let failure = Failure::from(ClientError::response_process_source("send", refused));

        assert!(failure.spoils_the_client());
        assert!(failure.to_string().contains("connection refused"), "{failure}");
    }
}
