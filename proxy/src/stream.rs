//! Bodies that are written piece by piece while the other side reads: the link between the programs.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::timeout,
};

use crate::{
    body::BodyError,
    http2::{self, Incoming, Outgoing, Room},
    net::{Liveness, connect, liveness::PING},
};

/// A body that ends when its sender is dropped.
#[derive(Debug)]
pub struct ChannelBody {
    pieces: mpsc::Receiver<Bytes>,
}

impl ChannelBody {
    /// Returns a sender of pieces and the body; at most `capacity` pieces are pending.
    pub fn new(capacity: usize) -> (mpsc::Sender<Bytes>, Self) {
        let (sender, pieces) = mpsc::channel(capacity);
        (sender, Self { pieces })
    }
}

impl Body for ChannelBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.pieces.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Why a stream could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// There was no connection.
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, std::io::Error),
    /// The peer does not speak HTTP/2, or the stream failed.
    #[error("cannot open a stream to {0}: {1}")]
    Http(SocketAddr, h2::Error),
    /// The head of the response did not arrive in time.
    #[error("no answer from {0} within {1:?}")]
    TimedOut(SocketAddr, Duration),
}

/// Opens a bidirectional stream of pieces: a POST over HTTP/2 whose response starts before its request ends.
///
/// # Errors
///
/// Returns [`OpenError`] if the head of the response did not arrive `within` the time.
pub async fn open(
    address: SocketAddr,
    request: Request<ChannelBody>,
    within: Duration,
) -> Result<Response<Incoming>, OpenError> {
    timeout(within, async {
        let stream =
            connect(address, within, Liveness::POD).await.map_err(|e| OpenError::Connect(address, e))?;
        open_over(stream, request).await.map_err(|e| OpenError::Http(address, e))
    })
    .await
    .unwrap_or(Err(OpenError::TimedOut(address, within)))
}

async fn open_over(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<ChannelBody>,
) -> Result<Response<Incoming>, h2::Error> {
    let room = Room::new();
    let place = room.take();
    let mut sender = http2::client::begin(io, room, Some(PING)).await?.ready().await?;
    let (head, mut pieces) = request.into_parts();
    let (answer, out) = sender.send_request(Request::from_parts(head, ()), false)?;
    // The task ends with the stream. Pieces are sent even if nobody polls the response.
    tokio::spawn(async move {
        let mut out = Outgoing::new(out);
        let _ = poll_fn(|cx| out.poll_send(Pin::new(&mut pieces), cx)).await;
        drop(place);
    });
    let (head, stream) = answer.await?.into_parts();
    let body = Incoming::new(stream, &head.headers);
    Ok(Response::from_parts(head, body))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::BodyExt;
    use hyper::{body::Incoming, server::conn::http2 as server, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::{
        io::{copy_bidirectional, duplex},
        sync::oneshot,
        time::Instant,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_other_end_is_silently_gone_ends_within_six_seconds_and_an_idle_one_stays() {
        let (near, mut wire) = duplex(1 << 16);
        let (mut far_wire, far) = duplex(1 << 16);
        let answer = |request: Request<Incoming>| async move {
            let (sender, body) = ChannelBody::new(1);
            tokio::spawn(async move {
                let _sender = sender;
                // Keep the response open as long as the other side sends.
                let _ = request.into_body().collect().await;
            });
            Ok::<_, Infallible>(Response::new(body))
        };
        tokio::spawn(
            server::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(far), service_fn(answer)),
        );
        // This relay carries every byte until it is cut, and then stays silent.
        let (cut, is_cut) = oneshot::channel::<()>();
        tokio::spawn(async move {
            tokio::select! {
                _ = copy_bidirectional(&mut wire, &mut far_wire) => {}
                _ = is_cut => std::future::pending().await,
            }
        });
        let (_up, body) = ChannelBody::new(1);
        let mut down = open_over(near, Request::post("http://far/").body(body).unwrap()).await.unwrap();
        let idle = timeout(Duration::from_secs(600), down.frame()).await;
        assert!(idle.is_err(), "who answers is there: {idle:?}");

        cut.send(()).unwrap();
        let began = Instant::now();
        let ended = timeout(Duration::from_secs(600), down.frame()).await.unwrap();
        assert!(!matches!(ended, Some(Ok(_))), "{ended:?}");
        assert!(began.elapsed() <= Duration::from_secs(6), "{:?}", began.elapsed());
    }
}
