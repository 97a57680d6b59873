//! Connections to one address, kept open and reused, last in first out.
//!
//! The most important result is what is known when a request fails: [`SendError::fate`].

mod error;
mod idle;
mod shared;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ebb_core::fate::Fate;
use http::{HeaderValue, Request, Response, Uri, Version, header, request, uri};
use tokio::{net::TcpStream, time::Instant};

use crate::{
    body::{AnswerBody, RequestBody},
    http1::{self, Answer, Connection, Exchange},
    http2::{self, Place, Room},
    net::{Liveness, Stream, connect, liveness::PING},
    upgrade,
};
use idle::IdleConnections;
use shared::{Shared, SharedConnections};

pub use error::{Cause, SendError};

/// Limits for the connections to one address.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamLimits {
    /// A connection that is not established within this time has failed.
    pub connect_timeout: Duration,
    /// Maximum number of idle connections; further ones are closed.
    pub max_idle: usize,
    /// Maximum idle time of a connection; less if its server is known to close it sooner.
    pub idle_timeout: Duration,
    /// How soon a server that vanished is detected.
    pub liveness: Liveness,
    /// An HTTP/2 server that is silent for this long gets a PING, and has as long to answer; `None` sends no PING. A
    /// program that is busy with one request may not be able to answer.
    pub ping: Option<Duration>,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            max_idle: 1000,
            // As in nginx. The idle times of servers are learned.
            idle_timeout: Duration::from_secs(60),
            liveness: Liveness::POD,
            ping: Some(PING),
        }
    }
}

/// One address and the connections to it.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    limits: UpstreamLimits,
    idle: IdleConnections,
    shared: SharedConnections,
}

/// What carried a response. It is returned when the response was read.
#[derive(Debug)]
pub(crate) enum Borrowed {
    /// HTTP/1: a connection that is used by nobody else until then.
    Connection { upstream: Arc<Upstream> },
    /// HTTP/2: one of the streams of a connection.
    Stream { _place: Place },
}

impl Borrowed {
    pub(crate) fn give_back(self, connection: Connection) {
        if let Self::Connection { upstream } = self {
            idle::keep(&upstream, connection);
        }
    }
}

/// A response whose head has arrived.
#[derive(Debug)]
pub(crate) enum Answered {
    /// A response with its body.
    Whole(Response<AnswerBody>, Borrowed),
    /// A switch of protocols, with the tunnel that follows.
    Switched(Response<()>, upgrade::End),
}

impl Upstream {
    /// Returns an upstream for `address`. It connects at the first request.
    pub fn new(address: SocketAddr, limits: UpstreamLimits) -> Arc<Self> {
        Arc::new(Self {
            address,
            limits,
            idle: IdleConnections::new(limits.idle_timeout),
            shared: SharedConnections::default(),
        })
    }

    /// Returns the address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of connections that wait for their next request.
    #[cfg(test)]
    pub(crate) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Sends the request of `head` and `body` in its own protocol version, over an existing connection if there is
    /// one.
    ///
    /// # Errors
    ///
    /// Returns [`SendError`], which says what became of the request.
    pub(crate) async fn send(
        self: &Arc<Self>,
        head: &request::Parts,
        body: RequestBody,
    ) -> Result<Answered, SendError> {
        if head.version == Version::HTTP_2 {
            self.send_shared(head, body).await
        } else {
            self.send_exclusive(head, body).await
        }
    }

    async fn send_exclusive(
        self: &Arc<Self>,
        head: &request::Parts,
        body: RequestBody,
    ) -> Result<Answered, SendError> {
        loop {
            let (connection, kept) = match self.idle.take() {
                Some(connection) => (connection, true),
                None => (self.connect_exclusive().await?, false),
            };
            let exchange = Box::new(Exchange::new(connection, head, body.from_the_beginning()));
            match self.exchange(exchange, head).await {
                // Nothing was written, because the connection had ended. Another one may still be open.
                Err(error) if kept && error.fate == Fate::NeverSent && !error.is_the_clients() => {}
                answered => return answered,
            }
        }
    }

    async fn exchange(
        self: &Arc<Self>,
        mut exchange: Box<Exchange>,
        head: &request::Parts,
    ) -> Result<Answered, SendError> {
        let failed = |broken, exchange: &Exchange| {
            SendError::of_http1(broken, self.address, exchange.has_written(), exchange.on_used())
        };
        let mut answer = match exchange.answered().await {
            Ok(answer) => answer,
            Err(broken) => return Err(failed(broken, &exchange)),
        };
        if answer.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Answered::Switched(answer, exchange.switched()));
        }
        match Answer::new(exchange, head, &mut answer) {
            Ok(body) => {
                let borrowed = Borrowed::Connection { upstream: self.clone() };
                Ok(Answered::Whole(answer.map(|()| AnswerBody::Http1(body)), borrowed))
            }
            Err((fault, exchange)) => Err(failed(http1::Broken::Unreadable(fault), &exchange)),
        }
    }

    async fn send_shared(
        self: &Arc<Self>,
        head: &request::Parts,
        body: RequestBody,
    ) -> Result<Answered, SendError> {
        loop {
            let (sender, place, kept) = self
                .shared
                .stream(self.connect_shared())
                .await
                .map_err(|cause| SendError::unconnected(cause, self.address))?;
            if !kept {
                idle::watch(self);
            }
            let interims = http1::interims(head);
            let body = body.from_the_beginning();
            let broken = match http2::client::exchange(sender, http2_request(head), body, interims).await {
                Ok(answer) => {
                    let borrowed = Borrowed::Stream { _place: place };
                    return Ok(Answered::Whole(answer.map(AnswerBody::Http2), borrowed));
                }
                Err(broken) => broken,
            };
            let error = SendError::of_http2(broken, self.address, kept);
            if matches!(error.fate, Fate::NeverSent | Fate::RefusedByPeer) {
                self.shared.forget(&place);
            }
            // The connection was closing. Each such connection is forgotten, so the loop ends.
            if !(kept && error.fate == Fate::NeverSent) {
                return Err(error);
            }
        }
    }

    async fn connect(&self) -> Result<TcpStream, Cause> {
        let Self { address, limits, .. } = self;
        connect(*address, limits.connect_timeout, limits.liveness).await.map_err(Cause::Connect)
    }

    async fn connect_exclusive(&self) -> Result<Connection, SendError> {
        let stream = self.connect().await.map_err(|cause| SendError::unconnected(cause, self.address))?;
        Ok(Connection::new(Stream::Tcp(stream), self.limits.liveness))
    }

    async fn connect_shared(&self) -> Result<Shared, Cause> {
        let stream = self.connect().await?;
        // As with HTTP/1, an upload may wait longer for a slow app than its head. A peer that is gone does not answer
        // a PING.
        self.limits.liveness.may_stall().limit_unacknowledged(&stream).map_err(Cause::Connect)?;
        let room = Room::new();
        // The future has four kilobytes, which every request would have to reserve; few requests open a connection.
        let sender = Box::pin(http2::client::begin(stream, room.clone(), self.limits.ping)).await?;
        Ok(Shared { sender, room })
    }

    /// Closes connections that were idle for too long. Returns whether any idle connection is left.
    fn sweep(&self, now: Instant) -> bool {
        let idle = self.idle.sweep(now);
        self.shared.sweep(now, self.limits.idle_timeout) || idle
    }
}

/// Returns the request for `h2`. In HTTP/2 the host is part of the target; a client may have sent it in `Host` only
/// (RFC 9113, section 8.3.1).
fn http2_request(head: &request::Parts) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.headers_mut() = head.headers.clone();
    *request.uri_mut() = with_authority(head);
    // Only a request that came from HTTP/1 may have no host at all.
    let has_host = request.uri().authority().is_some();
    *request.version_mut() = if has_host { Version::HTTP_2 } else { Version::HTTP_11 };
    request
}

fn with_authority(head: &request::Parts) -> Uri {
    let mut parts = head.uri.clone().into_parts();
    let host = || head.headers.get(header::HOST).map(HeaderValue::as_bytes);
    parts.authority = parts.authority.or_else(|| uri::Authority::try_from(host()?).ok());
    if parts.authority.is_some() {
        parts.scheme = parts.scheme.or(Some(uri::Scheme::HTTP));
        parts.path_and_query = parts.path_and_query.or(Some(uri::PathAndQuery::from_static("/")));
    }
    Uri::from_parts(parts).unwrap_or_else(|_| head.uri.clone())
}
