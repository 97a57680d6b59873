//! HTTP clients, as impatient and as patient as real ones.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle};

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn assert_ok(&self) {
        assert_eq!(self.status, StatusCode::OK, "{} {}", self.header("ebb-reason"), self.body);
    }
}

pub(crate) fn get_request(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header(header::HOST, "test").body(Full::default()).unwrap()
}

pub(crate) fn post_request(path: &str, body: Vec<u8>) -> Request<Full<Bytes>> {
    Request::post(path).header(header::HOST, "test").body(Full::from(body)).unwrap()
}

pub(crate) async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    // Who is aborted has gone, and does not wait for an answer with its half of the connection closed.
    stream.set_zero_linger().unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    // Ends with its sender.
    tokio::spawn(connection);
    sender
}

/// One request on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    send(&mut connect(address).await, get_request(path)).await.unwrap()
}

/// As [`get`], beside whatever else is done.
pub(crate) fn get_in_background(address: SocketAddr, path: &'static str) -> JoinHandle<Answer> {
    tokio::spawn(get(address, path))
}

async fn send(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

/// Clients give up idle connections after so long; a shorter time than the drain's quiet one.
const IDLE: Duration = Duration::from_millis(500);

/// A client that keeps its connection until the server says that it closes it.
pub(crate) struct KeepAlive {
    address: SocketAddr,
    open: Option<(SendRequest<Full<Bytes>>, Instant)>,
}

impl KeepAlive {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, open: None }
    }

    /// The answer; an error is a lost request.
    #[expect(clippy::disallowed_methods, reason = "a client outside of Ebb has its own clock")]
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
        let mut sender = match self.open.take() {
            Some((sender, used)) if used.elapsed() < IDLE => sender,
            _ => connect(self.address).await,
        };
        let answer = send(&mut sender, request).await?;
        if answer.header("connection") != "close" {
            self.open = Some((sender, Instant::now()));
        }
        Ok(answer)
    }
}
