use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::{Body, Frame};

/// The body of a message on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    stream: SendStream<Bytes>,
    /// What the other side has no room for yet, and whether it is the last.
    waiting: Option<(Bytes, bool)>,
}

/// Why a body was not sent to its end.
#[derive(Debug)]
pub(crate) enum Stopped<E> {
    /// The other side takes no more.
    Refused,
    /// The body itself broke off.
    Body(E),
}

impl Outgoing {
    pub(crate) const fn new(stream: SendStream<Bytes>) -> Self {
        Self { stream, waiting: None }
    }

    /// Whether the other side has no room for what is to be sent next.
    pub(crate) const fn is_blocked(&self) -> bool {
        self.waiting.is_some()
    }

    /// Tells the other side that no more comes, and why.
    pub(crate) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// Sends `body`. Resolves when all of it is on its way, or cannot be.
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
                        // One byte's room is claimed, not that of all the data: a claim that waits keeps the room from
                        // other streams. Once it is there all goes into the stream's own buffer, which is bounded.
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
