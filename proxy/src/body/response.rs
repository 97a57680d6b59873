use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

use super::{BodyError, Relay};
use crate::{http1::Spelling, stream::ChannelBody, upgrade};

pin_project! {
    /// The body of a response: one of Ebb's own, or one that is relayed from upstream.
    ///
    /// `G` is a guard that must live until the request has ended, such as a slot or a count. It is dropped with the
    /// last frame, an error, or the body itself, whichever comes first.
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
        Switched { upstream: Option<upgrade::End> },
    }
}

impl<G> ResponseBody<G> {
    /// Returns a body of Ebb's own.
    pub fn own(bytes: impl Into<Bytes>) -> Self {
        Self { source: Source::Own { body: Full::new(bytes.into()) }, guard: None }
    }

    /// Returns a body that is written while it is read.
    pub fn streamed(body: ChannelBody) -> Self {
        Self { source: Source::Streamed { body }, guard: None }
    }

    /// Returns a body from upstream that keeps `guard` until its end.
    pub(crate) fn relayed(body: Relay, guard: G) -> Self {
        if body.is_end_stream() {
            body.finish();
            drop(guard);
            return Self::own(Bytes::new());
        }
        Self { source: Source::Relayed { body }, guard: Some(guard) }
    }

    /// Returns no body: from now on, the client and `upstream` exchange bytes, and `guard` lives until both have
    /// finished.
    pub(crate) const fn switched(upstream: upgrade::End, guard: G) -> Self {
        Self { source: Source::Switched { upstream: Some(upstream) }, guard: Some(guard) }
    }

    /// Returns the upstream end to join the client with, if protocols were switched.
    pub(crate) fn take_tunnel(self: Pin<&mut Self>) -> Option<upgrade::End> {
        match self.project().source.project() {
            SourceProjection::Switched { upstream } => upstream.take(),
            _ => None,
        }
    }

    /// Returns the spelling of the trailers that were read, once. `http_body` has no place for it.
    pub(crate) fn take_spelling(self: Pin<&mut Self>) -> Option<Box<Spelling>> {
        match self.project().source.project() {
            SourceProjection::Relayed { body } => body.take_spelling(),
            _ => None,
        }
    }

    /// Makes progress while the client does not read the response: sends the rest of the request, and checks its
    /// timeout.
    pub(crate) fn poll_meanwhile(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Result<(), BodyError> {
        match self.project().source.project() {
            SourceProjection::Relayed { body } => body.poll_meanwhile(cx),
            _ => Ok(()),
        }
    }

    /// Returns whether the response is Ebb's own and complete.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.source, Source::Own { .. })
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
            // The body is not polled again after the declared length was written.
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
            SourceProjection::Streamed { body } => body.poll_frame(cx),
            SourceProjection::Relayed { body } => body.poll_frame(cx),
            SourceProjection::Switched { .. } => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own { body } => body.is_end_stream(),
            Self::Streamed { body } => body.is_end_stream(),
            Self::Relayed { body } => body.is_end_stream(),
            Self::Switched { .. } => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own { body } => body.size_hint(),
            Self::Streamed { body } => body.size_hint(),
            Self::Relayed { body } => body.size_hint(),
            Self::Switched { .. } => SizeHint::with_exact(0),
        }
    }
}
