//! What passes through unchanged: upgrades, streams, HTTP/2.

mod support;

use http::{Request, StatusCode, Version};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use support::{
    World,
    client::{ask, begin, connect_http2, get, post, whole},
    pod::Pod,
    service, service_with, soon,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn upgrade(path: &str) -> Request<http_body_util::Full<bytes::Bytes>> {
    let mut request = get(path);
    request.headers_mut().insert("connection", http::HeaderValue::from_static("Upgrade"));
    request.headers_mut().insert("upgrade", http::HeaderValue::from_static("websocket"));
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_upgrade_becomes_a_socket_that_counts_until_it_closes() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let mut entry = service_with(&[&pod]);
    entry.container_concurrency = 1;
    let port = world.serve(&entry).await;
    let client = tokio::spawn(begin(port, upgrade("/socket")));
    world.holds(1).await;
    pod.becomes_ready().await;
    let upgraded = pod.request().await.switches_to("websocket");
    let response = soon("101", client).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()["upgrade"], "websocket");
    let mut client = TokioIo::new(soon("the client's side", hyper::upgrade::on(response)).await.unwrap());
    let mut server = TokioIo::new(soon("the pod's side", upgraded).await.unwrap());
    let mut heard = [0; 4];
    client.write_all(b"ping").await.unwrap();
    soon("ping", server.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"ping");
    server.write_all(b"pong").await.unwrap();
    soon("pong", client.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"pong");

    let next = ask(port, get("/next"));
    world.holds(1).await;
    assert_eq!(world.load().in_flight, 2.0, "an open socket is in flight, and holds its place");
    drop(client);
    assert_eq!(soon("the end", server.read(&mut heard)).await.unwrap(), 0);
    drop(server);
    pod.request().await.says("hello");
    next.hears("hello").await;
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_passed_on_as_it_comes() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service_with(&[&pod])).await;
    pod.becomes_ready().await;
    let client = tokio::spawn(begin(port, get("/events")));
    let pieces = pod.request().await.streams();
    let mut response = soon("the head", client).await.unwrap();
    for text in ["one", "two", "three"] {
        pieces.send(text.into()).await.unwrap();
        let frame = soon(text, response.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(frame.data_ref().unwrap(), text);
        assert_eq!(world.load().in_flight, 1.0);
    }
    drop(pieces);
    assert!(soon("the end", response.body_mut().frame()).await.is_none());
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_listening_ends_the_stream_at_the_pod() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service_with(&[&pod])).await;
    pod.becomes_ready().await;
    let client = tokio::spawn(begin(port, get("/events")));
    let pieces = pod.request().await.streams();
    drop(soon("the head", client).await.unwrap());
    soon("the pod to notice", async { while pieces.send(vec![b'x'; 64 * 1024].into()).await.is_ok() {} })
        .await;
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_goes_to_the_pod_as_http2() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service()).await;
    let client = connect_http2(port).await;
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let mut client = client.clone();
            let request = post("http://hello.example/pkg.Service/Method", "message");
            tokio::spawn(async move { whole(client.send_request(request).await.unwrap()).await })
        })
        .collect();
    world.holds(3).await;
    world.tell(&service_with(&[&pod])).await;
    pod.becomes_ready().await;
    for _ in 0..3 {
        let mut asked = pod.request().await;
        assert_eq!(asked.request.version(), Version::HTTP_2);
        assert_eq!(asked.request.uri().authority().map(http::uri::Authority::as_str), Some("hello.example"));
        assert_eq!(asked.header("ebb-pod-nonce"), Some("nonce-of-a"));
        assert_eq!(asked.body().await.unwrap(), "message", "what was read ahead is sent too");
        asked.says("hello");
    }
    for call in calls {
        let answer = soon("an answer", call).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "hello"));
    }
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_longer_than_what_is_read_ahead_arrives_whole() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service()).await;
    let long = "0123456789".repeat(60_000);
    let held = ask(port, post("/", long.clone().leak()));
    world.holds(1).await;
    world.tell(&service_with(&[&pod])).await;
    pod.becomes_ready().await;
    let mut asked = pod.request().await;
    assert_eq!(asked.header("content-length"), Some(long.len().to_string().as_str()));
    assert_eq!(asked.body().await.unwrap(), long.as_bytes());
    asked.says("hello");
    held.hears("hello").await;
}
