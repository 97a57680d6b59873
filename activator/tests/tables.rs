//! The table of services: what comes, changes and goes, and on which port.

mod support;

use std::net::SocketAddr;

use ebb_core::link::{Down, ServiceEntry};
use support::{
    World,
    client::{ask, connect, get, whole},
    named,
    pod::Pod,
    service, service_with, soon, until,
};
use tokio::net::{TcpListener, TcpStream};

async fn is_closed(port: SocketAddr) {
    let refused = async { while TcpStream::connect(port).await.is_ok() {} };
    soon("the port to close", refused).await;
}

fn complete(services: &[&ServiceEntry]) -> Down {
    Down {
        services: services.iter().map(|entry| (*entry).clone()).collect(),
        complete: true,
        ..Down::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_table_ends_what_it_does_not_name_and_leaves_the_rest_alone() {
    let mut world = World::new().await;
    let goes = world.serve(&service()).await;
    let stays = world.serve(&named("stays")).await;
    let lost = [ask(goes, get("/")), ask(goes, get("/"))];
    world.holds(2).await;
    let mut pod = Pod::start("a").await;
    let held = ask(stays, get("/"));
    world.autoscaler.tell(complete(&[&ServiceEntry { pods: vec![pod.entry()], ..named("stays") }])).await;
    for waiting in lost {
        assert_eq!(waiting.answer().await.refusal(), (503, Some("service-gone")));
    }
    is_closed(goes).await;
    assert_eq!(world.activator.load(&support::key()), None);
    pod.becomes_ready().await;
    pod.request().await.says("hello");
    held.hears("hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_gone_finishes_what_its_pods_have() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service_with(&[&pod])).await;
    pod.becomes_ready().await;
    let sent = ask(port, get("/"));
    let asked = pod.request().await;
    world.autoscaler.tell(Down { gone: vec![support::key().to_string()], ..Down::default() }).await;
    is_closed(port).await;
    asked.says("hello");
    sent.hears("hello").await;
}

/// Its Service went back to its own selector, and a node still knows their connection.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_on_a_lasting_connection_to_a_service_that_is_gone_is_served_and_the_connection_ends() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service_with(&[&pod])).await;
    pod.becomes_ready().await;
    let mut client = connect(port).await;
    let first = tokio::spawn(client.send_request(get("/")));
    pod.request().await.says("hello");
    assert_eq!(whole(first.await.unwrap().unwrap()).await.body, "hello");
    world.autoscaler.tell(Down { gone: vec![support::key().to_string()], ..Down::default() }).await;
    is_closed(port).await;
    let second = tokio::spawn(client.send_request(get("/")));
    pod.request().await.says("hello again");
    let second = whole(second.await.unwrap().unwrap()).await;
    assert_eq!((second.body.as_str(), second.header("connection")), ("hello again", Some("close")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_comes_again_at_once_gets_its_port_again() {
    let mut world = World::new().await;
    let port = world.serve(&service()).await;
    let entry = ServiceEntry { port: u32::from(port.port()), ..service() };
    let lost = ask(port, get("/"));
    world.holds(1).await;
    world.autoscaler.tell(Down { gone: vec![support::key().to_string()], ..Down::default() }).await;
    assert_eq!(world.serve(&entry).await, port);
    assert_eq!(lost.answer().await.refusal(), (503, Some("service-gone")));
    let _held = ask(port, get("/"));
    world.holds(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_told_and_hurts_no_other_service() {
    let mut world = World::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = u32::from(taken.local_addr().unwrap().port());
    let entry = ServiceEntry { port, ..named("unlucky") };
    world.tell(&entry).await;
    let news = world.listening().await;
    assert_eq!((news.name.as_str(), news.port), ("unlucky", port));
    assert!(news.error.contains("in use"), "{}", news.error);
    world.tell(&ServiceEntry { port: 70_000, ..named("impossible") }).await;
    assert_eq!(world.listening().await.error, "no such port");

    let mut pod = Pod::start("a").await;
    let other = world.serve(&service_with(&[&pod])).await;
    pod.becomes_ready().await;
    let sent = ask(other, get("/"));
    pod.request().await.says("hello");
    sent.hears("hello").await;

    drop(taken);
    world.serve(&entry).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_moves_to_another_port_leaves_the_old_one() {
    let mut world = World::new().await;
    let old = world.serve(&service()).await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let new = world.serve(&ServiceEntry { port: u32::from(free), ..service() }).await;
    assert_eq!(new.port(), free);
    is_closed(old).await;
    let _held = ask(new, get("/"));
    world.holds(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_link_hears_of_every_port_and_of_those_that_failed() {
    let mut world = World::new().await;
    let port = world.serve(&service()).await;
    world.tell(&ServiceEntry { port: 70_000, ..named("impossible") }).await;
    world.listening().await;
    world.autoscaler.leave();
    world.autoscaler.come_back().await;
    let mut news = [world.listening().await, world.listening().await];
    news.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!((news[0].name.as_str(), news[0].port), ("hello", u32::from(port.port())));
    assert_eq!(news[1].error, "no such port");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_with_an_address_that_is_none_is_passed_over() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let mut entry = service_with(&[&pod]);
    entry.pods.insert(
        0,
        ebb_core::link::PodEntry { name: "odd".into(), address: "nowhere".into(), ..entry.pods[0].clone() },
    );
    world.serve(&entry).await;
    pod.becomes_ready().await;
    world.has_ready_pods(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_none_ends_the_link_and_a_new_one_is_opened() {
    let mut world = World::new().await;
    let port = world.serve(&service()).await;
    let _held = ask(port, get("/"));
    world.holds(1).await;
    world.autoscaler.tell_bytes(&u32::MAX.to_be_bytes()).await;
    world.autoscaler.session().await;
    assert_eq!(world.listening().await.port, u32::from(port.port()));
    until("what is held to stay", || world.load().held == 1).await;
}
