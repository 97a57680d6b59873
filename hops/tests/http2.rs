//! HTTP/2 by prior knowledge: gRPC clients and apps.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use ebb_hops::{Hops, Path, each_on_paths, soon, until};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::{
    body::{Body, Frame, Incoming},
    client::conn::http2,
    server,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

type AnyBody = BoxBody<Bytes, Infallible>;

/// The result of a request at one end.
#[derive(Debug)]
struct Whole<H> {
    head: H,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

/// An app that responds when it has read the request, or `early`.
struct App {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Whole<Parts>>>>,
    _serving: JoinSet<()>,
}

impl App {
    async fn start(answer: fn() -> Response<AnyBody>) -> Self {
        Self::serving(answer, &[]).await
    }

    /// The paths of requests that are answered before they are read.
    async fn serving(answer: fn() -> Response<AnyBody>, early: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (saw, mut serving) = (seen.clone(), JoinSet::new());
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let saw = saw.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let saw = saw.clone();
                    async move {
                        if early.contains(&request.uri().path()) {
                            return Ok(answer());
                        }
                        let whole = whole(request.into_parts()).await?;
                        saw.lock().push(whole);
                        Ok::<_, hyper::Error>(answer())
                    }
                });
                connections.spawn(async move {
                    let mut builder = server::conn::http2::Builder::new(TokioExecutor::new());
                    // More than any test sends.
                    builder.max_header_list_size(4 * 1024 * 1024);
                    // The test checks how it ends.
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, seen, _serving: serving }
    }

    fn saw(&self) -> Whole<Parts> {
        self.seen.lock().pop().expect("a request came")
    }
}

async fn whole<H>((head, body): (H, Incoming)) -> Result<Whole<H>, hyper::Error> {
    let body = body.collect().await?;
    let trailers = body.trailers().cloned();
    Ok(Whole { head, body: body.to_bytes(), trailers })
}

/// Sends one request through `path`, and returns the result.
async fn ask(
    path: Path,
    app: SocketAddr,
    request: Request<AnyBody>,
) -> Result<Whole<http::response::Parts>, hyper::Error> {
    let hops = Hops::start(path, &[app]).await;
    let stream = TcpStream::connect(hops.entry).await.expect("it listens");
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_header_list_size(4 * 1024 * 1024);
    let (mut sender, connection) =
        soon("a handshake", builder.handshake(TokioIo::new(stream))).await.expect("it speaks HTTP/2");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // Its end shows in the response.
        let _ = connection.await;
    });
    let asked = tokio::spawn(async move { whole(sender.send_request(request).await?.into_parts()).await });
    if path == Path::Held {
        until("the request is held, or answered", || hops.held() > 0 || asked.is_finished()).await;
        hops.release().await;
    }
    soon("the answer", asked).await.expect("the client does not panic")
}

fn empty() -> AnyBody {
    Empty::new().boxed()
}

fn full(text: &'static str) -> AnyBody {
    Full::new(Bytes::from_static(text.as_bytes())).boxed()
}

/// Data, then trailers.
fn with_trailers(data: &'static str, name: &'static str) -> AnyBody {
    let trailers = HeaderMap::from_iter([(
        http::HeaderName::from_static(name),
        HeaderValue::from_bytes(b"caf\xe9").expect("a value"),
    )]);
    Full::new(Bytes::from_static(data.as_bytes())).with_trailers(async move { Some(Ok(trailers)) }).boxed()
}

/// This many bytes, as fast as they are accepted.
struct Filling(usize);

impl Body for Filling {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        const PIECE: &[u8] = &[b'x'; 16 * 1024];
        let taken = self.0.min(PIECE.len());
        self.0 -= taken;
        Poll::Ready((taken > 0).then(|| Ok(Frame::data(Bytes::from_static(&PIECE[..taken])))))
    }
}

fn ok() -> Response<AnyBody> {
    Response::new(full("ok"))
}

fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("http://shop.example{path}"))
}

async fn an_early_413(path: Path) {
    let too_large = || {
        let mut answer = Response::new(full("too large"));
        *answer.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        answer
    };
    let app = App::serving(too_large, &["/upload"]).await;
    let upload = request(Method::POST, "/upload").body(Filling(30 * 1024 * 1024).boxed()).expect("a request");
    let answer = ask(path, app.address, upload).await.expect("the whole answer");
    assert_eq!((answer.head.status, &*answer.body), (StatusCode::PAYLOAD_TOO_LARGE, &b"too large"[..]));
}

async fn trailers_both_ways(path: Path) {
    let app = App::start(|| Response::new(with_trailers("down", "grpc-message"))).await;
    let sent = request(Method::POST, "/").header("te", "trailers").body(with_trailers("up", "x-sum"));
    let answer = ask(path, app.address, sent.expect("a request")).await.expect("an answer");
    assert_eq!(&*answer.body, b"down");
    assert_eq!(answer.trailers.expect("trailers")["grpc-message"].as_bytes(), b"caf\xe9");
    let saw = app.saw();
    assert_eq!((&*saw.body, saw.head.headers["te"].as_bytes()), (&b"up"[..], &b"trailers"[..]));
    assert_eq!(saw.trailers.expect("trailers")["x-sum"].as_bytes(), b"caf\xe9");
}

async fn a_get_with_a_body(path: Path) {
    let app = App::start(ok).await;
    let answer = ask(path, app.address, request(Method::GET, "/a?b").body(full("hello")).expect("a request"));
    assert_eq!(&*answer.await.expect("an answer").body, b"ok");
    let saw = app.saw();
    assert_eq!(
        (&*saw.body, saw.head.uri.path_and_query().map(http::uri::PathAndQuery::as_str)),
        (&b"hello"[..], Some("/a?b"))
    );
    assert_eq!(saw.head.uri.authority().map(http::uri::Authority::as_str), Some("shop.example"));
}

async fn a_head(path: Path) {
    let app = App::start(|| {
        let mut answer = Response::new(empty());
        answer.headers_mut().insert("content-length", HeaderValue::from_static("77"));
        answer
    })
    .await;
    let asked = ask(path, app.address, request(Method::HEAD, "/").body(empty()).expect("a request"));
    let answer = asked.await.expect("an answer");
    assert_eq!((answer.head.headers["content-length"].as_bytes(), answer.body.len()), (&b"77"[..], 0));
}

async fn values_keep_their_bytes_and_order(path: Path) {
    let app = App::start(|| {
        let mut answer = ok();
        for value in [&b"a=caf\xe9"[..], b"b=\x80\xff"] {
            answer.headers_mut().append("set-cookie", HeaderValue::from_bytes(value).expect("a value"));
        }
        answer
    })
    .await;
    let sent = request(Method::GET, "/")
        .header("x-name", HeaderValue::from_bytes(b"caf\xe9").expect("a value"))
        .header("x-forwarded-for", HeaderValue::from_bytes(b"caf\xe9").expect("a value"));
    let answer = ask(path, app.address, sent.body(empty()).expect("a request")).await.expect("an answer");
    let cookies: Vec<&[u8]> =
        answer.head.headers.get_all("set-cookie").iter().map(HeaderValue::as_bytes).collect();
    assert_eq!(cookies, [&b"a=caf\xe9"[..], b"b=\x80\xff"]);
    let saw = app.saw().head.headers;
    assert_eq!(saw["x-name"].as_bytes(), b"caf\xe9");
    let by = [&b"caf\xe9"[..], &b", 127.0.0.1".repeat(path.hops())].concat();
    assert_eq!(saw["x-forwarded-for"].as_bytes(), by);
}

async fn a_head_of_900_kib(path: Path) {
    let app = App::start(ok).await;
    let value = HeaderValue::from_bytes(&b"v".repeat(10 * 1024)).expect("a value");
    let sent =
        (0..90).fold(request(Method::GET, "/"), |sent, index| sent.header(format!("x-{index}"), &value));
    let answer = ask(path, app.address, sent.body(empty()).expect("a request")).await.expect("an answer");
    assert_eq!(answer.head.status, StatusCode::OK);
    assert_eq!(app.saw().head.headers["x-89"].len(), 10 * 1024);
}

async fn a_host_alone(path: Path) {
    let app = App::start(ok).await;
    let sent = Request::get("/p").header("host", "shop.example").body(empty()).expect("a request");
    let answer = ask(path, app.address, sent).await.expect("an answer");
    assert_eq!((answer.head.status, &*answer.body), (StatusCode::OK, &b"ok"[..]));
    let head = app.saw().head;
    let host = head.headers.get("host").map(HeaderValue::as_bytes);
    assert_eq!(
        head.uri.authority().map(|named| named.as_str().as_bytes()).or(host),
        Some(&b"shop.example"[..])
    );
}

/// The hop itself refuses the request, with a status and a reason, or by resetting the stream.
async fn is_refused(path: Path, sent: Request<AnyBody>, statuses: &[u16]) {
    let app = App::start(ok).await;
    // A stream that is reset is also refused: RFC 9113, section 8.1.1.
    if let Ok(answer) = ask(path, app.address, sent).await {
        assert!(statuses.contains(&answer.head.status.as_u16()), "{answer:?}");
        assert!(answer.head.headers.contains_key("ebb-reason"), "{answer:?}");
    }
    assert!(app.seen.lock().is_empty(), "the app saw it");
}

async fn a_host_that_differs_from_the_authority(path: Path) {
    let sent = request(Method::GET, "/").header("host", "other.example").body(empty()).expect("a request");
    is_refused(path, sent, &[400]).await;
}

async fn two_hosts(path: Path) {
    let sent = Request::get("/").header("host", "a").header("host", "b").body(empty()).expect("a request");
    is_refused(path, sent, &[400]).await;
}

async fn a_tunnel(path: Path) {
    let sent = Request::connect("shop.example:443").body(empty()).expect("a request");
    is_refused(path, sent, &[400, 405, 501]).await;
}

/// RFC 8441 requires a server setting, which is not sent. A client that asks anyway is refused, and the app receives
/// nothing.
async fn a_websocket(path: Path) {
    let app = App::start(|| Response::new(empty())).await;
    let hops = Hops::start(path, &[app.address]).await;
    let stream = TcpStream::connect(hops.entry).await.expect("it listens");
    let (mut sender, connection) = soon("a handshake", h2::client::handshake(stream)).await.expect("HTTP/2");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // Its end shows in the response.
        let _ = connection.await;
    });
    let get = Request::get("http://hello/").body(()).expect("a request");
    let (answer, _) = sender.send_request(get, true).expect("it is sent");
    assert_eq!(soon("an answer", answer).await.expect("an answer").status(), StatusCode::OK);
    assert!(!sender.is_extended_connect_protocol_enabled());
    app.saw();
    let connect = Request::connect("http://hello/chat")
        .extension(h2::ext::Protocol::from_static("websocket"))
        .body(())
        .expect("a request");
    let (answer, _body) = sender.send_request(connect, false).expect("it is sent");
    let refused = soon("an answer", answer).await;
    assert!(refused.as_ref().map_or(true, |answer| answer.status().is_client_error()), "{refused:?}");
    assert!(app.seen.lock().is_empty());
}

async fn an_app_that_is_gone_from_a_client_of_grpc(path: Path) {
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    is_unavailable_to_grpc(path, gone).await;
}

/// A gRPC call that is not answered over HTTP/2 gets an error in gRPC's terms, and Ebb's reason.
async fn is_unavailable_to_grpc(path: Path, app: SocketAddr) {
    let call =
        request(Method::POST, "/s/M").header("content-type", "application/grpc").header("te", "trailers");
    let answer = ask(path, app, call.body(full("hi")).expect("a request")).await.expect("an answer");
    assert_eq!(answer.head.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.head.headers["grpc-status"].as_bytes(), b"14", "{answer:?}");
    assert_ne!(answer.head.headers["grpc-message"].as_bytes(), b"", "{answer:?}");
    assert!(answer.head.headers.contains_key("ebb-reason"), "{answer:?}");
}

/// An app that writes `said` to each client, and closes.
async fn saying(said: &'static [u8]) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 24];
            // The client may have disconnected.
            let _ = stream.read_exact(&mut asked).await;
            let _ = stream.write_all(said).await;
            let _ = stream.shutdown().await;
            while stream.read(&mut asked).await.is_ok_and(|read| read > 0) {}
        }
    });
    (address, serving)
}

async fn an_app_of_http1_from_a_client_of_grpc(path: Path) {
    let (app, _serving) = saying(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await;
    is_unavailable_to_grpc(path, app).await;
}

async fn an_app_that_closes_from_a_client_of_grpc(path: Path) {
    let (app, _serving) = saying(b"").await;
    is_unavailable_to_grpc(path, app).await;
}

/// The head has fewer bytes than the limit, but more fields.
async fn a_head_of_too_many_fields(path: Path) {
    let mut sent = request(Method::GET, "/");
    for n in 0..10_001 {
        sent = sent.header("x-many", n.to_string());
    }
    is_refused(path, sent.body(empty()).expect("a request"), &[431]).await;
}

each_on_paths! {
    an_app_of_http1_from_a_client_of_grpc: sidecar Sidecar, both Both;
    an_app_that_closes_from_a_client_of_grpc: sidecar Sidecar, both Both;
    a_head_of_too_many_fields: sidecar Sidecar, both Both, held Held;
    an_early_413: direct Direct, sidecar Sidecar, both Both, held Held;
    trailers_both_ways: direct Direct, sidecar Sidecar, both Both, held Held;
    a_get_with_a_body: direct Direct, sidecar Sidecar, both Both, held Held;
    a_head: direct Direct, sidecar Sidecar, both Both, held Held;
    values_keep_their_bytes_and_order: direct Direct, sidecar Sidecar, both Both, held Held;
    a_head_of_900_kib: direct Direct, sidecar Sidecar, both Both, held Held;
    a_host_alone: direct Direct, sidecar Sidecar, both Both, held Held;
    a_host_that_differs_from_the_authority: sidecar Sidecar, both Both, held Held;
    two_hosts: sidecar Sidecar, both Both, held Held;
    a_tunnel: sidecar Sidecar, both Both, held Held;
    a_websocket: sidecar Sidecar, both Both;
    an_app_that_is_gone_from_a_client_of_grpc: sidecar Sidecar, both Both, held Held;
}
