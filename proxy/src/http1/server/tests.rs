//! How long a connection lasts with a maximum age, and how long it may write while other tasks wait.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::oneshot,
    task::JoinHandle,
    time::advance,
};

use super::*;
use crate::{net::Liveness, server::ConnectionLimits, stream::ChannelBody};

const SECOND: Duration = Duration::from_secs(1);
/// No connection lasts longer than 110 % of its maximum age.
const AGE: Duration = Duration::from_secs(100);
const PAST_IT: Duration = Duration::from_secs(110);
/// No connection is asked to go before 90 % of its maximum age.
const BEFORE_IT: Duration = Duration::from_secs(89);

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\n";

/// A client, its server's connection, and the channels to control it.
struct Opened {
    client: DuplexStream,
    limits: Arc<Mutex<ConnectionLimits>>,
    serving: JoinHandle<io::Result<()>>,
    began: Instant,
}

/// The responses in a test.
type Answer = Response<ResponseBody<oneshot::Sender<()>>>;

impl Opened {
    async fn with(max_age: Option<Duration>, answer: impl Fn() -> Answer + Send + Sync + 'static) -> Self {
        Self::over(duplex(64 * 1024), max_age, answer).await
    }

    async fn over(
        (client, server): (DuplexStream, DuplexStream),
        max_age: Option<Duration>,
        answer: impl Fn() -> Answer + Send + Sync + 'static,
    ) -> Self {
        let limits = Arc::new(Mutex::new(ConnectionLimits { max_age, ..ConnectionLimits::default() }));
        let now = limits.clone();
        let serving = tokio::spawn(async move {
            let allowed = move || *now.lock();
            let stay = Stay { allowed: &allowed, ..Stay::forever() };
            let (presence, drain, limits) = (Presence::alone(), Drain::default(), Limits::default());
            let stream = Stream::wrapped(server);
            let mut server = Server::new(stream, BytesMut::new(), &presence, &drain, &limits, stay);
            server.run(|_| std::future::ready(answer())).await
        });
        // The connection starts when its task runs.
        tokio::task::yield_now().await;
        Self { client, limits, serving, began: Instant::now() }
    }

    async fn ok(max_age: Option<Duration>) -> Self {
        Self::with(max_age, || Response::new(ResponseBody::own("ok"))).await
    }

    /// Sends a request, and returns whether its connection closes.
    async fn ask(&mut self) -> bool {
        self.client.write_all(GET.as_bytes()).await.unwrap();
        let answer = self.read_to("\r\n\r\nok").await;
        answer.contains("connection: close\r\n")
    }

    async fn read_to(&mut self, end: &str) -> String {
        let mut read = String::new();
        while !read.ends_with(end) {
            read.push(char::from(self.client.read_u8().await.unwrap()));
        }
        read
    }

    /// Returns how old the connection is when its server closes it.
    async fn closed(mut self) -> Duration {
        assert_eq!(self.client.read(&mut [0; 8]).await.unwrap(), 0);
        self.serving.await.unwrap().unwrap();
        self.began.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_past_the_age_says_that_it_is_the_last() {
    let mut opened = Opened::ok(Some(AGE)).await;
    for _ in 0..BEFORE_IT.as_secs() {
        advance(SECOND).await;
        assert!(!opened.ask().await);
    }
    advance(PAST_IT).await;
    assert!(opened.ask().await);
    assert_eq!(opened.closed().await, BEFORE_IT + PAST_IT, "at once");
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_limit_stays() {
    let mut opened = Opened::ok(None).await;
    for _ in 0..1000 {
        advance(600 * SECOND).await;
        assert!(!opened.ask().await);
    }
}

#[tokio::test(start_paused = true)]
async fn one_on_which_nothing_is_asked_is_closed_at_its_age() {
    let mut opened = Opened::ok(Some(AGE)).await;
    assert!(!opened.ask().await);
    let age = opened.closed().await;
    assert!((BEFORE_IT..=PAST_IT).contains(&age), "{age:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_was_busy_a_moment_ago_is_not_closed_before_it_is_asked_to_go() {
    let mut opened = Opened::ok(Some(AGE)).await;
    while opened.began.elapsed() < BEFORE_IT {
        advance(SECOND).await;
        assert!(!opened.ask().await);
    }
    // The maximum age passes between two requests.
    loop {
        tokio::time::sleep(9 * SECOND).await;
        if opened.ask().await {
            break;
        }
    }
    assert!(opened.began.elapsed() <= PAST_IT + 9 * SECOND);
    opened.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_set_or_taken_away_counts_from_the_next_request_on() {
    let mut opened = Opened::ok(None).await;
    advance(PAST_IT).await;
    assert!(!opened.ask().await);
    opened.limits.lock().max_age = Some(2 * AGE);
    advance(SECOND).await;
    assert!(!opened.ask().await);
    opened.limits.lock().max_age = Some(AGE);
    assert!(opened.ask().await);

    let mut opened = Opened::ok(Some(AGE)).await;
    opened.limits.lock().max_age = None;
    assert!(!opened.ask().await);
    advance(PAST_IT).await;
    assert!(!opened.ask().await);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_began_before_goes_on_to_its_end() {
    let (sender, stream) = crate::stream::ChannelBody::new(1);
    let body = Mutex::new(Some(stream));
    let answer =
        move || Response::new(body.lock().take().map_or(ResponseBody::own("ok"), ResponseBody::streamed));
    let mut opened = Opened::with(Some(AGE), answer).await;
    opened.client.write_all(GET.as_bytes()).await.unwrap();
    let head = opened.read_to("\r\n\r\n").await;
    assert!(!head.contains("connection: close"), "{head}");
    advance(2 * PAST_IT).await;
    sender.send(Bytes::from_static(b"late")).await.unwrap();
    drop(sender);
    opened.read_to("late\r\n0\r\n\r\n").await;
    assert!(opened.ask().await);
    opened.closed().await;
}

/// Returns a client whose connection has become a tunnel, the other end, and a receiver that resolves when the guard
/// is dropped.
async fn switched(limits: ConnectionLimits) -> (Opened, DuplexStream, oneshot::Receiver<()>) {
    let (app, far) = duplex(1024);
    let (guard, ended) = oneshot::channel();
    let upstream =
        upgrade::End { stream: Stream::wrapped(far), liveness: Liveness::POD, unread: BytesMut::new() };
    let switch = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    let switch = Mutex::new(Some(switch.body(ResponseBody::switched(upstream, guard)).unwrap()));
    let mut opened = Opened::with(None, move || switch.lock().take().expect("one request")).await;
    *opened.limits.lock() = limits;
    // The connection has reached its maximum age when it becomes a tunnel.
    advance(PAST_IT).await;
    opened.client.write_all(GET.as_bytes()).await.unwrap();
    let head = opened.read_to("\r\n\r\n").await;
    assert!(head.starts_with(SWITCHED) && !head.contains("close"), "{head}");
    opened.began = Instant::now();
    (opened, app, ended)
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_ends_when_it_has_lasted_for_as_long_as_a_connection_may() {
    let limits = ConnectionLimits { max_age: Some(AGE), ..ConnectionLimits::default() };
    let (opened, mut app, ended) = switched(limits).await;
    let lasted = opened.closed().await;
    assert!((BEFORE_IT..=PAST_IT).contains(&lasted), "{lasted:?}");
    assert_eq!(app.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(ended.await.is_err(), "its guard is dropped");
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_on_which_nothing_passes_ends() {
    let limits = ConnectionLimits { tunnel_idle: Some(60 * SECOND), ..ConnectionLimits::default() };
    let (mut opened, mut app, ended) = switched(limits).await;
    advance(59 * SECOND).await;
    app.write_all(b"still here").await.unwrap();
    opened.read_to("still here").await;
    assert_eq!(opened.closed().await, 119 * SECOND);
    assert_eq!(app.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(ended.await.is_err(), "its guard is dropped");
}

#[tokio::test]
async fn an_answer_that_could_go_on_lets_others_have_their_turn() {
    const PIECES: usize = 32;
    let piece = Bytes::from(vec![b'x'; 64 * 1024]);
    let size = PIECES * piece.len();
    let answer = move || {
        let (sender, body) = ChannelBody::new(PIECES);
        for _ in 0..PIECES {
            sender.try_send(piece.clone()).unwrap();
        }
        Response::new(ResponseBody::streamed(body))
    };
    // The client has room for the whole response.
    let mut opened = Opened::over(duplex(2 * size), None, answer).await;
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = turns.clone();
    tokio::spawn(poll_fn(move |cx| {
        counted.fetch_add(1, Ordering::Relaxed);
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    }));
    // A spawned task: the runtime polls the future of `block_on` less often.
    let reading = tokio::spawn(async move {
        opened.client.write_all(GET.as_bytes()).await.unwrap();
        let mut read = BytesMut::new();
        opened.client.read_buf(&mut read).await.unwrap();
        let before = turns.load(Ordering::Relaxed);
        while !read.ends_with(b"\r\n0\r\n\r\n") {
            opened.client.read_buf(&mut read).await.unwrap();
        }
        turns.load(Ordering::Relaxed) - before
    });
    let during = reading.await.unwrap();
    // It had one of its own before.
    let least = size as u64 / (A_TURN + 64 * 1024) - 1;
    assert!(during as u64 >= least, "{during} turns of others, at least {least}");
}
