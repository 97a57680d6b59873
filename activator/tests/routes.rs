//! A route divides its requests between services.

mod support;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ebb_core::{
    ServiceKey,
    link::{Down, RouteEntry, ServiceEntry, SplitKey, SplitTarget},
};
use http::StatusCode;
use support::{
    World,
    client::{ask, connect, get, whole},
    entries, named,
    pod::Pod,
    soon, until,
};
use tokio_util::task::AbortOnDropHandle;

const LOCALHOST: std::net::IpAddr = std::net::IpAddr::V4(Ipv4Addr::LOCALHOST);

fn target(service: &str, weight: u32) -> SplitTarget {
    SplitTarget { service: service.into(), weight, trouble: String::new() }
}

fn route(targets: Vec<SplitTarget>) -> RouteEntry {
    RouteEntry { namespace: "default".into(), name: "route".into(), targets, ..RouteEntry::default() }
}

async fn tell(world: &World, route: RouteEntry) {
    world.autoscaler.tell(Down { routes: vec![route], ..Down::default() }).await;
}

/// Tells of a route, and answers where the activator takes its requests.
async fn serve(world: &mut World, route: RouteEntry) -> SocketAddr {
    let name = route.name.clone();
    tell(world, route).await;
    let listening = world.listening().await;
    assert_eq!((listening.name.as_str(), listening.error.as_str()), (&*name, ""));
    SocketAddr::new(LOCALHOST, u16::try_from(listening.port).expect("a port"))
}

/// A service with one pod that is ready and answers with the service's name.
async fn answering(world: &mut World, name: &'static str) -> (Pod, AbortOnDropHandle<()>) {
    let mut pod = Pod::start(name).await;
    world.serve(&ServiceEntry { pods: entries(&[&pod]), ..named(name) }).await;
    pod.becomes_ready().await;
    let answers = pod.serves(move |asked| asked.says(name));
    until("the pod is ready", || ready(world, name) == 1).await;
    (pod, answers)
}

fn ready(world: &World, name: &str) -> usize {
    world.activator.load(&ServiceKey::new("default", name)).unwrap_or_default().ready_pods
}

fn held(world: &World, name: &str) -> usize {
    world.activator.load(&ServiceKey::new("default", name)).unwrap_or_default().held
}

/// Who answers each of `requests` on one connection.
async fn answers(port: SocketAddr, requests: usize) -> Vec<String> {
    let mut sender = connect(port).await;
    let mut heard = Vec::new();
    for _ in 0..requests {
        soon("the connection's turn", sender.ready()).await.expect("it is open");
        let response = soon("an answer", sender.send_request(get("/"))).await.expect("an answer");
        let answer = whole(response).await;
        heard.push(if answer.status == StatusCode::OK { answer.body } else { answer.status.to_string() });
    }
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_divided_by_weight_whatever_connection_they_come_on() {
    let mut world = World::new().await;
    let _pods = [answering(&mut world, "v1").await, answering(&mut world, "v2").await];
    let port = serve(&mut world, route(vec![target("v1", 90), target("v2", 10)])).await;
    let (one, other) = tokio::join!(answers(port, 500), answers(port, 500));
    let second = one.iter().chain(&other).filter(|answer| *answer == "v2").count();
    assert_eq!(second, 100, "of a thousand");
    let alone = answers(port, 10).await;
    assert_eq!(alone.iter().filter(|answer| *answer == "v2").count(), 1, "exact over each ten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_weights_counts_at_once_and_loses_nothing() {
    let mut world = World::new().await;
    let _pods = [answering(&mut world, "v1").await, answering(&mut world, "v2").await];
    let port = serve(&mut world, route(vec![target("v1", 1), target("v2", 0)])).await;
    let asked = Arc::new(AtomicU64::new(0));
    let count = asked.clone();
    let load = tokio::spawn(async move {
        let mut heard = Vec::new();
        for _ in 0..50 {
            heard.extend(answers(port, 20).await);
            count.fetch_add(20, Ordering::Relaxed);
        }
        heard
    });
    for change in 0..50_u64 {
        until("more requests", || asked.load(Ordering::Relaxed) >= change * 20).await;
        let (first, second) = if change % 2 == 0 { (0, 1) } else { (1, 0) };
        tell(&world, route(vec![target("v1", first), target("v2", second)])).await;
    }
    let heard = load.await.unwrap();
    assert!(heard.iter().all(|answer| answer == "v1" || answer == "v2"), "{heard:?}");
    for change in 0..20 {
        let (first, second, by) = if change % 2 == 0 { (0, 1, "v2") } else { (1, 0, "v1") };
        tell(&world, route(vec![target("v1", first), target("v2", second)])).await;
        until_answered(port, by).await;
        assert_eq!(answers(port, 20).await, [by; 20], "once it counts, it counts for all");
    }
}

async fn until_answered(port: SocketAddr, by: &str) {
    soon("the change", async { while answers(port, 1).await != [by] {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_held_goes_elsewhere_when_its_service_is_to_get_nothing_more() {
    let mut world = World::new().await;
    let _pods = answering(&mut world, "v1").await;
    world.serve(&named("v2")).await;
    let port = serve(&mut world, route(vec![target("v1", 0), target("v2", 1)])).await;
    let waiting: Vec<_> = (0..10).map(|_| ask(port, get("/"))).collect();
    until("all are held for v2", || held(&world, "v2") == 10).await;
    tell(&world, route(vec![target("v1", 1), target("v2", 0)])).await;
    for request in waiting {
        request.hears("v1").await;
    }
    let left = world.activator.load(&ServiceKey::new("default", "v2")).unwrap();
    assert_eq!((left.held, left.in_flight), (0, 0.0), "nobody waits there any more, nor counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_held_follows_its_service_to_another_port() {
    let mut world = World::new().await;
    world.serve(&named("v1")).await;
    let port = serve(&mut world, route(vec![target("v1", 1)])).await;
    let waiting: Vec<_> = (0..5).map(|_| ask(port, get("/"))).collect();
    until("all are held", || held(&world, "v1") == 5).await;
    let free = std::net::TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port();
    let mut pod = Pod::start("v1").await;
    world.serve(&ServiceEntry { port: free.into(), pods: entries(&[&pod]), ..named("v1") }).await;
    pod.becomes_ready().await;
    let _answers = pod.serves(|asked| asked.says("v1"));
    for request in waiting {
        request.hears("v1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_held_for_a_service_that_goes_is_refused_and_falls_to_nobody() {
    let mut world = World::new().await;
    let _pods = answering(&mut world, "v1").await;
    world.serve(&named("v2")).await;
    let port = serve(&mut world, route(vec![target("v1", 0), target("v2", 1)])).await;
    let waiting = ask(port, get("/"));
    until("it is held", || held(&world, "v2") == 1).await;
    world.autoscaler.tell(Down { gone: vec!["default/v2".into()], ..Down::default() }).await;
    assert_eq!(waiting.answer().await.refusal(), (503, Some("split-target")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_share_of_a_service_in_trouble_is_refused_and_falls_to_nobody() {
    let mut world = World::new().await;
    let _pods = answering(&mut world, "v1").await;
    let broken = SplitTarget { trouble: "Service v2 does not exist".into(), ..target("v2", 1) };
    let port = serve(&mut world, route(vec![target("v1", 1), broken])).await;
    let heard = answers(port, 10).await;
    assert_eq!(heard.iter().filter(|answer| *answer == "v1").count(), 5, "{heard:?}");
    let refused = loop {
        let answer = ask(port, get("/")).answer().await;
        if answer.status != StatusCode::OK {
            break answer;
        }
    };
    assert_eq!(refused.refusal(), (503, Some("split-target")));
    assert_eq!(
        refused.body,
        "v2, which this route sends a part of its requests to, cannot take them: Service v2 does not exist\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_comes_later_or_goes_is_noticed() {
    let mut world = World::new().await;
    let port = serve(&mut world, route(vec![target("v1", 1)])).await;
    let refused = ask(port, get("/")).answer().await;
    assert_eq!(refused.refusal(), (503, Some("split-target")));
    let _pods = answering(&mut world, "v1").await;
    assert_eq!(answers(port, 3).await, ["v1"; 3]);
    world.autoscaler.tell(Down { gone: vec!["default/v1".into()], ..Down::default() }).await;
    until("it is gone", || world.activator.load(&ServiceKey::new("default", "v1")).is_none()).await;
    soon("it is refused", async { while answers(port, 1).await == ["v1"] {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_stays_with_one_service() {
    let mut world = World::new().await;
    let _pods = [answering(&mut world, "v1").await, answering(&mut world, "v2").await];
    let by = Some(SplitKey { cookie: "user".into(), header: String::new() });
    let split = RouteEntry { by, ..route(vec![target("v1", 1), target("v2", 1)]) };
    let port = serve(&mut world, split).await;
    let mut seen = std::collections::BTreeSet::new();
    for user in 0..20 {
        let request = || {
            let mut request = get("/");
            let cookie = format!("a=b; user={user}").parse().expect("a value");
            request.headers_mut().insert("cookie", cookie);
            request
        };
        let first = ask(port, request()).answer().await;
        assert_eq!(first.status, StatusCode::OK);
        let first = first.body;
        for _ in 0..5 {
            ask(port, request()).hears(&first).await;
        }
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2, "both have users");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_and_service_has_its_answers_counted_by_class() {
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut world = World::with_metrics(Some(reserved)).await;
    let _pods = answering(&mut world, "v1").await;
    let broken = SplitTarget { trouble: "it is broken".into(), ..target("v2", 1) };
    let port = serve(&mut world, route(vec![target("v1", 1), broken])).await;
    let _ = answers(port, 10).await;
    let scrape = || async { ask(reserved, get("/metrics")).answer().await.body };
    let text = scrape().await;
    for line in [
        "ebb_activator_route_responses_total{namespace=\"default\",route=\"route\",service=\"v1\",class=\"2xx\"} 5\n",
        "ebb_activator_route_responses_total{namespace=\"default\",route=\"route\",service=\"v2\",class=\"5xx\"} 5\n",
        "ebb_activator_route_response_seconds_count{namespace=\"default\",route=\"route\",service=\"v1\"} 5\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    tell(&world, route(vec![target("v1", 1)])).await;
    world.autoscaler.tell(Down { gone: vec!["default/route".into()], ..Down::default() }).await;
    soon("nothing is left of it", async { while scrape().await.contains("route=\"route\"") {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_becomes_a_route_and_a_service_again() {
    let mut world = World::new().await;
    let _v1 = answering(&mut world, "v1").await;
    let (mut own, _answers) = answering(&mut world, "route").await;
    let port = serve(&mut world, route(vec![target("v1", 1)])).await;
    assert_eq!(answers(port, 2).await, ["v1"; 2]);
    let port = world.serve(&ServiceEntry { pods: entries(&[&own]), ..named("route") }).await;
    own.becomes_ready().await;
    assert_eq!(answers(port, 2).await, ["route"; 2]);
}
