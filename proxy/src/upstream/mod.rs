//! Connections to one address, kept alive and used again, last in first out.
//!
//! What matters here is what is known when a request fails: [`SendError::NotSent`] gives the request back,
//! because not one byte of it was written; after [`SendError::Unanswered`] nobody can know.

mod shared;

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Request, Response, Version};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use shared::{Room, Shared, SharedConnections, Stream};

use crate::{
    body::RequestBody,
    forward::{copy_without_body, is_safe},
};

/// How connections to one address are made and kept.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamLimits {
    /// A connection that was not made in this time has failed.
    pub connect_timeout: Duration,
    /// Idle connections kept; further ones are closed.
    pub max_idle: usize,
    /// A connection idle for longer is closed. Below what servers allow (Node.js: 5 s), so that a request
    /// seldom meets a connection that its server is just closing.
    pub idle_timeout: Duration,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(1), max_idle: 1000, idle_timeout: Duration::from_secs(4) }
    }
}

/// A request that got no answer.
#[derive(Debug, Error)]
pub enum SendError {
    /// Not a byte was written: the request may go elsewhere.
    #[error("not sent to {address}: {cause}")]
    NotSent {
        /// The request as it was.
        request: Box<Request<RequestBody>>,
        /// Where it was to go.
        address: SocketAddr,
        /// What failed.
        cause: NotSentCause,
    },
    /// Some of it may have been written: only its sender knows whether it may be repeated.
    #[error("no answer from {address}")]
    Unanswered {
        /// Where it went.
        address: SocketAddr,
        /// What failed.
        #[source]
        source: hyper::Error,
    },
    /// The client broke off in the middle of its request's body, or sent what is none: the upstream is
    /// not to blame.
    #[error("the request's body broke off")]
    RequestBroke {
        /// What was wrong with it.
        #[source]
        source: hyper::Error,
    },
}

/// Why a request could not be sent.
#[derive(Debug, Error)]
pub enum NotSentCause {
    /// No connection could be made.
    #[error("connect: {0}")]
    Connect(#[from] std::io::Error),
    /// No connection was made in time.
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    /// The connection ended before the request was written.
    #[error("connection: {0}")]
    Connection(#[from] hyper::Error),
}

impl NotSentCause {
    /// The same once more, for others who waited for the same connection.
    fn told_again(&self) -> Self {
        match self {
            Self::Connect(error) => Self::Connect(std::io::Error::new(error.kind(), error.to_string())),
            Self::ConnectTimeout(limit) => Self::ConnectTimeout(*limit),
            Self::Connection(error) => Self::Connect(std::io::Error::other(error.to_string())),
        }
    }
}

/// One address and the connections to it.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    limits: UpstreamLimits,
    idle: Mutex<Vec<Idle>>,
    shared: SharedConnections,
    sweeping: AtomicBool,
}

#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<RequestBody>,
    since: Instant,
}

/// The connection that an answer came on, to be given back when the answer was read.
#[derive(Debug)]
pub(crate) enum Lease {
    /// HTTP/1: nobody else may use it until then; dropping it closes the connection.
    Exclusive { upstream: Arc<Upstream>, sender: http1::SendRequest<RequestBody> },
    /// HTTP/2: shared by many streams, of which this is one.
    Shared { _stream: Stream },
}

impl Lease {
    pub(crate) fn give_back(self) {
        if let Self::Exclusive { upstream, sender } = self {
            upstream.keep(sender);
        }
    }
}

impl Upstream {
    /// No connection is made before the first request.
    pub fn new(address: SocketAddr, limits: UpstreamLimits) -> Arc<Self> {
        Arc::new(Self {
            address,
            limits,
            idle: Mutex::new(Vec::new()),
            shared: SharedConnections::default(),
            sweeping: AtomicBool::new(false),
        })
    }

    /// Where it leads.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that wait for their next request.
    #[cfg(test)]
    pub(crate) fn idle(&self) -> usize {
        self.idle.lock().len()
    }

    /// Sends `request` in its own protocol version, over a kept connection if there is one.
    ///
    /// A request whose method is safe to repeat and that has no body is sent a second time, on a new
    /// connection, when a kept one breaks before the answer began: its server was closing it just then.
    ///
    /// # Errors
    ///
    /// [`SendError`] says whether anything was written.
    pub(crate) async fn send(
        self: &Arc<Self>,
        request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        if request.version() == Version::HTTP_2 {
            self.send_shared(request).await
        } else {
            self.send_exclusive(request).await
        }
    }

    async fn send_exclusive(
        self: &Arc<Self>,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        while let Some(mut sender) = self.checkout().await {
            let again = repeatable(&request);
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, self.lease(sender))),
                Err(mut failed) => match (failed.take_message(), again) {
                    (Some(unsent), _) => request = unsent,
                    (None, Some(copy)) => {
                        // Once, and not on another kept connection: what crashes the app would go through
                        // all of them.
                        request = copy;
                        break;
                    }
                    (None, None) => return Err(self.unanswered(failed)),
                },
            }
        }
        let mut sender = match self.connect_exclusive().await {
            Ok(sender) => sender,
            Err(cause) => return Err(self.not_sent(request, cause)),
        };
        match sender.try_send_request(request).await {
            Ok(response) => Ok((response, self.lease(sender))),
            Err(failed) => Err(self.failed(failed)),
        }
    }

    async fn send_shared(
        self: &Arc<Self>,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        loop {
            let (mut sender, stream, kept) = match self.shared.stream(self.connect_shared()).await {
                Ok(stream) => stream,
                Err(cause) => return Err(self.not_sent(request, cause)),
            };
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, Lease::Shared { _stream: stream })),
                Err(mut failed) => match failed.take_message() {
                    // It was closing. Each of these is forgotten, so that the loop ends.
                    Some(unsent) if kept => {
                        self.shared.forget(&stream);
                        request = unsent;
                    }
                    Some(unsent) => return Err(self.not_sent(unsent, failed.into_error().into())),
                    None => return Err(self.unanswered(failed)),
                },
            }
        }
    }

    /// The youngest idle connection that still lives.
    async fn checkout(&self) -> Option<http1::SendRequest<RequestBody>> {
        loop {
            let mut kept = self.idle.lock().pop()?;
            if kept.since.elapsed() > self.limits.idle_timeout || kept.sender.is_closed() {
                continue;
            }
            // The task of the connection has still to notice that the answer before was read. That is a
            // matter of one wake-up; where it is not, the connection is busy with something else.
            if let Ok(Ok(())) = timeout(Duration::from_millis(5), kept.sender.ready()).await {
                return Some(kept.sender);
            }
        }
    }

    fn keep(self: Arc<Self>, sender: http1::SendRequest<RequestBody>) {
        if sender.is_closed() {
            return;
        }
        {
            let mut idle = self.idle.lock();
            if idle.len() >= self.limits.max_idle {
                return;
            }
            idle.push(Idle { sender, since: Instant::now() });
        }
        if !self.sweeping.swap(true, Ordering::Relaxed) {
            tokio::spawn(self.sweep());
        }
    }

    /// Closes what was idle for too long; ends when nothing is idle, so that no timer outlives the traffic.
    async fn sweep(self: Arc<Self>) {
        loop {
            sleep(self.limits.idle_timeout).await;
            let mut idle = self.idle.lock();
            idle.retain(|kept| kept.since.elapsed() < self.limits.idle_timeout && !kept.sender.is_closed());
            if idle.is_empty() {
                self.sweeping.store(false, Ordering::Relaxed);
                return;
            }
        }
    }

    async fn connect(&self) -> Result<TcpStream, NotSentCause> {
        let stream = timeout(self.limits.connect_timeout, TcpStream::connect(self.address))
            .await
            .map_err(|_| NotSentCause::ConnectTimeout(self.limits.connect_timeout))??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn connect_exclusive(&self) -> Result<http1::SendRequest<RequestBody>, NotSentCause> {
        let stream = self.connect().await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Owned by the connection's two ends: it ends when its sender is dropped or its server closes.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "upstream connection ended");
            }
        });
        Ok(sender)
    }

    async fn connect_shared(&self) -> Result<Shared, NotSentCause> {
        let stream = self.connect().await?;
        let (sender, mut connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(crate::server::H2_STREAM_WINDOW)
            .initial_connection_window_size(crate::server::H2_CONNECTION_WINDOW)
            .max_header_list_size(crate::server::MAX_HEADER_BYTES)
            .handshake(TokioIo::new(stream))
            .await?;
        // Until the server tells its limit this is hyper's assumption, 100: the least that RFC 9113 advises.
        let room = Room::new(connection.current_max_send_streams());
        let told = room.clone();
        tokio::spawn(async move {
            let ended = poll_fn(|cx| {
                // Polled for each stream that is opened: often enough to see the limit when it matters.
                let polled = Pin::new(&mut connection).poll(cx);
                told.limit_to(connection.current_max_send_streams());
                polled
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "upstream connection ended");
            }
        });
        Ok(Shared { sender, room })
    }

    fn lease(self: &Arc<Self>, sender: http1::SendRequest<RequestBody>) -> Lease {
        Lease::Exclusive { upstream: self.clone(), sender }
    }

    fn failed(&self, mut failed: TrySendError<Request<RequestBody>>) -> SendError {
        match failed.take_message() {
            Some(request) => self.not_sent(request, failed.into_error().into()),
            None => self.unanswered(failed),
        }
    }

    fn not_sent(&self, request: Request<RequestBody>, cause: NotSentCause) -> SendError {
        SendError::NotSent { request: Box::new(request), address: self.address, cause }
    }

    fn unanswered(&self, failed: TrySendError<Request<RequestBody>>) -> SendError {
        let source = failed.into_error();
        if source.is_user() {
            // The body is the only thing here that hyper could blame us for, and it is the client's.
            return SendError::RequestBroke { source };
        }
        SendError::Unanswered { address: self.address, source }
    }
}

/// A copy of `request`, where sending it twice does no harm and loses nothing.
fn repeatable(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let may = is_safe(request.method()) && !request.headers().contains_key(http::header::UPGRADE);
    if may { copy_without_body(request) } else { None }
}
