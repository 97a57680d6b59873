//! Clients of the activator.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinHandle};

use super::soon;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// The status and the reason that Ebb gives.
    pub(crate) fn refusal(&self) -> (u16, Option<&str>) {
        (self.status.as_u16(), self.header("ebb-reason"))
    }
}

pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    with_body("GET", path, "")
}

pub(crate) fn post(path: &str, body: &'static str) -> Request<Full<Bytes>> {
    with_body("POST", path, body)
}

fn with_body(method: &str, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    let body = Full::new(Bytes::from_static(body.as_bytes()));
    Request::builder().method(method).uri(path).header("host", "hello.example").body(body).expect("a request")
}

/// Sends `request` on a connection of its own. The answer is awaited where the handle is.
pub(crate) fn ask(address: SocketAddr, request: Request<Full<Bytes>>) -> Waiting {
    Waiting(tokio::spawn(async move { whole(begin(address, request).await).await }))
}

/// A request on its way.
pub(crate) struct Waiting(JoinHandle<Answer>);

impl Waiting {
    pub(crate) async fn answer(self) -> Answer {
        soon("an answer", self.0).await.expect("the client does not panic")
    }

    /// Whether its answer has come.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// The client goes away.
    pub(crate) fn leaves(self) {
        self.0.abort();
    }

    /// Asserts 200 with `body`.
    pub(crate) async fn hears(self, body: &str) {
        let answer = self.answer().await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, body), "{answer:?}");
    }
}

/// Sends `request` on a connection of its own, and waits for the head of the answer.
pub(crate) async fn begin(address: SocketAddr, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let mut sender = connect(address).await;
    soon("the head of an answer", sender.send_request(request)).await.expect("an answer")
}

/// A connection of a client that has gone when it hangs up: it does not wait for an answer with its half closed.
async fn opened(address: SocketAddr) -> TcpStream {
    let stream = soon("a connection", TcpStream::connect(address)).await.expect("the port is open");
    stream.set_zero_linger().expect("it is open");
    stream
}

pub(crate) async fn connect(address: SocketAddr) -> http1::SendRequest<Full<Bytes>> {
    let stream = opened(address).await;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    // Ends with its sender, or when the server closes it.
    tokio::spawn(connection.with_upgrades());
    sender
}

pub(crate) async fn connect_http2(address: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let stream = opened(address).await;
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    sender
}

pub(crate) async fn whole(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let body = soon("the rest of an answer", body.collect()).await.expect("a whole body").to_bytes();
    let body = String::from_utf8(body.to_vec()).expect("text");
    Answer { status: head.status, headers: head.headers, body }
}

/// A connection on which `bytes` were written. Dropping it is a client that goes away.
pub(crate) async fn raw(address: SocketAddr, bytes: &str) -> TcpStream {
    let mut stream = opened(address).await;
    stream.write_all(bytes.as_bytes()).await.expect("the port takes bytes");
    stream
}
