use std::{io, time::Duration};

use thiserror::Error;

use crate::http1::Fault;

/// Why a body ended early. The connection is cut (HTTP/1) or the stream reset (HTTP/2), so that nobody
/// takes half an answer for a whole one.
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
    /// It is not what its head says.
    #[error("body cannot be read: {0}")]
    Malformed(#[from] Fault),
    /// The request took longer than its time-out.
    #[error("request exceeded its timeout")]
    RequestTimeout,
    /// Nothing came for longer than the idle time-out.
    #[error("response was idle for {0:?}")]
    IdleTimeout(Duration),
}

impl BodyError {
    /// What the other side of a stream is told, where HTTP/2 has said it.
    pub(crate) fn reason(&self) -> Option<h2::Reason> {
        let Self::Peer(error) = self else { return None };
        // That there was no error is no reason to end early.
        error.reason().filter(|reason| *reason != h2::Reason::NO_ERROR)
    }
}
