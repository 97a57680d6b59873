//! What a client sees when the activator cannot serve it. One match; nothing else writes an error reply.

use std::time::Duration;

use ebb_proxy::{ForwardError, Reply, SendError};
use http::StatusCode;
use thiserror::Error;

/// A request that was not served.
#[derive(Debug, Error)]
pub(crate) enum Refused {
    #[error("held queue full: {0} requests wait for this service already")]
    QueueFull(usize),
    #[error("no pod became ready within {}{}", human(*waited), because(trouble))]
    ActivationDeadline { waited: Duration, trouble: String },
    #[error("the service is gone")]
    ServiceGone,
    #[error("the request's body broke off")]
    ClientGone,
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

impl Refused {
    /// The word for the header `ebb-reason` and for the metric's label.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::QueueFull(_) => "hold-queue-full",
            Self::ActivationDeadline { .. } => "activation-deadline",
            Self::ServiceGone => "service-gone",
            Self::ClientGone | Self::Forward(ForwardError::Send(SendError::RequestBroke { .. })) => {
                "client-gone"
            }
            Self::Forward(ForwardError::TimedOut(_)) => "request-timeout",
            Self::Forward(ForwardError::Send(SendError::NotSent { .. })) => "pod-unreachable",
            Self::Forward(ForwardError::Send(SendError::Unanswered { .. })) => "pod-broke-off",
        }
    }

    pub(crate) fn reply(&self) -> Reply {
        let reason = self.reason();
        let text = self.to_string();
        match self {
            Self::QueueFull(_) => Reply::new(StatusCode::SERVICE_UNAVAILABLE, reason, text).retry_after(1),
            Self::ActivationDeadline { .. } => {
                Reply::new(StatusCode::SERVICE_UNAVAILABLE, reason, text).retry_after(5)
            }
            Self::ServiceGone => Reply::new(StatusCode::SERVICE_UNAVAILABLE, reason, text),
            // Nobody is there to read it; the count under its reason is what remains.
            Self::ClientGone | Self::Forward(ForwardError::Send(SendError::RequestBroke { .. })) => {
                Reply::new(StatusCode::BAD_REQUEST, reason, text)
            }
            Self::Forward(ForwardError::TimedOut(_)) => Reply::new(StatusCode::GATEWAY_TIMEOUT, reason, text),
            Self::Forward(ForwardError::Send(_)) => Reply::new(StatusCode::BAD_GATEWAY, reason, text),
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
