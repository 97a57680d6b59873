//! What a client sees when the sidecar cannot serve it. One match; nothing else writes an error reply.

use ebb_core::headers;
use ebb_proxy::{ForwardError, Reply, SendError, TimedOut};
use http::StatusCode;
use thiserror::Error;

use crate::breaker::Full;

/// A request that did not get the app's answer.
#[derive(Debug, Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Full(#[from] Full),
    #[error("waited for its turn until the request time-out")]
    WaitedTooLong,
    #[error("the request broke off while it waited for its turn")]
    BrokenOff,
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

impl Refused {
    /// The word for the header `ebb-reason` and for the metric's label.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Full(_) => headers::REASON_QUEUE_FULL,
            Self::WaitedTooLong => "queue-timeout",
            Self::BrokenOff | Self::Forward(ForwardError::Send(SendError::RequestBroke { .. })) => {
                "request-broke-off"
            }
            Self::Forward(ForwardError::TimedOut(TimedOut::Request)) => "request-timeout",
            Self::Forward(ForwardError::TimedOut(TimedOut::ResponseStart)) => "response-start-timeout",
            Self::Forward(ForwardError::Send(SendError::NotSent { .. })) => headers::REASON_APP_REFUSED,
            Self::Forward(ForwardError::Send(SendError::Unanswered { .. })) => headers::REASON_APP_BROKE_OFF,
        }
    }

    pub(crate) fn reply(&self) -> Reply {
        let reason = self.reason();
        match self {
            Self::Full(full) => {
                Reply::new(StatusCode::SERVICE_UNAVAILABLE, reason, full.to_string()).retry_after(1)
            }
            Self::WaitedTooLong | Self::Forward(ForwardError::TimedOut(_)) => {
                Reply::new(StatusCode::GATEWAY_TIMEOUT, reason, format!("request timeout: {self}"))
            }
            Self::BrokenOff | Self::Forward(ForwardError::Send(SendError::RequestBroke { .. })) => {
                Reply::new(StatusCode::BAD_REQUEST, reason, self.to_string())
            }
            Self::Forward(ForwardError::Send(error)) => {
                Reply::new(StatusCode::BAD_GATEWAY, reason, error.to_string())
            }
        }
    }
}
