//! Connections that reach their maximum age are closed without losing a request.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::time::Duration;

use http::{Request, Version};
use support::*;

#[tokio::test]
async fn an_answer_past_the_age_of_its_connection_is_whole_and_the_last() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |config| config.connections.max_age = Some(Duration::ZERO)).await;
    let mut client = RawClient::connect(pod.serving).await;
    client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    app.next().await.answer_with("ok");
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 200 ") && head.contains("connection: close\r\n"), "{head}");
    assert_eq!(client.rest().await.unwrap(), "ok");
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn a_connection_stays_where_its_age_is_not_limited() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = RawClient::connect(pod.serving).await;
    for _ in 0..3 {
        client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        app.next().await.answer_with("ok");
        let head = client.head().await;
        assert!(!head.contains("connection: close"), "{head}");
        client.read_to("ok").await;
    }
}

#[tokio::test]
async fn an_http2_connection_past_its_age_gets_goaway_and_its_streams_are_finished() {
    let mut app = App::http2().await;
    let age = Duration::from_millis(100);
    let pod = Pod::start(app.address, |config| config.connections.max_age = Some(age)).await;
    let mut client = Client2::connect(pod.serving).await;
    let request = Request::get("http://a.example/").version(Version::HTTP_2).body(empty()).unwrap();
    let answer = tokio::spawn(client.send(request));
    let exchange = app.next().await;
    // Twice 90 % of the age is more than 110 % of it.
    for _ in 0..2 {
        let idle = Client2::connect(pod.serving).await;
        within(idle.connection).await.unwrap().expect("one on which nothing is asked ends at its age");
    }
    assert!(!client.connection.is_finished(), "one stream is open");
    exchange.answer_with("ok");
    assert_eq!(text(within(answer).await.unwrap()).await, "ok");
    within(client.connection).await.unwrap().expect("it ends cleanly after its last stream");
    pod.until_in_flight(0).await;
}

/// Sends a renewal to the stats port; returns the status.
async fn renew(pod: &Pod, nonce: &str) -> String {
    let mut client = RawClient::connect(pod.stats).await;
    let head = format!("POST /renew-connections HTTP/1.1\r\nhost: a\r\nebb-pod-nonce: {nonce}\r\n");
    client.write(&format!("{head}content-length: 0\r\n\r\n")).await;
    client.head().await.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn clients_are_asked_to_connect_anew_by_whoever_knows_the_pods_secret() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |config| config.nonce = Some("secret".into())).await;
    let mut client = RawClient::connect(pod.serving).await;
    let mut ask = async |renewed: bool| {
        client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        app.next().await.answer_with("ok");
        let head = client.head().await;
        assert_eq!(head.contains("connection: close\r\n"), renewed, "{head}");
        client.read_to("ok").await;
    };
    ask(false).await;
    assert_eq!(renew(&pod, "guess").await, "403");
    ask(false).await;
    assert_eq!(renew(&pod, "secret").await, "204");
    ask(true).await;
    let mut again = RawClient::connect(pod.serving).await;
    again.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    app.next().await.answer_with("ok");
    let head = again.head().await;
    assert!(!head.contains("connection: close"), "one that came later stays: {head}");
}

#[tokio::test]
async fn an_http2_client_is_asked_to_connect_anew_with_its_next_request() {
    let mut app = App::http2().await;
    let pod = Pod::start(app.address, |config| config.nonce = Some("secret".into())).await;
    let mut client = Client2::connect(pod.serving).await;
    for renewed in [false, true] {
        if renewed {
            assert_eq!(renew(&pod, "secret").await, "204");
        }
        let request = Request::get("http://a.example/").version(Version::HTTP_2).body(empty()).unwrap();
        let answer = tokio::spawn(client.send(request));
        app.next().await.answer_with("ok");
        assert_eq!(text(within(answer).await.unwrap()).await, "ok");
    }
    within(client.connection).await.unwrap().expect("it ends cleanly after its last stream");
}
