//! HTTP/1.1 through the sidecar: connections, lengths, heads without bodies.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use support::*;
use tokio::task::JoinSet;

#[tokio::test]
async fn many_requests_after_another_share_one_connection_to_the_app() {
    let app = App::answering(async |request| Response::new(full(request.uri().path().to_owned()))).await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    for index in 0..500 {
        let path = format!("/{index}");
        client.ready().await.unwrap();
        assert_eq!(text(client.send(get(&path)).await).await, path);
    }
    assert_eq!(app.accepted(), 1);
}

#[tokio::test]
async fn chunked_answers_leave_the_connection_to_the_app_usable_too() {
    let app = App::answering(async |_| {
        let (sender, body) = frames();
        sender.try_send(data("one piece")).unwrap();
        Response::new(body)
    })
    .await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    for _ in 0..100 {
        client.ready().await.unwrap();
        assert_eq!(text(client.send(get("/")).await).await, "one piece");
    }
    assert_eq!(app.accepted(), 1);
}

#[tokio::test]
async fn clients_share_the_connections_to_the_app() {
    let app = App::answering(async |_| Response::new(full("ok"))).await;
    let pod = Pod::start(app.address, |_| {}).await;
    for _ in 0..50 {
        let mut client = Client::connect(pod.serving).await;
        assert_eq!(text(client.send(get("/")).await).await, "ok");
    }
    assert_eq!(app.accepted(), 1);
}

#[tokio::test]
async fn requests_at_the_same_time_have_a_connection_each_and_no_more() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    for _round in 0..3 {
        let mut answers = JoinSet::new();
        for _ in 0..8 {
            let mut client = Client::connect(pod.serving).await;
            answers.spawn(async move { text(client.send(get("/")).await).await });
        }
        let mut exchanges = Vec::new();
        for _ in 0..8 {
            exchanges.push(app.next().await);
        }
        for exchange in exchanges {
            exchange.answer_with("ok");
        }
        assert_eq!(answers.join_all().await, ["ok"; 8]);
    }
    assert_eq!(app.accepted(), 8);
}

#[tokio::test]
async fn a_known_length_stays_known_both_ways() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    let answer = client.start(post("/", full("request")));
    let exchange = app.next().await;
    assert_eq!(exchange.request.headers()["content-length"], "7");
    assert_eq!(exchange.request.headers().get("transfer-encoding"), None);
    assert_eq!(exchange.request.body().size_hint().exact(), Some(7));
    exchange.answer_with("an answer");
    let answer = within(answer).await.unwrap().unwrap();
    assert_eq!(answer.headers()["content-length"], "9");
    assert_eq!(answer.headers().get("transfer-encoding"), None);
    assert_eq!(text(answer).await, "an answer");
}

#[tokio::test]
async fn an_unknown_length_is_chunked_both_ways() {
    let app = App::answering(async |request| {
        assert_eq!(request.headers()["transfer-encoding"], "chunked");
        let echoed = read(request.into_body()).await;
        let (sender, body) = frames();
        sender.send(data(echoed)).await.unwrap();
        Response::new(body)
    })
    .await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    let (sender, body) = frames();
    sender.send(data("of unknown length")).await.unwrap();
    drop(sender);
    let answer = client.send(post("/", body)).await;
    assert_eq!(answer.headers()["transfer-encoding"], "chunked");
    assert_eq!(answer.headers().get("content-length"), None);
    assert_eq!(text(answer).await, "of unknown length");
}

#[tokio::test]
async fn empty_bodies_are_empty_both_ways() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    for (method, length) in [(Method::GET, None), (Method::POST, Some("0"))] {
        let mut request = post("/", full(""));
        *request.method_mut() = method.clone();
        if let Some(length) = length {
            request.headers_mut().insert("content-length", length.into_value());
        }
        let answer = client.start(request);
        let exchange = app.next().await;
        let given = exchange.request.headers().get("content-length").map(HeaderValue::as_bytes);
        assert_eq!(given, length.map(str::as_bytes), "{method}");
        assert!(exchange.request.body().is_end_stream());
        exchange.answer_with("");
        let answer = within(answer).await.unwrap().unwrap();
        assert_eq!(answer.headers()["content-length"], "0");
        assert_eq!(text(answer).await, "");
        client.ready().await.unwrap();
    }
}

/// Responses without a body, and the length that the client must see.
#[tokio::test]
async fn answers_without_a_body_keep_their_heads() {
    let cases = [
        (Method::HEAD, StatusCode::OK, Some("1234"), Some("1234")),
        (Method::HEAD, StatusCode::OK, None, None),
        (Method::HEAD, StatusCode::NOT_FOUND, Some("9"), Some("9")),
        (Method::GET, StatusCode::NOT_MODIFIED, Some("1234"), Some("1234")),
        (Method::GET, StatusCode::NOT_MODIFIED, None, None),
        (Method::GET, StatusCode::NO_CONTENT, None, None),
        (Method::HEAD, StatusCode::NO_CONTENT, None, None),
    ];
    // Heads are written by hand, because hyper would change the app's.
    let app = listen().await;
    let pod = Pod::start(app.local_addr().unwrap(), |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    let (stream, _) = {
        let first = client.start(get("/first"));
        let (stream, peer) = within(app.accept()).await.unwrap();
        let mut raw = RawClient { stream };
        raw.head().await;
        raw.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(within(first).await.unwrap().unwrap().status(), 204);
        (raw, peer)
    };
    let mut app = stream;
    for (method, status, given, wanted) in cases {
        client.ready().await.unwrap();
        let mut request = get("/");
        *request.method_mut() = method.clone();
        let answer = client.start(request);
        app.head().await;
        let length = given.map(|length| format!("content-length: {length}\r\n")).unwrap_or_default();
        app.write(format!("HTTP/1.1 {status}\r\nx-app: here\r\netag: \"1\"\r\n{length}\r\n")).await;
        let answer = within(answer).await.unwrap().unwrap();
        let case = format!("{method} {status} {given:?}");
        assert_eq!(answer.status(), status, "{case}");
        let seen = answer.headers().get("content-length").map(HeaderValue::as_bytes);
        assert_eq!(seen, wanted.map(str::as_bytes), "{case}");
        assert_eq!(answer.headers().get("transfer-encoding"), None, "{case}");
        assert_eq!(
            (&answer.headers()["x-app"], &answer.headers()["etag"]),
            (&"here".into_value(), &"\"1\"".into_value())
        );
        assert_eq!(text(answer).await, "", "{case}");
        pod.until_in_flight(0).await;
    }
}

trait IntoValue {
    fn into_value(self) -> HeaderValue;
}

impl IntoValue for &'static str {
    fn into_value(self) -> HeaderValue {
        HeaderValue::from_static(self)
    }
}

#[tokio::test]
async fn trailers_are_relayed_both_ways() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    let trailers =
        |value| HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static(value))]);
    let (sender, body) = frames();
    let mut request = post("/", body);
    request.headers_mut().insert("trailer", "x-sum".into_value());
    request.headers_mut().insert("te", "trailers".into_value());
    let answer = client.start(request);
    sender.send(data("question")).await.unwrap();
    sender.send(Ok(Frame::trailers(trailers("1")))).await.unwrap();
    drop(sender);
    let mut exchange = app.next().await;
    let got = within(exchange.request.body_mut().collect()).await.unwrap();
    assert_eq!(got.trailers(), Some(&trailers("1")));
    let (sender, body) = frames();
    exchange.answer(Response::builder().header("trailer", "x-sum").body(body).unwrap());
    sender.send(data("answer")).await.unwrap();
    sender.send(Ok(Frame::trailers(trailers("2")))).await.unwrap();
    drop(sender);
    let answer = within(answer).await.unwrap().unwrap();
    let got = within(answer.into_body().collect()).await.unwrap();
    assert_eq!(got.trailers(), Some(&trailers("2")));
    assert_eq!(got.to_bytes(), Bytes::from("answer"));
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn a_client_that_expects_continue_is_told_to_go_on() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = RawClient::connect(pod.serving).await;
    client.write("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n").await;
    assert!(client.head().await.starts_with("http/1.1 100 "));
    client.write("body").await;
    let mut exchange = app.next().await;
    assert_eq!(within(exchange.request.body_mut().collect()).await.unwrap().to_bytes(), "body");
    exchange.answer_with("ok");
    assert!(client.head().await.starts_with("http/1.1 200 "));
    client.read_to("ok").await;
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_a_body_that_ends_with_the_connection() {
    let app = App::answering(async |request| {
        assert_eq!(request.version(), http::Version::HTTP_11);
        let (sender, body) = frames();
        sender.try_send(data("of unknown length")).unwrap();
        Response::new(body)
    })
    .await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = RawClient::connect(pod.serving).await;
    client.write("GET / HTTP/1.0\r\nhost: a\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.starts_with("http/1.0 200 "), "{head}");
    assert!(!head.contains("transfer-encoding"), "{head}");
    assert_eq!(client.rest().await.unwrap(), "of unknown length");
}

/// Python's `http.server` and many health endpoints speak HTTP/1.0.
#[tokio::test]
async fn an_app_that_speaks_http_1_0_does_not_cost_the_client_its_connection() {
    let listener = listen().await;
    let pod = Pod::start(listener.local_addr().unwrap(), |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    for (length, version) in [("content-length: 2\r\n", "1"), ("", "2"), ("content-length: 2\r\n", "3")] {
        client.ready().await.unwrap();
        let answer = client.start(get(&format!("/{version}")));
        let (stream, _) = within(listener.accept()).await.unwrap();
        let mut app = RawClient { stream };
        app.head().await;
        app.write(format!("HTTP/1.0 200 OK\r\n{length}\r\nok")).await;
        drop(app);
        let answer = within(answer).await.unwrap().unwrap();
        assert_eq!(answer.version(), http::Version::HTTP_11);
        assert_eq!(text(answer).await, "ok");
    }
    assert!(!client.is_closed());
}

#[tokio::test]
async fn a_target_in_absolute_form_reaches_the_app_as_a_path() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    let request = Request::get("http://shop.example/cart?x=1").header("host", "other").body(empty()).unwrap();
    let _answer = client.start(request);
    let exchange = app.next().await;
    assert_eq!(exchange.request.uri(), "/cart?x=1");
    assert_eq!(exchange.request.headers()["host"], "shop.example");
}
