//! Large bodies, and bodies that are sent in both directions at once.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use support::*;

#[tokio::test]
async fn the_app_sees_the_first_piece_before_the_client_has_sent_the_second() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    let (sender, body) = frames();
    let answer = client.start(post("/", body));
    sender.send(data("first")).await.unwrap();
    let mut exchange = app.next().await;
    assert_eq!(piece(exchange.request.body_mut()).await, "first");
    sender.send(data("second")).await.unwrap();
    assert_eq!(piece(exchange.request.body_mut()).await, "second");
    drop(sender);
    assert!(within(exchange.request.body_mut().frame()).await.is_none());
    exchange.answer_with("ok");
    assert_eq!(text(within(answer).await.unwrap().unwrap()).await, "ok");
}

#[tokio::test]
async fn the_client_sees_the_first_piece_before_the_app_has_sent_the_second() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    let answer = client.start(get("/"));
    let (sender, body) = frames();
    app.next().await.answer(Response::new(body));
    let mut answer = within(answer).await.unwrap().unwrap();
    for text in ["first", "second"] {
        sender.send(data(text)).await.unwrap();
        assert_eq!(piece(answer.body_mut()).await, text);
        assert_eq!(pod.proxy.in_flight(), 1.0);
    }
    drop(sender);
    assert!(within(answer.body_mut().frame()).await.is_none());
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn question_and_answer_may_be_interleaved() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    let (question, body) = frames();
    let answer = client.start(post("/", body));
    let mut exchange = app.next().await;
    let mut asked = std::mem::replace(exchange.request.body_mut(), loopback_body().await);
    let (reply, body) = frames();
    exchange.answer(Response::new(body));
    let mut answer = within(answer).await.unwrap().unwrap();
    for round in 0..10 {
        question.send(data(format!("question {round}"))).await.unwrap();
        assert_eq!(piece(&mut asked).await, format!("question {round}"));
        reply.send(data(format!("answer {round}"))).await.unwrap();
        assert_eq!(piece(answer.body_mut()).await, format!("answer {round}"));
    }
}

/// Returns 20 MB of which no two pieces are equal.
fn large() -> Bytes {
    let mut bytes = BytesMut::with_capacity(20_000_000);
    for number in 0_u32..5_000_000 {
        bytes.extend_from_slice(&number.wrapping_mul(2_654_435_761).to_le_bytes());
    }
    bytes.freeze()
}

#[tokio::test]
async fn large_bodies_of_known_length_arrive_whole() {
    let app = App::answering(async |request| Response::new(full(read(request.into_body()).await))).await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    let body = large();
    let answer = client.send(post("/", full(body.clone()))).await;
    assert_eq!(answer.headers()["content-length"], body.len().to_string().as_str());
    assert!(read(answer.into_body()).await == body, "what came back differs");
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn large_chunked_bodies_arrive_whole() {
    let app = App::answering(async |request| Response::new(chunked(read(request.into_body()).await))).await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    let body = large();
    let answer = client.send(post("/", chunked(body.clone()))).await;
    assert_eq!(answer.headers()["transfer-encoding"], "chunked");
    assert!(read(answer.into_body()).await == body, "what came back differs");
    pod.until_in_flight(0).await;
}

fn chunked(mut bytes: Bytes) -> AnyBody {
    let (sender, body) = frames();
    tokio::spawn(async move {
        let mut length = 1;
        while !bytes.is_empty() {
            let piece = bytes.split_to(length.min(bytes.len()));
            length = (length * 3) % 300_007 + 1;
            if sender.send(data(piece)).await.is_err() {
                return;
            }
        }
    });
    body
}

#[tokio::test]
async fn an_answer_may_come_before_the_question_was_asked_to_its_end() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    let (sender, body) = frames();
    let answer = client.start(post("/", body));
    sender.send(data("too much")).await.unwrap();
    let refusal = Response::builder().status(StatusCode::PAYLOAD_TOO_LARGE).body(full("enough")).unwrap();
    app.next().await.answer(refusal);
    let answer = within(answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(text(answer).await, "enough");
    pod.until_in_flight(0).await;
    // A connection that still owes half a request must not be used for the next one.
    let mut other = Client::connect(pod.serving).await;
    let answer = other.start(get("/next"));
    let exchange = app.next().await;
    assert_eq!(exchange.request.uri(), "/next");
    exchange.answer_with("ok");
    assert_eq!(text(within(answer).await.unwrap().unwrap()).await, "ok");
}

#[tokio::test]
async fn a_question_that_breaks_off_reaches_the_app_as_broken_off() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    let (sender, body) = frames();
    let _answer = client.start(post("/", body));
    sender.send(data("half")).await.unwrap();
    let mut exchange = app.next().await;
    assert_eq!(piece(exchange.request.body_mut()).await, "half");
    client.hang_up();
    assert!(within(exchange.request.body_mut().frame()).await.unwrap().is_err());
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_reaches_the_client_as_broken_off() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    let answer = client.start(get("/"));
    let (sender, body) = frames();
    app.next().await.answer(Response::new(body));
    let mut answer = within(answer).await.unwrap().unwrap();
    sender.send(data("half")).await.unwrap();
    assert_eq!(piece(answer.body_mut()).await, "half");
    sender.send(Err(std::io::ErrorKind::Other.into())).await.unwrap();
    assert!(within(answer.body_mut().frame()).await.unwrap().is_err());
    pod.until_in_flight(0).await;
}

/// Returns any body, as a placeholder for one that is taken out of its request.
async fn loopback_body() -> hyper::body::Incoming {
    let app = App::answering(async |_| Response::new(empty())).await;
    Client::connect(app.address).await.send(get("/")).await.into_body()
}
