use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use ebb_core::LateResponse;

use super::BodyError;
use crate::{
    Timeouts,
    http1::{self, Spelling},
    http2,
    upstream::Borrowed,
};

/// The body of a response from upstream, by protocol.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    Http1(http1::Answer),
    Http2(http2::Answer),
}

impl AnswerBody {
    fn take_spelling(&mut self) -> Option<Box<Spelling>> {
        match self {
            Self::Http1(body) => body.take_spelling(),
            Self::Http2(_) => None,
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Http1(body) => Pin::new(body).poll_frame(cx),
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

pin_project! {
    /// An upstream body with its timeouts. It returns its connection when all of the body has been read.
    #[derive(Debug)]
    pub(crate) struct Relay {
        inner: AnswerBody,
        #[pin]
        deadline: Sleep,
        idle: Option<(Duration, Pin<Box<Sleep>>)>,
        borrowed: Option<Borrowed>,
        // Whether it ends as if it were whole when its time is over.
        may_end: bool,
    }
}

impl Relay {
    pub(crate) fn new(inner: AnswerBody, timeouts: &Timeouts, borrowed: Borrowed) -> Self {
        // A body that is shorter than its head says is broken in any case.
        let may_end = timeouts.late == LateResponse::End && inner.size_hint().exact().is_none();
        Self {
            inner,
            deadline: sleep_until(timeouts.deadline),
            idle: timeouts.idle.map(|gap| (gap, Box::pin(sleep_until(Instant::now() + gap)))),
            borrowed: Some(borrowed),
            may_end,
        }
    }

    /// Handles a body that had ended before it was read for the first time.
    pub(super) fn finish(mut self) {
        give_back(&mut self.borrowed, &mut self.inner);
    }

    /// Returns the spelling of the trailers that were read. Returns it once, and `None` for HTTP/2.
    pub(super) fn take_spelling(self: Pin<&mut Self>) -> Option<Box<Spelling>> {
        self.project().inner.take_spelling()
    }

    /// Makes progress while the client does not read the response: sends the rest of the request, and checks its
    /// timeout.
    pub(super) fn poll_meanwhile(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Result<(), BodyError> {
        let this = self.project();
        match this.inner {
            AnswerBody::Http1(body) => body.poll_upload(cx)?,
            AnswerBody::Http2(body) => body.poll_upload(cx)?,
        }
        if this.deadline.poll(cx).is_ready() {
            this.borrowed.take();
            return Err(BodyError::RequestTimeout);
        }
        Ok(())
    }
}

/// Returns the end of a body whose time is over. Its connection is not used again.
fn late(
    may_end: bool,
    borrowed: &mut Option<Borrowed>,
    error: BodyError,
) -> Option<Result<Frame<Bytes>, BodyError>> {
    borrowed.take();
    if may_end { None } else { Some(Err(error)) }
}

/// Returns the connection, once: all of the body has been read.
fn give_back(borrowed: &mut Option<Borrowed>, body: &mut AnswerBody) {
    if let Some(borrowed) = borrowed.take()
        && let AnswerBody::Http1(answer) = body
        && let Some(connection) = answer.take_connection()
    {
        borrowed.give_back(connection);
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
        match Pin::new(&mut *this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some((gap, sleep)) = this.idle {
                    sleep.as_mut().reset(Instant::now() + *gap);
                }
                if this.inner.is_end_stream() {
                    give_back(this.borrowed, this.inner);
                } else if Instant::now() >= this.deadline.deadline() {
                    // If the upstream never pauses, the timer below is never polled.
                    return Poll::Ready(late(*this.may_end, this.borrowed, BodyError::RequestTimeout));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                give_back(this.borrowed, this.inner);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                this.borrowed.take();
                Poll::Ready(Some(Err(error)))
            }
            Poll::Pending => {
                if this.deadline.poll(cx).is_ready() {
                    return Poll::Ready(late(*this.may_end, this.borrowed, BodyError::RequestTimeout));
                }
                if let Some((gap, sleep)) = this.idle
                    && sleep.as_mut().poll(cx).is_ready()
                {
                    let gap = *gap;
                    return Poll::Ready(late(*this.may_end, this.borrowed, BodyError::IdleTimeout(gap)));
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
