use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{stream::ChannelBody, upstream::Lease};

/// Why a body ended early. The connection is cut (HTTP/1) or the stream reset (HTTP/2), so that nobody
/// takes half an answer for a whole one.
#[derive(Debug, Error)]
pub enum BodyError {
    /// The other side failed.
    #[error("body ended early")]
    Peer(#[from] hyper::Error),
    /// The request took longer than its time-out.
    #[error("request exceeded its time-out")]
    RequestTimeout,
    /// Nothing came for longer than the idle time-out.
    #[error("response was idle for {0:?}")]
    IdleTimeout(Duration),
}

/// A request's body on its way up: what was read while the request waited, then the rest.
#[derive(Debug, Default)]
pub struct RequestBody {
    early: VecDeque<Frame<Bytes>>,
    early_bytes: u64,
    rest: Option<Incoming>,
    failed: Option<hyper::Error>,
}

impl RequestBody {
    /// No body at all.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads one frame ahead. Resolves when it was read, and never again once the body has ended, failed,
    /// or `limit` bytes are kept. Cancel-safe: a frame is either kept or still to come.
    ///
    /// While a request is held this is what lets hyper see that its client has gone: hyper reads from a
    /// connection only while somebody asks for the body.
    pub async fn read_ahead(&mut self, limit: u64) {
        if self.early_bytes < limit
            && let Some(rest) = &mut self.rest
        {
            match std::future::poll_fn(|cx| Pin::new(&mut *rest).poll_frame(cx)).await {
                Some(Ok(frame)) => {
                    self.early_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                    self.early.push_back(frame);
                }
                Some(Err(error)) => {
                    self.failed = Some(error);
                    self.rest = None;
                }
                None => self.rest = None,
            }
            return;
        }
        std::future::pending::<()>().await;
    }

    /// Whether reading ahead found that the body breaks off: whoever sent it has gone.
    pub const fn has_failed(&self) -> bool {
        self.failed.is_some()
    }
}

/// No body.
impl From<()> for RequestBody {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

/// A body of our own.
impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        let early_bytes = bytes.len() as u64;
        let early = (!bytes.is_empty()).then(|| Frame::data(bytes)).into_iter().collect();
        Self { early, early_bytes, ..Self::default() }
    }
}

impl From<Incoming> for RequestBody {
    fn from(body: Incoming) -> Self {
        let rest = if body.is_end_stream() { None } else { Some(body) };
        Self { rest, ..Self::default() }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(frame) = self.early.pop_front() {
            self.early_bytes -= frame.data_ref().map_or(0, |data| data.len() as u64);
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.early.is_empty() && self.failed.is_none() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        // A body that failed half-way has no size that could be promised.
        if self.failed.is_some() {
            return SizeHint::default();
        }
        let rest = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(self.early_bytes));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(self.early_bytes));
        }
        hint
    }
}

pin_project! {
    /// A response's body: one that we wrote ourselves, or one that is relayed from upstream.
    ///
    /// `G` is whatever must live until the request has ended: a slot, a count. It is dropped with the last
    /// frame, an error, or the body itself, whichever comes first.
    #[derive(Debug)]
    pub struct ResponseBody<G> {
        #[pin]
        source: Source,
        guard: Option<G>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = SourceProjection]
    enum Source {
        Own { #[pin] body: Full<Bytes> },
        Streamed { #[pin] body: ChannelBody },
        Relayed { #[pin] body: Relay },
    }
}

impl<G> ResponseBody<G> {
    /// A body of our own.
    pub fn own(bytes: impl Into<Bytes>) -> Self {
        Self { source: Source::Own { body: Full::new(bytes.into()) }, guard: None }
    }

    /// A body that is written while it is read.
    pub fn streamed(body: ChannelBody) -> Self {
        Self { source: Source::Streamed { body }, guard: None }
    }

    /// A body from upstream that keeps `guard` until its end.
    pub(crate) fn relayed(body: Relay, guard: G) -> Self {
        if body.is_end_stream() {
            body.finish();
            drop(guard);
            return Self::own(Bytes::new());
        }
        Self { source: Source::Relayed { body }, guard: Some(guard) }
    }
}

impl<G> Body for ResponseBody<G> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut this = self.project();
        let polled = this.source.as_mut().poll_frame(cx);
        let ended = match &polled {
            // hyper does not ask again once it has written the declared length.
            Poll::Ready(Some(Ok(_))) => this.source.is_end_stream(),
            Poll::Ready(None | Some(Err(_))) => true,
            Poll::Pending => false,
        };
        if ended {
            this.guard.take();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.project() {
            SourceProjection::Own { body } => {
                body.poll_frame(cx).map(|frame| frame.map(|data| data.map_err(|never| match never {})))
            }
            SourceProjection::Streamed { body } => {
                body.poll_frame(cx).map(|frame| frame.map(|data| data.map_err(|never| match never {})))
            }
            SourceProjection::Relayed { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own { body } => body.is_end_stream(),
            Self::Streamed { body } => body.is_end_stream(),
            Self::Relayed { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own { body } => body.size_hint(),
            Self::Streamed { body } => body.size_hint(),
            Self::Relayed { body } => body.size_hint(),
        }
    }
}

pin_project! {
    /// An upstream body under its time-outs, which gives its connection back when all of it was read.
    #[derive(Debug)]
    pub(crate) struct Relay {
        #[pin]
        inner: Incoming,
        #[pin]
        deadline: Sleep,
        idle: Option<(Duration, Pin<Box<Sleep>>)>,
        lease: Option<Lease>,
    }
}

impl Relay {
    pub(crate) fn new(inner: Incoming, deadline: Instant, idle: Option<Duration>, lease: Lease) -> Self {
        Self {
            inner,
            deadline: sleep_until(deadline),
            idle: idle.map(|gap| (gap, Box::pin(sleep_until(Instant::now() + gap)))),
            lease: Some(lease),
        }
    }

    /// The body had ended before anybody asked for it.
    fn finish(mut self) {
        give_back(&mut self.lease);
    }
}

/// Gives the connection back, once: all of the body was read.
fn give_back(lease: &mut Option<Lease>) {
    if let Some(lease) = lease.take() {
        lease.give_back();
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.project();
        let mut inner = this.inner;
        match inner.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let now = Instant::now();
                if let Some((gap, sleep)) = this.idle {
                    sleep.as_mut().reset(now + *gap);
                }
                if inner.is_end_stream() {
                    give_back(this.lease);
                } else if now >= this.deadline.deadline() {
                    // An upstream that never pauses never lets the timer be looked at.
                    return Poll::Ready(Some(Err(BodyError::RequestTimeout)));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                give_back(this.lease);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                this.lease.take();
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Pending => {
                if this.deadline.poll(cx).is_ready() {
                    return Poll::Ready(Some(Err(BodyError::RequestTimeout)));
                }
                if let Some((gap, sleep)) = this.idle
                    && sleep.as_mut().poll(cx).is_ready()
                {
                    return Poll::Ready(Some(Err(BodyError::IdleTimeout(*gap))));
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests;
