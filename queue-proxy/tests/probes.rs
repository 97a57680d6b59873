//! Probes from the kubelet, the activator and an ingress.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::{
    net::SocketAddr,
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use ebb_core::headers;
use ebb_proxy::Quiet;
use http::{Request, Response, StatusCode};
use queue_proxy::readiness::{Probe, ProbeKind};
use support::*;
use tokio::net::TcpListener;

fn probe(agent: &str, lines: &[(&str, &str)]) -> Request<AnyBody> {
    let mut request = get("/any/path");
    request.headers_mut().insert("user-agent", agent.parse().unwrap());
    for (name, value) in lines {
        request.headers_mut().insert(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
    }
    request
}

fn component(lines: &[(&str, &str)]) -> Request<AnyBody> {
    probe("Knative-Activator-Probe", &[&[("k-network-probe", "queue")], lines].concat())
}

#[tokio::test]
async fn a_held_probe_is_answered_when_the_app_begins_to_listen() {
    let address = free_port().await;
    let pod = Pod::start(address, |config| config.probes = vec![Probe::tcp()]).await;
    let mut client = Client::connect(pod.serving).await;
    let mut held = client.start(component(&[("ebb-probe-hold-ms", "30000")]));
    let mut other = Client::connect(pod.serving).await;
    let answer = other.send(component(&[])).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "who does not wait is answered at once");
    assert_eq!(answer.headers()[headers::PROBED_BY], headers::PROBE_QUEUE);
    assert!(!held.is_finished());
    let _app = TcpListener::bind(address).await.unwrap();
    let answer = within(&mut held).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[headers::PROBED_BY], headers::PROBE_QUEUE);
    assert_eq!(text(answer).await, "queue");
    assert_eq!(pod.proxy.in_flight(), 0.0, "probes are not requests");
}

#[tokio::test]
async fn a_hold_that_runs_out_is_answered_not_ready() {
    let pod = Pod::start(free_port().await, |config| config.probes = vec![Probe::tcp()]).await;
    let mut client = Client::connect(pod.serving).await;
    let answer = client.send(component(&[("ebb-probe-hold-ms", "50")])).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()[headers::REASON], "not-ready");
    assert_eq!(text(answer).await, "");
}

#[tokio::test]
async fn the_apps_own_probe_decides() {
    let mut app = App::http1().await;
    let kind = ProbeKind::Http {
        path: "/healthz?deep".into(),
        headers: vec![("Host".into(), "health.example".into()), ("X-Probe".into(), "yes".into())],
    };
    let probes = vec![Probe { kind, timeout: Duration::from_secs(20), ..Probe::tcp() }];
    let pod = Pod::start(app.address, |config| config.probes = probes).await;
    let mut client = Client::connect(pod.serving).await;
    let held = client.start(component(&[("ebb-probe-hold-ms", "30000")]));
    for status in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::NOT_FOUND, StatusCode::NO_CONTENT] {
        let exchange = app.next().await;
        assert_eq!(exchange.request.uri(), "/healthz?deep");
        let headers = exchange.request.headers();
        assert_eq!(headers.get_all("host").iter().collect::<Vec<_>>(), ["health.example"]);
        assert_eq!(
            (&headers["x-probe"], &headers["user-agent"]),
            (&"yes".parse().unwrap(), &"kube-probe/ebb".parse().unwrap())
        );
        assert!(!held.is_finished());
        exchange.answer(http::Response::builder().status(status).body(empty()).unwrap());
    }
    assert_eq!(within(held).await.unwrap().unwrap().status(), StatusCode::OK);
}

/// Sends a probe that is held until the app is ready.
async fn held(pod: &Pod) -> tokio::task::JoinHandle<hyper::Result<http::Response<hyper::body::Incoming>>> {
    Client::connect(pod.serving).await.start(component(&[("ebb-probe-hold-ms", "30000")]))
}

/// Returns a pod with a probe of `address`, whose app takes requests at `app`.
async fn pod_probed_at(address: SocketAddr, probe: Probe, app: SocketAddr) -> Pod {
    let port = NonZeroU16::new(address.port());
    let timeout = Duration::from_secs(20);
    Pod::start(app, |config| config.probes = vec![Probe { port, timeout, ..probe }]).await
}

fn status(status: u16) -> Response<AnyBody> {
    Response::builder().status(status).body(empty()).unwrap()
}

#[tokio::test]
async fn a_probe_goes_to_the_port_that_it_names() {
    let (requests, listening) = (listen().await, listen().await);
    let app = requests.local_addr().unwrap();
    let pod = pod_probed_at(listening.local_addr().unwrap(), Probe::tcp(), app).await;
    assert_eq!(within(held(&pod).await).await.unwrap().unwrap().status(), StatusCode::OK);

    let mut health = App::http1().await;
    let pod = pod_probed_at(health.address, Probe::http("/up"), app).await;
    let held = held(&pod).await;
    let exchange = health.next().await;
    assert_eq!(exchange.request.uri(), "/up");
    assert_eq!(exchange.request.headers()["host"], health.address.to_string());
    exchange.answer_with("ok");
    assert_eq!(within(held).await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn an_app_that_is_healthy_at_another_port_must_take_requests_too() {
    let health = App::answering(async |_| status(200)).await;
    let app = free_port().await;
    let pod = pod_probed_at(health.address, Probe::http("/"), app).await;
    let held = held(&pod).await;
    let mut client = Client::connect(pod.serving).await;
    assert_eq!(client.send(component(&[])).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!held.is_finished());
    let _requests = TcpListener::bind(app).await.unwrap();
    assert_eq!(within(held).await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn an_app_must_succeed_as_often_in_a_row_as_its_probe_wants() {
    let mut app = App::http1().await;
    let probe = Probe { successes: NonZeroU32::new(3).unwrap(), ..Probe::http("/") };
    let pod = pod_probed_at(app.address, probe, app.address).await;
    let held = held(&pod).await;
    for given in [200, 200, 500, 200, 200, 200] {
        assert!(!held.is_finished(), "three have not come in a row");
        app.next().await.answer(status(given));
    }
    assert_eq!(within(held).await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_redirect_is_followed_to_its_end_unless_it_leaves_the_pod() {
    let mut app = App::http1().await;
    let pod = pod_probed_at(app.address, Probe::http("/"), app.address).await;
    let held = held(&pod).await;
    let redirected = |to: &str| Response::builder().status(302).header("location", to).body(empty()).unwrap();
    app.next().await.answer(redirected("/login"));
    let exchange = app.next().await;
    assert_eq!(exchange.request.uri(), "/login");
    assert!(!held.is_finished());
    exchange.answer(status(500));
    let again = app.next().await;
    assert_eq!(again.request.uri(), "/", "the end of the redirect decided");
    again.answer(redirected("http://login.example/"));
    assert_eq!(within(held).await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn an_app_that_redirects_in_a_circle_is_not_ready() {
    let circle = async |_| Response::builder().status(301).header("location", "/").body(empty()).unwrap();
    let app = App::answering(circle).await;
    let pod = pod_probed_at(app.address, Probe::http("/"), app.address).await;
    until(|| app.accepted() > 11).await;
    let answer = Client::connect(pod.serving).await.send(component(&[])).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn an_answer_of_any_length_is_an_answer() {
    let app = App::answering(async |_| Response::new(full(vec![b'x'; 1024 * 1024]))).await;
    let pod = pod_probed_at(app.address, Probe::http("/"), app.address).await;
    assert_eq!(within(held(&pod).await).await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_grpc_app_is_ready_when_its_health_check_says_that_it_serves() {
    let mut app = App::http2().await;
    let pod = pod_probed_at(app.address, Probe::grpc("shop.Cart"), app.address).await;
    let held = held(&pod).await;
    let ended = |status: &str| {
        http::HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.parse().unwrap())])
    };

    let Exchange { request, reply } = app.next().await;
    assert_eq!(request.uri(), &*format!("http://{}/grpc.health.v1.Health/Check", app.address));
    assert_eq!(request.headers()["content-type"], "application/grpc");
    assert_eq!(request.headers()["te"], "trailers");
    assert_eq!(read(request.into_body()).await, b"\x00\x00\x00\x00\x0b\x0a\x09shop.Cart"[..]);
    // The health service does not exist yet.
    let mut unimplemented = status(200);
    *unimplemented.headers_mut() = ended("12");
    reply.send(unimplemented).unwrap();

    for serving in [2, 1] {
        assert!(!held.is_finished());
        let exchange = app.next().await;
        let (sender, body) = frames();
        exchange.answer(Response::new(body));
        sender.send(data(vec![0, 0, 0, 0, 2, 8, serving])).await.unwrap();
        sender.send(Ok(hyper::body::Frame::trailers(ended("0")))).await.unwrap();
    }
    assert_eq!(within(held).await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(app.accepted(), 3, "each attempt proves that a connection can be made");
    until(|| app.open() == 0).await;
}

#[tokio::test]
async fn a_port_that_speaks_no_grpc_is_not_ready() {
    let app = App::answering(async |_| Response::new(full("ok"))).await;
    let pod = pod_probed_at(app.address, Probe::grpc(""), app.address).await;
    until(|| app.accepted() > 1).await;
    let answer = Client::connect(pod.serving).await.send(component(&[])).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_kubelet_finds_out_at_once_that_the_app_has_gone() {
    let app = App::http1().await;
    let address = app.address;
    let pod = Pod::start(address, |config| config.probes = vec![Probe::tcp()]).await;
    let mut client = Client::connect(pod.serving).await;
    let kubelet = || probe("kube-probe/1.34", &[("k-network-probe", "queue")]);
    let ready = client.send(component(&[("ebb-probe-hold-ms", "30000")])).await;
    assert_eq!(ready.status(), StatusCode::OK);
    client.ready().await.unwrap();
    assert_eq!(client.send(kubelet()).await.status(), StatusCode::OK);
    drop(app);
    until(|| std::net::TcpListener::bind(address).is_ok()).await;
    client.ready().await.unwrap();
    assert_eq!(client.send(kubelet()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_probe_for_somebody_else_is_refused() {
    let app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    for (lines, told) in [
        (&[("k-network-probe", "activator")][..], "unexpected probe header value: \"activator\"\n"),
        (&[], "unexpected probe header value: \"\"\n"),
    ] {
        client.ready().await.unwrap();
        let answer = client.send(probe("Knative-Autoscaling-Probe", lines)).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert_eq!(text(answer).await, told);
    }
    assert!(app.has_nothing());
}

#[tokio::test]
async fn an_ingress_gets_its_hash_back() {
    let app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    let answer =
        client.send(probe("envoy", &[("k-network-probe", "probe"), ("k-network-hash", "abc123")])).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[headers::PROBE_HASH], "abc123");
    client.ready().await.unwrap();
    let answer = client.send(probe("envoy", &[("k-network-probe", "probe")])).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(text(answer).await.contains("k-network-hash"));
    assert!(app.has_nothing());
}

#[tokio::test]
async fn whoever_merely_says_queue_or_kubelet_is_a_client() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    for line in [("k-network-probe", "queue"), ("k-kubelet-probe", "x")] {
        let mut client = Client::connect(pod.serving).await;
        let answer = client.start(probe("curl/8", &[line]));
        let exchange = app.next().await;
        assert_eq!(pod.proxy.in_flight(), 1.0, "it counts");
        exchange.answer_with("ok");
        assert_eq!(text(within(answer).await.unwrap().unwrap()).await, "ok");
        pod.until_in_flight(0).await;
    }
}

#[tokio::test]
async fn all_probes_fail_from_the_moment_that_the_drain_begins() {
    let address = free_port().await;
    let pod = Pod::start(address, |config| config.probes = vec![Probe::tcp()]).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::connect(pod.serving).await);
    }
    let [mut one, mut two, mut three, mut four] = clients.try_into().unwrap_or_else(|_| unreachable!());
    let held = one.start(component(&[("ebb-probe-hold-ms", "30000")]));
    // The response to a second probe shows that the held one was received, because connections are served in turn.
    assert_eq!(two.send(component(&[])).await.headers()[headers::REASON], "not-ready");
    let drain = tokio::spawn(
        pod.proxy.drain(Quiet { quiet: Duration::from_secs(600), limit: Duration::from_secs(600) }),
    );
    let held = within(held).await.unwrap().unwrap();
    assert_eq!(held.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(text(held).await, "shutting down\n");
    let kubelet = probe("kube-probe/1.34", &[("k-network-probe", "queue")]);
    let ingress = probe("envoy", &[("k-network-probe", "probe"), ("k-network-hash", "abc123")]);
    for (client, request) in [(&mut three, kubelet), (&mut four, ingress)] {
        let answer = client.send(request).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[headers::REASON], "draining");
        assert_eq!(answer.headers()[headers::PROBED_BY], headers::PROBE_QUEUE);
    }
    drain.abort();
}
