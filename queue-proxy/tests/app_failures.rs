//! Apps that refuse, crash, or close an idle connection.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use ebb_core::headers;
use http::{HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use queue_proxy::readiness::Probe;
use support::*;

fn assert_bad_gateway(answer: &Response<Incoming>, reason: &str) {
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(answer.headers()[headers::REASON], reason);
}

#[tokio::test]
async fn an_app_that_refuses_is_not_ready_and_waited_for_until_it_is_back() {
    for method in [Method::GET, Method::POST] {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let app = App::on(listener);
        let pod = Pod::start(address, |config| config.probes = vec![Probe::tcp()]).await;
        let mut readiness = pod.proxy.readiness();
        within(readiness.wait_for(|phase| phase.is_ready())).await.unwrap();
        drop(app);
        // The listener is closed when its task has ended.
        until(|| std::net::TcpListener::bind(address).is_ok()).await;
        let mut client = Client::connect(pod.serving).await;
        let mut request = post("/", full("body"));
        *request.method_mut() = method;
        let answer = client.start(request);
        within(readiness.wait_for(|phase| !phase.is_ready())).await.unwrap();
        assert!(!answer.is_finished());

        let mut app = App::on(tokio::net::TcpListener::bind(address).await.unwrap());
        let Exchange { request, reply } = app.next().await;
        assert_eq!(read(request.into_body()).await, "body");
        reply.send(Response::new(full("back"))).unwrap();
        assert_eq!(text(within(answer).await.unwrap().unwrap()).await, "back");
        pod.until_in_flight(0).await;
    }
}

#[tokio::test]
async fn what_an_activator_sends_to_an_app_that_refuses_goes_back_to_it() {
    let address = free_port().await;
    let pod = Pod::start(address, |config| config.nonce = Some("secret".into())).await;
    let mut client = Client::connect(pod.serving).await;
    let mut request = post("/", full("body"));
    for (name, value) in [("k-proxy-request", "activator"), ("ebb-pod-nonce", "secret")] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let answer = client.send(request).await;
    assert_bad_gateway(&answer, "app-refused");
    assert_eq!(answer.headers()[headers::FATE], "never-sent");
    // Other requests are not affected. Without a probe, there is nothing to wait for.
    client.ready().await.unwrap();
    let answer = client.send(post("/", full("body"))).await;
    assert_bad_gateway(&answer, "app-refused");
    assert_eq!(answer.headers().get(headers::FATE), None);
}

#[tokio::test]
async fn one_more_than_may_wait_for_an_app_does_not_end_the_waiting_of_those_that_follow() {
    let address = free_port().await;
    let pod = Pod::start(address, |config| config.probes = vec![Probe::tcp()]).await;
    let mut waiting = Vec::new();
    for _ in 0..256 {
        let mut client = Client::connect(pod.serving).await;
        let answer = client.start(get("/"));
        waiting.push((client, answer));
    }
    pod.until_in_flight(256).await;
    let mut one_more = Client::connect(pod.serving).await;
    assert_bad_gateway(&one_more.send(get("/")).await, "app-refused");
    let (gone, _) = waiting.remove(0);
    gone.hang_up();
    pod.until_in_flight(255).await;
    let mut late = Client::connect(pod.serving).await;
    let late_answer = late.start(get("/late"));
    pod.until_in_flight(256).await;
    assert!(!late_answer.is_finished());
    let mut app = App::on(tokio::net::TcpListener::bind(address).await.unwrap());
    app.take_over(async |_| Response::new(full("here")));
    assert_eq!(text(within(late_answer).await.unwrap().unwrap()).await, "here");
}

/// Kubernetes sends requests early to a pod without a readiness probe.
#[tokio::test]
async fn requests_that_come_before_the_app_has_ever_listened_wait_for_it() {
    let address = free_port().await;
    let pod = Pod::start(address, |config| config.probes = vec![Probe::tcp()]).await;
    let mut early = Client::connect(pod.serving).await;
    let (sender, body) = frames();
    let answer = early.start(post("/early", body));
    sender.send(data("read ahead, ")).await.unwrap();
    pod.until_in_flight(1).await;
    let mut gone = RawClient::connect(pod.serving).await;
    gone.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf").await;
    pod.until_in_flight(2).await;
    drop(gone);
    pod.until_in_flight(1).await;
    assert!(!answer.is_finished());

    let mut app = App::on(tokio::net::TcpListener::bind(address).await.unwrap());
    let Exchange { request, reply } = app.next().await;
    sender.send(data("and not")).await.unwrap();
    drop(sender);
    assert_eq!(read(request.into_body()).await, "read ahead, and not");
    reply.send(Response::new(full("hello"))).unwrap();
    assert_eq!(text(within(answer).await.unwrap().unwrap()).await, "hello");
}

/// Sends one request on each of `count` connections, so that they are kept.
async fn kept_connections(app: &mut App, pod: &Pod, count: usize) {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(pod.serving).await;
        let answer = client.start(get("/first"));
        clients.push((client, answer, app.next().await));
    }
    for (_client, answer, exchange) in clients {
        exchange.answer_with("ok");
        assert_eq!(text(within(answer).await.unwrap().unwrap()).await, "ok");
    }
    pod.until_in_flight(0).await;
    assert_eq!(app.accepted(), count);
}

#[tokio::test]
async fn kept_connections_that_the_app_closed_between_requests_cost_nobody_an_error() {
    for method in [Method::GET, Method::POST] {
        let mut app = App::http1().await;
        let pod = Pod::start(app.address, |_| {}).await;
        let mut client = Client::connect(pod.serving).await;
        for _ in 0..20 {
            client.ready().await.unwrap();
            let mut request = get("/");
            *request.method_mut() = method.clone();
            let answer = client.start(request);
            app.next().await.answer_with("ok");
            assert_eq!(text(within(answer).await.unwrap().unwrap()).await, "ok");
            app.hang_up();
            // The close must reach the sidecar before the next request; there is no event to wait for.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
    }
}

#[tokio::test]
async fn a_get_that_met_a_closing_connection_is_sent_once_more() {
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        let mut app = App::http1().await;
        let pod = Pod::start(app.address, |_| {}).await;
        kept_connections(&mut app, &pod, 1).await;
        let mut client = Client::connect(pod.serving).await;
        let mut request = get("/again");
        *request.method_mut() = method;
        request.headers_mut().insert("x-mine", "1".parse().unwrap());
        let answer = client.start(request);
        app.next().await.break_off();
        let exchange = app.next().await;
        assert_eq!(
            (exchange.request.uri(), &exchange.request.headers()["x-mine"]),
            (&"/again".parse().unwrap(), &"1".parse().unwrap())
        );
        exchange.answer_with("");
        assert_eq!(within(answer).await.unwrap().unwrap().status(), StatusCode::OK);
        assert_eq!(app.accepted(), 2);
        pod.until_in_flight(0).await;
    }
}

#[tokio::test]
async fn a_get_that_crashes_the_app_is_not_tried_on_every_kept_connection() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    kept_connections(&mut app, &pod, 5).await;
    let mut client = Client::connect(pod.serving).await;
    let answer = client.start(get("/poison"));
    app.next().await.break_off();
    app.next().await.break_off();
    assert_bad_gateway(&within(answer).await.unwrap().unwrap(), "app-broke-off");
    assert!(app.has_nothing());
}

#[tokio::test]
async fn what_the_app_may_have_acted_upon_is_not_sent_again() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    kept_connections(&mut app, &pod, 1).await;
    let mut client = Client::connect(pod.serving).await;
    let answer = client.start(post("/order", full("one")));
    app.next().await.break_off();
    assert_bad_gateway(&within(answer).await.unwrap().unwrap(), "app-broke-off");
    assert!(app.has_nothing());
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn an_app_that_is_slow_to_accept_is_waited_for() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(free_port().await).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let pod = Pod::start(address, |_| {}).await;
    // The kernel queues one connection more than the backlog.
    let _backlog = [RawClient::connect(address).await, RawClient::connect(address).await];
    let mut client = Client::connect(pod.serving).await;
    let mut answer = client.start(get("/"));
    // Longer than a connection takes that is established at the first or second attempt.
    let early = tokio::time::timeout(std::time::Duration::from_millis(1_100), &mut answer).await;
    assert!(early.is_err(), "{early:?}");
    let mut app = App::on(listener);
    app.next().await.answer_with("ok");
    assert_eq!(text(within(answer).await.unwrap().unwrap()).await, "ok");
}

#[tokio::test]
async fn an_app_that_answers_nonsense_is_a_502() {
    let listener = listen().await;
    let pod = Pod::start(listener.local_addr().unwrap(), |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    let answer = client.start(post("/", full("x")));
    let mut app = RawClient { stream: within(listener.accept()).await.unwrap().0 };
    app.head().await;
    app.write("SSH-2.0-OpenSSH_9\r\n\r\n").await;
    assert_bad_gateway(&within(answer).await.unwrap().unwrap(), "app-unreadable");
    pod.until_in_flight(0).await;
}

#[tokio::test]
async fn an_answer_cut_short_of_its_length_is_cut_for_the_client_too() {
    let listener = listen().await;
    let pod = Pod::start(listener.local_addr().unwrap(), |_| {}).await;
    let mut client = RawClient::connect(pod.serving).await;
    client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut app = RawClient { stream: within(listener.accept()).await.unwrap().0 };
    app.head().await;
    app.write("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf").await;
    drop(app);
    assert!(client.head().await.contains("content-length: 8"));
    assert_eq!(client.rest().await.unwrap_or_default(), "half");
    pod.until_in_flight(0).await;
}
