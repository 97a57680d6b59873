use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
};

use ebb_core::fate::Fate;
use thiserror::Error;

use crate::{
    body::BodyError,
    http1::{Broken, Fault},
    http2,
};

/// Why a request got no response.
#[derive(Debug, Error)]
#[error("{}: {cause}", said(*fate, address))]
pub struct SendError {
    /// What became of the request. Only this says whether it may be repeated.
    pub fate: Fate,
    /// The address it was sent to.
    pub address: SocketAddr,
    /// What failed.
    pub cause: Cause,
    /// Whether the connection had served requests before, so that its server may just have been closing it.
    pub on_used: bool,
}

fn said(fate: Fate, address: &SocketAddr) -> String {
    match fate {
        Fate::NeverSent => format!("not sent to {address}"),
        Fate::RefusedByPeer => format!("refused by {address}"),
        Fate::MaybeSent | Fate::Answered => format!("no answer from {address}"),
    }
}

/// The cause of the failure.
#[derive(Debug, Error)]
pub enum Cause {
    /// There was no connection.
    #[error("connect: {0}")]
    Connect(io::Error),
    /// The connection failed or was closed before the response.
    #[error("{0}")]
    Broke(io::Error),
    /// What arrived is not a valid response.
    #[error("the answer cannot be read: {0}")]
    Unreadable(Fault),
    /// The request came over HTTP/1, and the peer speaks only HTTP/2: it has not read the request.
    #[error("the answer cannot be read: it is HTTP/2")]
    SpeaksHttp2,
    /// HTTP/2 failed.
    #[error("{0}")]
    Http2(h2::Error),
    /// The client disconnected within its request's body, or sent an invalid body.
    #[error("the request's {0}")]
    Request(BodyError),
}

impl Cause {
    /// Returns the same error for other requests that waited for the same connection.
    pub(super) fn told_again(&self) -> Self {
        match self {
            Self::Connect(error) => Self::Connect(io::Error::new(error.kind(), error.to_string())),
            Self::Unreadable(fault) => Self::Unreadable(fault.clone()),
            other => Self::Broke(io::Error::other(other.to_string())),
        }
    }
}

impl SendError {
    /// Returns whether the client caused the error, so that it says nothing about the peer.
    pub const fn is_the_clients(&self) -> bool {
        matches!(self.cause, Cause::Request(_))
    }

    pub(super) fn of_http1(broken: Broken, address: SocketAddr, written: bool, on_used: bool) -> Self {
        let fate = match &broken {
            // The request was executed: an unreadable response is no reason to execute it again.
            Broken::Unreadable(_) => Fate::Answered,
            Broken::SpeaksHttp2 => Fate::RefusedByPeer,
            _ if written => Fate::MaybeSent,
            _ => Fate::NeverSent,
        };
        let cause = match broken {
            Broken::Io(error) => Cause::Broke(error),
            Broken::Closed => Cause::Broke(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the connection was closed before an answer came",
            )),
            Broken::Unreadable(fault) => Cause::Unreadable(fault),
            Broken::SpeaksHttp2 => Cause::SpeaksHttp2,
            Broken::Request(error) => Cause::Request(error),
        };
        Self { fate, address, cause, on_used }
    }

    pub(super) fn of_http2(broken: http2::client::Broken, address: SocketAddr, on_used: bool) -> Self {
        let (fate, cause) = match broken {
            http2::client::Broken::Unsent(error) => (Fate::NeverSent, Cause::Http2(error)),
            http2::client::Broken::Failed(error) => (fate_of(&error), error.into()),
            http2::client::Broken::Request(error) => (Fate::MaybeSent, Cause::Request(error)),
        };
        Self { fate, address, cause, on_used }
    }

    /// Returns the error for a missing connection. A server that accepted a connection and closed it, or sent
    /// something unreadable, exists but does not speak HTTP/2. Other servers would do the same, and it does not count
    /// as gone.
    pub(super) const fn unconnected(cause: Cause, address: SocketAddr) -> Self {
        let fate = match cause {
            Cause::Connect(_) => Fate::NeverSent,
            Cause::Unreadable(_) => Fate::Answered,
            _ => Fate::MaybeSent,
        };
        Self { fate, address, cause, on_used: false }
    }
}

/// Returns what a peer said about a stream: that it refuses it, or that it shuts down and has not started it (RFC
/// 9113, section 8.7). A peer whose response is unreadable has executed the request, which is no reason to execute it
/// again.
fn fate_of(error: &h2::Error) -> Fate {
    if error.is_library() {
        return Fate::Answered;
    }
    let reason = error.reason();
    let goes = error.is_go_away() && reason == Some(h2::Reason::NO_ERROR);
    let refuses = error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM);
    if error.is_remote() && (goes || refuses) { Fate::RefusedByPeer } else { Fate::MaybeSent }
}

/// Errors that `h2` itself finds are about what the peer sent.
impl From<h2::Error> for Cause {
    fn from(error: h2::Error) -> Self {
        if !error.is_library() {
            return Self::Http2(error);
        }
        let of_all =
            if error.is_go_away() { "; the app does not speak HTTP/2, or not correctly" } else { "" };
        Self::Unreadable(Fault::malformed(format!("{error}{of_all}")))
    }
}
