//! From no pod to the first answer.

mod support;

use ebb_core::headers;
use support::{
    World,
    client::{ask, get},
    pod::Pod,
    service, service_with, soon,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_a_pod_and_goes_the_moment_it_says_that_it_is_ready() {
    let mut world = World::new().await;
    let port = world.serve(&service()).await;
    let held = ask(port, get("/here?x=1"));
    world.holds(1).await;

    let mut pod = Pod::start("a").await;
    world.tell(&service_with(&[&pod])).await;
    let probe = pod.probe().await;
    assert_eq!(probe.header("user-agent"), Some(headers::ACTIVATOR_PROBE_AGENT));
    assert_eq!(probe.header("ebb-probe-hold-ms"), Some("20000"), "it asks for the answer to be held");
    assert_eq!((world.load().held, world.load().ready_pods), (1, 0));

    probe.says_ready();
    let asked = pod.request().await;
    assert_eq!(asked.request.uri(), "/here?x=1");
    assert_eq!(asked.header("host"), Some("hello.example"), "the app sees what its client sent");
    assert_eq!(asked.header("x-forwarded-for"), Some("127.0.0.1"));
    asked.says("hello");
    held.hears("hello").await;
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_is_held_and_its_connection_carries_the_first_request() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service_with(&[&pod])).await;
    let probe = pod.probe().await;
    let held = ask(port, get("/"));
    // Two reports: a second has passed, and fifty probes of a period of 20 ms would have come.
    world.autoscaler.stat().await;
    world.autoscaler.stat().await;
    world.tell(&service_with(&[&pod])).await;
    // A table that says the same again does not ask again either; a second service proves that it came.
    world.serve(&support::named("other")).await;
    assert!(pod.is_asked_no_more(), "the probe is held, not polled");

    let connection = probe.peer;
    probe.says_ready();
    let asked = pod.request().await;
    assert_eq!(asked.peer, connection, "no second handshake");
    asked.says("hello");
    held.hears("hello").await;
    assert!(pod.is_asked_no_more(), "a pod that is ready is not asked again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_does_not_listen_yet_is_asked_until_it_does() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    pod.vanishes().await;
    let port = world.serve(&service_with(&[&pod])).await;
    let held = ask(port, get("/"));
    world.holds(1).await;
    pod.comes_back().await;
    pod.becomes_ready().await;
    pod.request().await.says("hello");
    held.hears("hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_says_not_ready_is_asked_again() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    world.serve(&service_with(&[&pod])).await;
    pod.probe().await.hands_back(
        http::StatusCode::SERVICE_UNAVAILABLE,
        "not-ready",
        ebb_core::fate::Fate::Answered,
    );
    pod.probe().await.says("something that is no queue-proxy");
    pod.probe().await.breaks_off();
    pod.becomes_ready().await;
    world.has_ready_pods(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_is_told_of_the_first_held_request_of_each_pod() {
    let mut world = World::new().await;
    let (mut first, mut second) = (Pod::start("a").await, Pod::start("b").await);
    let mut entry = service_with(&[&first, &second]);
    entry.container_concurrency = 2;
    let port = world.serve(&entry).await;
    let held: Vec<_> = (0..4).map(|_| ask(port, get("/"))).collect();
    world.holds(4).await;
    first.becomes_ready().await;
    let told = soon("a cold start", world.dispatches.recv()).await.unwrap();
    assert_eq!((told.service, told.pod.as_str(), told.cold), (support::key(), "a", true));
    assert!(told.held_at <= told.dispatched_at);
    second.becomes_ready().await;
    assert_eq!(soon("another", world.dispatches.recv()).await.unwrap().pod, "b");
    let _serving = [first.serves(|asked| asked.says("hello")), second.serves(|asked| asked.says("hello"))];
    for waiting in held {
        waiting.hears("hello").await;
    }
    assert!(world.dispatches.is_empty(), "once for each pod");
}
