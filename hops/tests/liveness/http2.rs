//! A client and an app for HTTP/2 by prior knowledge.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use ebb_hops::soon;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::{
    body::{Body, Frame, Incoming},
    client::conn::http2::{self, SendRequest},
    server,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// An app that responds at once.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    pub(crate) deliveries: Arc<Mutex<usize>>,
    _serving: JoinSet<()>,
}

impl App {
    pub(crate) async fn start() -> Self {
        Self::answering(|| Full::new(Bytes::from_static(b"ok")).boxed()).await
    }

    /// The same, with responses that start with `hello` and never end.
    pub(crate) async fn start_streaming() -> Self {
        Self::answering(|| BoxBody::new(Endless(Some(Bytes::from_static(b"hello"))))).await
    }

    async fn answering(body: fn() -> BoxBody<Bytes, Infallible>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let deliveries = Arc::new(Mutex::new(0));
        let (counted, mut serving) = (deliveries.clone(), JoinSet::new());
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let counted = counted.clone();
                let service = service_fn(move |_: Request<Incoming>| {
                    *counted.lock() += 1;
                    async move { Ok::<_, Infallible>(Response::new(body())) }
                });
                connections.spawn(async move {
                    let builder = server::conn::http2::Builder::new(TokioExecutor::new());
                    // The test checks how it ends.
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, deliveries, _serving: serving }
    }
}

/// A body that starts and does not continue.
struct Endless(Option<Bytes>);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.take().map_or(Poll::Pending, |data| Poll::Ready(Some(Ok(Frame::data(data)))))
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    sender: SendRequest<Empty<Bytes>>,
    _connection: JoinSet<()>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(address)).await.expect("somebody listens");
        let builder = http2::Builder::new(TokioExecutor::new());
        let (sender, connection) =
            soon("a handshake", builder.handshake(TokioIo::new(stream))).await.expect("it speaks HTTP/2");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // Its end shows in the responses.
            let _ = connection.await;
        });
        Self { sender, _connection: tasks }
    }

    /// Sends a GET. The body of the response may never end.
    pub(crate) async fn get(&mut self) -> hyper::Result<Response<Incoming>> {
        let request = Request::get("http://a/").body(Empty::new()).expect("a request");
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    pub(crate) async fn status(&mut self) -> StatusCode {
        self.get().await.expect("an answer").status()
    }
}
