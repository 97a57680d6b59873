//! Connections that stop being HTTP: all upgrades, mainly `WebSocket`s.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::{num::NonZeroUsize, time::Duration};

use ebb_core::headers;
use http::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ASK: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-key: abc\r\n\r\n";

/// Limits with this value pass soon.
const SHORT: Duration = Duration::from_millis(100);

type Stream = TokioIo<hyper::upgrade::Upgraded>;

/// Returns the app's and the client's side of an upgraded connection.
async fn upgraded(app: &mut App, pod: &Pod) -> (Stream, RawClient) {
    let mut client = RawClient::connect(pod.serving).await;
    client.write(ASK).await;
    let mut exchange = app.next().await;
    let headers = exchange.request.headers();
    assert_eq!(
        (&headers["connection"], &headers["upgrade"]),
        (&"upgrade".parse().unwrap(), &"websocket".parse().unwrap())
    );
    assert_eq!(headers["sec-websocket-key"], "abc");
    let upgrade = hyper::upgrade::on(&mut exchange.request);
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", "xyz");
    exchange.answer(response.body(empty()).unwrap());
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    for line in ["connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-accept: xyz\r\n"] {
        assert!(head.contains(line), "{head}");
    }
    (TokioIo::new(within(upgrade).await.unwrap()), client)
}

async fn expect(stream: &mut (impl AsyncReadExt + Unpin), text: &str) {
    let mut read = vec![0; text.len()];
    within(stream.read_exact(&mut read)).await.unwrap();
    assert_eq!(String::from_utf8(read).unwrap(), text);
}

fn one_slot(config: &mut queue_proxy::Config) {
    config.container_concurrency = NonZeroUsize::new(1);
}

#[tokio::test]
async fn bytes_pass_both_ways_and_the_slot_is_held_until_both_sides_have_closed() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, one_slot).await;
    let (mut server, mut client) = upgraded(&mut app, &pod).await;
    for round in 0..10 {
        client.write(format!("ping {round}")).await;
        expect(&mut server, &format!("ping {round}")).await;
        server.write_all(format!("pong {round}").as_bytes()).await.unwrap();
        expect(&mut client.stream, &format!("pong {round}")).await;
    }
    assert_eq!(pod.proxy.in_flight(), 1.0);
    assert_eq!(pod.metric("ebb_queue_proxy_executing_requests").await, "1");

    let mut other = Client::connect(pod.serving).await;
    let waiting = other.start(get("/next"));
    pod.until_in_flight(2).await;
    assert_eq!(pod.metric("ebb_queue_proxy_pending_requests").await, "1");

    client.stream.shutdown().await.unwrap();
    assert_eq!(within(server.read(&mut [0; 8])).await.unwrap(), 0, "the app hears that the client is done");
    server.write_all(b"bye").await.unwrap();
    expect(&mut client.stream, "bye").await;
    assert!(app.has_nothing(), "one direction is still open");
    server.shutdown().await.unwrap();
    assert_eq!(client.rest().await.unwrap(), "");
    app.next().await.answer_with("ok");
    assert_eq!(text(within(waiting).await.unwrap().unwrap()).await, "ok");
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn bytes_sent_along_with_the_question_are_not_lost() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = RawClient::connect(pod.serving).await;
    client.write(format!("{ASK}early")).await;
    let mut exchange = app.next().await;
    let upgrade = hyper::upgrade::on(&mut exchange.request);
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS).header("upgrade", "websocket");
    exchange.answer(response.header("connection", "upgrade").body(empty()).unwrap());
    client.head().await;
    let mut server = TokioIo::new(within(upgrade).await.unwrap());
    expect(&mut server, "early").await;
}

#[tokio::test]
async fn an_app_that_crashes_ends_the_clients_connection_and_frees_the_slot() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, one_slot).await;
    let (server, mut client) = upgraded(&mut app, &pod).await;
    drop(server);
    assert_eq!(client.rest().await.unwrap(), "");
    drop(client);
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_apps_connection_and_frees_the_slot() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, one_slot).await;
    let (mut server, client) = upgraded(&mut app, &pod).await;
    drop(client);
    assert_eq!(within(server.read(&mut [0; 8])).await.unwrap(), 0);
    drop(server);
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn an_app_that_declines_the_upgrade_answers_as_ever() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, one_slot).await;
    let mut client = RawClient::connect(pod.serving).await;
    for _ in 0..2 {
        client.write(ASK).await;
        let refusal = Response::builder().status(StatusCode::FORBIDDEN).body(full("no")).unwrap();
        app.next().await.answer(refusal);
        let head = client.head().await;
        assert!(head.starts_with("http/1.1 403 "), "{head}");
        client.read_to("no").await;
        pod.until_in_flight(0).await;
    }
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_a_bad_gateway() {
    let listener = listen().await;
    let pod = Pod::start(listener.local_addr().unwrap(), one_slot).await;
    let mut client = Client::connect(pod.serving).await;
    let answer = client.start(get("/"));
    let mut app = RawClient { stream: within(listener.accept()).await.unwrap().0 };
    app.head().await;
    app.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: odd\r\n\r\n").await;
    let answer = within(answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(answer.headers()[headers::REASON], "unasked-upgrade");
    assert_eq!(app.rest().await.unwrap(), "", "the app's connection is closed");
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn an_upgraded_connection_outlives_the_request_time_out() {
    let mut app = App::http1().await;
    let limit = Duration::from_millis(100);
    let pod = Pod::start(app.address, |config| {
        (config.request_timeout, config.idle_timeout) = (limit, Some(limit));
    })
    .await;
    let (mut server, mut client) = upgraded(&mut app, &pod).await;
    // Another request's timeout shows that the time has passed.
    let mut other = Client::connect(pod.serving).await;
    let _stalled = app_stalls(&mut app, &mut other).await;
    client.write("still here").await;
    expect(&mut server, "still here").await;
}

#[tokio::test]
async fn an_upgraded_connection_ends_at_the_age_that_connections_may_reach() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |config| {
        one_slot(config);
        config.connections.max_age = Some(SHORT);
    })
    .await;
    let (mut server, mut client) = upgraded(&mut app, &pod).await;
    let busy = tokio::spawn(async move {
        let mut said = 0;
        while server.write_all(b"x").await.is_ok() && server.flush().await.is_ok() {
            said += 1;
            tokio::task::yield_now().await;
        }
        said
    });
    client.rest().await.unwrap();
    assert!(within(busy).await.unwrap() > 0, "however busy it is");
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn an_upgraded_connection_on_which_nothing_passes_ends_and_frees_its_slot() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |config| {
        one_slot(config);
        config.connections.tunnel_idle = Some(SHORT);
    })
    .await;
    let (mut server, mut client) = upgraded(&mut app, &pod).await;
    client.write("hello").await;
    expect(&mut server, "hello").await;
    assert_eq!(client.rest().await.unwrap(), "");
    assert_eq!(within(server.read(&mut [0; 8])).await.unwrap(), 0, "the app's side is closed too");
    pod.until_in_flight(0).await;
}

async fn app_stalls(app: &mut App, client: &mut Client) -> Exchange {
    let answer = client.start(get("/"));
    let exchange = app.next().await;
    assert_eq!(within(answer).await.unwrap().unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
    exchange
}
