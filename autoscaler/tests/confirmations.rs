//! The platform asks whether activators have applied what they were told.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test")]

mod support;

use std::sync::Arc;

use ebb_annotations::SplitBy;
use ebb_core::{ServiceKey, link::Up};
use ebb_decide::{
    platform::{Applied, FleetEvent},
    route::{Split, Target, rollout::Pace},
};
use support::{Activator, Told, World, following_world, key, service_event, world};

async fn ask(world: &World, key: ServiceKey, ask: u64) {
    world.fleet.send(FleetEvent::Confirm { key, ask: Some(ask) }).await.unwrap();
}

/// Waits for the next answer.
async fn answer(world: &mut World) -> (u64, Applied) {
    let is_answer = |told| match told {
        Told::Confirmed(_, ask, applied) => Some((ask, applied)),
        _ => None,
    };
    world.until(is_answer).await
}

fn pending(name: &str) -> Applied {
    Applied::Pending(name.to_owned())
}

/// Waits for the next number, and repeats it.
async fn confirm(activator: &mut Activator) -> u64 {
    let number = activator.message(|down| down.number > 0).await.number;
    activator.say(&Up { applied: number, ..Up::default() }).await;
    number
}

async fn activator(world: &World, name: &str, ip: &str) -> Activator {
    let activator = Activator::join(world.address, name, ip).await;
    activator.listening(30_001, "").await;
    activator
}

#[tokio::test]
async fn the_platform_hears_when_all_activators_have_applied_it() {
    let mut world = world().await;
    ask(&world, key(), 1).await;
    assert_eq!(answer(&mut world).await, (1, Applied::Nowhere));
    let mut a = activator(&world, "a", "10.0.1.1").await;
    let first = a.table().await.unwrap();
    assert!(first.complete && first.number == 1, "it need not be asked again: {first:?}");
    world.until(|told| (told == Told::Confirmed(key(), 1, pending("a"))).then_some(())).await;
    let mut b = activator(&world, "b", "10.0.1.2").await;
    a.say(&Up { applied: 1, ..Up::default() }).await;
    world.until(|told| (told == Told::Confirmed(key(), 1, pending("b"))).then_some(())).await;
    confirm(&mut b).await;
    assert_eq!(answer(&mut world).await, (1, Applied::Everywhere));

    ask(&world, key(), 2).await;
    assert_eq!(answer(&mut world).await, (2, pending("a")));
    assert_eq!(confirm(&mut a).await, 2);
    assert_eq!(answer(&mut world).await, (2, pending("b")));
    assert_eq!(confirm(&mut b).await, 2);
    assert_eq!(answer(&mut world).await, (2, Applied::Everywhere));
    drop((a, b));
    ask(&world, ServiceKey::new("ns", "nobody"), 3).await;
    ask(&world, key(), 4).await;
    let (number, applied) = answer(&mut world).await;
    assert_eq!(
        number, 4,
        "what was confirmed stays so, and what is not known is not asked about: {applied:?}"
    );
}

#[tokio::test]
async fn who_leaves_is_not_waited_for_and_who_comes_back_must_say_it_again() {
    let mut world = world().await;
    let mut a = activator(&world, "a", "10.0.1.1").await;
    let b = activator(&world, "b", "10.0.1.2").await;
    ask(&world, key(), 1).await;
    confirm(&mut a).await;
    world.until(|told| (told == Told::Confirmed(key(), 1, pending("b"))).then_some(())).await;
    drop(b);
    assert_eq!(answer(&mut world).await, (1, Applied::Everywhere));

    let mut b = activator(&world, "b", "10.0.1.2").await;
    confirm(&mut b).await;
    ask(&world, key(), 2).await;
    assert_eq!(confirm(&mut a).await, 2);
    b.message(|down| down.number == 2).await;
    world.until(|told| (told == Told::Confirmed(key(), 2, pending("b"))).then_some(())).await;
    // Its stream is lost with the answer.
    drop(b);
    assert_eq!(answer(&mut world).await, (2, Applied::Everywhere));
}

#[tokio::test]
async fn an_older_activator_is_named_and_blocks_nothing_once_it_is_gone() {
    let mut world = world().await;
    let mut a = activator(&world, "a", "10.0.1.1").await;
    let older = Activator::connect(world.address).await;
    let hello =
        ebb_core::link::Hello { name: "old".into(), address: "10.0.1.9".into(), ..Default::default() };
    older.say(&Up { hello: Some(hello), ..Up::default() }).await;
    ask(&world, key(), 1).await;
    let untold = Told::Confirmed(key(), 1, Applied::Untold("old".to_owned()));
    world.until(|told| (told == untold).then_some(())).await;
    confirm(&mut a).await;
    drop(older);
    assert_eq!(answer(&mut world).await, (1, Applied::Everywhere));
}

#[tokio::test]
async fn a_route_is_asked_about_once_all_its_services_were_told() {
    let mut world = world().await;
    let mut a = activator(&world, "a", "10.0.1.1").await;
    let route = ServiceKey::new("ns", "hello");
    let target = |service: &str| Target { service: service.to_owned(), weight: 1, trouble: String::new() };
    let split = |targets: &[&str]| {
        Arc::new(Split {
            targets: targets.iter().map(|service| target(service)).collect(),
            by: SplitBy::Request,
            max_connection_age: None,
            tunnel_idle_timeout: None,
            pace: Pace::default(),
        })
    };
    let event = FleetEvent::Route { key: route.clone(), split: split(&["web"]), port: 30_009 };
    world.fleet.send(event).await.unwrap();
    let event = FleetEvent::Route { key: route.clone(), split: split(&["web", "web2"]), port: 30_009 };
    world.fleet.send(event).await.unwrap();
    ask(&world, route.clone(), 1).await;
    a.message(|down| down.routes.iter().any(|route| route.targets.len() == 2)).await;
    let FleetEvent::Service { spec, .. } = service_event() else { unreachable!() };
    let second = ServiceKey::new("ns", "web2");
    world.fleet.send(FleetEvent::Service { key: second.clone(), spec, port: 30_002 }).await.unwrap();
    world.replicas(&["10.0.2.3:8080"]).await;
    let silent = a.message(|down| down.number > 0 || !down.replicas.is_empty()).await;
    assert_eq!(silent.number, 0, "its second service is not told yet");
    let pods = FleetEvent::Pods { key: second, pods: Vec::new(), replicas: 0, trouble: String::new() };
    world.fleet.send(pods).await.unwrap();
    a.until(|entry| entry.name == "web2").await;
    confirm(&mut a).await;
    world.until(|told| matches!(told, Told::Confirmed(_, 1, Applied::Unbound)).then_some(())).await;
    let (namespace, name) = ("ns".to_owned(), "hello".to_owned());
    let listening = ebb_core::link::Listening { namespace, name, port: 30_009, error: String::new() };
    a.say(&Up { listening: vec![listening], ..Up::default() }).await;
    world.until(|told| (told == Told::Confirmed(route.clone(), 1, Applied::Everywhere)).then_some(())).await;
}

#[tokio::test]
async fn who_follows_asks_nobody_until_it_leads() {
    let mut world = following_world().await;
    world.service().await;
    world.fleet.send(FleetEvent::Complete).await.unwrap();
    let mut a = activator(&world, "a", "10.0.1.1").await;
    ask(&world, key(), 1).await;
    world.replicas(&["10.0.2.3:8080"]).await;
    let silent = a.message(|down| down.number > 0 || !down.replicas.is_empty()).await;
    assert_eq!(silent.number, 0);
    world.activator_pods(&[("10.0.1.1", true), ("10.0.1.2", true)]).await;
    world.leads(true).await;
    let table = a.message(|down| down.complete).await;
    assert_eq!((table.leads, table.services.len()), (Some(true), 1), "first the tables");
    assert_eq!(confirm(&mut a).await, 1);
    assert_eq!(answer(&mut world).await, (1, pending("10.0.1.2")), "it may follow the former leader still");
    world.activator_pods(&[("10.0.1.1", true), ("10.0.1.2", false)]).await;
    world.until(|told| (told == Told::Confirmed(key(), 1, Applied::Everywhere)).then_some(())).await;

    world.leads(false).await;
    world.leads(true).await;
    assert_eq!(confirm(&mut a).await, 2, "the next term asks again");
    world.until(|told| (told == Told::Confirmed(key(), 1, Applied::Everywhere)).then_some(())).await;
}
