//! What happens to a request whose pod does not answer it: sent elsewhere, repeated once, or given up.

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ebb_core::{fate::Fate, link::ServiceEntry};
use http::StatusCode;
use support::{
    World,
    client::{ask, get, post},
    pod::{Asked, Pod},
    service, service_with,
};

const BAD_GATEWAY: StatusCode = StatusCode::BAD_GATEWAY;

/// A service with one place at each of two pods, of which `a` alone is ready, and the held probe of `b`.
async fn first_of_two(world: &mut World) -> (std::net::SocketAddr, Pod, Pod, Asked) {
    let (mut a, mut b) = (Pod::start("a").await, Pod::start("b").await);
    let entry = ServiceEntry { container_concurrency: 1, ..service_with(&[&a, &b]) };
    let port = world.serve(&entry).await;
    a.becomes_ready_and_hangs_up().await;
    let probe = b.probe().await;
    world.has_ready_pods(1).await;
    (port, a, b, probe)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_cannot_be_reached_is_set_aside_and_the_request_goes_elsewhere() {
    let mut world = World::new().await;
    let (port, mut a, mut b, probe) = first_of_two(&mut world).await;
    a.vanishes().await;
    // A body is no obstacle: not a byte of it was written.
    let sent = ask(port, post("/", "with a body"));
    world.has_ready_pods(0).await;
    world.holds(1).await;
    probe.says_ready();
    let mut asked = b.request().await;
    assert_eq!(asked.body().await.unwrap(), "with a body");
    let waits = ask(port, get("/waits"));
    world.holds(1).await;
    assert_eq!(world.load().ready_pods, 1, "the other one is set aside");

    a.comes_back().await;
    a.becomes_ready().await;
    a.request().await.says("back again");
    waits.hears("back again").await;
    asked.says("hello");
    sent.hears("hello").await;
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_keeps_its_place_before_those_that_came_later() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let entry = ServiceEntry { container_concurrency: 1, ..service_with(&[&pod]) };
    let port = world.serve(&entry).await;
    let first = ask(port, get("/first"));
    world.holds(1).await;
    let second = ask(port, get("/second"));
    world.holds(2).await;
    pod.becomes_ready().await;
    let asked = pod.request().await;
    assert_eq!(asked.path(), "/first");
    asked.hands_back(BAD_GATEWAY, "app-refused", Fate::NeverSent);
    pod.becomes_ready().await;
    for (path, waiting) in [("/first", first), ("/second", second)] {
        let asked = pod.request().await;
        assert_eq!(asked.path(), path);
        asked.says("hello");
        waiting.hears("hello").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_the_app_never_saw_goes_elsewhere() {
    for reason in ["app-refused", "queue-full"] {
        let mut world = World::new().await;
        let (port, mut a, mut b, probe) = first_of_two(&mut world).await;
        let mut delete = get("/");
        *delete.method_mut() = http::Method::DELETE;
        let sent = ask(port, delete);
        a.request().await.hands_back(BAD_GATEWAY, reason, Fate::NeverSent);
        // It is asked again soon; it does not say that it is ready.
        let _probe = a.probe().await;
        probe.says_ready();
        b.request().await.says("hello");
        sent.hears("hello").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_body_that_was_handed_back_goes_elsewhere_whole() {
    let mut world = World::new().await;
    let (port, mut a, mut b, probe) = first_of_two(&mut world).await;
    let sent = ask(port, post("/", "said again"));
    let mut asked = a.request().await;
    assert_eq!(asked.body().await.unwrap(), "said again");
    asked.hands_back(BAD_GATEWAY, "app-refused", Fate::NeverSent);
    probe.says_ready();
    let mut asked = b.request().await;
    assert_eq!(asked.body().await.unwrap(), "said again");
    asked.says("hello");
    sent.hears("hello").await;
    assert!(a.requests_so_far().is_empty() && b.requests_so_far().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_body_that_was_handed_back_is_not_sent_without_its_beginning() {
    const LONG: &str = match std::str::from_utf8(&[b'x'; 200 * 1024]) {
        Ok(text) => text,
        Err(_) => "",
    };
    let mut world = World::new().await;
    let (port, mut a, mut b, probe) = first_of_two(&mut world).await;
    probe.says_ready();
    world.has_ready_pods(2).await;
    let sent = ask(port, post("/", LONG));
    let mut asked = tokio::select! { asked = a.request() => asked, asked = b.request() => asked };
    assert_eq!(asked.body().await.unwrap().len(), LONG.len());
    asked.hands_back(BAD_GATEWAY, "app-refused", Fate::NeverSent);
    let answer = sent.answer().await;
    assert_eq!(answer.refusal(), (502, Some("app-refused")));
    assert_eq!(answer.header("ebb-fate"), None, "that is between hops");
    assert!(a.requests_so_far().is_empty() && b.requests_so_far().is_empty());
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_a_pod_broke_off_is_not_sent_twice() {
    let mut world = World::new().await;
    let (port, mut a, mut b, probe) = first_of_two(&mut world).await;
    let sent = ask(port, post("/", "pay"));
    let mut asked = a.request().await;
    assert_eq!(asked.body().await.unwrap(), "pay");
    probe.says_ready();
    world.has_ready_pods(2).await;
    asked.breaks_off();
    assert_eq!(sent.answer().await.refusal(), (502, Some("pod-broke-off")));
    // The pod is asked whether it is well before it gets anything else.
    let _probe = a.probe().await;
    assert_eq!(world.load().ready_pods, 1);
    assert!(a.requests_so_far().is_empty() && b.requests_so_far().is_empty(), "it was sent once");
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_without_a_body_that_a_pod_broke_off_is_not_sent_twice_either() {
    let mut world = World::new().await;
    let (port, mut a, mut b, probe) = first_of_two(&mut world).await;
    probe.says_ready();
    world.has_ready_pods(2).await;
    let sent = ask(port, post("/", ""));
    tokio::select! { asked = a.request() => asked.breaks_off(), asked = b.request() => asked.breaks_off() };
    assert_eq!(sent.answer().await.refusal(), (502, Some("pod-broke-off")));
    assert!(a.requests_so_far().is_empty() && b.requests_so_far().is_empty(), "it was sent once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_that_a_pod_broke_off_is_repeated_elsewhere() {
    let mut world = World::new().await;
    let (port, mut a, mut b, probe) = first_of_two(&mut world).await;
    let sent = ask(port, get("/"));
    a.request().await.breaks_off();
    probe.says_ready();
    b.request().await.says("hello");
    sent.hears("hello").await;
    assert!(a.requests_so_far().is_empty() && b.requests_so_far().is_empty(), "it was repeated once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_that_breaks_pods_is_repeated_once_and_then_given_up() {
    let mut world = World::new().await;
    let (port, mut a, mut b, probe) = first_of_two(&mut world).await;
    let sent = ask(port, get("/"));
    probe.says_ready();
    world.has_ready_pods(2).await;
    for _ in 0..2 {
        let asked = tokio::select! { asked = a.request() => asked, asked = b.request() => asked };
        asked.hands_back(BAD_GATEWAY, "app-broke-off", Fate::MaybeSent);
    }
    assert_eq!(sent.answer().await.refusal(), (502, Some("app-broke-off")));
    assert!(a.requests_so_far().is_empty() && b.requests_so_far().is_empty(), "it was repeated once");
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_that_breaks_kept_connections_goes_through_few_of_them() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service_with(&[&pod])).await;
    pod.becomes_ready().await;
    world.has_ready_pods(1).await;
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let _serving = pod.serves(move |asked| {
        counted.fetch_add(1, Ordering::SeqCst);
        asked.breaks_off();
    });
    let answer = tokio::select! {
        answer = ask(port, get("/")).answer() => answer,
        () = async { loop { pod.becomes_ready().await } } => unreachable!("it never ends"),
    };
    assert_eq!(answer.refusal(), (502, Some("pod-broke-off")));
    let seen = seen.load(Ordering::SeqCst);
    assert_eq!(seen, 2, "what may have been seen is sent once more, in all");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_slow_gets_no_second_chance_and_no_blame() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let entry = ServiceEntry { request_timeout_ms: 1, pods: vec![pod.entry()], ..service() };
    let port = world.serve(&entry).await;
    pod.becomes_ready().await;
    let sent = ask(port, get("/"));
    let mut asked = pod.request().await;
    assert_eq!(sent.answer().await.refusal(), (504, Some("request-timeout")));
    asked.is_abandoned().await;
    assert_eq!(world.load().ready_pods, 1);
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_many_requests_break_is_asked_once_whether_it_is_well() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let entry = ServiceEntry { container_concurrency: 20, ..service_with(&[&pod]) };
    let port = world.serve(&entry).await;
    pod.becomes_ready_and_hangs_up().await;
    let sent: Vec<_> = (0..20).map(|_| ask(port, post("/", "pay"))).collect();
    let mut executing = Vec::new();
    for _ in 0..20 {
        executing.push(pod.request().await);
    }
    drop(executing.pop());
    let probe = pod.probe().await;
    drop(executing);
    for waiting in sent {
        assert_eq!(waiting.answer().await.refusal(), (502, Some("pod-broke-off")));
    }
    probe.says_ready();
    world.has_ready_pods(1).await;
    assert!(pod.is_asked_no_more(), "a probe that is on its way is enough");
}

/// Its sidecar stands, and has said what became of the request: what one request did to the app says little of the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_app_breaks_off_or_answers_what_nobody_can_read_is_not_set_aside() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service_with(&[&pod])).await;
    pod.becomes_ready().await;
    world.has_ready_pods(1).await;
    for (reason, fate) in [("app-unreadable", Fate::Answered), ("app-broke-off", Fate::MaybeSent)] {
        let sent = ask(port, post("/", "pay"));
        pod.request().await.hands_back(BAD_GATEWAY, reason, fate);
        assert_eq!(sent.answer().await.refusal(), (502, Some(reason)));
        world.is_idle().await;
        assert_eq!(world.load().ready_pods, 1, "after {reason}");
        assert!(pod.is_asked_no_more(), "after {reason}");
    }
    let sent = ask(port, get("/"));
    pod.request().await.says("hello");
    sent.hears("hello").await;
}
