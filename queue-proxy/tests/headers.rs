//! Which headers the app and the client see of each other.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use ebb_core::headers;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, Version};
use support::*;

/// Sends a GET with `lines`; returns what the app received.
async fn as_seen(app: &mut App, pod: &Pod, lines: &[(&str, &str)]) -> Request<hyper::body::Incoming> {
    let mut client = Client::connect(pod.serving).await;
    let mut request = get("/");
    for (name, value) in lines {
        request.headers_mut().append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let answer = client.start(request);
    let Exchange { request, reply } = app.next().await;
    reply.send(Response::new(empty())).unwrap();
    within(answer).await.unwrap().unwrap();
    request
}

#[tokio::test]
async fn hop_by_hop_headers_end_at_the_hop_in_both_directions() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = RawClient::connect(pod.serving).await;
    client
        .write(
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, x-mine\r\nconnection: X-Too\r\n\
             keep-alive: timeout=5\r\nx-mine: 1\r\nx-too: 2\r\nproxy-authorization: secret\r\n\
             proxy-connection: keep-alive\r\nte: gzip, trailers\r\nx-other: stays\r\n\r\n",
        )
        .await;
    let exchange = app.next().await;
    let mut names: Vec<&str> = exchange.request.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["host", "te", "x-forwarded-for", "x-other"]);
    assert_eq!(exchange.request.headers()["te"], "trailers");
    let response = Response::builder()
        .header("connection", "x-app")
        .header("keep-alive", "timeout=5")
        .header("x-app", "1")
        .header("x-other", "stays");
    exchange.answer(response.body(full("ok")).unwrap());
    let head = client.head().await;
    for gone in ["connection", "keep-alive", "x-app"] {
        assert!(!head.contains(gone), "{gone} in {head}");
    }
    assert!(head.contains("x-other: stays"), "{head}");
}

#[tokio::test]
async fn repeated_headers_stay_repeated() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    let mut request = get("/");
    for value in ["1", "2"] {
        request.headers_mut().append("x-many", value.parse().unwrap());
    }
    let answer = client.start(request);
    let exchange = app.next().await;
    let all = |headers: &HeaderMap, name: &str| -> Vec<String> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(all(exchange.request.headers(), "x-many"), ["1", "2"]);
    let response = Response::builder().header("set-cookie", "a=1").header("set-cookie", "b=2");
    exchange.answer(response.body(empty()).unwrap());
    let answer = within(answer).await.unwrap().unwrap();
    assert_eq!(all(answer.headers(), "set-cookie"), ["a=1", "b=2"]);
}

#[tokio::test]
async fn the_client_is_appended_to_those_for_whom_it_was_forwarded() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let seen = as_seen(&mut app, &pod, &[]).await;
    assert_eq!(seen.headers()["x-forwarded-for"], "127.0.0.1");
    let lines = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "198.51.100.4")];
    let seen = as_seen(&mut app, &pod, &lines).await;
    assert_eq!(seen.headers()["x-forwarded-for"], "203.0.113.9, 198.51.100.4, 127.0.0.1");
}

#[tokio::test]
async fn host_and_path_and_agent_are_left_alone() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    let request = Request::get("/a%20b//c?d=e&&f").header("host", "Shop.Example:81").body(empty()).unwrap();
    let _answer = client.start(request);
    let exchange = app.next().await;
    assert_eq!(exchange.request.uri(), "/a%20b//c?d=e&&f");
    assert_eq!(exchange.request.headers()["host"], "Shop.Example:81");
    assert_eq!(exchange.request.headers().get("user-agent"), None);
}

const CLAIMS: [(&str, &str); 5] = [
    ("k-original-host", "inside.example"),
    ("k-proxy-request", "activator"),
    ("k-kubelet-probe", "x"),
    ("knative-serving-revision", "r"),
    ("knative-serving-namespace", "n"),
];

#[tokio::test]
async fn forged_control_headers_neither_count_nor_reach_the_app_where_there_is_a_nonce() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |config| config.nonce = Some("secret".into())).await;
    for forged in [None, Some(("ebb-pod-nonce", "guess"))] {
        let lines: Vec<_> = CLAIMS.into_iter().chain(forged).collect();
        let seen = as_seen(&mut app, &pod, &lines).await;
        assert_eq!(seen.headers()["host"], "shop.example");
        for name in &headers::FOR_EBB_ALONE {
            assert_eq!(seen.headers().get(name), None, "{name}");
        }
    }
}

#[tokio::test]
async fn who_knows_the_nonce_speaks_for_ebb() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |config| config.nonce = Some("secret".into())).await;
    let lines: Vec<_> = CLAIMS.into_iter().chain([("ebb-pod-nonce", "secret")]).collect();
    let seen = as_seen(&mut app, &pod, &lines).await;
    assert_eq!(seen.headers()["host"], "inside.example");
    for name in &headers::FOR_EBB_ALONE {
        assert_eq!(seen.headers().get(name), None, "{name}");
    }
}

#[tokio::test]
async fn an_http2_request_too_reaches_the_app_under_its_original_host() {
    let mut app = App::http2().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client2::connect(pod.serving).await;
    let request = Request::get("http://10.0.0.7:8012/cart?x=1")
        .version(Version::HTTP_2)
        .header("k-original-host", "shop.example")
        .body(empty())
        .unwrap();
    let _answer = tokio::spawn(client.try_send(request));
    let exchange = app.next().await;
    assert_eq!(exchange.request.uri(), "http://shop.example/cart?x=1");
    assert_eq!(exchange.request.headers().get("host"), None, "two hosts would contradict each other");
}

#[tokio::test]
async fn an_app_cannot_give_ebbs_reasons() {
    let app = App::answering(async |_| {
        let response = Response::builder().status(StatusCode::BAD_GATEWAY);
        response.header("ebb-reason", "app-refused").body(full("mine")).unwrap()
    })
    .await;
    let pod = Pod::start(app.address, |_| {}).await;
    let answer = Client::connect(pod.serving).await.send(get("/")).await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(answer.headers().get(headers::REASON), None);
    assert_eq!(text(answer).await, "mine");
}
