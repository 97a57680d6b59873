use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use super::{AnyBody, full, listen, within};

/// An app that hands each request to the test.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    exchanges: mpsc::Receiver<Exchange>,
    accepted: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
    hang_up: watch::Sender<()>,
    /// Ends with the app, and closes its connections.
    tasks: JoinSet<()>,
}

/// A request that the app received and has not answered.
pub(crate) struct Exchange {
    pub(crate) request: Request<Incoming>,
    pub(crate) reply: oneshot::Sender<Response<AnyBody>>,
}

impl Exchange {
    pub(crate) fn answer(self, response: Response<AnyBody>) {
        assert!(self.reply.send(response).is_ok(), "whoever asked has gone");
    }

    pub(crate) fn answer_with(self, text: impl Into<Bytes>) {
        self.answer(Response::new(full(text)));
    }

    /// Closes the connection without a response.
    pub(crate) fn break_off(self) {
        drop(self);
    }

    /// Waits until the app sees that the client has disconnected.
    pub(crate) async fn gone(&mut self) {
        within(self.reply.closed()).await;
    }
}

#[derive(Clone, Copy)]
enum Protocol {
    Http1,
    Http2 { max_streams: u32 },
}

impl App {
    pub(crate) async fn http1() -> Self {
        Self::on(listen().await)
    }

    /// Returns an app that speaks HTTP/1.1 on `listener`.
    pub(crate) fn on(listener: TcpListener) -> Self {
        Self::start(listener, Protocol::Http1)
    }

    pub(crate) async fn http2() -> Self {
        Self::http2_with(200).await
    }

    /// Returns an app that accepts `max_streams` at once on each connection.
    pub(crate) async fn http2_with(max_streams: u32) -> Self {
        Self::start(listen().await, Protocol::Http2 { max_streams })
    }

    /// Returns an app that answers each request with `answer`, without the test.
    pub(crate) async fn answering<F, A>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
        A: Future<Output = Response<AnyBody>> + Send + 'static,
    {
        let mut app = Self::http1().await;
        app.take_over(answer);
        app
    }

    /// From now on, answers each request with `answer`.
    pub(crate) fn take_over<F, A>(&mut self, answer: F)
    where
        F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
        A: Future<Output = Response<AnyBody>> + Send + 'static,
    {
        let mut exchanges = std::mem::replace(&mut self.exchanges, mpsc::channel(1).1);
        let answer = Arc::new(answer);
        self.tasks.spawn(async move {
            let mut answers = JoinSet::new();
            while let Some(exchange) = exchanges.recv().await {
                let answer = answer.clone();
                answers.spawn(async move {
                    let response = answer(exchange.request).await;
                    // The client may have disconnected.
                    let _ = exchange.reply.send(response);
                });
            }
        });
    }

    fn start(listener: TcpListener, protocol: Protocol) -> Self {
        let address = listener.local_addr().unwrap();
        let (sender, exchanges) = mpsc::channel(1024);
        let accepted = Arc::new(AtomicUsize::new(0));
        let hang_up = watch::Sender::new(());
        let mut tasks = JoinSet::new();
        let ended = Arc::new(AtomicUsize::new(0));
        let (count, closing, gone) = (accepted.clone(), hang_up.clone(), ended.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let sender = sender.clone();
                let mut closing = closing.subscribe();
                let gone = gone.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| hand_over(request, sender.clone()));
                    let io = TokioIo::new(stream);
                    let served = async {
                        match protocol {
                            Protocol::Http1 => {
                                http1::Builder::new().serve_connection(io, service).with_upgrades().await
                            }
                            Protocol::Http2 { max_streams } => {
                                http2::Builder::new(TokioExecutor::new())
                                    .max_concurrent_streams(max_streams)
                                    .serve_connection(io, service)
                                    .await
                            }
                        }
                    };
                    tokio::select! {
                        _ = served => {}
                        _ = closing.changed() => {}
                    }
                    gone.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Self { address, exchanges, accepted, ended, hang_up, tasks }
    }

    /// Waits for the next request.
    #[track_caller]
    pub(crate) fn next(&mut self) -> impl Future<Output = Exchange> {
        let next = within(self.exchanges.recv());
        async { next.await.expect("the app runs") }
    }

    /// Returns whether there is no request that the test has not taken yet.
    pub(crate) fn has_nothing(&self) -> bool {
        self.exchanges.is_empty()
    }

    /// Returns the number of accepted connections.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Returns the number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.accepted() - self.ended.load(Ordering::Relaxed)
    }

    /// Closes all open connections.
    pub(crate) fn hang_up(&self) {
        self.hang_up.send_replace(());
    }
}

/// If the test drops the exchange, the connection ends as if the app had crashed.
async fn hand_over(
    request: Request<Incoming>,
    exchanges: mpsc::Sender<Exchange>,
) -> Result<Response<AnyBody>, oneshot::error::RecvError> {
    let (reply, answer) = oneshot::channel();
    // The test may have ended.
    let _ = exchanges.send(Exchange { request, reply }).await;
    answer.await
}
