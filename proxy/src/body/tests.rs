use std::{
    net::Ipv4Addr,
    pin::Pin,
    sync::{Arc, Weak},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    Timeouts,
    drain::Drain,
    http1::{self, Connection, Exchange, server::Server},
    net::{Liveness, Stream},
    server::{Limits, Presence, Stay},
    stream::ChannelBody,
    upstream::{Borrowed, Upstream, UpstreamLimits},
};
use ebb_core::LateResponse;

/// Returns the body of a request that starts with `bytes` (head and body), and the client that can send more.
async fn request_body(bytes: &str) -> (RequestBody, DuplexStream) {
    let (mut client, server) = duplex(256 * 1024);
    client.write_all(bytes.as_bytes()).await.unwrap();
    let (sender, mut bodies) = mpsc::channel(1);
    tokio::spawn(async move {
        let (presence, drain, limits) = (Presence::alone(), Drain::default(), Limits::default());
        let mut server = Server::new(
            Stream::wrapped(server),
            BytesMut::new(),
            &presence,
            &drain,
            &limits,
            Stay::forever(),
        );
        let serving = server.run(|request| {
            let sender = sender.clone();
            async move {
                sender.send(request.into_body()).await.unwrap();
                std::future::pending::<http::Response<ResponseBody<()>>>().await
            }
        });
        serving.await
    });
    (bodies.recv().await.unwrap(), client)
}

/// Returns whether reading ahead has to wait. The attempt is then dropped.
async fn waits(body: &mut RequestBody) -> bool {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    tokio::select! {
        biased;
        () = body.read_ahead() => false,
        () = std::future::ready(()) => true,
    }
}

async fn next<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Option<Result<Bytes, B::Error>> {
    body.frame().await.map(|frame| frame.map(|frame| frame.into_data().expect("data")))
}

#[tokio::test]
async fn no_body_has_ended_and_is_never_read_ahead() {
    for mut body in [RequestBody::empty(), request_body("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.0] {
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(waits(&mut body).await);
        assert!(next(&mut body).await.is_none());
    }
}

#[tokio::test]
async fn reading_ahead_keeps_the_length_exact() {
    let (mut body, mut client) = request_body("POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\n").await;
    assert!(waits(&mut body).await, "nothing has come");
    client.write_all(b"early").await.unwrap();
    body.read_ahead().await;
    assert_eq!(body.size_hint().exact(), Some(10), "what is kept still belongs to the body");
    assert!(!body.is_end_stream());
    assert!(waits(&mut body).await, "an attempt that is given up loses nothing");
    client.write_all(b"+late").await.unwrap();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "early");
    assert_eq!(body.size_hint().exact(), Some(5));
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "+late");
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.is_end_stream());
    assert!(next(&mut body).await.is_none());
}

#[tokio::test]
async fn no_more_is_read_ahead_than_can_be_sent_once_more_and_none_of_it_is_lost() {
    let (mut body, mut client) = request_body("POST / HTTP/1.1\r\ncontent-length: 200000\r\n\r\n").await;
    let sent: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    client.write_all(&sent).await.unwrap();
    while !waits(&mut body).await {}
    assert!(body.can_be_replayed());
    let copy = body.from_the_beginning();
    assert_eq!(copy.collect().await.unwrap().to_bytes(), sent);
    assert!(!body.can_be_replayed(), "it was longer than what is kept");
    let again = body.from_the_beginning().collect().await;
    assert!(again.is_err(), "half a body is not sent for a whole one");
}

#[tokio::test]
async fn a_short_body_is_read_from_the_beginning_as_often_as_it_must_be_sent() {
    let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    let (body, mut client) = request_body(&format!("{head}4\r\nbody\r\n")).await;
    let mut first = body.from_the_beginning();
    assert_eq!(next(&mut first).await.unwrap().unwrap(), "body");
    drop(first);
    client.write_all(b"1\r\n+\r\n0\r\nx-sum: 1\r\n\r\n").await.unwrap();
    for _ in 0..2 {
        assert!(body.can_be_replayed());
        let whole = body.from_the_beginning().collect().await.unwrap();
        assert_eq!(whole.trailers().unwrap()["x-sum"], "1");
        assert_eq!(whole.to_bytes(), "body+");
    }
}

#[tokio::test]
async fn a_body_that_its_client_holds_back_is_not_asked_for_before_somebody_reads_it() {
    let head = "POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    let (mut body, mut client) = request_body(head).await;
    assert!(waits(&mut body).await);
    let mut asked = [0; 25];
    let reading = tokio::spawn(async move { body.collect().await.unwrap().to_bytes() });
    client.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"ok").await.unwrap();
    assert_eq!(reading.await.unwrap(), "ok");
}

#[tokio::test]
async fn trailers_that_were_read_ahead_come_last() {
    let (mut body, _client) = request_body(
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n",
    )
    .await;
    while !waits(&mut body).await {}
    assert!(!body.is_end_stream());
    let collected = body.collect().await.unwrap();
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))]);
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), "body");
}

#[tokio::test]
async fn a_body_that_broke_off_while_read_ahead_gives_what_came_and_then_the_error() {
    let (mut body, client) = request_body("POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\nhalf").await;
    body.read_ahead().await;
    drop(client);
    body.read_ahead().await;
    assert!(body.has_failed());
    assert_eq!(body.size_hint().exact(), None, "its length must not be promised");
    assert!(!body.is_end_stream());
    assert!(waits(&mut body).await);
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "half");
    assert!(next(&mut body).await.unwrap().is_err());
    assert!(next(&mut body).await.is_none());
}

/// A response that is relayed.
struct Answer {
    body: Pin<Box<ResponseBody<Arc<()>>>>,
    /// Lives as long as the request is in flight.
    guard: Weak<()>,
    upstream: Arc<Upstream>,
    app: DuplexStream,
}

const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns a relayed response of which the app has sent `bytes`.
async fn answer(bytes: &str) -> Answer {
    answer_that_ends(bytes, LateResponse::Cut).await
}

/// Returns such a response, which becomes what `late` says when its time is over.
async fn answer_that_ends(bytes: &str, late: LateResponse) -> Answer {
    let (mut app, hop) = duplex(4096);
    let connection = Connection::new(Stream::wrapped(hop), Liveness::CLIENT);
    let (head, ()) = Request::new(()).into_parts();
    let mut exchange = Box::new(Exchange::new(connection, &head, RequestBody::empty()));
    let (response, ()) = tokio::join!(exchange.answered(), async {
        // Read the request first: a response before it would be refused.
        assert!(app.read(&mut [0; 1024]).await.unwrap() > 0);
        app.write_all(bytes.as_bytes()).await.unwrap();
    });
    let mut response = response.unwrap();
    let body = AnswerBody::Http1(http1::Answer::new(exchange, &head, &mut response).unwrap());
    let upstream = Upstream::new((Ipv4Addr::LOCALHOST, 9).into(), UpstreamLimits::default());
    let borrowed = Borrowed::Connection { upstream: upstream.clone() };
    let timeouts = Timeouts {
        deadline: Instant::now() + REQUEST_TIMEOUT,
        response_start: None,
        idle: Some(IDLE_TIMEOUT),
        late,
    };
    let relay = Relay::new(body, &timeouts, borrowed);
    let guard = Arc::new(());
    let watched = Arc::downgrade(&guard);
    Answer { body: Box::pin(ResponseBody::relayed(relay, guard)), guard: watched, upstream, app }
}

impl Answer {
    fn in_flight(&self) -> bool {
        self.guard.strong_count() > 0
    }

    /// Returns whether the hop has closed its connection to the app.
    async fn app_is_left(&mut self) -> bool {
        self.app.read_to_end(&mut Vec::new()).await.is_ok()
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_has_ended_at_once_and_its_connection_is_kept() {
    for head in ["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"] {
        let mut answer = answer(head).await;
        assert!(!answer.in_flight());
        assert_eq!(answer.upstream.idle(), 1);
        assert!(answer.body.is_end_stream());
        assert_eq!(answer.body.size_hint().exact(), Some(0));
        assert!(next(&mut answer.body).await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_byte_of_a_known_length_ends_the_request() {
    let mut answer = answer("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf").await;
    assert_eq!(answer.body.size_hint().exact(), Some(8));
    assert_eq!(next(&mut answer.body).await.unwrap().unwrap(), "half");
    assert!(answer.in_flight() && answer.upstream.idle() == 0);
    assert_eq!(answer.body.size_hint().exact(), Some(4));
    answer.app.write_all(b"half").await.unwrap();
    assert_eq!(next(&mut answer.body).await.unwrap().unwrap(), "half");
    assert!(!answer.in_flight() && answer.upstream.idle() == 1, "nobody asks once more");
    assert!(answer.body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_ends_as_if_it_were_whole_if_it_shall_and_its_connection_is_left() {
    let mut ended = answer_that_ends(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        LateResponse::End,
    )
    .await;
    assert_eq!(next(&mut ended.body).await.unwrap().unwrap(), "half");
    let begun = Instant::now();
    assert!(next(&mut ended.body).await.is_none());
    assert_eq!(begun.elapsed(), IDLE_TIMEOUT);
    assert_eq!(ended.upstream.idle(), 0);
    // Its head says that more would come.
    let mut cut =
        answer_that_ends("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf", LateResponse::End).await;
    assert_eq!(next(&mut cut.body).await.unwrap().unwrap(), "half");
    assert!(matches!(next(&mut cut.body).await, Some(Err(BodyError::IdleTimeout(IDLE_TIMEOUT)))));
}

#[tokio::test(start_paused = true)]
async fn trailers_come_before_the_end_of_the_request() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n4\r\nbody\r\n";
    let mut answer = answer(head).await;
    assert_eq!(next(&mut answer.body).await.unwrap().unwrap(), "body");
    answer.app.write_all(b"0\r\nx-sum: 1\r\n\r\n").await.unwrap();
    let trailers = answer.body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["x-sum"], "1");
    assert!(next(&mut answer.body).await.is_none());
    assert!(!answer.in_flight());
    assert_eq!(answer.upstream.idle(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_an_error_and_its_connection_is_not_kept() {
    let mut answer = answer("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf").await;
    assert_eq!(next(&mut answer.body).await.unwrap().unwrap(), "half");
    answer.app.shutdown().await.unwrap();
    assert!(matches!(next(&mut answer.body).await, Some(Err(BodyError::BrokeOff))));
    assert!(!answer.in_flight());
    assert_eq!(answer.upstream.idle(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_dropped_midway_ends_the_request_and_closes_the_connection() {
    let mut answer = answer("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf").await;
    assert_eq!(next(&mut answer.body).await.unwrap().unwrap(), "half");
    answer.body = Box::pin(ResponseBody::own(""));
    assert!(!answer.in_flight());
    assert!(answer.app_is_left().await);
    assert_eq!(answer.upstream.idle(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_when_it_was_silent_for_too_long_and_not_before() {
    let mut answer = answer("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf").await;
    let began = Instant::now();
    assert_eq!(next(&mut answer.body).await.unwrap().unwrap(), "half");
    tokio::time::advance(IDLE_TIMEOUT / 2).await;
    answer.app.write_all(b"+").await.unwrap();
    assert_eq!(next(&mut answer.body).await.unwrap().unwrap(), "+");
    assert!(matches!(next(&mut answer.body).await, Some(Err(BodyError::IdleTimeout(IDLE_TIMEOUT)))));
    assert!(!answer.in_flight());
    assert_eq!(began.elapsed(), IDLE_TIMEOUT + IDLE_TIMEOUT / 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_at_the_requests_time_out_though_the_app_never_pauses() {
    let mut answer = answer("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
    let began = Instant::now();
    let error = loop {
        answer.app.write_all(b"x").await.unwrap();
        // The data arrives before it is polled for.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(Duration::from_secs(7)).await;
        if let Some(Err(error)) = next(&mut answer.body).await {
            break error;
        }
    };
    assert!(matches!(error, BodyError::RequestTimeout));
    assert_eq!(began.elapsed(), Duration::from_secs(63));
    assert!(!answer.in_flight());
}

#[tokio::test]
async fn a_body_of_our_own_has_its_length() {
    let mut body = Box::pin(ResponseBody::<()>::own("four"));
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(4), false));
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "four");
    assert!(body.is_end_stream());
    assert!(ResponseBody::<()>::own("").is_end_stream());
}

#[tokio::test]
async fn a_streamed_body_ends_with_its_sender() {
    let (sender, body) = ChannelBody::new(1);
    let mut body = Box::pin(ResponseBody::<()>::streamed(body));
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (None, false));
    sender.send("piece".into()).await.unwrap();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "piece");
    drop(sender);
    assert!(next(&mut body).await.is_none());
}

#[tokio::test]
async fn a_body_of_our_own_says_its_length_and_ends() {
    let body = RequestBody::from(Bytes::from_static(b"hello"));
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(5), false));
    assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
    for empty in [RequestBody::from(Bytes::new()), RequestBody::from(())] {
        assert_eq!((empty.size_hint().exact(), empty.is_end_stream()), (Some(0), true));
    }
}
