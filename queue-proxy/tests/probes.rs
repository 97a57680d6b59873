//! Probes, as the kubelet, the activator and an ingress send them.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::time::Duration;

use ebb_core::headers;
use ebb_proxy::Quiet;
use http::{Request, StatusCode};
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
    let probes = vec![Probe { kind, timeout: Duration::from_secs(20) }];
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
    // The answer to a second probe tells that the held one was taken: connections are served in turn.
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
