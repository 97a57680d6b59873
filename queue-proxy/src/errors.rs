//! The replies to requests that the sidecar cannot serve. No other code writes error replies.

use ebb_core::fate::Fate;
use ebb_proxy::{BodyError, Cause, ForwardError, Reply, TimedOut};
use http::StatusCode;
use thiserror::Error;

use crate::breaker::Full;

/// Why a request did not get a response from the app.
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
    /// Returns the value of the header `ebb-reason` and of the metric's label.
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
                    (Cause::Unreadable(_) | Cause::SpeaksHttp2, _) => "app-unreadable",
                    (_, Fate::NeverSent | Fate::RefusedByPeer) => "app-refused",
                    (_, Fate::MaybeSent | Fate::Answered) => "app-broke-off",
                },
            },
        }
    }

    /// Returns what became of the request.
    pub(crate) const fn fate(&self) -> Fate {
        match self {
            Self::Full(_) => Fate::NeverSent,
            // A request that waited this long, or whose client disconnected, must not be sent anywhere else.
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
