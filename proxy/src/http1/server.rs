//! A client's connection: each request is answered before the next one is read.

mod incoming;
mod linger;
mod patience;
mod respond;
#[cfg(test)]
mod tests;

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    fault::Fault,
    framing::{self, Length},
    head,
    inbound::Inbound,
    outbound::{A_TURN, Outbound},
    spelling::Spelling,
};
use crate::{
    body::{RequestBody, ResponseBody},
    budget::Reserved,
    drain::{Drain, Stage},
    forward::names_token,
    interim::Interims,
    net::Stream,
    reply::Reply,
    server::{Busy, Limits, Presence, Stay},
    upgrade,
};

pub(crate) use incoming::IncomingBody;
use incoming::Progress;
use patience::Patience;
use respond::{Asked, Encoding};

/// How often a client that has closed its half, and still waits, is checked.
const HALF_CLOSED_LOOK: Duration = Duration::from_millis(250);
/// Maximum number of bytes of later requests to read while a request is answered.
const MOST_AHEAD: usize = 16 * 1024;

/// Both directions of a client's connection: a body is read while a response is written.
#[derive(Debug)]
struct Line {
    stream: Stream,
    inbound: Inbound,
    body: Progress,
}

/// A client's connection and its limits.
pub(crate) struct Server<'a> {
    line: Arc<Mutex<Line>>,
    out: Outbound,
    /// Interim responses to the current request.
    interims: Interims,
    patience: Patience,
    presence: &'a Arc<Presence>,
    drain: &'a Drain,
    limits: &'a Limits,
    stay: Stay<'a>,
    /// Memory counted for a head that did not arrive at once, until its request has ended.
    head: Option<Reserved>,
    /// Resolves when the server closes; `None` once it has.
    closing: Option<Pin<Box<dyn Future<Output = ()> + Send + 'a>>>,
    /// Whether the client was found to be slow at reading, and is allowed to be.
    stalls: bool,
    /// Since when only the client's end or its next request can arrive.
    listens_since: Option<Instant>,
    evicted: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
}

/// What happens to a connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// Read the next request.
    Next,
    /// Close the connection.
    Close,
}

/// What arrives next on a connection.
enum Next {
    /// The head of a request.
    Head(Bytes),
    /// Bytes that are not a valid head.
    Wrong(Fault),
    /// Nothing more.
    End,
}

impl<'a> Server<'a> {
    /// Starts with the bytes in `first`, which were read already.
    pub(crate) fn new(
        stream: Stream,
        first: BytesMut,
        presence: &'a Arc<Presence>,
        drain: &'a Drain,
        limits: &'a Limits,
        stay: Stay<'a>,
    ) -> Self {
        let inbound = Inbound::new(first);
        Self {
            line: Arc::new(Mutex::new(Line { stream, inbound, body: Progress::NOTHING })),
            out: Outbound::default(),
            interims: Interims::default(),
            patience: Patience::until(Instant::now() + limits.head_timeout),
            presence,
            drain,
            limits,
            stay,
            head: None,
            closing: Some(Box::pin(drain.reached(Stage::Closing))),
            stalls: false,
            listens_since: None,
            evicted: Box::pin(presence.evicted()),
        }
    }

    /// Serves requests until the connection ends.
    ///
    /// # Errors
    ///
    /// Returns an error if the client disconnected, or its response ended early.
    pub(crate) async fn run<F, G>(&mut self, answer: impl Fn(Request<RequestBody>) -> F) -> io::Result<()>
    where
        F: Future<Output = Response<ResponseBody<G>>>,
    {
        loop {
            let next = self.next().await?;
            let busy = Busy::begin(self.presence);
            let after = match next {
                Next::Head(head) => match self.begin(&head, &answer) {
                    Ok((asked, answering)) => self.serve(asked, answering).await?,
                    Err(fault) => self.refuse(fault).await?,
                },
                Next::Wrong(fault) => self.refuse(fault).await?,
                Next::End => return Ok(()),
            };
            drop(busy);
            if after == After::Close {
                return self.close().await;
            }
        }
    }

    /// Waits for the head of the next request.
    async fn next(&mut self) -> io::Result<Next> {
        let Self { line, patience, limits, stay, head, closing, evicted, .. } = self;
        let (mut scanned, mut began, mut counted) = (0, false, 0);
        *head = None;
        let idle_due = stay.idle_until(Instant::now(), limits.idle_timeout);
        poll_fn(|cx| {
            let line = &mut *line.lock();
            let inbound = &mut line.inbound;
            loop {
                // Skip an empty line before a request, which some clients send (RFC 9112, section 2.2).
                while scanned == 0 && inbound.unread.starts_with(b"\r\n") {
                    inbound.unread.advance(2);
                }
                match head::end(&inbound.unread, scanned) {
                    Some(end) if end <= head::MAX_BYTES => {
                        let whole = inbound.unread.split_to(end).freeze();
                        inbound.release();
                        return Poll::Ready(Ok(Next::Head(whole)));
                    }
                    None if inbound.unread.len() <= head::MAX_BYTES => {}
                    _ => return Poll::Ready(Ok(Next::Wrong(too_large(&inbound.unread)))),
                }
                scanned = inbound.unread.len();
                match inbound.poll_more(&mut line.stream, cx) {
                    // An incomplete head cannot be answered.
                    Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Next::End)),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                }
            }
            if evicted.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(Next::End));
            }
            if inbound.unread.len() > counted {
                let more = (inbound.unread.len() - counted) as u64;
                counted = inbound.unread.len();
                if !limits.heads.grow(head, more) {
                    return Poll::Ready(Ok(Next::Wrong(short())));
                }
            }
            if inbound.unread.is_empty() {
                patience.set(idle_due);
                if closing.as_mut().is_none_or(|closing| closing.as_mut().poll(cx).is_ready()) {
                    *closing = None;
                    // Requests that the kernel has already received are still served.
                    if line.stream.is_silent() {
                        return Poll::Ready(Ok(Next::End));
                    }
                }
            } else if !std::mem::replace(&mut began, true) {
                patience.set(Instant::now() + limits.head_timeout);
            }
            ready!(patience.poll(cx));
            if began {
                return Poll::Ready(Ok(Next::Wrong(late(limits.head_timeout))));
            }
            // Requests that the kernel has already received are still served; the runtime is about to report them.
            if line.stream.is_silent() { Poll::Ready(Ok(Next::End)) } else { Poll::Pending }
        })
        .await
    }

    /// Builds a request from its head.
    fn request(&mut self, head: &Bytes) -> Result<Request<RequestBody>, Fault> {
        let mut request = head::request(head, &self.interims)?;
        let length = framing::of_request(request.version(), request.headers())?;
        framing::say_length_once(request.headers_mut());
        let expects = request.version() >= Version::HTTP_11 && expects_continue(request.headers());
        self.line.lock().body = Progress::of(length, expects);
        let body = match length {
            Length::Nothing | Length::Exactly(0) | Length::UntilClose => RequestBody::empty(),
            Length::Exactly(_) | Length::Chunked => {
                RequestBody::incoming(IncomingBody::new(self.line.clone(), self.interims.clone()), length)
            }
        };
        Ok(request.map(|()| body))
    }

    /// Starts to handle the request of `head`. The future is boxed, so that an idle connection reserves no room for
    /// it.
    fn begin<F>(
        &mut self,
        head: &Bytes,
        answer: &impl Fn(Request<RequestBody>) -> F,
    ) -> Result<(Asked, Pin<Box<F>>), Fault> {
        let request = self.request(head)?;
        self.interims.clear();
        self.listens_since = None;
        Ok((Asked::of(&request), Box::pin(answer(request))))
    }

    async fn serve<G>(
        &mut self,
        asked: Asked,
        mut answering: Pin<Box<impl Future<Output = Response<ResponseBody<G>>>>>,
    ) -> io::Result<After> {
        let response = poll_fn(|cx| {
            let answered = answering.as_mut().poll(cx);
            self.append_interims(cx);
            if let Poll::Ready(response) = answered {
                return Poll::Ready(Ok(response));
            }
            let flushed = self.out.poll_flush(&mut self.line.lock().stream, cx);
            if let Poll::Ready(Err(error)) = flushed {
                return Poll::Ready(Err(error));
            }
            self.poll_gone(cx).map(Err)
        })
        .await?;
        self.respond(asked, response).await
    }

    fn append_interims(&mut self, cx: &Context<'_>) {
        // Do not queue interim responses that the client does not read.
        if self.out.has_enough() {
            return;
        }
        for interim in self.interims.take(cx.waker()) {
            self.out.append(|out| respond::write(&interim, Version::HTTP_11, out));
        }
    }

    /// Resolves when the client has disconnected. If nothing else reads the body, this reads ahead to find out.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let line = &mut *self.line.lock();
        if line.body.is_unfinished() && !line.body.is_held_back() {
            return Poll::Pending;
        }
        if line.inbound.ended {
            loop {
                ready!(self.patience.poll(cx));
                if line.stream.has_failed() {
                    return Poll::Ready(io::ErrorKind::ConnectionReset.into());
                }
                self.patience.set(Instant::now() + HALF_CLOSED_LOOK);
            }
        }
        // Before this, its end could not have been seen.
        let since = *self.listens_since.get_or_insert_with(Instant::now);
        while line.inbound.unread.len() < MOST_AHEAD {
            match ready!(line.inbound.poll_more(&mut line.stream, cx)) {
                Ok(0) if since.elapsed() < self.limits.half_close_within => {
                    self.patience.set(Instant::now() + HALF_CLOSED_LOOK);
                    return self.patience.poll(cx).map(|()| io::ErrorKind::UnexpectedEof.into());
                }
                Ok(0) => return Poll::Ready(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => return Poll::Ready(error),
            }
        }
        Poll::Pending
    }

    /// Writes `response`.
    async fn respond<G>(&mut self, asked: Asked, response: Response<ResponseBody<G>>) -> io::Result<After> {
        let (mut parts, body) = response.into_parts();
        let mut body = pin!(body);
        // A client that was never asked for its body may still send it, or the next request.
        let held_back = self.line.lock().body.is_held_back();
        let closes = self.drain.is_leaving() || held_back || self.stay.is_over();
        let (encoding, after) = asked.plan(&mut parts, body.size_hint().exact(), closes);
        self.out.append(|out| respond::write(&parts, asked.version, out));
        if let Some(upstream) = body.as_mut().take_tunnel() {
            self.flush().await?;
            return Box::pin(self.tunnel(upstream)).await;
        }
        if encoding == Encoding::Nothing {
            self.flush().await?;
        } else if let Err(error) = self.write_body(body.as_mut(), encoding).await {
            if encoding == Encoding::UntilClose {
                self.line.lock().stream.reset_on_close();
            }
            return Err(error);
        }
        if after == After::Next && self.line.lock().body.is_unfinished() {
            return Ok(self.skip_body().await);
        }
        Ok(after)
    }

    async fn write_body<G>(
        &mut self,
        mut body: Pin<&mut ResponseBody<G>>,
        encoding: Encoding,
    ) -> io::Result<()> {
        let (mut ended, mut broke) = (body.is_end_stream(), None);
        if ended {
            self.end_body(encoding, None, None);
        }
        poll_fn(|cx| {
            let turn = self.out.written() + A_TURN;
            loop {
                if self.out.written() >= turn {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                while !ended && !self.out.has_enough() {
                    let Poll::Ready(frame) = body.as_mut().poll_frame(cx) else { break };
                    let mut trailers = None;
                    match frame.transpose().map(|frame| frame.map(Frame::into_data)) {
                        Ok(Some(Ok(data))) if encoding == Encoding::Chunked => self.out.push_chunk(data),
                        Ok(Some(Ok(data))) => self.out.push(data),
                        Ok(Some(Err(frame))) => trailers = frame.into_trailers().ok(),
                        Ok(None) => ended = true,
                        // Data from before the error is still written.
                        Err(error) => {
                            (ended, broke) = (true, Some(error));
                            break;
                        }
                    }
                    ended |= trailers.is_some() || body.is_end_stream();
                    if ended {
                        self.end_body(encoding, trailers, body.as_mut().take_spelling().as_deref());
                    }
                }
                let idle = self.out.is_empty();
                let flushed = self.out.poll_flush(&mut self.line.lock().stream, cx);
                match flushed {
                    Poll::Ready(Ok(())) if ended => {
                        return Poll::Ready(
                            broke.take().map_or(Ok(()), |error| Err(io::Error::other(error))),
                        );
                    }
                    // Nothing was written, because there was nothing to write.
                    Poll::Ready(Ok(())) if idle => {
                        self.end_stalls();
                        return self.poll_gone(cx).map(Err);
                    }
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        self.allow_stalls();
                        // If a client writes before it reads, read from it; otherwise both sides would wait for each
                        // other.
                        body.as_mut().poll_meanwhile(cx).map_err(io::Error::other)?;
                        return Poll::Pending;
                    }
                }
            }
        })
        .await
    }

    /// From now on, a client that does not read everything counts as slow, not as gone.
    fn allow_stalls(&mut self) {
        if !std::mem::replace(&mut self.stalls, true) {
            self.line.lock().stream.limit_unacknowledged(self.limits.liveness.may_stall());
        }
    }

    /// The client has read everything. Whether it is still there is only known by asking.
    fn end_stalls(&mut self) {
        if std::mem::replace(&mut self.stalls, false) {
            self.line.lock().stream.limit_unacknowledged(self.limits.liveness);
        }
    }

    fn end_body(&mut self, encoding: Encoding, trailers: Option<HeaderMap>, spelling: Option<&Spelling>) {
        if encoding == Encoding::Chunked {
            self.out.push_last_chunk(&trailers.unwrap_or_default(), spelling);
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.out.poll_flush(&mut self.line.lock().stream, cx)).await
    }

    /// Tells the client what is wrong with its request. The bytes after it cannot be parsed any more.
    async fn refuse(&mut self, fault: Fault) -> io::Result<After> {
        tracing::debug!(%fault, "refused a request");
        let response: Response<ResponseBody<()>> = Reply::from(fault).into_response();
        let asked = Asked { version: Version::HTTP_11, is_head: false, more: false };
        {
            let line = &mut *self.line.lock();
            line.body = Progress::of(Length::Chunked, false);
            // Nobody reads these bytes any more, so release their memory.
            line.inbound.unread = BytesMut::new();
        }
        self.head = None;
        self.respond(asked, response).await
    }

    /// Joins the client with `upstream` until both have finished, or the limits have passed.
    async fn tunnel(&mut self, upstream: upgrade::End) -> io::Result<After> {
        let client = {
            let line = &mut *self.line.lock();
            let stream = std::mem::replace(&mut line.stream, Stream::wrapped(tokio::io::empty()));
            let liveness = self.limits.liveness;
            upgrade::End { stream, liveness, unread: std::mem::take(&mut line.inbound.unread) }
        };
        // Most connections are never upgraded, so reserve no room for it.
        Box::pin(upgrade::join(client, upstream, self.stay.tunnel(), self.drain)).await?;
        Ok(After::Close)
    }
}

fn expects_continue(fields: &HeaderMap) -> bool {
    names_token(fields, &header::EXPECT, "100-continue")
}

fn too_large(unread: &[u8]) -> Fault {
    let limit = head::MAX_BYTES;
    if unread.contains(&b'\n') {
        return Fault::too_large(format!("the head has more than {limit} bytes"));
    }
    let text = format!("the request line has more than {limit} bytes");
    Fault { status: StatusCode::URI_TOO_LONG, reason: "target-too-long", text }
}

fn short() -> Fault {
    let text = "incomplete heads use all the memory that is reserved for them".into();
    Fault { status: StatusCode::SERVICE_UNAVAILABLE, reason: "memory-short", text }
}

fn late(limit: Duration) -> Fault {
    let text = format!("the head was not complete within {limit:?}");
    Fault { status: StatusCode::REQUEST_TIMEOUT, reason: "head-timeout", text }
}
