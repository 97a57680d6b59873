//! The sample app over real loopback sockets.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode};
use http_body_util::channel::Channel;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::routes::SAMPLE_POD;
use super::{Failure, Options, Server, run};

/// A running server and the switch that drains it.
struct Running {
    address: SocketAddr,
    drain: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

async fn running() -> Running {
    let server = Server::bind(&Options::default()).await.unwrap();
    let (drain, drained) = oneshot::channel();
    let address = server.local_addr();
    let ended = tokio::spawn(server.run(async {
        let _ = drained.await;
    }));
    Running { address, drain, ended }
}

impl Running {
    async fn send<B>(&self, request: Request<B>) -> Response<Incoming>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    }

    async fn get(&self, target: &str) -> (StatusCode, String) {
        let response = self.send(request(target, Bytes::new())).await;
        (response.status(), text(response).await)
    }
}

fn request(target: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let builder = Request::post(target).header("host", "sample");
    builder.body(Full::new(body.into())).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn any_path_greets_and_names_the_pod() {
    let server = running().await;
    let response = server.send(request("/some/path?ms=1", Bytes::new())).await;
    assert_eq!(response.status(), StatusCode::OK);
    let pod = std::env::var("EBB_POD").unwrap_or_else(|_| std::process::id().to_string());
    assert_eq!(response.headers()[SAMPLE_POD], pod);
    assert!(text(response).await.starts_with("hello from "));
}

#[tokio::test]
async fn fixed_routes_answer_as_their_names_say() {
    let server = running().await;
    assert_eq!(server.get("/healthz").await, (StatusCode::OK, "ok\n".to_owned()));
    assert_eq!(server.get("/status/418").await, (StatusCode::IM_A_TEAPOT, String::new()));
    assert_eq!(server.get("/status/204").await, (StatusCode::NO_CONTENT, String::new()));
    let upload = server.send(request("/upload", vec![0; 300_000])).await;
    assert_eq!(text(upload).await, "300000\n");
}

#[tokio::test]
async fn what_makes_no_sense_is_a_bad_request() {
    let server = running().await;
    for target in ["/?ms=soon", "/events?count=-1", "/status/101", "/status/800", "/status/x", "/ws"] {
        assert_eq!(server.get(target).await.0, StatusCode::BAD_REQUEST, "{target}");
    }
}

#[tokio::test]
async fn it_fetches_what_another_one_answers() {
    let (server, other) = (running().await, running().await);
    let fetch = |path: &str| format!("/fetch?url=http://{}{path}", other.address);
    assert_eq!(server.get(&fetch("/healthz")).await, (StatusCode::OK, "ok\n".to_owned()));
    assert_eq!(server.get(&fetch("/status/418")).await.0, StatusCode::IM_A_TEAPOT);
    let back = format!("/fetch?url=http://{}/healthz", server.address);
    assert_eq!(server.get(&fetch(&back)).await, (StatusCode::OK, "ok\n".to_owned()));
    assert_eq!(server.get("/fetch?url=http://127.0.0.1:1/").await.0, StatusCode::BAD_GATEWAY);
    assert_eq!(server.get("/fetch?url=https://127.0.0.1:1/").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn events_arrive_as_an_event_stream() {
    let server = running().await;
    let response = server.send(request("/events?count=2&ms=1", Bytes::new())).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(text(response).await, "id: 1\ndata: event 1 of 2\n\nid: 2\ndata: event 2 of 2\n\n");
}

#[tokio::test]
async fn http2_without_tls_works_on_the_same_port() {
    let server = running().await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request("http://sample/echo", "twice")).await.unwrap();
    assert_eq!(text(response).await, "twice");
}

#[tokio::test]
async fn draining_finishes_what_is_in_flight_and_refuses_what_is_new() {
    let server = running().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let (mut upload, body) = Channel::<Bytes>::new(1);
    let request = Request::post("/echo").header("host", "sample").body(UnsyncBoxBody::new(body)).unwrap();
    upload.send_data("first,".into()).await.unwrap();
    let mut echo = server.send(request).await.into_body();
    // The first part came back while the request was still being sent: it is streamed, not collected.
    assert_eq!(echo.frame().await.unwrap().unwrap().into_data().unwrap(), "first,");

    server.drain.send(()).unwrap();
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "idle connections are closed");
    assert!(TcpStream::connect(server.address).await.is_err());
    assert!(!server.ended.is_finished());

    upload.send_data("second".into()).await.unwrap();
    drop(upload);
    assert_eq!(echo.collect().await.unwrap().to_bytes(), "second");
    server.ended.await.unwrap();
}

#[tokio::test]
async fn a_websocket_echoes_until_the_server_drains() {
    let server = running().await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async("ws://sample/ws", stream).await.unwrap();
    socket.send(Message::text("again")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("again"));

    server.drain.send(()).unwrap();
    let Message::Close(Some(goodbye)) = socket.next().await.unwrap().unwrap() else {
        panic!("the server did not say why it closes");
    };
    assert_eq!(goodbye.code, CloseCode::Away);
    assert!(socket.next().await.is_none());
    server.ended.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_crash_exits_with_3_after_the_startup_delay() {
    let startup_delay = Duration::from_millis(700);
    let start = Instant::now();
    let options = Options { startup_delay, fail: Some(Failure::Crash), ..Options::default() };
    assert_eq!(run(options).await.unwrap(), ExitCode::from(3));
    assert_eq!(start.elapsed(), startup_delay);
}
