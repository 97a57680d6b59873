//! A connection to an app or a pod. The request is sent and the response is received at the same time.
//!
//! An app may respond before it has read the request, and then close: later writes fail, but the response can still
//! be read. A failed write therefore ends the upload, but never the response.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, Version, header, request};
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    chunked::{Decoder, Piece},
    fault::Fault,
    framing::{self, Length},
    head,
    inbound::Inbound,
    outbound::{A_TURN, Outbound},
    spelling::{self, Spelling},
};
use crate::{
    body::{BodyError, RequestBody},
    forward::names_token,
    interim::Interims,
    net::{Liveness, Stream},
    upgrade,
};

/// If an app that was asked to accept a body (`100-continue`) does not respond within this time, it gets the body, as
/// from other clients.
const CONTINUE_WITHIN: Duration = Duration::from_secs(1);
/// The kernel is not asked about a connection that was used this recently.
const A_MOMENT: Duration = Duration::from_millis(1);
/// If an upload is longer than this, the app may be slow to read it.
const LONG_UPLOAD: u64 = 32 * 1024;

/// A connection without a request.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    inbound: Inbound,
    liveness: Liveness,
    /// How long the app said that it keeps the connection open.
    pub(crate) kept_for: Option<Duration>,
    /// Since when the connection has had no request.
    pub(crate) idle_since: Instant,
    /// Whether the connection carried a request before.
    pub(crate) used: bool,
    /// Whether a response is awaited on it.
    busy: bool,
}

/// Dropping a connection that is still busy resets it, so that the peer knows that the request was given up. If only
/// one half of the connection were closed, its client might still be waiting for the response.
impl Drop for Connection {
    fn drop(&mut self) {
        if self.busy {
            self.stream.reset_on_close();
        }
    }
}

/// Why a request got no response.
#[derive(Debug, Error)]
pub(crate) enum Broken {
    /// The connection ended before the response started.
    #[error("the connection was closed before an answer came")]
    Closed,
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What arrived is not a valid response.
    #[error("the answer cannot be read: {0}")]
    Unreadable(Fault),
    /// The other side speaks HTTP/2, and has not read the request.
    #[error("it speaks HTTP/2")]
    SpeaksHttp2,
    /// The request's own body ended early.
    #[error(transparent)]
    Request(BodyError),
}

impl Connection {
    pub(crate) fn new(stream: Stream, liveness: Liveness) -> Self {
        let inbound = Inbound::default();
        Self {
            stream,
            inbound,
            liveness,
            kept_for: None,
            idle_since: Instant::now(),
            used: false,
            busy: false,
        }
    }

    /// Returns whether nothing has arrived on the connection since it was last used, `idle` ago. Anything that
    /// arrived is not a response, but usually the end of the connection.
    pub(crate) fn is_silent(&self, idle: Duration) -> bool {
        let silent = if idle < A_MOMENT { self.stream.is_silent_as_told() } else { self.stream.is_silent() };
        self.inbound.unread.is_empty() && !self.inbound.ended && silent
    }
}

/// A request that was sent, and its response as far as it has arrived.
#[derive(Debug)]
pub(crate) struct Exchange {
    connection: Connection,
    out: Outbound,
    upload: Upload,
    body: RequestBody,
    interims: Option<Interims>,
    chunked: bool,
    stalls: bool,
}

/// The state of sending a request's body.
#[derive(Debug)]
enum Upload {
    /// The app was asked first whether it accepts the body.
    Asked(Pin<Box<Sleep>>),
    Running,
    Done,
    /// The app no longer reads.
    Stopped(io::Error),
}

impl Exchange {
    /// Starts to send the request of `head` and `body`.
    pub(crate) fn new(mut connection: Connection, head: &request::Parts, body: RequestBody) -> Self {
        connection.busy = true;
        let mut out = Outbound::default();
        let length = body.length();
        out.append(|out| {
            head::write_request(head, out);
            match length {
                Length::Exactly(bytes) if !head.headers.contains_key(header::CONTENT_LENGTH) => {
                    spelling::write_field(b"content-length", &bytes.into(), out);
                }
                Length::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
                _ => {}
            }
            out.extend_from_slice(b"\r\n");
        });
        let asks = length != Length::Nothing && names_token(&head.headers, &header::EXPECT, "100-continue");
        let upload = match length {
            Length::Nothing => Upload::Done,
            _ if asks => Upload::Asked(Box::pin(sleep_until(Instant::now() + CONTINUE_WITHIN))),
            _ => Upload::Running,
        };
        let interims = head::interims(head);
        Self { connection, out, upload, body, interims, chunked: length == Length::Chunked, stalls: false }
    }

    /// Returns whether anything was written. If not, nobody can have seen the request.
    pub(crate) const fn has_written(&self) -> bool {
        self.out.written() > 0
    }

    /// Returns whether the connection had carried a request before.
    pub(crate) const fn on_used(&self) -> bool {
        self.connection.used
    }

    /// Waits for the head of the response. It is cancel-safe.
    pub(crate) async fn answered(&mut self) -> Result<Response<()>, Broken> {
        poll_fn(|cx| {
            self.poll_upload(cx).map_err(Broken::Request)?;
            self.poll_head(cx)
        })
        .await
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, Broken>> {
        let mut scanned = 0;
        loop {
            let Connection { inbound, stream, .. } = &mut self.connection;
            while let Some(end) = head::end(&inbound.unread, scanned) {
                let answer =
                    head::answer(&inbound.unread.split_to(end).freeze()).map_err(Broken::Unreadable)?;
                scanned = 0;
                if !answer.status().is_informational() || answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                    return Poll::Ready(Ok(answer));
                }
                if answer.status() == StatusCode::CONTINUE {
                    if matches!(self.upload, Upload::Asked(_)) {
                        self.upload = Upload::Running;
                    }
                } else if let Some(interims) = &self.interims {
                    interims.push(answer.into_parts().0);
                }
            }
            if begins_like_http2(&inbound.unread) {
                return Poll::Ready(Err(Broken::SpeaksHttp2));
            }
            if !begins_like_an_answer(&inbound.unread) && !may_be_http2(&inbound.unread) {
                let text = "it does not begin with HTTP/1";
                return Poll::Ready(Err(Broken::Unreadable(Fault::malformed(text))));
            }
            if inbound.unread.len() > head::MAX_BYTES {
                let text = format!("its head has more than {} bytes", head::MAX_BYTES);
                return Poll::Ready(Err(Broken::Unreadable(Fault::too_large(text))));
            }
            scanned = inbound.unread.len();
            match inbound.poll_more(stream, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.closed())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending if matches!(self.upload, Upload::Running) => {
                    // An interim response may have accepted the body.
                    self.poll_upload(cx).map_err(Broken::Request)?;
                    return Poll::Pending;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Returns the error for a connection that has ended. The error of an own write says more than the end itself.
    fn closed(&mut self) -> Broken {
        match std::mem::replace(&mut self.upload, Upload::Done) {
            Upload::Stopped(error) => error.into(),
            _ if self.connection.inbound.unread.is_empty() => Broken::Closed,
            _ => Broken::Unreadable(Fault::malformed("it broke off within its head")),
        }
    }

    /// Sends more of the body. If the app does not accept more, the error is kept, and the response is still read.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        let turn = self.out.written() + A_TURN;
        loop {
            if self.out.written() >= turn {
                cx.waker().wake_by_ref();
                return Ok(());
            }
            if let Upload::Asked(patience) = &mut self.upload
                && patience.as_mut().poll(cx).is_ready()
            {
                self.upload = Upload::Running;
            }
            if matches!(self.upload, Upload::Running) {
                self.poll_body(cx)?;
            }
            if self.out.is_empty() {
                return Ok(());
            }
            match self.out.poll_flush(&mut self.connection.stream, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    self.out.clear();
                    self.upload = Upload::Stopped(error);
                    return Ok(());
                }
                Poll::Pending => {
                    self.allow_stalls();
                    return Ok(());
                }
            }
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        while !self.out.has_enough() {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else { break };
            let trailers = match frame.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) if self.chunked => {
                    self.out.push_chunk(data);
                    continue;
                }
                Some(Ok(data)) => {
                    self.out.push(data);
                    continue;
                }
                Some(Err(frame)) => frame.into_trailers().ok(),
                None => None,
            };
            if self.chunked {
                self.out.push_last_chunk(&trailers.unwrap_or_default(), self.body.spelling().as_deref());
            }
            self.upload = Upload::Done;
            break;
        }
        Ok(())
    }

    /// From now on, an app that is slow to read does not count as gone.
    fn allow_stalls(&mut self) {
        if self.out.written() > LONG_UPLOAD && !std::mem::replace(&mut self.stalls, true) {
            self.connection.stream.limit_unacknowledged(self.connection.liveness.may_stall());
        }
    }

    /// Returns the connection for the next request, or `None` if it cannot carry one.
    fn finish(mut self, answer_keeps: bool) -> Option<Connection> {
        self.connection.busy = false;
        let whole = matches!(self.upload, Upload::Done) && self.out.is_empty();
        if !whole
            || !answer_keeps
            || self.connection.inbound.ended
            || !self.connection.inbound.unread.is_empty()
        {
            return None;
        }
        if self.stalls {
            self.connection.stream.limit_unacknowledged(self.connection.liveness);
        }
        self.connection.inbound.release();
        self.connection.used = true;
        self.connection.idle_since = Instant::now();
        Some(self.connection)
    }

    /// Returns the two directions of a connection that has switched protocols.
    pub(crate) fn switched(mut self) -> upgrade::End {
        let Connection { stream, liveness, inbound, busy, .. } = &mut self.connection;
        *busy = false;
        let stream = std::mem::replace(stream, Stream::wrapped(tokio::io::empty()));
        upgrade::End { stream, liveness: *liveness, unread: std::mem::take(&mut inbound.unread) }
    }
}

/// Where a server that speaks only HTTP/2 begins: with SETTINGS, on stream 0 (RFC 9113, sections 3.4 and 6.5). After the
/// length, which is below 64 KiB: the type, no flags, and the stream.
const SETTINGS: [u8; 6] = [4, 0, 0, 0, 0, 0];

fn begins_like_http2(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0) && bytes.get(3..9) == Some(&SETTINGS[..])
}

/// Whether more bytes may make a frame of it.
fn may_be_http2(bytes: &[u8]) -> bool {
    bytes.len() < 9 && bytes.first() == Some(&0) && SETTINGS.starts_with(bytes.get(3..).unwrap_or_default())
}

/// Returns whether `bytes` can become the head of a response. If not, there is no need to wait for more.
fn begins_like_an_answer(bytes: &[u8]) -> bool {
    let bytes = bytes.trim_ascii_start();
    let begin = b"HTTP/1.";
    let there = bytes.len().min(begin.len());
    bytes[..there] == begin[..there]
}

/// The body of a response, while the rest of its request is sent.
#[derive(Debug)]
pub(crate) struct Answer {
    exchange: Option<Box<Exchange>>,
    left: Left,
    keeps: bool,
    /// The spelling of its trailers, once they have arrived.
    spelling: Option<Box<Spelling>>,
}

#[derive(Debug)]
enum Left {
    Bytes(u64),
    Chunks(Decoder),
    UntilClose,
}

impl Answer {
    /// Returns the body after `head`, the head of the response to `request`.
    pub(crate) fn new(
        mut exchange: Box<Exchange>,
        request: &request::Parts,
        head: &mut Response<()>,
    ) -> Result<Self, (Fault, Box<Exchange>)> {
        let length = match framing::of_answer(&request.method, head.status(), head.headers()) {
            Ok(length) => length,
            Err(fault) => return Err((fault, exchange)),
        };
        let fields = head.headers();
        let named = |token| names_token(fields, &header::CONNECTION, token);
        let keeps = length != Length::UntilClose
            && if head.version() >= Version::HTTP_11 && request.version >= Version::HTTP_11 {
                !named("close")
            } else {
                named("keep-alive")
            };
        exchange.connection.kept_for = kept_for(fields).or(exchange.connection.kept_for);
        if head.headers().contains_key(header::TRANSFER_ENCODING) {
            // The chunked coding overrides the length, and a message must not have both (RFC 9112, section 6.1).
            head.headers_mut().remove(header::CONTENT_LENGTH);
        }
        framing::say_length_once(head.headers_mut());
        let left = match length {
            Length::Nothing => Left::Bytes(0),
            Length::Exactly(bytes) => Left::Bytes(bytes),
            Length::Chunked => Left::Chunks(Decoder::new()),
            Length::UntilClose => Left::UntilClose,
        };
        Ok(Self { exchange: Some(exchange), left, keeps, spelling: None })
    }

    /// Sends the rest of the request.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        self.exchange.as_mut().map_or(Ok(()), |exchange| exchange.poll_upload(cx))
    }

    /// Returns the spelling of the trailers that were read, once.
    pub(crate) fn take_spelling(&mut self) -> Option<Box<Spelling>> {
        self.spelling.take()
    }

    /// Returns the connection, once the whole response was read, if it can be used again.
    pub(crate) fn take_connection(&mut self) -> Option<Connection> {
        if !self.is_end_stream() {
            return None;
        }
        self.exchange.take().and_then(|exchange| exchange.finish(self.keeps))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { exchange, left, spelling: spelled, .. } = &mut *self;
        let Some(exchange) = exchange else { return Poll::Ready(None) };
        exchange.poll_upload(cx)?;
        let Connection { inbound, stream, .. } = &mut exchange.connection;
        loop {
            match left {
                Left::Bytes(0) => return Poll::Ready(None),
                Left::Bytes(bytes) if !inbound.unread.is_empty() => {
                    let there = usize::try_from(*bytes).unwrap_or(usize::MAX).min(inbound.unread.len());
                    *bytes -= there as u64;
                    return Poll::Ready(Some(Ok(Frame::data(inbound.unread.split_to(there).freeze()))));
                }
                Left::UntilClose if !inbound.unread.is_empty() => {
                    return Poll::Ready(Some(Ok(Frame::data(inbound.unread.split().freeze()))));
                }
                Left::Chunks(decoder) => match decoder.decode(&mut inbound.unread)? {
                    Some(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Some(Piece::Trailers(trailers, spelling)) => {
                        *left = Left::Bytes(0);
                        *spelled = Some(spelling);
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                    Some(Piece::End) => {
                        *left = Left::Bytes(0);
                        return Poll::Ready(None);
                    }
                    None => {}
                },
                _ => {}
            }
            if ready!(inbound.poll_more(stream, cx))? > 0 {
                continue;
            }
            return Poll::Ready(match left {
                Left::UntilClose => {
                    *left = Left::Bytes(0);
                    None
                }
                _ => Some(Err(BodyError::BrokeOff)),
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.left, Left::Bytes(0))
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            Left::Bytes(bytes) => SizeHint::with_exact(bytes),
            Left::Chunks(_) | Left::UntilClose => SizeHint::default(),
        }
    }
}

/// Returns how long an app says that it keeps an idle connection: `Keep-Alive: timeout=5`.
fn kept_for(fields: &HeaderMap) -> Option<Duration> {
    let line = fields.get("keep-alive")?.to_str().ok()?;
    let (_, seconds) = line
        .split(',')
        .filter_map(|member| member.trim().split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn how_long_an_app_keeps_a_connection_is_what_it_says() {
        for (line, want) in [
            ("timeout=5", Some(5)),
            ("max=100, Timeout = 72", Some(72)),
            ("max=100", None),
            ("timeout=soon", None),
            ("timeout=-1", None),
        ] {
            let fields = HeaderMap::from_iter([(
                http::HeaderName::from_static("keep-alive"),
                HeaderValue::from_static(line),
            )]);
            assert_eq!(kept_for(&fields), want.map(Duration::from_secs), "{line:?}");
        }
    }

    #[test]
    fn what_cannot_become_an_answer_is_not_waited_for() {
        for (bytes, may) in [
            ("", true),
            ("HT", true),
            ("HTTP/1.1 200", true),
            ("\r\nHTTP/1", true),
            ("http", false),
            ("HTTP/2", false),
            ("\0\0\x12\x04", false),
        ] {
            assert_eq!(begins_like_an_answer(bytes.as_bytes()), may, "{bytes:?}");
        }
    }
}
