//! Headers by which Ebb's programs speak to one another: nobody else's are believed.

mod support;

use bytes::Bytes;
use ebb_core::headers;
use http::{Request, StatusCode};
use http_body_util::Full;
use support::{
    World,
    client::{ask, get},
    pod::Pod,
    service, service_with,
};

fn get_with(lines: &[(&'static str, &'static str)]) -> Request<Full<Bytes>> {
    let mut request = get("/");
    for (name, value) in lines {
        request.headers_mut().append(*name, http::HeaderValue::from_static(value));
    }
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pod_hears_its_own_secret_and_nothing_that_a_client_made_up() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service_with(&[&pod])).await;
    pod.becomes_ready().await;
    let forged = [
        ("k-proxy-request", "somebody"),
        ("k-proxy-request", "activator"),
        ("ebb-pod-nonce", "guess"),
        ("ebb-pod-nonce", "another guess"),
        ("k-original-host", "bank.example"),
        ("k-kubelet-probe", "queue"),
        ("k-network-hash", "hash"),
        ("ebb-probe-hold-ms", "1000"),
        ("knative-serving-revision", "r"),
        ("knative-serving-namespace", "n"),
        ("x-mine", "stays"),
    ];
    let sent = ask(port, get_with(&forged));
    let asked = pod.request().await;
    let all = |name: &str| -> Vec<&str> {
        asked.request.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    };
    assert_eq!(all("ebb-pod-nonce"), ["nonce-of-a"]);
    assert_eq!(all("k-proxy-request"), ["activator"]);
    assert_eq!(all("x-mine"), ["stays"]);
    for name in &headers::FOR_EBB_ALONE {
        let ours = name == headers::POD_NONCE || name == headers::PROXY_REQUEST;
        assert!(ours || all(name.as_str()).is_empty(), "{name}");
    }
    asked.says("hello");
    sent.hears("hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_have_our_marks_removed_by_calling_them_hop_by_hop() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service_with(&[&pod])).await;
    pod.becomes_ready().await;
    let sent =
        ask(port, get_with(&[("connection", "k-proxy-request, ebb-pod-nonce, x-mine"), ("x-mine", "goes")]));
    let asked = pod.request().await;
    assert_eq!(asked.header("k-proxy-request"), Some("activator"));
    assert_eq!(asked.header("ebb-pod-nonce"), Some("nonce-of-a"));
    assert_eq!(asked.header("x-mine"), None);
    asked.says("hello");
    sent.hears("hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_a_secret_gets_none() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let mut entry = service_with(&[&pod]);
    entry.pods[0].nonce.clear();
    let port = world.serve(&entry).await;
    pod.becomes_ready().await;
    let sent = ask(port, get_with(&[("ebb-pod-nonce", "guess")]));
    let asked = pod.request().await;
    assert_eq!(asked.header("ebb-pod-nonce"), None);
    asked.says("hello");
    sent.hears("hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_is_for_the_activator_is_answered_and_any_other_refused() {
    let mut world = World::new().await;
    // No pod, no place in the queue: probes need neither.
    let port = world.serve(&service()).await;
    let answer = ask(port, get_with(&[("k-network-probe", "activator")])).answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "activator"));

    let answer =
        ask(port, get_with(&[("k-network-probe", "probe"), ("k-network-hash", "abc")])).answer().await;
    assert_eq!((answer.status, answer.header("k-network-hash")), (StatusCode::OK, Some("abc")));

    for wrong in [
        vec![("k-network-probe", "queue")],
        vec![("k-network-probe", "queue"), ("user-agent", "kube-probe/1.34")],
        vec![("k-network-probe", "probe")],
        vec![("k-network-probe", "probe"), ("k-network-hash", "")],
        vec![("k-network-probe", "")],
        vec![("k-network-probe", "queue"), ("k-network-probe", "activator")],
    ] {
        let answer = ask(port, get_with(&wrong)).answer().await;
        assert_eq!(answer.refusal(), (400, Some("wrong-probe")), "{wrong:?}");
    }
    assert_eq!(world.load().in_flight, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_calls_itself_the_kubelet_is_a_request_like_any_other() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service_with(&[&pod])).await;
    pod.becomes_ready().await;
    let sent = ask(port, get_with(&[("user-agent", "kube-probe/1.34"), ("k-kubelet-probe", "x")]));
    let asked = pod.request().await;
    assert_eq!(
        (asked.header("user-agent"), asked.header("k-kubelet-probe")),
        (Some("kube-probe/1.34"), None)
    );
    asked.says("hello");
    sent.hears("hello").await;
}
