//! A listener and its connections: HTTP/1.1, and HTTP/2 by prior knowledge, on one port.

mod age;
mod places;

use std::{future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tracing::{debug, warn};

use crate::{
    body::{RequestBody, ResponseBody},
    budget::Budget,
    drain::{Drain, Stage},
    http1::{MAX_BYTES, MAX_FIELDS, server::Server, to_origin_form},
    http2,
    net::{Liveness, Stream, accepted_already},
    reply::{Reply, Speaks},
    rewind::{Protocol, Rewind, detect},
};

use age::Age;
pub use age::ConnectionLimits;
pub(crate) use age::Stay;
pub(crate) use places::{Busy, Presence};
use places::{Place, Places};

/// A connection that was accepted just before the end may already have sent a request, which is in the kernel. It has
/// this long.
const LAST_CHANCE: Duration = Duration::from_millis(50);
/// The cost of a field beyond its name and value in HTTP/2 (RFC 9113, section 6.5.2).
const FIELD: usize = 32;
/// How soon a change of the maximum age takes effect on an idle connection.
const AGE_LOOK: Duration = Duration::from_secs(60);

/// The limits of a server for its clients.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum number of connections. One more replaces the connection that has been without a request for the
    /// longest time; while all are busy, it waits.
    pub max_connections: usize,
    /// A connection is closed if its first byte does not arrive within this time.
    pub first_byte_timeout: Duration,
    /// Time for a complete head from its first byte on.
    pub head_timeout: Duration,
    /// A connection without a request is closed after this time. It is longer than the idle time of load balancers in
    /// front (600 s at most), so that they close first: if the server closes, a request may be on its way.
    pub idle_timeout: Duration,
    /// A client that closes its half of the connection within this time after its request still waits for the
    /// response (`printf … | nc`). A client that does so later counts as gone.
    pub half_close_within: Duration,
    /// Maximum number of HTTP/2 streams on one connection.
    pub max_streams: u32,
    /// How soon a client that vanished is detected.
    pub liveness: Liveness,
    /// The budget for heads that are not complete yet.
    pub heads: Budget,
    /// The budget for data frames that were not taken, in addition to their content.
    pub frames: Budget,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            first_byte_timeout: Duration::from_secs(60),
            // As in nginx.
            head_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(620),
            half_close_within: Duration::from_millis(250),
            max_streams: 250,
            liveness: Liveness::CLIENT,
            heads: Budget::new(16 * 1024 * 1024),
            frames: Budget::new(16 * 1024 * 1024),
        }
    }
}

/// Answers requests. Its future is dropped when the client disconnects: nothing after an await may be needed for
/// correctness; use guards.
pub trait Handler: Send + Sync + 'static {
    /// Lives until the request has ended, including the last byte of its response.
    type Guard: Send + 'static;

    /// Answers one request from `peer`.
    fn call(
        &self,
        request: Request<RequestBody>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<ResponseBody<Self::Guard>>> + Send;

    /// Returns the current limits for a connection. It is called with each request and between requests, so it must
    /// be fast. A tunnel keeps the limits from its start.
    fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits::default()
    }
}

/// The transport for HTTP.
pub trait Transport: Send + Sync + 'static {
    /// Prepares an accepted connection. It is cancelled after the time for the first byte.
    fn open(&self, stream: TcpStream) -> impl Future<Output = io::Result<Stream>> + Send;
}

/// TCP itself.
struct Plain;

impl Transport for Plain {
    async fn open(&self, stream: TcpStream) -> io::Result<Stream> {
        Ok(Stream::Tcp(stream))
    }
}

/// Accepts connections on `listener` until `drain` closes it.
///
/// Failures of single connections do not affect others. If file descriptors or memory are short, accepting pauses.
pub async fn serve<H: Handler>(listener: TcpListener, handler: Arc<H>, drain: Drain, limits: Limits) {
    serve_over(Plain, listener, handler, drain, limits).await;
}

/// Like [`serve`], over another transport than plain TCP.
pub async fn serve_over<T: Transport, H: Handler>(
    transport: T,
    listener: TcpListener,
    handler: Arc<H>,
    drain: Drain,
    limits: Limits,
) {
    // A drain also waits for connections that are still to be accepted.
    let _accepting = drain.tasks().token();
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
                    biased; // it is accepted, and is not dropped because closing begins
                    place = acceptor.places.take() => place,
                    () = &mut closing => {
                        acceptor.begin_late(stream, peer, Instant::now() + LAST_CHANCE).await;
                        break;
                    }
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
    acceptor.begin_the_last(listener).await;
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Starts connections.
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
            overdue: Notify::new(),
            peer,
        });
        let (open, transport) = (self.drain.connection(), self.transport.clone());
        self.drain.tasks().spawn(async move {
            connection.run(stream, &*transport).await;
            drop((open, place));
        });
    }

    /// Starts connections that the kernel has accepted already, which may have sent a request.
    async fn begin_the_last(&self, listener: TcpListener) {
        let due = Instant::now() + LAST_CHANCE;
        for (stream, peer) in accepted_already(listener) {
            self.begin_late(stream, peer, due).await;
        }
    }

    /// Starts a connection. If all places are taken, waits until `due` for a free one.
    async fn begin_late(&self, stream: TcpStream, peer: SocketAddr, due: Instant) {
        if let Ok(Some(place)) = timeout_at(due, self.places.take()).await {
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
    /// Notified by a request after the connection has reached its maximum age.
    overdue: Notify,
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
            // This future is much larger, and used less often.
            Ok(Ok((Protocol::Http2, io))) => Box::pin(self.http2(io)).await.map_err(io::Error::other),
            Ok(Err(error)) => return debug!(%error, "connection lost before its first byte"),
            Err(_) => return debug!(peer = %self.peer, "no byte arrived in time"),
        };
        if let Err(error) = ended {
            debug!(%error, peer = %self.peer, "connection ended");
        }
    }

    async fn http1(&self, io: Rewind<Stream>) -> io::Result<()> {
        let (stream, first) = io.into_parts();
        let allowed = || self.handler.connection_limits();
        let stay = Stay { age: self.age, allowed: &allowed };
        let mut server = Server::new(stream, first, &self.presence, &self.drain, &self.limits, stay);
        tokio::select! {
            ended = server.run(|request| self.answer(request)) => ended,
            () = self.drain.reached(Stage::Aborted) => Ok(()),
        }
    }

    async fn http2(self: &Arc<Self>, io: Rewind<Stream>) -> Result<(), h2::Error> {
        let answer = |request| {
            let connection = self.clone();
            async move { connection.answer(request).await }
        };
        tokio::select! {
            ended = http2::server::serve(io, &self.presence, &self.drain, &self.limits, self.aged(), answer) => ended,
            () = self.drain.reached(Stage::Aborted) => Ok(()),
        }
    }

    /// Resolves when the connection has reached its maximum age, which may change meanwhile.
    async fn aged(&self) {
        loop {
            let now = Instant::now();
            let due = self.age.due(self.handler.connection_limits());
            if due.is_some_and(|due| due <= now) {
                return;
            }
            let look = now + AGE_LOOK;
            tokio::select! {
                () = sleep_until(due.map_or(look, |due| due.min(look))) => {}
                () = self.overdue.notified() => {}
            }
        }
    }

    async fn answer(&self, request: Request<RequestBody>) -> Response<ResponseBody<H::Guard>> {
        self.drain.request();
        let over_http2 = request.version() == Version::HTTP_2;
        // Over HTTP/1, the response itself says that it is the last.
        if over_http2
            && self.age.due(self.handler.connection_limits()).is_some_and(|due| due <= Instant::now())
        {
            self.overdue.notify_one();
        }
        if let Some(reply) =
            unacceptable(&request).or_else(|| over_http2.then(|| too_large(&request)).flatten())
        {
            return reply.speaking(Speaks::of(request.headers())).into_response();
        }
        // From here on there is one host, whatever the target named: whoever chooses by it and the app see the same.
        let request = if over_http2 { request } else { in_origin_form(request) };
        match unclear_host(&request) {
            Some(reply) => reply.speaking(Speaks::of(request.headers())).into_response(),
            None => self.handler.call(request, self.peer).await,
        }
    }
}

/// Converts `GET http://host/path` to `GET /path` with `Host: host`.
fn in_origin_form<B>(request: Request<B>) -> Request<B> {
    let (mut head, body) = request.into_parts();
    to_origin_form(&mut head);
    Request::from_parts(head, body)
}

/// Returns the reply to a request that no hop may pass on: its host is unclear (RFC 9112, section 3.2), so that two
/// hops could see different requests, or it asks for a tunnel to anywhere.
fn unacceptable<B>(request: &Request<B>) -> Option<Reply> {
    if request.method() == Method::CONNECT {
        let text = "CONNECT is for forward proxies; this is not one";
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
    None
}

/// Returns why the host of a request is none, if it is none.
fn unclear_host<B>(request: &Request<B>) -> Option<Reply> {
    let host = request.headers().get(header::HOST).map(HeaderValue::as_bytes);
    let authority = request.uri().authority().filter(|_| request.version() == Version::HTTP_2);
    let named = authority.map(|authority| authority.as_str().as_bytes()).or(host)?;
    (!named.iter().all(|byte| is_of_a_host(*byte)))
        .then(|| Reply::new(StatusCode::BAD_REQUEST, "host", "the Host header is not a host and port"))
}

/// Returns the reply to a head that is too large. Over HTTP/1, it is not even read.
fn too_large<B>(request: &Request<B>) -> Option<Reply> {
    let fields = request.headers();
    let bytes: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD).sum();
    let text = if fields.len() > MAX_FIELDS {
        format!("the head has more than {MAX_FIELDS} fields")
    } else if bytes > MAX_BYTES {
        format!("the head has more than {MAX_BYTES} bytes")
    } else {
        return None;
    };
    Some(Reply::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", text))
}

/// Returns whether `byte` can be part of a host and port (RFC 3986, section 3.2.2, and internationalized names as
/// some clients send them).
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
            (Version::HTTP_2, &["me@a"], false),
        ];
        for (version, hosts, passes) in cases {
            let request = request(version, hosts);
            let refused = unacceptable(&request).or_else(|| unclear_host(&request));
            assert_eq!(refused.is_none(), passes, "{version:?} {hosts:?}");
        }
        let tunnel =
            Request::connect("example.com:443").header(header::HOST, "example.com").body(()).unwrap();
        assert!(unacceptable(&tunnel).is_some());
    }
}
