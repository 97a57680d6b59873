//! Several autoscalers, of which one leads; and what pods announce to any of them.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use ebb_core::link::{AnnouncedPod, Down, ServiceEntry};
use support::{
    World,
    autoscaler::Autoscaler,
    client::{ask, get},
    key, named,
    pod::Pod,
    service, service_with, soon, until,
};

fn replicas(all: &[&Autoscaler]) -> Down {
    let replicas = all.iter().map(|autoscaler| autoscaler.address.to_string()).collect();
    Down { leads: Some(false), replicas, ..Down::default() }
}

fn table(leads: bool, entry: &ServiceEntry) -> Down {
    Down { services: vec![entry.clone()], leads: Some(leads), ..Down::default() }
}

/// What a follower passes on about `pod`.
fn announced(pod: &Pod, draining: bool) -> Down {
    let service = key();
    let news =
        AnnouncedPod { namespace: service.namespace, name: service.name, pod: Some(pod.entry()), draining };
    Down { leads: Some(false), announced: vec![news], ..Down::default() }
}

/// A world whose activator has streams to two more autoscalers, and none any more to the first.
async fn with_two_more() -> (World, [Autoscaler; 2]) {
    let world = World::new().await;
    let mut others = [Autoscaler::start().await, Autoscaler::start().await];
    world.autoscaler.tell(replicas(&[&others[0], &others[1]])).await;
    for other in &mut others {
        other.session().await;
    }
    world.autoscaler.is_left().await;
    (world, others)
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_a_stream_to_each_autoscaler_and_none_to_one_that_is_none_any_more() {
    let (world, others) = with_two_more().await;
    let mut third = Autoscaler::start().await;
    others[1].tell(replicas(&[&others[1], &third])).await;
    third.session().await;
    others[0].is_left().await;
    drop(world);
    third.is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_address_is_used_again_when_no_autoscaler_is_left() {
    let (mut world, mut others) = with_two_more().await;
    for other in &mut others {
        other.leave();
    }
    world.autoscaler.session().await;
    others[1].come_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_answer_keeps_the_first_stream_open() {
    let mut world = World::new().await;
    let mut others = [Autoscaler::start().await, Autoscaler::start().await];
    others[1].leave();
    world.autoscaler.tell(replicas(&[&others[0], &others[1]])).await;
    others[0].session().await;
    others[1].token().await;
    // It may lead to the one that does not answer.
    world.tell(&service()).await;
    assert_eq!(world.listening().await.name, "hello");
    others[1].come_back().await;
    world.autoscaler.is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_autoscaler_hears_of_a_first_request_at_once_and_of_each_second_the_same() {
    let (_world, mut others) = with_two_more().await;
    others[0].tell(table(true, &service())).await;
    let port = others[0].listening().await.port;
    assert_eq!(others[1].listening().await.port, port, "whoever leads next knows who answers");
    let address = ([127, 0, 0, 1], u16::try_from(port).unwrap()).into();
    let _held: Vec<_> = (0..3).map(|_| ask(address, get("/"))).collect();
    let mut heard = Vec::new();
    for other in &mut others {
        assert_eq!(other.stat().await, (1.0, 1.0));
        heard.push([other.stat().await, other.stat().await]);
    }
    assert_eq!(heard[0], heard[1]);
    assert_eq!((heard[0][0].1, heard[0][1]), (2.0, (3.0, 0.0)), "counted once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_that_comes_later_hears_of_what_is_held_and_takes_nothing_from_the_others() {
    let mut world = World::new().await;
    let address = world.serve(&service()).await;
    let _held = [ask(address, get("/")), ask(address, get("/"))];
    world.holds(2).await;
    assert_eq!(world.autoscaler.stat().await, (1.0, 1.0));
    let mut other = Autoscaler::start().await;
    world.autoscaler.tell(replicas(&[&world.autoscaler, &other])).await;
    other.session().await;
    assert_eq!(other.listening().await.name, "hello");
    assert_eq!(other.stat().await, (2.0, 2.0));
    assert_eq!(world.autoscaler.stat().await.1, 1.0, "the rest of its second, as if nobody had come");
    assert_eq!(world.autoscaler.stat().await, (2.0, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_one_that_does_not_lead_are_not_obeyed() {
    let (world, mut others) = with_two_more().await;
    others[1].tell(table(false, &named("other"))).await;
    others[0].tell(table(true, &service())).await;
    assert_eq!(others[1].listening().await.name, "hello", "and nothing else was taken");
    others[1].tell(Down { gone: vec![key().to_string()], complete: true, ..replicas(&[]) }).await;
    // Each is obeyed in turn: what is said on one stream is obeyed in its order.
    let marker = Autoscaler::start().await;
    others[1].tell(replicas(&[&others[0], &others[1], &marker])).await;
    let mut marker = marker;
    marker.session().await;
    assert!(world.activator.load(&key()).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_autoscaler_hears_of_its_own_numbers_and_a_later_stream_begins_anew() {
    let (_world, mut others) = with_two_more().await;
    let numbered = |number| Down { number, leads: Some(true), ..Down::default() };
    others[0].tell(numbered(7)).await;
    assert_eq!(others[0].applied().await, 7);
    others[1].tell(numbered(3)).await;
    assert_eq!(others[1].applied().await, 3);
    others[0].leave();
    others[0].come_back().await;
    others[0].tell(Down { number: 1, ..table(true, &service()) }).await;
    assert_eq!(others[0].applied().await, 1);
    assert_eq!(others[0].listening().await.name, "hello", "that was said before");
    assert_eq!(others[1].listening().await.name, "hello");
    assert!(others[1].has_no_confirmation());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_the_lead_is_obeyed_from_then_on() {
    let (world, mut others) = with_two_more().await;
    others[0].tell(table(true, &service())).await;
    let port = others[1].listening().await.port;
    others[0].leave();
    let mut pod = Pod::start("a").await;
    others[1].tell(table(true, &ServiceEntry { port, ..service_with(&[&pod]) })).await;
    pod.becomes_ready().await;
    world.has_ready_pods(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_a_follower_heard_of_takes_requests_before_the_leader_knows_it() {
    let (world, mut others) = with_two_more().await;
    others[0].tell(table(true, &service())).await;
    let port = others[0].listening().await.port;
    let address = ([127, 0, 0, 1], u16::try_from(port).unwrap()).into();
    let held = ask(address, get("/"));
    world.holds(1).await;
    let mut pod = Pod::start("a").await;
    others[1].tell(announced(&pod, false)).await;
    let probe = pod.probe().await;
    // The leader tells of something else meanwhile: what the pod said holds, and it is not asked anew.
    others[0].tell(table(true, &ServiceEntry { port, trouble: "none".into(), ..service() })).await;
    others[0].tell(table(true, &ServiceEntry { port, ..service_with(&[&pod]) })).await;
    probe.says_ready();
    pod.request().await.says("hello");
    held.hears("hello").await;
    assert!(pod.is_asked_no_more());
    // From now on the leader's word counts.
    others[0].tell(table(true, &ServiceEntry { port, ..service() })).await;
    world.has_ready_pods(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_announced_its_drain_takes_nothing_more_although_the_table_names_it() {
    let (world, mut others) = with_two_more().await;
    let (mut leaves, mut stays) = (Pod::start("a").await, Pod::start("b").await);
    let entry = service_with(&[&leaves, &stays]);
    others[0].tell(table(true, &entry)).await;
    let port = others[0].listening().await.port;
    leaves.becomes_ready().await;
    stays.becomes_ready().await;
    world.has_ready_pods(2).await;
    others[1].tell(announced(&leaves, true)).await;
    world.has_ready_pods(1).await;
    let again = ServiceEntry { port, trouble: "told again".into(), ..entry };
    others[0].tell(table(true, &again)).await;
    others[0].tell(table(true, &named("other"))).await;
    until("the table to be obeyed", || {
        world.activator.load(&ebb_core::ServiceKey::new("default", "other")).is_some()
    })
    .await;
    assert_eq!(world.load().ready_pods, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_shown_on_each_stream_as_it_is_by_then() {
    let file = std::env::temp_dir().join(format!("ebb-token-{}", std::process::id()));
    std::fs::write(&file, "first\n").unwrap();
    let mut world = World::with(|config| config.token_file = Some(file.clone())).await;
    assert_eq!(world.autoscaler.token().await.as_deref(), Some("Bearer first"));
    std::fs::write(&file, "second").unwrap();
    world.autoscaler.leave();
    world.autoscaler.come_back().await;
    let shown = async { while world.autoscaler.token().await.as_deref() != Some("Bearer second") {} };
    soon("the new token", shown).await;
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_no_token_is_shown() {
    let mut world = World::new().await;
    assert_eq!(world.autoscaler.token().await, None);
}
