//! Pods that have no queue-proxy.

mod support;

use ebb_core::{
    fate::Fate,
    link::{PodEntry, ServiceEntry},
};
use support::{
    World,
    client::{ask, get},
    pod::Pod,
    service, service_with,
};

fn direct(pods: &[&Pod]) -> ServiceEntry {
    let pods = pods.iter().map(|pod| PodEntry { direct: true, ..pod.entry() }).collect();
    ServiceEntry { pods, ..service() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_a_queue_proxy_is_not_asked_and_hears_nothing_of_ebb() {
    let mut world = World::new().await;
    let port = world.serve(&service()).await;
    let held = ask(port, get("/"));
    world.holds(1).await;
    let mut pod = Pod::start("a").await;
    world.tell(&direct(&[&pod])).await;
    let asked = pod.request().await;
    for ours in ["k-proxy-request", "ebb-pod-nonce"] {
        assert_eq!(asked.header(ours), None, "{ours}");
    }
    assert_eq!(asked.header("host"), Some("hello.example"));
    asked.says("hello");
    held.hears("hello").await;
    assert!(pod.is_asked_no_more());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pod_without_a_queue_proxy_answers_is_its_own_word() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&direct(&[&pod])).await;
    let sent = ask(port, get("/"));
    pod.request().await.hands_back(http::StatusCode::BAD_GATEWAY, "app-refused", Fate::NeverSent);
    assert_eq!(sent.answer().await.refusal(), (502, Some("app-refused")), "not sent again");
    assert!(pod.requests_so_far().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_a_queue_proxy_handed_back_goes_to_a_bare_pod_without_our_headers() {
    let mut world = World::new().await;
    let (mut sidecar, mut bare) = (Pod::start("a").await, Pod::start("b").await);
    let port = world.serve(&service_with(&[&sidecar])).await;
    sidecar.becomes_ready().await;
    let sent = ask(port, get("/"));
    let asked = sidecar.request().await;
    world.tell(&direct(&[&bare])).await;
    asked.hands_back(http::StatusCode::BAD_GATEWAY, "app-refused", Fate::NeverSent);
    let asked = bare.request().await;
    assert_eq!((asked.header("k-proxy-request"), asked.header("ebb-pod-nonce")), (None, None));
    asked.says("hello");
    sent.hears("hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_a_queue_proxy_that_is_gone_is_tried_again_when_it_takes_connections() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&direct(&[&pod])).await;
    world.has_ready_pods(1).await;
    pod.vanishes().await;
    let held = ask(port, get("/"));
    world.holds(1).await;
    pod.comes_back().await;
    pod.request().await.says("hello");
    held.hears("hello").await;
}
