//! What a client sees when the sidecar cannot serve it. One match; nothing else writes an error reply.

use ebb_core::fate::Fate;
use ebb_proxy::{BodyError, Cause, ForwardError, Reply, TimedOut};
use http::StatusCode;
use thiserror::Error;

use crate::breaker::Full;

/// A request that did not get the app's answer.
#[derive(Debug, Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Full(#[from] Full),
    #[error("no slot became free within the request timeout")]
    WaitedTooLong,
    #[error("the request broke off while it waited for a slot")]
    BrokenOff,
    #[error("{error}")]
    Forward { fate: Fate, error: ForwardError },
}

impl Refused {
    /// The word for the header `ebb-reason` and for the metric's label.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Full(_) => "queue-full",
            Self::WaitedTooLong => "queue-timeout",
            Self::BrokenOff => "request-broke-off",
            Self::Forward { fate, error } => match error {
                ForwardError::TimedOut(TimedOut::Request) => "request-timeout",
                ForwardError::TimedOut(TimedOut::ResponseStart) => "response-start-timeout",
                ForwardError::Send(failed) => match (&failed.cause, fate) {
                    (Cause::Request(_), _) => "request-broke-off",
                    (Cause::Unreadable(_), _) => "app-unreadable",
                    (_, Fate::NeverSent | Fate::RefusedByPeer) => "app-refused",
                    (_, Fate::MaybeSent | Fate::Answered) => "app-broke-off",
                },
            },
        }
    }

    /// What became of the request.
    pub(crate) const fn fate(&self) -> Fate {
        match self {
            Self::Full(_) => Fate::NeverSent,
            // Who waited so long, or has gone, is not to be sent anywhere.
            Self::WaitedTooLong
            | Self::BrokenOff
            | Self::Forward { error: ForwardError::TimedOut(_), .. } => Fate::Answered,
            Self::Forward { error: ForwardError::Send(failed), .. } if failed.is_the_clients() => {
                Fate::Answered
            }
            Self::Forward { fate, .. } => *fate,
        }
    }

    pub(crate) fn reply(&self) -> Reply {
        let reason = self.reason();
        match self {
            Self::Full(full) => {
                Reply::new(StatusCode::SERVICE_UNAVAILABLE, reason, full.to_string()).retry_after(1)
            }
            Self::WaitedTooLong | Self::Forward { error: ForwardError::TimedOut(_), .. } => {
                Reply::new(StatusCode::GATEWAY_TIMEOUT, reason, format!("request timeout: {self}"))
            }
            Self::BrokenOff => Reply::new(StatusCode::BAD_REQUEST, reason, self.to_string()),
            Self::Forward { error: ForwardError::Send(failed), .. } => match &failed.cause {
                Cause::Request(BodyError::Malformed(fault)) => {
                    Reply::new(fault.status, reason, self.to_string())
                }
                Cause::Request(_) => Reply::new(StatusCode::BAD_REQUEST, reason, self.to_string()),
                _ => Reply::new(StatusCode::BAD_GATEWAY, reason, self.to_string()),
            },
        }
    }
}
