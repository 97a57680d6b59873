//! Clients, each with its own connections.

use std::{fmt, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};

use crate::place::{Io, Place};

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as text.
    pub body: String,
    /// The trailers after the body.
    pub trailers: HeaderMap,
}

impl Answer {
    /// Returns a header's value; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// # Panics
    ///
    /// Panics if the status is not 200.
    #[track_caller]
    pub fn assert_ok(&self) {
        assert_eq!(self.status, StatusCode::OK, "{} {}", self.header("ebb-reason"), self.body);
    }
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// No connection could be opened.
    Connect(io::ErrorKind),
    /// The connection broke before the head of an answer came.
    Unanswered(String),
    /// The answer was cut off.
    Torn(String),
    /// The client gave up.
    TimedOut,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(kind) => write!(f, "no connection: {kind}"),
            Self::Unanswered(why) => write!(f, "unanswered: {why}"),
            Self::Torn(why) => write!(f, "the answer broke off: {why}"),
            Self::TimedOut => f.write_str("the client gave up"),
        }
    }
}

/// Enough for a cluster with two busy cores.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a GET on a new connection.
///
/// # Errors
///
/// Returns an error if there is no complete answer within a minute.
pub async fn get(place: impl Into<Place>, path: &str) -> Result<Answer, Lost> {
    get_within(place, path, PATIENCE).await
}

/// Sends a GET that must be answered with 200.
///
/// # Panics
///
/// Panics if it is not.
pub async fn served(place: impl Into<Place>, path: &str) -> Answer {
    let place = place.into();
    let answer = get(place.clone(), path).await.unwrap_or_else(|lost| panic!("{place}{path}: {lost}"));
    answer.assert_ok();
    answer
}

/// Like [`get`], with another deadline.
///
/// # Errors
///
/// Returns an error if there is no complete answer by then.
pub async fn get_within(place: impl Into<Place>, path: &str, within: Duration) -> Result<Answer, Lost> {
    let place = place.into();
    timeout(within, async {
        let stream = place.connect("http/1.1").await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(unanswered)?;
        let connection = tokio::spawn(connection);
        let request = Request::get(path)
            .header(header::HOST, &place.host)
            .header(header::CONNECTION, "close")
            .body(Full::<Bytes>::default())
            .map_err(|error| Lost::Unanswered(error.to_string()))?;
        let answer = whole(sender.send_request(request).await.map_err(unanswered)?).await;
        connection.abort();
        answer
    })
    .await
    .unwrap_or(Err(Lost::TimedOut))
}

/// Makes a gRPC call, as far as a proxy can tell: HTTP/2, its content type, a message both ways, trailers.
///
/// # Errors
///
/// Returns an error if there is no complete answer within a minute.
pub async fn grpc(place: impl Into<Place>, path: &str, message: &'static str) -> Result<Answer, Lost> {
    let place = place.into();
    timeout(PATIENCE, async {
        let stream = place.connect("h2").await?;
        let io = TokioIo::new(stream);
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), io).await.map_err(unanswered)?;
        let connection = tokio::spawn(connection);
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let frames = [Frame::data(Bytes::from(message)), Frame::trailers(trailers)];
        let frames = futures_util::stream::iter(frames.map(Ok::<_, std::convert::Infallible>));
        let request = Request::post(format!("{}://{}{path}", place.scheme(), place.host))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(StreamBody::new(frames))
            .map_err(|error| Lost::Unanswered(error.to_string()))?;
        let answer = whole(sender.send_request(request).await.map_err(unanswered)?).await;
        connection.abort();
        answer
    })
    .await
    .unwrap_or(Err(Lost::TimedOut))
}

/// Sends a message on a new WebSocket, and returns the reply and the socket.
///
/// # Errors
///
/// Returns an error if the handshake fails, or there is no reply within a minute.
pub async fn websocket(
    place: impl Into<Place>,
    path: &str,
    text: &'static str,
) -> Result<(String, WebSocketStream<Box<dyn Io>>), Lost> {
    let place = place.into();
    let torn = |error: tungstenite::Error| Lost::Torn(error.to_string());
    timeout(PATIENCE, async {
        let stream = place.connect("http/1.1").await?;
        let opened = client_async(format!("ws://{}{path}", place.host), stream).await;
        let (mut socket, _) = opened.map_err(|error| Lost::Unanswered(error.to_string()))?;
        socket.send(tungstenite::Message::text(text)).await.map_err(torn)?;
        let back = socket.next().await.ok_or_else(|| Lost::Torn("closed".to_owned()))?.map_err(torn)?;
        Ok((back.into_text().map_err(torn)?.to_string(), socket))
    })
    .await
    .unwrap_or(Err(Lost::TimedOut))
}

/// Returns whether connections to `address` are accepted.
pub async fn is_reachable(address: SocketAddr) -> bool {
    timeout(Duration::from_secs(1), TcpStream::connect(address)).await.is_ok_and(|opened| opened.is_ok())
}

/// Reads an answer to its end.
pub(crate) async fn whole(response: Response<Incoming>) -> Result<Answer, Lost> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| Lost::Torn(cause(&error)))?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Ok(Answer { status: head.status, headers: head.headers, body, trailers })
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unanswered(error: hyper::Error) -> Lost {
    Lost::Unanswered(cause(&error))
}

/// Returns the innermost cause of an error: hyper's own texts leave it out.
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
