//! Draining, what is told beside the traffic, and a configuration that cannot be used.

mod support;

use std::{net::SocketAddr, process::Command, time::Duration};

use ebb_core::link::ServiceEntry;
use ebb_proxy::Quiet;
use support::{
    PATIENCE, World,
    client::{ask, begin, get},
    named,
    pod::Pod,
    service, service_with, soon,
};
use tokio::net::TcpListener;

const PLAN: Quiet = Quiet { quiet: Duration::from_millis(100), limit: PATIENCE };

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_what_is_held_when_its_pod_becomes_ready_meanwhile() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service_with(&[&pod])).await;
    let held = ask(port, get("/"));
    world.holds(1).await;
    let drain = tokio::spawn(world.activator.drain(PLAN));
    pod.becomes_ready().await;
    pod.request().await.says("hello");
    held.hears("hello").await;
    assert_eq!(soon("the drain", drain).await.unwrap(), 0, "nothing was cut");
    assert!(tokio::net::TcpStream::connect(port).await.is_err(), "the port is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_appears_during_a_drain_takes_what_is_held() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service()).await;
    let held = ask(port, get("/"));
    world.holds(1).await;
    assert_eq!(world.autoscaler.stat().await, (1.0, 1.0));
    let World { mut autoscaler, activator, .. } = world;
    let drain = tokio::spawn(activator.drain(PLAN));
    while autoscaler.stat().await != (1.0, 0.0) {}
    // A service that is new now is for other activators.
    let services = vec![named("new"), service_with(&[&pod])];
    autoscaler.tell(ebb_core::link::Down { services, complete: true, ..Default::default() }).await;
    pod.becomes_ready().await;
    pod.request().await.says("hello");
    held.hears("hello").await;
    assert_eq!(soon("the drain", drain).await.unwrap(), 0, "nothing was cut");
    assert!(autoscaler.has_no_news(), "who leaves takes no new service");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_runs_out_of_time_says_what_it_cut() {
    let mut world = World::new().await;
    let port = world.serve(&service()).await;
    let _held = [ask(port, get("/")), ask(port, get("/"))];
    world.holds(2).await;
    let plan = Quiet { quiet: Duration::ZERO, limit: Duration::from_millis(100) };
    assert_eq!(soon("the drain", world.activator.drain(plan)).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_what_a_service_that_is_gone_has_in_flight() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service_with(&[&pod])).await;
    pod.becomes_ready().await;
    let client = tokio::spawn(begin(port, get("/")));
    let pieces = pod.request().await.streams();
    let response = soon("the head", client).await.unwrap();
    world.autoscaler.tell(ebb_core::link::Down { complete: true, ..Default::default() }).await;
    support::until("the service to be gone", || world.activator.load(&support::key()).is_none()).await;
    let drain = tokio::spawn(world.activator.drain(PLAN));
    pieces.send("hello".into()).await.unwrap();
    drop(pieces);
    assert_eq!(support::client::whole(response).await.body, "hello");
    assert_eq!(soon("the drain", drain).await.unwrap(), 0, "nothing was cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activator_that_is_dropped_leaves_nothing_behind() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service_with(&[&pod])).await;
    pod.becomes_ready().await;
    let mut client = support::client::connect(port).await;
    let sent = tokio::spawn(client.send_request(get("/")));
    let mut asked = pod.request().await;
    drop(world.activator);
    asked.is_abandoned().await;
    assert!(soon("the client to notice", sent).await.unwrap().is_err());
}

async fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_of_each_service_and_forget_it_with_it() {
    let beside = free_port().await;
    let mut world = World::with_metrics(Some(beside)).await;
    let port = world.serve(&ServiceEntry { queue_depth: 1, ..service() }).await;
    let _held = ask(port, get("/"));
    world.holds(1).await;
    assert_eq!(ask(port, get("/")).answer().await.refusal(), (503, Some("hold-queue-full")));
    ask(beside, get("/healthz")).hears("ok\n").await;

    let metrics = ask(beside, get("/metrics")).answer().await;
    assert!(
        metrics.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text"))
    );
    for line in [
        r#"ebb_activator_requests_total{namespace="default",service="hello"} 2"#,
        r#"ebb_activator_held_requests{namespace="default",service="hello"} 1"#,
        r#"ebb_activator_refused_requests_total{namespace="default",service="hello",reason="hold-queue-full"} 1"#,
        "ebb_activator_autoscaler_link_up 1",
        "# EOF",
    ] {
        assert!(metrics.body.lines().any(|told| told == line), "{line} is not in\n{}", metrics.body);
    }

    world.autoscaler.tell(ebb_core::link::Down { complete: true, ..Default::default() }).await;
    soon("its series to go", async {
        while ask(beside, get("/metrics")).answer().await.body.contains(r#"service="hello""#) {}
    })
    .await;
    assert_eq!(ask(beside, get("/other")).answer().await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_moves_to_another_port_keeps_its_series() {
    let beside = free_port().await;
    let mut world = World::with_metrics(Some(beside)).await;
    world.serve(&service()).await;
    let entry = ServiceEntry { port: u32::from(free_port().await.port()), ..service() };
    let port = world.serve(&entry).await;
    let _held = ask(port, get("/"));
    world.holds(1).await;
    // Long enough for the one that left the old port to have ended.
    for _ in 0..3 {
        world.autoscaler.stat().await;
    }
    let line = r#"ebb_activator_held_requests{namespace="default",service="hello"} 1"#;
    let told = ask(beside, get("/metrics")).answer().await.body;
    assert!(told.lines().any(|told| told == line), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_not_a_matter_of_the_autoscaler() {
    let beside = free_port().await;
    let mut world = World::with_metrics(Some(beside)).await;
    world.autoscaler.leave();
    soon("the link to be down", async {
        while ask(beside, get("/metrics")).answer().await.body.contains("autoscaler_link_up 1") {}
    })
    .await;
    ask(beside, get("/healthz")).hears("ok\n").await;
}

#[test]
fn an_environment_that_cannot_be_used_ends_with_64_and_every_fault() {
    let ended = Command::new(env!("CARGO_BIN_EXE_activator"))
        .env_clear()
        .env("POD_IP", "here")
        .env("EBB_DRAIN_LIMIT_SECONDS", "-1")
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(64));
    let told = String::from_utf8(ended.stderr).unwrap();
    for fault in ["POD_NAME", "POD_IP", "EBB_AUTOSCALER", "EBB_DRAIN_LIMIT_SECONDS"] {
        assert!(told.contains(&format!("{fault}=")), "{fault} is not in\n{told}");
    }
}
