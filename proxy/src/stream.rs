//! Bodies that are written piece by piece while the other side reads: the link between the programs.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use thiserror::Error;
use tokio::{net::TcpStream, sync::mpsc, time::timeout};

/// A dead peer is noticed after at most two of these.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A body that ends when its sender is dropped.
#[derive(Debug)]
pub struct ChannelBody {
    pieces: mpsc::Receiver<Bytes>,
}

impl ChannelBody {
    /// A body, and the sender of its pieces: `capacity` of them wait at most.
    pub fn new(capacity: usize) -> (mpsc::Sender<Bytes>, Self) {
        let (sender, pieces) = mpsc::channel(capacity);
        (sender, Self { pieces })
    }
}

impl Body for ChannelBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.pieces.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// A stream that could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// No connection.
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, std::io::Error),
    /// No HTTP/2, or the stream was refused midway.
    #[error("cannot open a stream to {0}: {1}")]
    Http(SocketAddr, hyper::Error),
    /// No head of an answer in time.
    #[error("no answer from {0} within {1:?}")]
    TimedOut(SocketAddr, Duration),
}

/// Opens a stream of pieces both ways: a POST over HTTP/2 whose answer begins before its request ends.
///
/// # Errors
///
/// [`OpenError`] if the head of the answer did not come `within` the time.
pub async fn open(
    address: SocketAddr,
    request: Request<ChannelBody>,
    within: Duration,
) -> Result<Response<Incoming>, OpenError> {
    timeout(within, async {
        let stream = TcpStream::connect(address).await.map_err(|e| OpenError::Connect(address, e))?;
        stream.set_nodelay(true).map_err(|e| OpenError::Connect(address, e))?;
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| OpenError::Http(address, e))?;
        // Owned by the stream: it ends when both bodies are dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "link ended");
            }
        });
        sender.send_request(request).await.map_err(|e| OpenError::Http(address, e))
    })
    .await
    .unwrap_or(Err(OpenError::TimedOut(address, within)))
}
