use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use ebb_core::link::{Down, Frames, Listening, ServiceEntry, Up, frame};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Frame, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};

use crate::soon;

/// The other end of an activator's link, which tells it about pods.
#[derive(Debug)]
pub(crate) struct Autoscaler {
    pub(crate) address: SocketAddr,
    sessions: mpsc::Receiver<mpsc::Sender<Bytes>>,
    listening: mpsc::Receiver<Listening>,
    down: Option<mpsc::Sender<Bytes>>,
    _serving: JoinSet<()>,
}

impl Autoscaler {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        // There is one activator, which sends few messages.
        let (session, sessions) = mpsc::channel(16);
        let (listens, listening) = mpsc::channel(16);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (session, listens) = (session.clone(), listens.clone());
                let service = service_fn(move |request| stream_of(request, session.clone(), listens.clone()));
                connections.spawn(async move {
                    let io = TokioIo::new(stream);
                    // The test checks how it ends.
                    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
                });
            }
        });
        Self { address, sessions, listening, down: None, _serving: serving }
    }

    /// Waits for the activator's stream.
    pub(crate) async fn session(&mut self) {
        self.down = soon("the activator's stream", self.sessions.recv()).await;
    }

    /// Sends all information about a service.
    pub(crate) async fn tell(&self, entry: ServiceEntry) {
        let message = frame(&Down { services: vec![entry], ..Down::default() });
        let down = self.down.as_ref().expect("a session is open");
        soon("room in the stream", down.send(message)).await.expect("the stream is open");
    }

    /// Returns the port that the activator has bound.
    pub(crate) async fn listening(&mut self) -> u16 {
        let news = soon("news of a port", self.listening.recv()).await.expect("the handler lives");
        assert_eq!(news.error, "");
        u16::try_from(news.port).expect("a port")
    }
}

async fn stream_of(
    request: Request<Incoming>,
    session: mpsc::Sender<mpsc::Sender<Bytes>>,
    listens: mpsc::Sender<Listening>,
) -> io::Result<Response<Pieces>> {
    let (down, pieces) = mpsc::channel(16);
    session.send(down).await.map_err(io::Error::other)?;
    // Ends with the stream.
    tokio::spawn(async move {
        let (mut up, mut frames) = (request.into_body(), Frames::default());
        while let Some(Ok(piece)) = up.frame().await {
            let Some(data) = piece.data_ref() else { continue };
            frames.push(data);
            while let Ok(Some(message)) = frames.next_message::<Up>() {
                for news in message.listening {
                    // The test may have ended.
                    let _ = listens.send(news).await;
                }
            }
        }
    });
    Ok(Response::new(Pieces(pieces)))
}

/// A body that ends when its sender is dropped.
struct Pieces(mpsc::Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
