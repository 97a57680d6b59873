use std::{convert::Infallible, future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use crate::{
    body::ResponseBody,
    drain::{Drain, Stage},
    reply::Reply,
    rewind::{Protocol, Rewind, detect},
};

/// One slow HTTP/2 stream pins at most this many bytes of ours; hyper's default is 1 MiB.
pub(crate) const H2_STREAM_WINDOW: u32 = 256 * 1024;
/// All streams of one HTTP/2 connection together.
pub(crate) const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Header bytes of one request. hyper's default for HTTP/2, 16 KiB, is less than large tokens need.
pub(crate) const MAX_HEADER_BYTES: u32 = 256 * 1024;

/// What a server allows its clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; further ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// A connection whose first byte does not come in this time is closed.
    pub first_byte_timeout: Duration,
    /// The head of the next request must be complete in this time, idle time included. Longer than the
    /// idle time of the load balancers in front (600 s at most), so that they close first: a close from
    /// our side could meet a request on its way.
    pub header_timeout: Duration,
    /// HTTP/2 streams at once on one connection.
    pub max_streams: u32,
    /// A client that takes nothing of its answer for so long is cut off (Linux only): it would keep its
    /// request's slot for ever, because nobody asks for the body's next frame, not even for its time-outs.
    pub send_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            first_byte_timeout: Duration::from_secs(60),
            header_timeout: Duration::from_secs(620),
            max_streams: 250,
            // As nginx has it.
            send_timeout: Duration::from_secs(60),
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
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<ResponseBody<Self::Guard>>> + Send;
}

/// What HTTP is spoken over.
pub trait Transport: Send + Sync + 'static {
    /// A connection, ready for HTTP.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Makes an accepted connection ready. Given up after the time that the first byte may take.
    fn open(&self, stream: TcpStream) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// The connection itself.
struct Plain;

impl Transport for Plain {
    type Stream = TcpStream;

    async fn open(&self, stream: TcpStream) -> io::Result<TcpStream> {
        Ok(stream)
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
    let transport = Arc::new(transport);
    let places = Arc::new(Semaphore::new(limits.max_connections));
    let mut closing = pin!(drain.reached(Stage::Closing));
    loop {
        let place = tokio::select! {
            // The semaphore is never closed.
            Ok(place) = places.clone().acquire_owned() => place,
            () = &mut closing => return,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut closing => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection =
                    Arc::new(Connection { handler: handler.clone(), drain: drain.clone(), limits, peer });
                let (open, transport) = (drain.connection(), transport.clone());
                drain.tasks().spawn(async move {
                    connection.run(stream, &*transport).await;
                    drop((open, place));
                });
            }
            Err(error) if is_about_one_connection(&error) => debug!(%error, "connection lost before accept"),
            Err(error) => {
                warn!(%error, "cannot accept; pausing");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// What a connection is read from and written to.
trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for S {}

struct Connection<H> {
    handler: Arc<H>,
    drain: Drain,
    limits: Limits,
    peer: SocketAddr,
}

impl<H: Handler> Connection<H> {
    async fn run(self: Arc<Self>, stream: TcpStream, transport: &impl Transport) {
        if let Err(error) = stream.set_nodelay(true).and_then(|()| self.set_send_timeout(&stream)) {
            debug!(%error, "connection lost after accept");
            return;
        }
        let detecting = async { detect(transport.open(stream).await?).await };
        let detected = tokio::select! {
            detected = timeout(self.limits.first_byte_timeout, detecting) => detected,
            // Nothing was asked on it: nobody loses anything.
            () = self.drain.reached(Stage::Closing) => return,
        };
        let ended = match detected {
            Ok(Ok((Protocol::Http1, io))) => self.http1(io).await,
            Ok(Ok((Protocol::Http2, io))) => self.http2(io).await,
            Ok(Err(error)) => return debug!(%error, "connection lost before its first byte"),
            Err(_) => return debug!(peer = %self.peer, "no byte came in time"),
        };
        if let Err(error) = ended {
            debug!(%error, peer = %self.peer, "connection ended");
        }
    }

    #[cfg(target_os = "linux")]
    fn set_send_timeout(&self, stream: &TcpStream) -> io::Result<()> {
        socket2::SockRef::from(stream).set_tcp_user_timeout(Some(self.limits.send_timeout))
    }

    #[cfg(not(target_os = "linux"))]
    fn set_send_timeout(&self, _: &TcpStream) -> io::Result<()> {
        Ok(())
    }

    async fn http1(&self, io: Rewind<impl Io>) -> hyper::Result<()> {
        let service = service_fn(|request| self.answer(request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = self.drain.reached(Stage::Closing) => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection => ended,
            () = self.drain.reached(Stage::Aborted) => Ok(()),
        }
    }

    async fn http2(self: &Arc<Self>, io: Rewind<impl Io>) -> hyper::Result<()> {
        let connection = self.clone();
        let service = service_fn(move |request| {
            let connection = connection.clone();
            async move { connection.answer(request).await }
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.max_streams)
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(io), service);
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return ended,
            // GOAWAY names the last stream that was taken: its sender knows what to repeat elsewhere.
            () = self.drain.leaving() => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection => ended,
            () = self.drain.reached(Stage::Aborted) => Ok(()),
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody<H::Guard>>, Infallible> {
        self.drain.request();
        let http1 = request.version() <= Version::HTTP_11;
        let mut response = match unacceptable(&request) {
            Some(reply) => reply.into_response(),
            None => self.handler.call(request, self.peer).await,
        };
        if http1 && self.drain.is_leaving() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

/// What no hop may pass on: a request whose host is not clear (RFC 9112, section 3.2), because two hops
/// could take it for different ones, and a tunnel to wherever the client likes.
fn unacceptable<B>(request: &Request<B>) -> Option<Reply> {
    if request.method() == Method::CONNECT {
        let text = "CONNECT is for forward proxies; this is none";
        return Some(Reply::new(StatusCode::METHOD_NOT_ALLOWED, "connect", text));
    }
    let hosts = request.headers().get_all(header::HOST).iter().count();
    let wanted = match request.version() {
        Version::HTTP_11 => 1..=1,
        _ => 0..=1,
    };
    (!wanted.contains(&hosts)).then(|| {
        let text = format!("{hosts} Host headers; want exactly one");
        Reply::new(StatusCode::BAD_REQUEST, "host", text)
    })
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
