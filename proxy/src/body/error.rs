use std::{io, time::Duration};

use thiserror::Error;

use crate::http1::Fault;

/// Why a body ended early. The connection is cut (HTTP/1) or the stream reset (HTTP/2), so that no peer mistakes a
/// part of a response for the whole.
#[derive(Debug, Error)]
pub enum BodyError {
    /// The other side failed.
    #[error("body ended early")]
    Peer(#[from] h2::Error),
    /// The connection failed.
    #[error("body ended early: {0}")]
    Io(#[from] io::Error),
    /// The connection ended within the body.
    #[error("body ended early: the connection was closed")]
    BrokeOff,
    /// The body does not match its head.
    #[error("body cannot be read: {0}")]
    Malformed(#[from] Fault),
    /// The request took longer than its timeout.
    #[error("request exceeded its timeout")]
    RequestTimeout,
    /// Nothing arrived for longer than the idle timeout.
    #[error("response was idle for {0:?}")]
    IdleTimeout(Duration),
}

impl BodyError {
    /// Returns the reason to send to the other side of a stream, if HTTP/2 gave one.
    pub(crate) fn reason(&self) -> Option<h2::Reason> {
        let Self::Peer(error) = self else { return None };
        // `NO_ERROR` is not a reason to end early.
        error.reason().filter(|reason| *reason != h2::Reason::NO_ERROR)
    }
}
