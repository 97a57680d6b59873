use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::{Body, Frame};

/// The body of an outgoing message.
#[derive(Debug)]
pub(crate) struct Outgoing {
    stream: SendStream<Bytes>,
    /// Data that the other side has no room for yet, and whether it is the last.
    waiting: Option<(Bytes, bool)>,
}

/// Why a body was not sent completely.
#[derive(Debug)]
pub(crate) enum Stopped<E> {
    /// The other side accepts no more.
    Refused,
    /// The body itself ended early.
    Body(E),
}

impl Outgoing {
    pub(crate) const fn new(stream: SendStream<Bytes>) -> Self {
        Self { stream, waiting: None }
    }

    /// Returns whether the other side has no room for the next data.
    pub(crate) const fn is_blocked(&self) -> bool {
        self.waiting.is_some()
    }

    /// Tells the other side that no more data follows, and why.
    pub(crate) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// Sends `body`. Resolves when all of it is sent, or cannot be sent.
    pub(crate) fn poll_send<B: Body<Data = Bytes>>(
        &mut self,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stopped<B::Error>>> {
        loop {
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(Stopped::Refused));
            }
            if self.waiting.is_some() {
                while self.stream.capacity() == 0 {
                    match ready!(self.stream.poll_capacity(cx)) {
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => return Poll::Ready(Err(Stopped::Refused)),
                    }
                }
                if let Some((data, is_last)) = self.waiting.take() {
                    self.send(data, is_last)?;
                    if is_last {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
            let frame = match ready!(body.as_mut().poll_frame(cx)).transpose() {
                Ok(frame) => frame,
                Err(error) => return Poll::Ready(Err(Stopped::Body(error))),
            };
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => {
                    let is_last = body.is_end_stream();
                    if !data.is_empty() {
                        // Reserve one byte instead of the whole data: a pending reservation takes room from other
                        // streams. When there is room, all data goes into the stream's own buffer, which is bounded.
                        self.stream.reserve_capacity(1);
                        self.waiting = Some((data, is_last));
                    } else if is_last {
                        return Poll::Ready(self.send(data, true));
                    }
                }
                Some(Err(frame)) => {
                    let Ok(trailers) = frame.into_trailers() else { continue };
                    self.stream.reserve_capacity(0);
                    return Poll::Ready(self.stream.send_trailers(trailers).map_err(|_| Stopped::Refused));
                }
                None => return Poll::Ready(self.send(Bytes::new(), true)),
            }
        }
    }

    fn send<E>(&mut self, data: Bytes, is_last: bool) -> Result<(), Stopped<E>> {
        self.stream.send_data(data, is_last).map_err(|_| Stopped::Refused)
    }
}
