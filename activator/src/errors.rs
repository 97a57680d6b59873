//! The replies to requests that the activator cannot serve. All error replies are written here.

use std::time::Duration;

use ebb_core::fate::Fate;
use ebb_proxy::{BodyError, Cause, ForwardError, Reply};
use http::StatusCode;
use thiserror::Error;

/// A request that was not served.
#[derive(Debug, Error)]
pub(crate) enum Refused {
    #[error("held queue full: {0} requests wait for this service already")]
    QueueFull(usize),
    #[error("requests keep all the memory that there is for them")]
    MemoryShort,
    #[error("no pod became ready within {}{}", human(*waited), because(trouble))]
    ActivationDeadline { waited: Duration, trouble: String },
    #[error("the service is gone")]
    ServiceGone,
    #[error("{service}, which this route sends a part of its requests to, cannot take them: {trouble}")]
    SplitTarget { service: String, trouble: String },
    #[error("this route sends its requests to nobody")]
    NoTarget,
    #[error("no service asks for the host {0:?}")]
    NoRoute(String),
    #[error("the gateway does not know any hosts yet")]
    NoTable,
    #[error("the request's body broke off")]
    ClientGone,
    #[error("{error}")]
    Forward { fate: Fate, error: ForwardError },
}

impl Refused {
    /// Returns the value of the `ebb-reason` header and of the metric's label.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::QueueFull(_) => "hold-queue-full",
            Self::MemoryShort => "memory-short",
            Self::ActivationDeadline { .. } => "activation-deadline",
            Self::ServiceGone => "service-gone",
            Self::SplitTarget { .. } => "split-target",
            Self::NoTarget => "no-target",
            Self::NoRoute(_) => "no-route",
            Self::NoTable => "no-table",
            Self::ClientGone => "client-gone",
            Self::Forward { fate, error } => match error {
                ForwardError::TimedOut(_) => "request-timeout",
                ForwardError::Send(error) if error.is_the_clients() => "client-gone",
                ForwardError::Send(_) => match fate {
                    Fate::NeverSent | Fate::RefusedByPeer => "pod-unreachable",
                    Fate::MaybeSent | Fate::Answered => "pod-broke-off",
                },
            },
        }
    }

    pub(crate) fn reply(&self) -> Reply {
        let reason = self.reason();
        let text = self.to_string();
        match self {
            Self::NoRoute(_) => Reply::new(StatusCode::NOT_FOUND, reason, text),
            Self::QueueFull(_) | Self::MemoryShort | Self::NoTable => {
                Reply::new(StatusCode::SERVICE_UNAVAILABLE, reason, text).retry_after(1)
            }
            Self::ActivationDeadline { .. } => {
                Reply::new(StatusCode::SERVICE_UNAVAILABLE, reason, text).retry_after(5)
            }
            Self::ServiceGone | Self::SplitTarget { .. } | Self::NoTarget => {
                Reply::new(StatusCode::SERVICE_UNAVAILABLE, reason, text)
            }
            // No client is left to read the reply; only the metric records it.
            Self::ClientGone => Reply::new(StatusCode::BAD_REQUEST, reason, text),
            Self::Forward { error: ForwardError::TimedOut(_), .. } => {
                Reply::new(StatusCode::GATEWAY_TIMEOUT, reason, text)
            }
            Self::Forward { error: ForwardError::Send(error), .. } => match &error.cause {
                Cause::Request(BodyError::Malformed(fault)) => Reply::new(fault.status, reason, text),
                Cause::Request(_) => Reply::new(StatusCode::BAD_REQUEST, reason, text),
                _ => Reply::new(StatusCode::BAD_GATEWAY, reason, text),
            },
        }
    }
}

fn human(duration: Duration) -> String {
    if duration.as_secs() > 0 && duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

fn because(trouble: &str) -> String {
    if trouble.is_empty() { String::new() } else { format!(": {trouble}") }
}
