//! HTTP/2 by prior knowledge, from the client to the app, as for gRPC.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use bytes::Bytes;
use ebb_core::headers;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Frame;
use std::num::NonZeroUsize;
use support::*;
use tokio::task::JoinSet;

fn call(path: &str, body: AnyBody) -> Request<AnyBody> {
    Request::post(format!("http://greeter.example{path}"))
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap()
}

fn grpc_status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(code))])
}

#[tokio::test]
async fn a_grpc_call_streams_both_ways_and_ends_with_trailers() {
    let mut app = App::http2().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client2::connect(pod.serving).await;
    let (asking, body) = frames();
    let answer = tokio::spawn(client.send(call("/Greeter/Hello", body)));
    let Exchange { mut request, reply } = app.next().await;
    assert_eq!(request.version(), Version::HTTP_2);
    assert_eq!(request.uri(), "http://greeter.example/Greeter/Hello");
    assert_eq!(request.headers()["te"], "trailers");
    assert_eq!(request.headers()["x-forwarded-for"], "127.0.0.1");
    let (answering, body) = frames();
    reply.send(Response::new(body)).unwrap();
    let mut answer = within(answer).await.unwrap();
    for round in 0..5 {
        asking.send(data(format!("question {round}"))).await.unwrap();
        assert_eq!(piece(request.body_mut()).await, format!("question {round}"));
        answering.send(data(format!("answer {round}"))).await.unwrap();
        assert_eq!(piece(answer.body_mut()).await, format!("answer {round}"));
    }
    drop(asking);
    assert_eq!(read(request.into_body()).await, "");
    answering.send(Ok(Frame::trailers(grpc_status("0")))).await.unwrap();
    drop(answering);
    let end = within(answer.into_body().collect()).await.unwrap();
    assert_eq!(end.trailers(), Some(&grpc_status("0")));
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn trailers_without_a_body_reach_the_client() {
    let mut app = App::http2().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client2::connect(pod.serving).await;
    let answer = tokio::spawn(client.send(call("/", empty())));
    let (answering, body) = frames();
    app.next().await.answer(Response::new(body));
    answering.send(Ok(Frame::trailers(grpc_status("5")))).await.unwrap();
    drop(answering);
    let end = within(within(answer).await.unwrap().into_body().collect()).await.unwrap();
    assert_eq!(end.trailers(), Some(&grpc_status("5")));
    assert_eq!(end.to_bytes(), Bytes::new());
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn many_streams_at_once_share_one_connection_to_the_app() {
    let mut app = App::http2().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client2::connect(pod.serving).await;
    let mut answers = JoinSet::new();
    for index in 0..100 {
        let answer = client.send(call(&format!("/{index}"), full(vec![b'x'; 3000])));
        answers.spawn(async move { text(answer.await).await == format!("/{index}") });
    }
    let mut exchanges = Vec::new();
    for _ in 0..100 {
        exchanges.push(app.next().await);
    }
    pod.until_in_flight(100).await;
    for Exchange { request, reply } in exchanges.into_iter().rev() {
        let path = request.uri().path().to_owned();
        assert_eq!(read(request.into_body()).await.len(), 3000);
        reply.send(Response::new(full(path))).unwrap();
    }
    assert!(within(answers.join_all()).await.iter().all(|right| *right));
    assert_eq!(app.accepted(), 1);
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn streams_beyond_what_a_connection_takes_get_another_one() {
    let mut app = App::http2_with(100).await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client2::connect(pod.serving).await;
    for _round in 0..3 {
        let mut answers = JoinSet::new();
        for _ in 0..230 {
            let answer = client.send(call("/", empty()));
            answers.spawn(async move { text(answer.await).await });
        }
        // None of them ends before all have started.
        let mut exchanges = Vec::new();
        for _ in 0..230 {
            exchanges.push(app.next().await);
        }
        for exchange in exchanges {
            exchange.answer_with("ok");
        }
        assert_eq!(within(answers.join_all()).await, ["ok"; 230]);
        pod.until_in_flight(0).await;
        assert_eq!(app.accepted(), 3);
    }
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let mut app = App::http2().await;
    app.take_over(async |request| Response::new(full(read(request.into_body()).await)));
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client2::connect(pod.serving).await;
    let body: Bytes = (0_u32..2_000_000).flat_map(u32::to_le_bytes).collect();
    let answer = client.send(call("/", full(body.clone()))).await;
    assert!(read(answer.into_body()).await == body, "what came back differs");
}

#[tokio::test]
async fn a_stream_that_the_client_resets_ends_at_the_app_and_leaves_the_others_alone() {
    let mut app = App::http2().await;
    let pod = Pod::start(app.address, |config| config.container_concurrency = NonZeroUsize::new(2)).await;
    let mut client = Client2::connect(pod.serving).await;
    let reset = tokio::spawn(client.try_send(call("/reset", empty())));
    let mut gone = app.next().await;
    let stays = tokio::spawn(client.send(call("/stays", empty())));
    let stayed = app.next().await;
    reset.abort();
    gone.gone().await;
    pod.until_in_flight(1).await;
    stayed.answer_with("ok");
    assert_eq!(text(within(stays).await.unwrap()).await, "ok");
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn an_answer_that_the_client_drops_midway_frees_its_slot() {
    let mut app = App::http2().await;
    let pod = Pod::start(app.address, |config| config.container_concurrency = NonZeroUsize::new(1)).await;
    let mut client = Client2::connect(pod.serving).await;
    let answer = tokio::spawn(client.send(call("/", empty())));
    let (sender, body) = frames();
    app.next().await.answer(Response::new(body));
    let mut answer = within(answer).await.unwrap();
    sender.send(data("half")).await.unwrap();
    assert_eq!(piece(answer.body_mut()).await, "half");
    drop(answer);
    within(sender.closed()).await;
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn refusals_speak_grpc_to_those_who_do() {
    let pod = Pod::start(free_port().await, |_| {}).await;
    let mut client = Client2::connect(pod.serving).await;
    let answer = client.send(call("/", empty())).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["grpc-status"], "14");
    assert_eq!(answer.headers()[headers::REASON], "app-refused");
}

/// Complaint 21 of the specification: this is an error, but a prompt and clear one.
#[tokio::test]
async fn an_app_that_speaks_only_http1_is_a_bad_gateway_to_an_http2_client() {
    let app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client2::connect(pod.serving).await;
    for _ in 0..3 {
        let request = Request::get("http://a.example/").version(Version::HTTP_2).body(empty()).unwrap();
        let answer = client.send(request).await;
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(answer.headers()[headers::REASON], "app-broke-off");
        assert!(text(answer).await.contains("HTTP/1.1"));
    }
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn an_app_that_closed_its_connection_gets_the_next_stream_on_a_new_one() {
    let mut app = App::http2().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client2::connect(pod.serving).await;
    for round in 1..=3 {
        let answer = tokio::spawn(client.send(call("/", empty())));
        app.next().await.answer_with("ok");
        assert_eq!(text(within(answer).await.unwrap()).await, "ok");
        assert_eq!(app.accepted(), round);
        app.hang_up();
    }
}
