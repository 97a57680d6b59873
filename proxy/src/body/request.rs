//! The body of a request on its way upstream. Some of what was read is kept, so that a request that was not served
//! can be sent again.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::BodyError;
use crate::{
    http1::{IncomingBody, Length, Spelling},
    http2::{Incoming, STREAM_WINDOW},
};

/// Number of bytes of a body that are kept for sending it again, and that are read ahead while its request waits. It
/// is enough for most forms and calls; longer bodies are sent once.
pub const REPLAYED: usize = 64 * 1024;

/// The body of a request. Its copies read the same bytes, each from the beginning.
#[derive(Clone, Debug, Default)]
pub struct RequestBody {
    /// `None` if there is no body.
    tape: Option<Arc<Mutex<Tape>>>,
    length: Length,
    /// How many bytes this copy has read.
    at: u64,
    /// Whether this copy has read the trailers, or the error in place of them.
    past_end: bool,
}

/// The part of a body that was read, and the source of the rest.
#[derive(Debug)]
struct Tape {
    kept: BytesMut,
    /// Number of bytes that were read, including those that are no longer kept because they were too many.
    read: u64,
    trailers: Option<HeaderMap>,
    /// The spelling of the trailers, if they came over HTTP/1.
    spelling: Option<Box<Spelling>>,
    rest: Option<Source>,
    failed: Option<BodyError>,
    /// Maximum number of bytes to keep.
    most: usize,
}

#[derive(Debug)]
enum Source {
    Http1(IncomingBody),
    Http2(Incoming),
}

impl Source {
    fn is_held_back(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_held_back(),
            Self::Http2(_) => false,
        }
    }

    fn take_spelling(&mut self) -> Option<Box<Spelling>> {
        match self {
            Self::Http1(body) => body.take_spelling(),
            Self::Http2(_) => None,
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Http1(body) => body.poll_frame(cx),
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }

    /// Like `poll_read`, for a request that waits.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Http1(body) => body.poll_ahead(cx),
            // HTTP/2 has already received as much as its window allows.
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }
}

impl Tape {
    /// Reads more, and keeps it up to the maximum. Returns what was read, which is nothing at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let frame = ready!(rest.poll_frame(cx));
        Poll::Ready(self.take(frame, self.most))
    }

    /// Reads more, and keeps all of it, because it is stored nowhere else.
    fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(rest) = &mut self.rest else { return Poll::Ready(()) };
        let frame = ready!(rest.poll_ahead(cx));
        self.take(frame, usize::MAX);
        Poll::Ready(())
    }

    fn take(&mut self, frame: Option<Result<Frame<Bytes>, BodyError>>, most: usize) -> Option<Frame<Bytes>> {
        let Some(Ok(frame)) = frame else {
            self.rest = None;
            self.failed = frame.and_then(Result::err);
            return None;
        };
        match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => self.keep(data, most),
            (None, trailers) => {
                self.trailers = trailers.cloned();
                self.spelling = self.rest.as_mut().and_then(Source::take_spelling);
            }
        }
        Some(frame)
    }

    fn keep(&mut self, data: &Bytes, most: usize) {
        if self.is_whole() && self.kept.len() + data.len() <= most {
            self.kept.extend_from_slice(data);
        } else {
            self.kept = BytesMut::new();
        }
        self.read += data.len() as u64;
    }

    /// Returns whether all that was read is still kept.
    fn is_whole(&self) -> bool {
        self.kept.len() as u64 == self.read
    }
}

impl RequestBody {
    /// Returns a request without a body.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Returns the body of a request that arrives on a connection.
    pub(crate) fn incoming(body: IncomingBody, length: Length) -> Self {
        Self::from_source(Source::Http1(body), length)
    }

    fn from_source(rest: Source, length: Length) -> Self {
        let rest = Some(rest);
        let tape = Tape {
            kept: BytesMut::new(),
            read: 0,
            trailers: None,
            spelling: None,
            rest,
            failed: None,
            most: REPLAYED,
        };
        Self { tape: Some(Arc::new(Mutex::new(tape))), length, at: 0, past_end: false }
    }

    /// Returns the spelling of the trailers that were read. `http_body` has no place for it.
    pub(crate) fn spelling(&self) -> Option<Box<Spelling>> {
        self.tape.as_ref().and_then(|tape| tape.lock().spelling.clone())
    }

    /// Returns how the end of the body is marked.
    pub(crate) const fn length(&self) -> Length {
        self.length
    }

    /// Returns whether a copy would read the whole body. This is true until more than 64 KiB have been read, because
    /// longer bodies are not kept.
    pub fn can_be_replayed(&self) -> bool {
        self.tape.as_ref().is_none_or(|tape| {
            let tape = tape.lock();
            tape.is_whole() && tape.failed.is_none()
        })
    }

    /// Returns the maximum number of bytes that may be kept.
    pub fn most_kept(&self) -> usize {
        match self.length {
            Length::Nothing => 0,
            Length::Exactly(bytes) => usize::try_from(bytes).unwrap_or(REPLAYED).min(REPLAYED),
            Length::Chunked | Length::UntilClose => REPLAYED,
        }
    }

    /// Returns the maximum number of bytes that arrive without a read and stay until they are read. For HTTP/2, this
    /// is what the client may send; for HTTP/1, the kernel keeps them.
    pub fn most_unasked(&self) -> usize {
        let over_http2 = |tape: &Arc<Mutex<Tape>>| matches!(tape.lock().rest, Some(Source::Http2(_)));
        if !self.tape.as_ref().is_some_and(over_http2) {
            return 0;
        }
        let window = STREAM_WINDOW as usize;
        match self.length {
            Length::Exactly(bytes) => usize::try_from(bytes).unwrap_or(window).min(window),
            Length::Nothing | Length::Chunked | Length::UntilClose => window,
        }
    }

    /// From now on keeps and reads ahead nothing: the body is sent once.
    pub fn keep_nothing(&self) {
        if let Some(tape) = &self.tape {
            tape.lock().most = 0;
        }
    }

    /// Returns the same body from the beginning. Only one copy may read at a time.
    #[must_use]
    pub fn from_the_beginning(&self) -> Self {
        Self { at: 0, past_end: false, ..self.clone() }
    }

    /// Reads ahead. Resolves when something was read, and never again once the body has ended or failed, or the
    /// maximum is kept. It is cancel-safe: what was read is kept.
    ///
    /// While a request is held, this detects that its client has disconnected: a connection is only read while its
    /// body is polled.
    pub async fn read_ahead(&mut self) {
        poll_fn(|cx| {
            let Some(tape) = &self.tape else { return Poll::Pending };
            let mut tape = tape.lock();
            if tape.most == 0 {
                return Poll::Pending;
            }
            // Do not ask a client for its body (100 Continue) before the body is needed.
            if tape.rest.as_ref().is_none_or(Source::is_held_back)
                || tape.kept.len() >= REPLAYED / 2
                || !tape.is_whole()
            {
                return Poll::Pending;
            }
            tape.poll_read_ahead(cx)
        })
        .await;
    }

    /// Returns whether reading ahead found that the body ended early, which means that its sender disconnected.
    pub fn has_failed(&self) -> bool {
        self.tape.as_ref().is_some_and(|tape| tape.lock().failed.is_some())
    }
}

/// No body.
impl From<()> for RequestBody {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

/// A body from memory.
impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            return Self::empty();
        }
        let (length, read) = (Length::Exactly(bytes.len() as u64), bytes.len() as u64);
        let tape = Tape {
            kept: bytes.into(),
            read,
            trailers: None,
            spelling: None,
            rest: None,
            failed: None,
            most: REPLAYED,
        };
        Self { tape: Some(Arc::new(Mutex::new(tape))), length, at: 0, past_end: false }
    }
}

/// A body that arrives over HTTP/2.
impl From<Incoming> for RequestBody {
    fn from(body: Incoming) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        let length = body.size_hint().exact().map_or(Length::Chunked, Length::Exactly);
        Self::from_source(Source::Http2(body), length)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(tape) = &this.tape else { return Poll::Ready(None) };
        let mut tape = tape.lock();
        if this.at < tape.read {
            let from = usize::try_from(this.at).unwrap_or(usize::MAX);
            // Bytes that are no longer kept were read by another copy, which was meant to be the last.
            let kept = tape.kept.get(from..).filter(|_| tape.is_whole());
            let Some(data) = kept.map(Bytes::copy_from_slice) else {
                return Poll::Ready(Some(Err(BodyError::BrokeOff)));
            };
            this.at += data.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if tape.rest.is_some() {
            let frame = ready!(tape.poll_read(cx));
            this.at = tape.read;
            this.past_end |= frame.as_ref().is_some_and(Frame::is_trailers);
            if let Some(frame) = frame {
                return Poll::Ready(Some(Ok(frame)));
            }
        }
        if std::mem::replace(&mut this.past_end, true) {
            return Poll::Ready(None);
        }
        // Copies that read the body again only get `BrokeOff`.
        if let Some(error) = tape.failed.replace(BodyError::BrokeOff) {
            return Poll::Ready(Some(Err(error)));
        }
        tape.failed = None;
        Poll::Ready(tape.trailers.clone().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.tape.as_ref().is_none_or(|tape| {
            let tape = tape.lock();
            let told = tape.trailers.is_none() || self.past_end;
            let read = match &tape.rest {
                None => true,
                // The body ends when its length is reached, even before the source reports the end.
                Some(Source::Http1(_)) => self.length == Length::Exactly(self.at),
                Some(Source::Http2(body)) => body.is_end_stream(),
            };
            self.at == tape.read && tape.failed.is_none() && read && told
        })
    }

    fn size_hint(&self) -> SizeHint {
        // A body that failed has no known size.
        if self.has_failed() {
            return SizeHint::default();
        }
        match self.length {
            Length::Exactly(bytes) => SizeHint::with_exact(bytes.saturating_sub(self.at)),
            Length::Nothing => SizeHint::with_exact(0),
            Length::Chunked | Length::UntilClose => SizeHint::default(),
        }
    }
}
