//! The concurrency limit, over real connections: which requests wait, which are refused, and when a slot becomes
//! free.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::num::NonZeroUsize;

use ebb_core::headers;
use http::{Response, StatusCode};
use queue_proxy::Config;
use support::*;
use tokio::task::JoinHandle;

fn one_slot(config: &mut Config) {
    config.container_concurrency = NonZeroUsize::new(1);
}

type Answer = JoinHandle<hyper::Result<Response<hyper::body::Incoming>>>;

/// Returns a pod with one slot, held by the first exchange, and `waiting` clients in their order.
async fn queue_of(waiting: u32) -> (App, Pod, Exchange, Vec<(Client, Answer)>) {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, one_slot).await;
    let mut clients = Vec::new();
    for index in 0..=waiting {
        let mut client = Client::connect(pod.serving).await;
        let answer = client.start(get(&format!("/{index}")));
        pod.until_in_flight(index + 1).await;
        clients.push((client, answer));
    }
    let first = app.next().await;
    assert_eq!(first.request.uri(), "/0");
    (app, pod, first, clients)
}

#[tokio::test]
async fn one_runs_and_ten_wait_in_order_and_the_twelfth_is_refused_at_once() {
    let (mut app, pod, first, clients) = queue_of(10).await;
    assert!(app.has_nothing(), "only one runs at a time");
    assert_eq!(pod.metric("ebb_queue_proxy_pending_requests").await, "10");
    assert_eq!(pod.metric("ebb_queue_proxy_executing_requests").await, "1");

    let refused = Client::connect(pod.serving).await.send(get("/twelfth")).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()[headers::REASON], "queue-full");
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(text(refused).await, "pending request queue full\n");
    assert_eq!(pod.metric("ebb_queue_proxy_refused_requests_total{reason=\"queue-full\"}").await, "1");

    let mut running = first;
    for index in 0..=10 {
        assert_eq!(running.request.uri().path(), format!("/{index}"), "first come, first served");
        assert!(app.has_nothing(), "only one runs at a time");
        running.answer_with(format!("answer {index}"));
        if index == 10 {
            break;
        }
        running = app.next().await;
    }
    for (index, (_client, answer)) in clients.into_iter().enumerate() {
        assert_eq!(text(within(answer).await.unwrap().unwrap()).await, format!("answer {index}"));
    }
    pod.until_in_flight(0).await;
    assert_eq!(app.accepted(), 1, "one at a time needs one connection");
}

#[tokio::test]
async fn a_client_that_goes_away_while_it_waits_makes_room_and_never_reaches_the_app() {
    let (mut app, pod, first, mut clients) = queue_of(10).await;
    let (gone, _answer) = clients.remove(3);
    gone.hang_up();
    pod.until_in_flight(10).await;
    let mut late = Client::connect(pod.serving).await;
    let late_answer = late.start(get("/late"));
    pod.until_in_flight(11).await;
    first.answer_with("ok");
    for path in ["/1", "/2", "/4", "/5", "/6", "/7", "/8", "/9", "/10", "/late"] {
        let exchange = app.next().await;
        assert_eq!(exchange.request.uri(), path);
        exchange.answer_with("ok");
    }
    assert_eq!(text(within(late_answer).await.unwrap().unwrap()).await, "ok");
}

#[tokio::test]
async fn a_client_that_goes_away_midway_through_its_question_makes_room_too() {
    let (_app, pod, _first, _clients) = queue_of(9).await;
    for length in [8, 100_000] {
        let mut client = RawClient::connect(pod.serving).await;
        client.write(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\nhalf")).await;
        pod.until_in_flight(11).await;
        drop(client);
        pod.until_in_flight(10).await;
    }
}

#[tokio::test]
async fn a_question_that_waited_arrives_whole() {
    let (mut app, pod, first, _clients) = queue_of(0).await;
    // More than is read ahead.
    let body = vec![b'x'; 300_000];
    let mut client = Client::connect(pod.serving).await;
    let answer = client.start(post("/large", full(body.clone())));
    let (sender, pieces) = frames();
    let mut other = Client::connect(pod.serving).await;
    pod.until_in_flight(2).await;
    let other_answer = other.start(post("/pieces", pieces));
    sender.send(data("read ahead, ")).await.unwrap();
    pod.until_in_flight(3).await;
    first.answer_with("ok");
    let Exchange { request, reply } = app.next().await;
    assert_eq!(request.headers()["content-length"], "300000");
    assert!(read(request.into_body()).await == body, "what came differs");
    reply.send(Response::new(full("ok"))).unwrap();
    assert_eq!(text(within(answer).await.unwrap().unwrap()).await, "ok");
    let Exchange { request, reply } = app.next().await;
    assert_eq!(request.headers()["transfer-encoding"], "chunked");
    sender.send(data("and not")).await.unwrap();
    drop(sender);
    assert_eq!(read(request.into_body()).await, "read ahead, and not");
    reply.send(Response::new(full("ok"))).unwrap();
    assert_eq!(text(within(other_answer).await.unwrap().unwrap()).await, "ok");
}

#[tokio::test]
async fn a_client_that_goes_away_while_the_app_works_frees_the_slot_and_the_app_hears_of_it() {
    let (mut app, pod, mut first, mut clients) = queue_of(1).await;
    let (gone, _answer) = clients.remove(0);
    gone.hang_up();
    first.gone().await;
    let next = app.next().await;
    assert_eq!(next.request.uri(), "/1");
    next.answer_with("ok");
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn a_client_that_goes_away_midway_through_its_answer_frees_the_slot_and_the_app_hears_of_it() {
    let (mut app, pod, first, mut clients) = queue_of(1).await;
    let (sender, body) = frames();
    first.answer(Response::new(body));
    let (gone, answer) = clients.remove(0);
    let mut answer = within(answer).await.unwrap().unwrap();
    sender.send(data("half")).await.unwrap();
    assert_eq!(piece(answer.body_mut()).await, "half");
    assert!(app.has_nothing(), "the slot is held until the last byte");
    gone.hang_up();
    within(sender.closed()).await;
    app.next().await.answer_with("ok");
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn the_slot_is_freed_by_the_last_byte_and_not_by_the_head() {
    for known_length in [true, false] {
        let (mut app, pod, first, mut clients) = queue_of(1).await;
        let (sender, body) = frames();
        let mut response = Response::builder();
        if known_length {
            response = response.header("content-length", "8");
        }
        first.answer(response.body(body).unwrap());
        let mut answer = within(clients.remove(0).1).await.unwrap().unwrap();
        sender.send(data("half")).await.unwrap();
        assert_eq!(piece(answer.body_mut()).await, "half");
        assert!(app.has_nothing());
        assert_eq!(pod.proxy.in_flight(), 2.0);
        sender.send(data("half")).await.unwrap();
        if !known_length {
            drop(sender);
        }
        // Nobody has read the rest yet, but the app has finished.
        app.next().await.answer_with("ok");
        assert_eq!(text(answer).await, "half");
        pod.until_in_flight(0).await;
    }
}

#[tokio::test]
async fn refused_requests_and_probes_take_no_slot() {
    let (_app, pod, _first, _clients) = queue_of(10).await;
    let mut client = Client::connect(pod.serving).await;
    for _ in 0..20 {
        client.ready().await.unwrap();
        assert_eq!(client.send(get("/")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    let mut probe = get("/");
    probe.headers_mut().insert("user-agent", "kube-probe/1.34".parse().unwrap());
    probe.headers_mut().insert("k-network-probe", "queue".parse().unwrap());
    client.ready().await.unwrap();
    assert_eq!(client.send(probe).await.status(), StatusCode::OK);
    pod.until_in_flight(11).await;
}

#[tokio::test]
async fn without_a_limit_all_run_at_once() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = Client::connect(pod.serving).await;
        let answer = client.start(get("/"));
        clients.push((client, answer));
    }
    let mut exchanges = Vec::new();
    for _ in 0..100 {
        exchanges.push(app.next().await);
    }
    for exchange in exchanges {
        exchange.answer_with("ok");
    }
    for (_client, answer) in clients {
        assert_eq!(within(answer).await.unwrap().unwrap().status(), StatusCode::OK);
    }
}
