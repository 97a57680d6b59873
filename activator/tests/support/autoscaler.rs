//! The other end of the link: takes the activator's stream, says what the test wants said.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use ebb_core::{
    link::{Down, Frames, Hello, Listening, PATH, Unanswered, Up, frame},
    stat::WireStatMessage,
};
use ebb_proxy::{Drain, Handler, Limits, RequestBody, ResponseBody, serve, stream::ChannelBody};
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::soon;

/// A scripted autoscaler. Once it is dropped, nobody answers.
pub(crate) struct Autoscaler {
    pub(crate) address: SocketAddr,
    away: Arc<AtomicBool>,
    sessions: mpsc::Receiver<(Hello, mpsc::Sender<Bytes>)>,
    listening: mpsc::Receiver<Listening>,
    stats: mpsc::Receiver<Vec<WireStatMessage>>,
    unanswered: mpsc::Receiver<Unanswered>,
    applied: mpsc::Receiver<u64>,
    tokens: mpsc::Receiver<Option<String>>,
    down: Option<mpsc::Sender<Bytes>>,
    _serving: AbortOnDropHandle<()>,
}

impl Autoscaler {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let away = Arc::new(AtomicBool::new(false));
        let (session, sessions) = mpsc::channel(16);
        let (listens, listening) = mpsc::channel(1_000);
        let (stat, stats) = mpsc::channel(1_000);
        let (gave_up, unanswered) = mpsc::channel(1_000);
        let (confirms, applied) = mpsc::channel(1_000);
        let (token, tokens) = mpsc::channel(1_000);
        let handler =
            Arc::new(Streams { away: away.clone(), session, listens, stat, gave_up, confirms, token });
        let serving = tokio::spawn(serve(listener, handler, Drain::default(), Limits::default()));
        let serving = AbortOnDropHandle::new(serving);
        let down = None;
        Self {
            address,
            away,
            sessions,
            listening,
            stats,
            unanswered,
            applied,
            tokens,
            down,
            _serving: serving,
        }
    }

    /// The next stream that an activator opens: from now on it is the one that is spoken to.
    pub(crate) async fn session(&mut self) -> Hello {
        let session = soon("a stream from the activator", self.sessions.recv()).await;
        let (hello, down) = session.expect("the handler lives");
        self.down = Some(down);
        hello
    }

    /// Resolves when the activator has closed the stream that is spoken to.
    pub(crate) async fn is_left(&self) {
        let down = self.down.as_ref().expect("a stream was open");
        soon("the stream's end", down.closed()).await;
    }

    /// What the next request for a stream has to show.
    pub(crate) async fn token(&mut self) -> Option<String> {
        soon("a request for a stream", self.tokens.recv()).await.expect("the handler lives")
    }

    pub(crate) async fn tell(&self, message: Down) {
        self.tell_bytes(&frame(&message)).await;
    }

    /// Sends what need not be a message.
    pub(crate) async fn tell_bytes(&self, bytes: &[u8]) {
        let down = self.down.as_ref().expect("a stream is open");
        let bytes = Bytes::copy_from_slice(bytes);
        soon("room in the stream", down.send(bytes)).await.expect("the stream is open");
    }

    /// Whether nothing more was said of any port.
    pub(crate) fn has_no_news(&self) -> bool {
        self.listening.is_empty()
    }

    /// What it next says that it answers for.
    pub(crate) async fn listening(&mut self) -> Listening {
        soon("news of a port", self.listening.recv()).await.expect("the handler lives")
    }

    /// Its next reports.
    pub(crate) async fn stats(&mut self) -> Vec<WireStatMessage> {
        soon("reports", self.stats.recv()).await.expect("the handler lives")
    }

    /// The next report, which must be of one service: its concurrency and its count.
    pub(crate) async fn stat(&mut self) -> (f64, f64) {
        let messages = self.stats().await;
        assert_eq!(messages.len(), 1, "one service has something to say: {messages:?}");
        numbers(&messages[0])
    }

    /// What it next says of requests that no pod answered.
    pub(crate) async fn unanswered(&mut self) -> Unanswered {
        soon("word of those that gave up", self.unanswered.recv()).await.expect("the handler lives")
    }

    /// Whether nothing more was said of such requests.
    pub(crate) fn has_all_answered(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// The number up to which it next says that everything is applied.
    pub(crate) async fn applied(&mut self) -> u64 {
        soon("a confirmation", self.applied.recv()).await.expect("the handler lives")
    }

    /// Whether nothing more was confirmed.
    pub(crate) fn has_no_confirmation(&self) -> bool {
        self.applied.is_empty()
    }

    /// Ends the stream and refuses others.
    pub(crate) fn leave(&mut self) {
        self.away.store(true, Ordering::SeqCst);
        self.down = None;
    }

    /// Takes streams again, and waits for one.
    pub(crate) async fn come_back(&mut self) -> Hello {
        self.away.store(false, Ordering::SeqCst);
        self.session().await
    }
}

/// A report's concurrency, without the last digits that a quotient of sums leaves, and its count.
pub(crate) fn numbers(message: &WireStatMessage) -> (f64, f64) {
    let stat = message.stat.as_ref().expect("a report has numbers");
    ((stat.average_concurrent_requests * 1e6).round() / 1e6, stat.request_count)
}

struct Streams {
    away: Arc<AtomicBool>,
    session: mpsc::Sender<(Hello, mpsc::Sender<Bytes>)>,
    listens: mpsc::Sender<Listening>,
    stat: mpsc::Sender<Vec<WireStatMessage>>,
    gave_up: mpsc::Sender<Unanswered>,
    confirms: mpsc::Sender<u64>,
    token: mpsc::Sender<Option<String>>,
}

impl Handler for Streams {
    type Guard = ();

    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> Response<ResponseBody<()>> {
        assert_eq!((request.uri().path(), request.version()), (PATH, Version::HTTP_2));
        let token =
            request.headers().get("authorization").map(|value| value.to_str().expect("text").to_owned());
        // A test that is refused many times need not look at all of them.
        let _ = self.token.try_send(token);
        if self.away.load(Ordering::SeqCst) {
            let mut refusal = Response::new(ResponseBody::own(""));
            *refusal.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return refusal;
        }
        let (down, body) = ChannelBody::new(64);
        let (session, listens, stat) = (self.session.clone(), self.listens.clone(), self.stat.clone());
        let (gave_up, confirms) = (self.gave_up.clone(), self.confirms.clone());
        let mut up = request.into_body();
        // Ends with the stream; it holds no sender of the stream down, so that dropping that ends it.
        tokio::spawn(async move {
            let mut frames = Frames::default();
            let mut down = Some(down);
            while let Some(Ok(piece)) = up.frame().await {
                frames.push(piece.data_ref().expect("no trailers"));
                while let Some(message) = frames.next_message::<Up>().expect("a message") {
                    if let (Some(hello), Some(down)) = (message.hello, down.take()) {
                        session.try_send((hello, down)).expect("the test takes the sessions");
                    }
                    for news in message.listening {
                        listens.try_send(news).expect("the test takes the news");
                    }
                    for news in message.unanswered {
                        gave_up.try_send(news).expect("the test takes the news");
                    }
                    if message.applied > 0 {
                        confirms.try_send(message.applied).expect("the test takes the confirmations");
                    }
                    if let Some(stats) = message.stats {
                        stat.try_send(stats.messages).expect("the test takes the reports");
                    }
                }
            }
        });
        Response::new(ResponseBody::streamed(body))
    }
}
