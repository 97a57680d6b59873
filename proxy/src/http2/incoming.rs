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

/// The body of an incoming message. The other side may send more when its data has been taken.
#[derive(Debug)]
pub struct Incoming {
    stream: RecvStream,
    /// Its frames, if frames that were not taken are counted.
    frames: Option<OfStream>,
    /// Number of bytes that are still to come, if the head has a length.
    left: Option<u64>,
    /// Whether all data was read, so that only trailers can follow.
    past_data: bool,
}

impl Incoming {
    /// Returns the body after a head with these `fields`. `h2` has checked their length, and enforces it.
    pub(crate) fn new(stream: RecvStream, fields: &HeaderMap) -> Self {
        let declared =
            fields.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self { stream, frames: None, left: declared, past_data: false }
    }

    /// Returns the same body with its `frames` counted until they are taken.
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
