//! The timeouts of a request. They are short here, and the app stalls by waiting for the test, so nothing depends on
//! how short they are.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::{num::NonZeroUsize, time::Duration};

use ebb_core::headers;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::*;

const SHORT: Duration = Duration::from_millis(100);

fn assert_timed_out(answer: &Response<Incoming>, reason: &str) {
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(answer.headers()[headers::REASON], reason);
}

#[tokio::test]
async fn an_app_that_does_not_answer_in_time_is_a_504_and_its_connection_is_closed() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |config| config.request_timeout = SHORT).await;
    let mut client = Client::connect(pod.serving).await;
    let answer = client.start(get("/"));
    let mut exchange = app.next().await;
    let answer = within(answer).await.unwrap().unwrap();
    assert_timed_out(&answer, "request-timeout");
    assert!(text(answer).await.starts_with("request timeout"));
    exchange.gone().await;
    pod.until_in_flight(0).await;
    client.ready().await.expect("the client's connection is as good as before");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_breaks_the_connection() {
    for known_length in [true, false] {
        let mut app = App::http1().await;
        let pod = Pod::start(app.address, |config| config.request_timeout = SHORT).await;
        let mut client = Client::connect(pod.serving).await;
        let answer = client.start(get("/"));
        let (sender, body) = frames();
        let mut response = Response::builder();
        if known_length {
            response = response.header("content-length", "8");
        }
        app.next().await.answer(response.body(body).unwrap());
        let mut answer = within(answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        sender.send(data("half")).await.unwrap();
        assert_eq!(piece(answer.body_mut()).await, "half");
        let end = within(answer.body_mut().frame()).await.expect("no clean end");
        assert!(end.is_err(), "half an answer must not look like a whole one: {end:?}");
        within(sender.closed()).await;
        client.closed().await;
        pod.until_in_flight(0).await;
    }
}

#[tokio::test]
async fn an_answer_that_never_pauses_ends_at_its_time_out_all_the_same() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |config| config.request_timeout = SHORT).await;
    let mut client = Client::connect(pod.serving).await;
    let answer = client.start(get("/"));
    let (sender, body) = frames();
    app.next().await.answer(Response::new(body));
    let flood = tokio::spawn(async move { while sender.send(data(vec![0; 64 * 1024])).await.is_ok() {} });
    let mut answer = within(answer).await.unwrap().unwrap();
    within(async { while let Some(Ok(_)) = answer.body_mut().frame().await {} }).await;
    within(flood).await.unwrap();
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn a_stream_that_takes_too_long_is_reset() {
    let mut app = App::http2().await;
    let pod = Pod::start(app.address, |config| config.request_timeout = SHORT).await;
    let mut client = Client2::connect(pod.serving).await;
    let request = http::Request::get("http://a.example/").version(http::Version::HTTP_2);
    let answer = tokio::spawn(client.send(request.body(empty()).unwrap()));
    let (sender, body) = frames();
    app.next().await.answer(Response::new(body));
    let mut answer = within(answer).await.unwrap();
    sender.send(data("half")).await.unwrap();
    assert_eq!(piece(answer.body_mut()).await, "half");
    assert!(within(answer.body_mut().frame()).await.expect("no clean end").is_err());
    within(sender.closed()).await;
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn an_answer_that_does_not_begin_in_time_is_a_504() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |config| config.response_start_timeout = Some(SHORT)).await;
    let mut client = Client::connect(pod.serving).await;
    let answer = client.start(get("/"));
    let mut exchange = app.next().await;
    assert_timed_out(&within(answer).await.unwrap().unwrap(), "response-start-timeout");
    exchange.gone().await;
}

#[tokio::test]
async fn an_answer_that_began_in_time_may_take_its_time() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |config| config.response_start_timeout = Some(SHORT)).await;
    let mut client = Client::connect(pod.serving).await;
    let answer = client.start(get("/slow"));
    let (sender, body) = frames();
    app.next().await.answer(Response::new(body));
    let mut answer = within(answer).await.unwrap().unwrap();
    // Another request's timeout shows that the time has passed.
    let mut other = Client::connect(pod.serving).await;
    let other_answer = other.start(get("/"));
    let _stalled = app.next().await;
    assert_timed_out(&within(other_answer).await.unwrap().unwrap(), "response-start-timeout");
    sender.send(data("late")).await.unwrap();
    assert_eq!(piece(answer.body_mut()).await, "late");
}

/// This client answers every PING and never opens its window, which could keep a slot for ever.
#[tokio::test]
async fn a_client_of_http2_that_takes_nothing_has_its_slot_until_the_time_out_and_no_longer() {
    let mut app = App::http2().await;
    let pod = Pod::start(app.address, |config| {
        config.container_concurrency = NonZeroUsize::new(1);
        config.request_timeout = SHORT;
    })
    .await;
    let stream = within(tokio::net::TcpStream::connect(pod.serving)).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(1);
    let (mut sender, connection) = within(builder.handshake(TokioIo::new(stream))).await.unwrap();
    // Ends with its sender.
    tokio::spawn(connection);
    let ask = Request::get("http://a/").body(empty()).unwrap();
    let answer = tokio::spawn(sender.send_request(ask));
    // More than is kept for it.
    app.next().await.answer_with("x".repeat(1024 * 1024));
    let answer = within(answer).await.unwrap().unwrap();
    pod.until_in_flight(0).await;
    assert!(within(answer.into_body().collect()).await.is_err(), "it is not whole");
    // The next request gets the slot.
    let mut next = Client2::connect(pod.serving).await;
    let answer = tokio::spawn(next.send(Request::get("http://a/").body(empty()).unwrap()));
    app.next().await.answer_with("next");
    assert_eq!(text(within(answer).await.unwrap()).await, "next");
}

#[tokio::test]
async fn an_answer_that_falls_silent_breaks_the_connection() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |config| config.idle_timeout = Some(SHORT)).await;
    let mut client = Client::connect(pod.serving).await;
    let answer = client.start(get("/"));
    let (sender, body) = frames();
    app.next().await.answer(Response::new(body));
    let mut answer = within(answer).await.unwrap().unwrap();
    let began = tokio::time::Instant::now();
    for _ in 0..2 {
        sender.send(data("a word")).await.unwrap();
        assert_eq!(piece(answer.body_mut()).await, "a word");
    }
    assert!(within(answer.body_mut().frame()).await.expect("no clean end").is_err());
    assert!(began.elapsed() >= SHORT);
    within(sender.closed()).await;
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn who_waits_for_a_slot_too_long_gets_a_504_and_leaves_the_queue() {
    type Change = fn(&mut queue_proxy::Config);
    let limits: [Change; 2] = [
        |config| config.request_timeout = SHORT,
        // The head cannot arrive in time either if the request has not even been sent.
        |config| config.response_start_timeout = Some(SHORT),
    ];
    for limit in limits {
        let mut app = App::http1().await;
        let pod = Pod::start(app.address, |config| {
            config.container_concurrency = NonZeroUsize::new(1);
            limit(config);
        })
        .await;
        let mut upgraded = upgraded(&mut app, &pod).await;
        let mut client = Client::connect(pod.serving).await;
        let answer = client.send(get("/")).await;
        assert_timed_out(&answer, "queue-timeout");
        pod.until_in_flight(1).await;
        assert!(app.has_nothing());
        // What waited in vain is not sent later.
        upgraded.write("end").await;
        drop(upgraded);
        pod.until_in_flight(0).await;
        assert!(app.has_nothing());
    }
}

/// Holds the slot for longer than a request may.
async fn upgraded(app: &mut App, pod: &Pod) -> RawClient {
    let mut client = RawClient::connect(pod.serving).await;
    client.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n").await;
    let mut exchange = app.next().await;
    let upgrade = hyper::upgrade::on(&mut exchange.request);
    let switch = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "x");
    exchange.answer(switch.body(empty()).unwrap());
    client.head().await;
    tokio::spawn(async move {
        let mut stream = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    });
    client
}
