//! Apps that speak one version of HTTP, and clients that speak the other.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use ebb_core::AppProtocol;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Frame;
use support::*;

fn over_http2(method: &str, path: &str, body: AnyBody) -> Request<AnyBody> {
    let request = Request::builder().method(method).uri(format!("http://hello.test{path}"));
    request
        .version(Version::HTTP_2)
        .header("te", "trailers")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(body)
        .unwrap()
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("7"))])
}

#[tokio::test]
async fn an_http1_app_hears_http1_from_a_client_of_http2_body_and_trailers_included() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |config| config.app_protocol = Some(AppProtocol::Http1)).await;
    let mut client = Client2::connect(pod.serving).await;
    let (asking, body) = frames();
    let answer = tokio::spawn(client.send(over_http2("POST", "/a?b=%20c", body)));
    asking.send(data("hello ")).await.unwrap();
    let Exchange { mut request, reply } = app.next().await;
    assert_eq!(request.version(), Version::HTTP_11);
    assert_eq!(request.uri(), "/a?b=%20c");
    assert_eq!(request.headers()["host"], "hello.test");
    assert_eq!(request.headers().get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    assert_eq!(piece(request.body_mut()).await, "hello ");
    asking.send(data("there")).await.unwrap();
    asking.send(Ok(Frame::trailers(trailers()))).await.unwrap();
    drop(asking);
    let sent = within(request.into_body().collect()).await.unwrap();
    assert_eq!(sent.trailers(), Some(&trailers()));
    assert_eq!(sent.to_bytes(), "there");
    let (answering, body) = frames();
    let response = Response::builder().header("connection", "keep-alive").header("keep-alive", "timeout=5");
    reply.send(response.header("trailer", "x-sum").body(body).unwrap()).unwrap();
    answering.send(data("general")).await.unwrap();
    answering.send(Ok(Frame::trailers(trailers()))).await.unwrap();
    drop(answering);
    let answer = within(answer).await.unwrap();
    assert_eq!((answer.version(), answer.status()), (Version::HTTP_2, StatusCode::OK));
    assert!(!answer.headers().contains_key("keep-alive"));
    let whole = within(answer.into_body().collect()).await.unwrap();
    assert_eq!(whole.trailers(), Some(&trailers()));
    assert_eq!(whole.to_bytes(), "general");
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn requests_without_bodies_have_none_in_the_other_version() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |config| config.app_protocol = Some(AppProtocol::Http1)).await;
    let mut client = Client2::connect(pod.serving).await;
    for method in ["GET", "HEAD", "DELETE"] {
        let answer = tokio::spawn(client.send(over_http2(method, "/", empty())));
        let exchange = app.next().await;
        assert_eq!(exchange.request.method(), method);
        assert!(!exchange.request.headers().contains_key("transfer-encoding"));
        assert!(!exchange.request.headers().contains_key("content-length"));
        let body = if method == "HEAD" { empty() } else { full("x") };
        exchange.answer(Response::builder().header("content-length", "1").body(body).unwrap());
        let answer = within(answer).await.unwrap();
        assert_eq!(answer.headers()["content-length"], "1");
        let wanted = if method == "HEAD" { "" } else { "x" };
        assert_eq!(text(answer).await, wanted);
    }
}

#[tokio::test]
async fn an_h2c_app_hears_http2_from_a_client_of_http1() {
    let mut app = App::http2().await;
    let pod = Pod::start(app.address, |config| config.app_protocol = Some(AppProtocol::Http2)).await;
    let mut client = Client::connect(pod.serving).await;
    let (asking, body) = frames();
    let answer = tokio::spawn(client.try_send(post("/a?b", body)));
    asking.send(data("hello")).await.unwrap();
    let Exchange { mut request, reply } = app.next().await;
    assert_eq!(request.version(), Version::HTTP_2);
    assert_eq!(request.uri().path_and_query().unwrap(), "/a?b");
    assert!(request.uri().authority().is_some());
    assert_eq!(piece(request.body_mut()).await, "hello");
    drop(asking);
    assert_eq!(read(request.into_body()).await, "");
    let (answering, body) = frames();
    reply.send(Response::new(body)).unwrap();
    answering.send(data("there")).await.unwrap();
    drop(answering);
    let answer = within(answer).await.unwrap().unwrap();
    assert_eq!((answer.version(), answer.status()), (Version::HTTP_11, StatusCode::OK));
    assert_eq!(text(answer).await, "there");
}

#[tokio::test]
async fn an_app_that_breaks_off_in_one_version_breaks_off_in_the_other() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |config| config.app_protocol = Some(AppProtocol::Http1)).await;
    let mut client = Client2::connect(pod.serving).await;
    let answer = tokio::spawn(client.send(over_http2("GET", "/", empty())));
    let Exchange { reply, .. } = app.next().await;
    let (answering, body) = frames();
    reply.send(Response::new(body)).unwrap();
    answering.send(data("half")).await.unwrap();
    let mut answer = within(answer).await.unwrap();
    assert_eq!(piece(answer.body_mut()).await, "half");
    answering.send(Err(std::io::Error::other("broken"))).await.unwrap();
    assert!(
        within(answer.into_body().collect()).await.is_err(),
        "half an answer is not taken for a whole one"
    );
    pod.until_in_flight(0).await;
}

/// A server that speaks only HTTP/2 says so before it has read anything, and closes on what is not HTTP/2.
async fn only_http2() -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let listener = listen().await;
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
                assert_eq!(request.version(), Version::HTTP_2);
                let read = request.into_body().collect().await?.to_bytes();
                Ok::<_, hyper::Error>(Response::new(full(read)))
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, serving)
}

#[tokio::test]
async fn an_app_that_speaks_only_http2_is_found_out_by_the_first_request_of_http1() {
    let (address, _serving) = only_http2().await;
    let pod = Pod::start(address, |_| {}).await;
    for body in ["first", "second"] {
        let mut client = Client::connect(pod.serving).await;
        let answer = within(client.try_send(post("/", full(body)))).await.unwrap();
        assert_eq!((answer.version(), answer.status()), (Version::HTTP_11, StatusCode::OK));
        assert_eq!(text(answer).await, body);
    }
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn what_the_configuration_says_is_not_found_out_otherwise() {
    let (address, _serving) = only_http2().await;
    let pod = Pod::start(address, |config| config.app_protocol = Some(AppProtocol::Http1)).await;
    let mut client = Client::connect(pod.serving).await;
    let answer = within(client.try_send(get("/"))).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(answer.headers()["ebb-reason"], "app-unreadable");
    assert!(text(answer).await.contains("it is HTTP/2"));
}
