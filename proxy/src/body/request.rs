//! A request's body on its way up. What was read of it is kept for a while, so that a request that was not served can be
//! sent once more.

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

/// Bytes of a body that are kept to be sent once more, and that are read while its request waits. Enough for most forms
/// and calls; what is longer is sent once.
pub const REPLAYED: usize = 64 * 1024;

/// A request's body. Its copies read the same bytes, each from the beginning.
#[derive(Clone, Debug, Default)]
pub struct RequestBody {
    /// `None` where there is no body.
    tape: Option<Arc<Mutex<Tape>>>,
    length: Length,
    /// How far this copy has read.
    at: u64,
    /// Whether this copy has read the trailers, or why there are none.
    past_end: bool,
}

/// What was read of a body, and what is still to come.
#[derive(Debug)]
struct Tape {
    kept: BytesMut,
    /// Bytes that were read: those that are kept, and where that became too many, those that are not any more.
    read: u64,
    trailers: Option<HeaderMap>,
    /// How the trailers are spelled, if they came over HTTP/1.
    spelling: Option<Box<Spelling>>,
    rest: Option<Source>,
    failed: Option<BodyError>,
    /// So much may be kept.
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

    /// The same of a request that waits.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Http1(body) => body.poll_ahead(cx),
            // As far as its window allows it has come already.
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }
}

impl Tape {
    /// Reads on, and keeps up to the most that may be kept of all that was read. Answers with what was read, which is
    /// nothing at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let frame = ready!(rest.poll_frame(cx));
        Poll::Ready(self.take(frame, self.most))
    }

    /// The same, and keeps all of it: nobody else has it.
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

    /// Whether all that was read is still there.
    fn is_whole(&self) -> bool {
        self.kept.len() as u64 == self.read
    }
}

impl RequestBody {
    /// No body at all.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A body that comes in on a connection.
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

    /// How the trailers are spelled that it has given. `http_body` has no place for it.
    pub(crate) fn spelling(&self) -> Option<Box<Spelling>> {
        self.tape.as_ref().and_then(|tape| tape.lock().spelling.clone())
    }

    /// How its end is told.
    pub(crate) const fn length(&self) -> Length {
        self.length
    }

    /// Whether a copy would read all of it. Until 64 KiB were read that is so; what is longer is not kept.
    pub fn can_be_replayed(&self) -> bool {
        self.tape.as_ref().is_none_or(|tape| {
            let tape = tape.lock();
            tape.is_whole() && tape.failed.is_none()
        })
    }

    /// Bytes of it that may come to be kept.
    pub fn most_kept(&self) -> usize {
        match self.length {
            Length::Nothing => 0,
            Length::Exactly(bytes) => usize::try_from(bytes).unwrap_or(REPLAYED).min(REPLAYED),
            Length::Chunked | Length::UntilClose => REPLAYED,
        }
    }

    /// Bytes of it that come without being asked for, and stay until somebody reads them: those that HTTP/2 lets a client
    /// send. Of HTTP/1 the kernel keeps them.
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

    /// From now on nothing of it is kept or read ahead: it is sent once.
    pub fn keep_nothing(&self) {
        if let Some(tape) = &self.tape {
            tape.lock().most = 0;
        }
    }

    /// The same body, from the beginning; for one reader after the other.
    #[must_use]
    pub fn from_the_beginning(&self) -> Self {
        Self { at: 0, past_end: false, ..self.clone() }
    }

    /// Reads ahead. Resolves when something was read, and never again once the body has ended, failed,
    /// or as much is kept as can be. Cancel-safe: what was read is kept.
    ///
    /// While a request is held this is what shows that its client has gone: a connection is read from only while
    /// somebody asks for the body.
    pub async fn read_ahead(&mut self) {
        poll_fn(|cx| {
            let Some(tape) = &self.tape else { return Poll::Pending };
            let mut tape = tape.lock();
            if tape.most == 0 {
                return Poll::Pending;
            }
            // A client that waits to be asked is not asked before somebody wants its body.
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

    /// Whether reading ahead found that the body breaks off: whoever sent it has gone.
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

/// A body of our own.
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

/// A body that comes in over HTTP/2.
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
            // What is not kept any more was read by another copy, which was to be the last.
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
        // Who reads it again hears only that.
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
                // A length that is reached is the end, though nobody has said so yet.
                Some(Source::Http1(_)) => self.length == Length::Exactly(self.at),
                Some(Source::Http2(body)) => body.is_end_stream(),
            };
            self.at == tape.read && tape.failed.is_none() && read && told
        })
    }

    fn size_hint(&self) -> SizeHint {
        // A body that failed half-way has no size that could be promised.
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
