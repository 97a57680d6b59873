use std::{
    error::Error,
    io::{self, ErrorKind},
    net::SocketAddr,
};

use ebb_core::fate::Fate;
use thiserror::Error;

use crate::{
    body::BodyError,
    http1::{Broken, Fault},
};

/// A request that got no answer.
#[derive(Debug, Error)]
#[error("{}: {cause}", said(*fate, address))]
pub struct SendError {
    /// What became of it: only this says whether it may be repeated.
    pub fate: Fate,
    /// Where it was to go.
    pub address: SocketAddr,
    /// What failed.
    pub cause: Cause,
    /// Whether it was sent on a connection that had served others before: its server may just have been closing it.
    pub on_used: bool,
}

fn said(fate: Fate, address: &SocketAddr) -> String {
    match fate {
        Fate::NeverSent => format!("not sent to {address}"),
        Fate::RefusedByPeer => format!("refused by {address}"),
        Fate::MaybeSent | Fate::Answered => format!("no answer from {address}"),
    }
}

/// Why a request got no answer.
#[derive(Debug, Error)]
pub enum Cause {
    /// No connection could be made.
    #[error("connect: {0}")]
    Connect(io::Error),
    /// The connection failed or was closed before an answer came.
    #[error("{0}")]
    Broke(io::Error),
    /// What came is no answer.
    #[error("the answer cannot be read: {0}")]
    Unreadable(Fault),
    /// HTTP/2 failed.
    #[error("{}", deepest(.0))]
    Http2(hyper::Error),
    /// The client broke off in the middle of its request's body, or sent what is none.
    #[error("the request's {0}")]
    Request(BodyError),
}

impl Cause {
    /// The same once more, for others who waited for the same connection.
    pub(super) fn told_again(&self) -> Self {
        Self::Connect(match self {
            Self::Connect(error) => io::Error::new(error.kind(), error.to_string()),
            other => io::Error::other(other.to_string()),
        })
    }
}

impl SendError {
    /// Whether it is the client's doing, and says nothing of the peer.
    pub const fn is_the_clients(&self) -> bool {
        matches!(self.cause, Cause::Request(_))
    }

    pub(super) fn of_http1(broken: Broken, address: SocketAddr, written: bool, on_used: bool) -> Self {
        let fate = match &broken {
            // It was executed: that nobody can read what came of it is no reason to do it again.
            Broken::Unreadable(_) => Fate::Answered,
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
            Broken::Request(error) => Cause::Request(error),
        };
        Self { fate, address, cause, on_used }
    }

    pub(super) fn of_http2(error: hyper::Error, address: SocketAddr, on_used: bool) -> Self {
        if error.is_user() {
            // The body is the only thing here that hyper could blame us for, and it is the client's.
            let cause = Cause::Request(BodyError::Peer(error));
            return Self { fate: Fate::MaybeSent, address, cause, on_used };
        }
        Self { fate: fate_of(&error), address, cause: Cause::Http2(error), on_used }
    }
}

/// What a peer has said of a stream: that it refuses it, or that it goes and has not begun with it (RFC 9113, section
/// 8.7).
fn fate_of(error: &hyper::Error) -> Fate {
    let refused = h2_error(error).is_some_and(|error| {
        let reason = error.reason();
        let goes = error.is_go_away() && error.is_remote() && reason == Some(h2::Reason::NO_ERROR);
        goes || (error.is_reset() && error.is_remote() && reason == Some(h2::Reason::REFUSED_STREAM))
    });
    if refused { Fate::RefusedByPeer } else { Fate::MaybeSent }
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref::<h2::Error>() {
            return Some(found);
        }
        source = error.source();
    }
    None
}

/// What lies under it all, in its own words; and where the peer seems not to speak HTTP/2, that.
fn deepest(error: &hyper::Error) -> String {
    let mut deepest: &dyn Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    match h2_error(error) {
        Some(found) if found.is_go_away() && found.is_library() => {
            format!("{deepest}; what it speaks is not HTTP/2")
        }
        _ => deepest.to_string(),
    }
}
