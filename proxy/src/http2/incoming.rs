use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};

use super::untaken::OfStream;
use crate::body::BodyError;

/// The body of a message as it comes in. The other side may send on as soon as somebody has taken what it sent.
#[derive(Debug)]
pub struct Incoming {
    stream: RecvStream,
    /// Its frames, where those are counted that nobody has taken.
    frames: Option<OfStream>,
    /// Bytes that are still to come, where the head has told.
    left: Option<u64>,
    /// Whether all data was read, and only trailers may follow.
    past_data: bool,
}

impl Incoming {
    /// What follows a head with these `fields`. `h2` has looked at what they say of its length, and holds the other side
    /// to it.
    pub(crate) fn new(stream: RecvStream, fields: &HeaderMap) -> Self {
        let declared =
            fields.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self { stream, frames: None, left: declared, past_data: false }
    }

    /// The same, whose `frames` are counted until they are taken.
    pub(super) fn counting(self, frames: Option<OfStream>) -> Self {
        Self { frames, ..self }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if !this.past_data {
            match ready!(this.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    if let Some(frames) = &this.frames {
                        frames.taken();
                    }
                    let taken = this.stream.flow_control().release_capacity(data.len());
                    this.left = this.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(taken.map(|()| Frame::data(data)).map_err(Into::into)));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => this.past_data = true,
            }
        }
        let trailers = ready!(this.stream.poll_trailers(cx)).map_err(BodyError::from);
        Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
