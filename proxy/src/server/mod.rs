//! A listener and its connections: HTTP/1.1, and HTTP/2 by prior knowledge, on one port.

mod age;
mod places;

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, warn};

use crate::{
    body::{RequestBody, ResponseBody},
    budget::Budget,
    drain::{Drain, Stage},
    http1::server::Server,
    net::{Liveness, Stream},
    reply::{Reply, Speaks},
    rewind::{Protocol, Rewind, detect},
};

use age::Age;
pub use age::ConnectionLimits;
pub(crate) use age::Stay;
pub(crate) use places::Presence;
use places::{Place, Places};

/// One slow HTTP/2 stream pins at most this many bytes of ours; hyper's default is 1 MiB.
pub(crate) const H2_STREAM_WINDOW: u32 = 256 * 1024;
/// All streams of one HTTP/2 connection together.
pub(crate) const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Header bytes of one request over HTTP/2, as over HTTP/1.1.
pub(crate) const MAX_HEADER_BYTES: u32 = 1024 * 1024;
/// A connection of HTTP/2 that is to make room has so long to send the requests that were on their way. Who says nothing
/// would keep it otherwise; and who waits for the place cannot tell.
const FAREWELL: Duration = Duration::from_millis(100);
/// A connection that was accepted just before the end may have brought a request along: it is in the kernel already.
const LAST_CHANCE: Duration = Duration::from_millis(50);
/// How soon a change of the age that a connection may reach is noticed where nobody asks for it.
const AGE_LOOK: Duration = Duration::from_secs(60);

/// What a server allows its clients.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once. One more takes the place of the one on which nothing was asked for the longest time; while
    /// all are busy it waits.
    pub max_connections: usize,
    /// A connection whose first byte does not come in this time is closed.
    pub first_byte_timeout: Duration,
    /// A head must be complete in this time from its first byte on.
    pub head_timeout: Duration,
    /// A connection on which nothing is asked for so long is closed. Longer than the idle time of the load balancers in
    /// front (600 s at most), so that they close first: a close from our side could meet a request on its way.
    pub idle_timeout: Duration,
    /// A client that ends its half of the connection in this time after its request has said all that it has to say, and
    /// waits for the answer (`printf … | nc`). One that does so later has waited for long enough, and is gone.
    pub half_close_within: Duration,
    /// HTTP/2 streams at once on one connection.
    pub max_streams: u32,
    /// How soon a client that is silently gone is noticed.
    pub liveness: Liveness,
    /// Where heads are counted that are not complete yet.
    pub heads: Budget,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            first_byte_timeout: Duration::from_secs(60),
            // As nginx has it.
            head_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(620),
            half_close_within: Duration::from_millis(250),
            max_streams: 250,
            liveness: Liveness::CLIENT,
            heads: Budget::new(16 * 1024 * 1024),
        }
    }
}

/// Answers requests. Dropped midway when the client goes away: nothing after an await may be needed for
/// correctness, use guards.
pub trait Handler: Send + Sync + 'static {
    /// Lives until the request has ended, the last byte of its answer included.
    type Guard: Send + 'static;

    /// Answers one request from `peer`.
    fn call(
        &self,
        request: Request<RequestBody>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<ResponseBody<Self::Guard>>> + Send;

    /// How long a connection may stay, as things are now. Asked with each request and between them, so it has to be quick;
    /// a tunnel is under what was said when it began.
    fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits::default()
    }
}

/// What HTTP is spoken over.
pub trait Transport: Send + Sync + 'static {
    /// Makes an accepted connection ready. Given up after the time that the first byte may take.
    fn open(&self, stream: TcpStream) -> impl Future<Output = io::Result<Stream>> + Send;
}

/// The connection itself.
struct Plain;

impl Transport for Plain {
    async fn open(&self, stream: TcpStream) -> io::Result<Stream> {
        Ok(Stream::Tcp(stream))
    }
}

/// Accepts on `listener` until `drain` closes it.
///
/// Failures of single connections are theirs alone; where descriptors or memory are short, accepting pauses.
pub async fn serve<H: Handler>(listener: TcpListener, handler: Arc<H>, drain: Drain, limits: Limits) {
    serve_over(Plain, listener, handler, drain, limits).await;
}

/// [`serve`] over another transport than TCP alone.
pub async fn serve_over<T: Transport, H: Handler>(
    transport: T,
    listener: TcpListener,
    handler: Arc<H>,
    drain: Drain,
    limits: Limits,
) {
    let places = Places::new(limits.max_connections);
    let acceptor =
        Acceptor { transport: Arc::new(transport), handler, drain, limits: Arc::new(limits), places };
    let mut closing = pin!(acceptor.drain.reached(Stage::Closing));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut closing => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let place = tokio::select! {
                    place = acceptor.places.take() => place,
                    () = &mut closing => break,
                };
                if let Some(place) = place {
                    acceptor.begin(stream, peer, place);
                }
            }
            Err(error) if is_about_one_connection(&error) => debug!(%error, "connection lost before accept"),
            Err(error) => {
                warn!(%error, "cannot accept; pausing");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
    acceptor.begin_the_last(&listener).await;
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Begins connections.
struct Acceptor<T, H> {
    transport: Arc<T>,
    handler: Arc<H>,
    drain: Drain,
    limits: Arc<Limits>,
    places: Arc<Places>,
}

impl<T: Transport, H: Handler> Acceptor<T, H> {
    fn begin(&self, stream: TcpStream, peer: SocketAddr, place: Place) {
        let connection = Arc::new(Connection {
            handler: self.handler.clone(),
            drain: self.drain.clone(),
            limits: self.limits.clone(),
            presence: place.presence.clone(),
            age: Age::begin(),
            peer,
        });
        let (open, transport) = (self.drain.connection(), self.transport.clone());
        self.drain.tasks().spawn(async move {
            connection.run(stream, &*transport).await;
            drop((open, place));
        });
    }

    /// What the kernel has accepted already may have brought a request along.
    async fn begin_the_last(&self, listener: &TcpListener) {
        loop {
            let accepted = poll_fn(|cx| match listener.poll_accept(cx) {
                Poll::Ready(Ok(accepted)) => Poll::Ready(Some(accepted)),
                Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
            });
            let Some((stream, peer)) = accepted.await else { return };
            let Ok(Some(place)) = timeout(LAST_CHANCE, self.places.take()).await else { return };
            self.begin(stream, peer, place);
        }
    }
}

struct Connection<H> {
    handler: Arc<H>,
    drain: Drain,
    limits: Arc<Limits>,
    presence: Arc<Presence>,
    age: Age,
    peer: SocketAddr,
}

impl<H: Handler> Connection<H> {
    async fn run(self: Arc<Self>, stream: TcpStream, transport: &impl Transport) {
        if let Err(error) = self.limits.liveness.watch(&stream) {
            debug!(%error, "connection lost after accept");
            return;
        }
        let mut detecting = pin!(async { detect(transport.open(stream).await?).await });
        let detected = tokio::select! {
            detected = timeout(self.limits.first_byte_timeout, &mut detecting) => detected,
            () = self.presence.evicted() => return,
            () = self.drain.reached(Stage::Closing) => timeout(LAST_CHANCE, &mut detecting).await,
        };
        let ended = match detected {
            Ok(Ok((Protocol::Http1, io))) => self.http1(io).await,
            // Larger by far, and rarer.
            Ok(Ok((Protocol::Http2, io))) => Box::pin(self.http2(io)).await.map_err(io::Error::other),
            Ok(Err(error)) => return debug!(%error, "connection lost before its first byte"),
            Err(_) => return debug!(peer = %self.peer, "no byte came in time"),
        };
        if let Err(error) = ended {
            debug!(%error, peer = %self.peer, "connection ended");
        }
    }

    async fn http1(&self, io: Rewind<Stream>) -> io::Result<()> {
        let (stream, first) = io.into_parts();
        let allowed = || self.handler.connection_limits();
        let stay = Stay { age: self.age, allowed: &allowed };
        let server = Server::new(stream, first, &self.presence, &self.drain, &self.limits, stay);
        tokio::select! {
            ended = server.run(|request| self.answer(request)) => ended,
            () = self.drain.reached(Stage::Aborted) => Ok(()),
        }
    }

    async fn http2(self: &Arc<Self>, io: Rewind<Stream>) -> hyper::Result<()> {
        let open = Arc::new(AtomicUsize::new(0));
        let (connection, streams) = (self.clone(), open.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let busy = Busy::begin(connection.presence.clone(), streams.clone());
            let connection = connection.clone();
            async move {
                let response = connection.answer(request.map(RequestBody::from)).await;
                Ok::<_, Infallible>(response.map(|body| Counted { body, _busy: busy }))
            }
        });
        let liveness = self.limits.liveness;
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(liveness.idle)
            .keep_alive_timeout(liveness.interval * liveness.probes)
            .max_concurrent_streams(self.limits.max_streams)
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(io), service);
        let mut connection = pin!(connection);
        let unused = async {
            tokio::select! {
                () = self.presence.evicted() => {}
                () = self.idle_for_too_long() => {}
            }
        };
        let is_unused = tokio::select! {
            ended = connection.as_mut() => return ended,
            // GOAWAY names the last stream that was taken: its sender knows what to repeat elsewhere.
            () = self.drain.leaving() => false,
            () = self.aged() => false,
            () = unused => true,
        };
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection => ended,
            () = has_no_more(&open), if is_unused => Ok(()),
            () = self.drain.reached(Stage::Aborted) => Ok(()),
        }
    }

    /// Resolves when no stream was open for the time that a connection may be idle.
    async fn idle_for_too_long(&self) {
        loop {
            let since = self.presence.idle_since().unwrap_or_else(Instant::now);
            let due = since + self.limits.idle_timeout;
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }

    /// Resolves when the connection is older than it may be, which may change meanwhile.
    async fn aged(&self) {
        loop {
            let now = Instant::now();
            let due = self.age.due(self.handler.connection_limits().max_age);
            if due.is_some_and(|due| due <= now) {
                return;
            }
            let look = now + AGE_LOOK;
            sleep_until(due.map_or(look, |due| due.min(look))).await;
        }
    }

    async fn answer(&self, request: Request<RequestBody>) -> Response<ResponseBody<H::Guard>> {
        self.drain.request();
        match unacceptable(&request) {
            Some(reply) => reply.speaking(Speaks::of(request.headers())).into_response(),
            None => self.handler.call(request, self.peer).await,
        }
    }
}

/// Resolves when nothing is asked on a connection that was told to go, though its client may never say that it goes.
async fn has_no_more(open: &AtomicUsize) {
    loop {
        sleep(FAREWELL).await;
        if open.load(Ordering::Relaxed) == 0 {
            return;
        }
    }
}

/// A stream that keeps its connection from being taken for idle.
struct Busy {
    presence: Arc<Presence>,
    streams: Arc<AtomicUsize>,
}

impl Busy {
    fn begin(presence: Arc<Presence>, streams: Arc<AtomicUsize>) -> Self {
        streams.fetch_add(1, Ordering::Relaxed);
        presence.is_busy();
        Self { presence, streams }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.presence.is_idle();
        }
    }
}

pin_project! {
    /// A body whose stream is counted until it has ended.
    struct Counted<B> {
        #[pin]
        body: B,
        _busy: Busy,
    }
}

impl<B: Body> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What no hop may pass on: a request whose host is not clear (RFC 9112, section 3.2), because two hops
/// could take it for different ones, and a tunnel to wherever the client likes.
fn unacceptable<B>(request: &Request<B>) -> Option<Reply> {
    if request.method() == Method::CONNECT {
        let text = "CONNECT is for forward proxies; this is none";
        return Some(Reply::new(StatusCode::METHOD_NOT_ALLOWED, "connect", text));
    }
    if let (Some(authority), Some(host)) = (request.uri().authority(), request.headers().get(header::HOST))
        && request.version() == Version::HTTP_2
        && !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())
    {
        let text = ":authority and Host name different hosts; want one";
        return Some(Reply::new(StatusCode::BAD_REQUEST, "host", text));
    }
    let hosts = request.headers().get_all(header::HOST).iter().count();
    let wanted = match request.version() {
        Version::HTTP_11 => 1..=1,
        _ => 0..=1,
    };
    if !wanted.contains(&hosts) {
        let text = format!("{hosts} Host headers; want exactly one");
        return Some(Reply::new(StatusCode::BAD_REQUEST, "host", text));
    }
    let host = request.headers().get(header::HOST)?;
    (!host.as_bytes().iter().all(|byte| is_of_a_host(*byte)))
        .then(|| Reply::new(StatusCode::BAD_REQUEST, "host", "the Host header is no host and port"))
}

/// What a host and a port are made of (RFC 3986, section 3.2.2, and internationalized names as some clients send them).
const fn is_of_a_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || byte >= 0x80
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b':'
                | b'['
                | b']'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_whose_host_is_not_clear_is_not_passed_on() {
        let request = |version, hosts: &[&str]| {
            let request = Request::get("/").version(version);
            hosts.iter().fold(request, |request, host| request.header(header::HOST, *host)).body(()).unwrap()
        };
        let cases = [
            (Version::HTTP_11, &["a"][..], true),
            (Version::HTTP_11, &[], false),
            (Version::HTTP_11, &["a", "b"], false),
            (Version::HTTP_11, &["[::1]:80"], true),
            (Version::HTTP_11, &["a/b"], false),
            (Version::HTTP_11, &["me@a"], false),
            (Version::HTTP_11, &["a b"], false),
            (Version::HTTP_10, &[], true),
            (Version::HTTP_10, &["a", "a"], false),
            (Version::HTTP_2, &[], true),
        ];
        for (version, hosts, passes) in cases {
            assert_eq!(unacceptable(&request(version, hosts)).is_none(), passes, "{version:?} {hosts:?}");
        }
        let tunnel =
            Request::connect("example.com:443").header(header::HOST, "example.com").body(()).unwrap();
        assert!(unacceptable(&tunnel).is_some());
    }
}
