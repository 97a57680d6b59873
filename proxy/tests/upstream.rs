//! What an upstream guarantees to its users, over real connections.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ebb_core::{LateResponse, fate::Fate};
use ebb_proxy::{
    Drain, FetchError, ForwardError, Handler, Limits, RequestBody, ResponseBody, Timeouts, Upstream,
    UpstreamLimits, fetch, forward, serve,
};
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, timeout},
};

const GENEROUS: Duration = Duration::from_secs(20);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(GENEROUS, future).await.expect("it comes in time")
}

fn timeouts() -> Timeouts {
    Timeouts {
        deadline: Instant::now() + GENEROUS,
        response_start: None,
        idle: None,
        late: LateResponse::Cut,
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

fn get(path: &str) -> Request<()> {
    Request::get(path).header("host", "a").body(()).expect("it is valid")
}

async fn accept(listener: &TcpListener) -> TcpStream {
    within(listener.accept()).await.expect("a connection").0
}

/// Reads one request without a body, and answers it.
async fn answer(stream: &mut TcpStream, answer: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(within(stream.read_u8()).await.expect("a request"));
    }
    within(stream.write_all(answer.as_bytes())).await.expect("the hop reads");
    String::from_utf8(read).expect("text")
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Returns whether the other side closed.
async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(within(stream.read(&mut [0; 1])).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn a_request_that_could_not_be_sent_was_never_sent() {
    for version in [http::Version::HTTP_11, http::Version::HTTP_2] {
        let (listener, address) = listen().await;
        drop(listener);
        let upstream = Upstream::new(address, UpstreamLimits::default());
        let (mut head, ()) = Request::get("http://a/path").body(()).unwrap().into_parts();
        head.version = version;
        let failed = within(forward(&upstream, &head, RequestBody::empty(), timeouts())).await;
        let Err(ForwardError::Send(error)) = failed else { panic!("{failed:?}") };
        assert_eq!((error.fate, error.address, error.on_used), (Fate::NeverSent, address, false));
    }
}

#[tokio::test]
async fn those_who_wait_for_the_same_connection_all_hear_that_it_failed() {
    let (listener, address) = listen().await;
    drop(listener);
    let upstream = Upstream::new(address, UpstreamLimits::default());
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let upstream = upstream.clone();
        requests.spawn(async move {
            let (mut head, ()) = Request::get("http://a/").body(()).unwrap().into_parts();
            head.version = http::Version::HTTP_2;
            forward(&upstream, &head, RequestBody::empty(), timeouts()).await.map(drop)
        });
    }
    for answer in within(requests.join_all()).await {
        assert_eq!(answer.map_err(|error| error.fate()), Err(Fate::NeverSent));
    }
}

#[tokio::test]
async fn no_more_connections_are_kept_than_allowed() {
    let (listener, address) = listen().await;
    let limits = UpstreamLimits { max_idle: 0, ..UpstreamLimits::default() };
    let upstream = Upstream::new(address, limits);
    for _ in 0..3 {
        let (answered, app) = tokio::join!(fetch(&upstream, get("/"), 100, GENEROUS), async {
            let mut stream = accept(&listener).await;
            answer(&mut stream, OK).await;
            stream
        });
        assert_eq!(answered.unwrap().into_body(), "ok");
        let mut app = app;
        assert!(is_closed(&mut app).await);
    }
}

#[tokio::test]
async fn a_connection_that_was_idle_for_too_long_is_closed() {
    let (listener, address) = listen().await;
    let limits = UpstreamLimits { idle_timeout: Duration::from_millis(50), ..UpstreamLimits::default() };
    let upstream = Upstream::new(address, limits);
    let (answered, mut app) = tokio::join!(fetch(&upstream, get("/"), 100, GENEROUS), async {
        let mut stream = accept(&listener).await;
        answer(&mut stream, OK).await;
        stream
    });
    assert_eq!(answered.unwrap().into_body(), "ok");
    assert!(is_closed(&mut app).await, "by the hop, without another request");
}

#[tokio::test]
async fn a_fetch_is_bounded_in_length_and_in_time() {
    let (listener, address) = listen().await;
    let upstream = Upstream::new(address, UpstreamLimits::default());
    let long = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\n12345678\r\n0\r\n\r\n";
    let (answered, mut app) = tokio::join!(fetch(&upstream, get("/"), 7, GENEROUS), async {
        let mut stream = accept(&listener).await;
        answer(&mut stream, long).await;
        stream
    });
    assert!(matches!(answered, Err(FetchError::TooLong(7))), "{answered:?}");
    assert!(is_closed(&mut app).await, "what was not read to its end is not used again");
    let limit = Duration::from_millis(50);
    let (answered, mut app) = tokio::join!(fetch(&upstream, get("/"), 7, limit), accept(&listener));
    assert!(matches!(answered, Err(FetchError::TimedOut(_))), "{answered:?}");
    answer(&mut app, "").await;
    assert!(is_closed(&mut app).await);
}

struct Counting {
    began: mpsc::Sender<()>,
}

impl Handler for Counting {
    type Guard = ();

    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> Response<ResponseBody<()>> {
        let _ = self.began.send(()).await;
        let _ = request.into_body().collect().await;
        Response::new(ResponseBody::own("ok"))
    }
}

#[tokio::test]
async fn one_connection_more_takes_the_place_of_one_that_asks_nothing() {
    let (listener, address) = listen().await;
    let drain = Drain::default();
    let limits = Limits { max_connections: 1, ..Limits::default() };
    let (began, mut calls) = mpsc::channel(10);
    let serving = tokio::spawn(serve(listener, Arc::new(Counting { began }), drain.clone(), limits));
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n").await.unwrap();
    within(calls.recv()).await.unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    tokio::task::yield_now().await;
    assert!(calls.try_recv().is_err(), "who is answered keeps its place");
    first.write_all(b"ok").await.unwrap();
    within(calls.recv()).await.expect("the second is served");
    let mut answer = Vec::new();
    within(first.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.ends_with(b"ok"), "its answer is whole before it goes");
    drain.abort();
    within(serving).await.unwrap();
    // A response may have been written before it was cut.
    let _ = within(second.read_to_end(&mut Vec::new())).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed_after_the_first_bytes_time_out() {
    let (listener, address) = listen().await;
    let limits = Limits { first_byte_timeout: Duration::from_millis(50), ..Limits::default() };
    let (began, _calls) = mpsc::channel(1);
    let _serving = tokio::spawn(serve(listener, Arc::new(Counting { began }), Drain::default(), limits));
    for preface in ["", "PRI * HTTP"] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(preface.as_bytes()).await.unwrap();
        assert!(is_closed(&mut client).await);
    }
}
