//! Routes: what activators are told about them, and where their traffic goes.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test")]

mod support;

use std::{net::SocketAddr, sync::Arc};

use ebb_annotations::SplitBy;
use ebb_core::{
    ServiceKey,
    link::{Listening, RouteEntry, SplitKey, Up},
};
use ebb_decide::{
    endpoints::Endpoints,
    platform::FleetEvent,
    route::{Split, Target, rollout::Pace},
};
use support::{Activator, Call, Told, World, key, pod, service_event, world, young_world};

fn route() -> ServiceKey {
    ServiceKey::new("ns", "hello")
}

fn split(targets: &[(&str, u32)]) -> Split {
    let target = |(service, weight): &(&str, u32)| Target {
        service: (*service).to_owned(),
        weight: *weight,
        trouble: String::new(),
    };
    let targets = targets.iter().map(target).collect();
    Split {
        targets,
        by: SplitBy::Request,
        max_connection_age: None,
        tunnel_idle_timeout: None,
        pace: Pace::default(),
    }
}

async fn tell(world: &World, split: Split) {
    let event = FleetEvent::Route { key: route(), split: Arc::new(split), port: 30_009 };
    world.fleet.send(event).await.unwrap();
}

/// Adds another service than that of most tests.
async fn second_service(world: &World) {
    let FleetEvent::Service { spec, .. } = service_event() else { unreachable!() };
    let second = ServiceKey::new("ns", "web2");
    world.fleet.send(FleetEvent::Service { key: second.clone(), spec, port: 30_002 }).await.unwrap();
    let pods = FleetEvent::Pods { key: second, pods: Vec::new(), replicas: 0, trouble: String::new() };
    world.fleet.send(pods).await.unwrap();
}

async fn answers(activator: &Activator, name: &str, port: u32) {
    let listening = Listening { namespace: "ns".into(), name: name.into(), port, error: String::new() };
    activator.say(&Up { listening: vec![listening], ..Up::default() }).await;
}

/// Waits until the route's traffic goes only to `addresses`.
async fn until_published(world: &mut World, addresses: &[&str]) {
    let wanted: Vec<SocketAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let is_it = |told| matches!(told, Told::PublishOther(key, Endpoints { addresses, .. }) if key == route() && addresses == wanted);
    world.until(|told| is_it(told).then_some(())).await;
}

async fn entry(activator: &mut Activator, wanted: impl Fn(&RouteEntry) -> bool) -> RouteEntry {
    let message = activator.message(|down| down.routes.iter().any(&wanted)).await;
    message.routes.into_iter().find(wanted).unwrap()
}

#[tokio::test]
async fn activators_are_told_how_requests_are_divided_and_of_each_change() {
    let world = world().await;
    second_service(&world).await;
    let by = SplitBy::Cookie("user".to_owned());
    tell(&world, Split { by, ..split(&[("web", 90), ("web2", 10)]) }).await;
    let mut activator = Activator::join(world.address, "a", "10.0.1.1").await;
    let first = entry(&mut activator, |entry| entry.name == "hello").await;
    let shares: Vec<_> = first.targets.iter().map(|target| (&*target.service, target.weight)).collect();
    assert_eq!((shares, first.port), (vec![("web", 90), ("web2", 10)], 30_009));
    assert_eq!(first.by, Some(SplitKey { cookie: "user".into(), header: String::new() }));
    tell(&world, split(&[("web", 50), ("web2", 50)])).await;
    entry(&mut activator, |entry| entry.targets[0].weight == 50 && entry.by.is_none()).await;
    world.fleet.send(FleetEvent::Gone(route())).await.unwrap();
    activator.message(|down| down.gone == ["ns/hello"]).await;
}

#[tokio::test]
async fn activators_hear_of_a_route_when_its_services_are_known() {
    let world = young_world().await;
    world.fleet.send(FleetEvent::Complete).await.unwrap();
    tell(&world, split(&[("web", 1), ("web2", 1)])).await;
    let mut activator = Activator::join(world.address, "a", "10.0.1.1").await;
    world.service().await;
    second_service(&world).await;
    let mut services = Vec::new();
    loop {
        let down = activator.table().await.unwrap();
        services.extend(down.services.into_iter().map(|service| service.name));
        if !down.routes.is_empty() {
            break;
        }
    }
    services.sort();
    services.dedup();
    assert_eq!(services, ["web", "web2"], "both are known before the route is");
}

#[tokio::test]
async fn several_are_chosen_from_by_activators_and_one_alone_is_reached_directly() {
    let mut world = world().await;
    second_service(&world).await;
    let activator = Activator::join(world.address, "a", "10.0.1.1").await;
    activator.listening(30_001, "").await;
    tell(&world, split(&[("web", 1), ("web2", 1)])).await;
    answers(&activator, "hello", 30_009).await;
    until_published(&mut world, &["10.0.1.1:30009"]).await;

    // A new route immediately has the endpoints of its service; activators answer on its own port.
    world.fleet.send(FleetEvent::Gone(route())).await.unwrap();
    tell(&world, split(&[("web", 1)])).await;
    answers(&activator, "hello", 30_009).await;
    until_published(&mut world, &["10.0.1.1:30009"]).await;
    world.pods(vec![pod(true)], 1, "").await;
    activator.listening(30_001, "address in use").await;
    until_published(&mut world, &["10.0.0.1:8012"]).await;
}

#[tokio::test]
async fn a_route_is_explained_with_what_is_seen_of_its_services() {
    let world = world().await;
    let mut broken = split(&[("web", 9), ("gone", 1)]);
    broken.targets[1].trouble = "there is no Service gone".to_owned();
    tell(&world, broken).await;
    let mut activator = Activator::join(world.address, "a", "10.0.1.1").await;
    let _ = entry(&mut activator, |entry| entry.name == "hello").await;
    let (status, text) = world.get("/explain/ns/hello").await;
    assert_eq!(status, 200);
    let said: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&said["route"], &said["chosen_by"]), (&"ns/hello".into(), &"activators".into()), "{said}");
    assert_eq!(
        (&said["targets"][0]["weight"], &said["targets"][0]["now"]["ready_pods"]),
        (&9.into(), &0.into())
    );
    assert_eq!(said["targets"][1]["trouble"], "there is no Service gone");
    assert!(said["targets"][1]["now"].is_null());
}

#[tokio::test]
async fn what_could_not_be_published_for_a_route_is_tried_again() {
    let mut world = world().await;
    second_service(&world).await;
    let activator = Activator::join(world.address, "a", "10.0.1.1").await;
    tell(&world, split(&[("web", 1), ("web2", 1)])).await;
    world.will_panic(Call::Publish);
    answers(&activator, "hello", 30_009).await;
    until_published(&mut world, &["10.0.1.1:30009"]).await;
}

#[tokio::test]
async fn a_service_that_routes_choose_is_shared_by_all_activators() {
    let world = world().await;
    second_service(&world).await;
    let mut activators = Vec::new();
    for n in 1..=4 {
        let activator = Activator::join(world.address, &format!("a{n}"), &format!("10.0.1.{n}")).await;
        activator.listening(30_001, "").await;
        activators.push(activator);
    }
    for activator in &mut activators {
        let _ = activator.until(|entry| entry.name == "web").await;
    }
    tell(&world, split(&[("web", 1), ("web2", 1)])).await;
    for activator in &mut activators {
        let shared = activator.until(|entry| entry.name == "web" && entry.activators == 4).await;
        assert!(shared.activator_index < 4);
    }
    // Now only some of them forward its traffic.
    world.fleet.send(FleetEvent::Gone(route())).await.unwrap();
    let _ = activators[0].until(|entry| entry.name == "web" && entry.activators < 4).await;
}

#[tokio::test]
async fn a_service_that_becomes_a_route_is_one_alone() {
    let world = world().await;
    second_service(&world).await;
    let mut activator = Activator::join(world.address, "a", "10.0.1.1").await;
    let _ = activator.until(|entry| entry.name == "web").await;
    let event = FleetEvent::Route { key: key(), split: Arc::new(split(&[("web2", 1)])), port: 30_001 };
    world.fleet.send(event).await.unwrap();
    let told = activator.message(|down| !down.gone.is_empty() || !down.routes.is_empty()).await;
    assert!(told.gone.is_empty(), "its port stays open");
    assert_eq!(told.routes[0].name, "web");
    assert!(world.autoscaler.view(&key()).is_none());
    world.service().await;
    let told = activator.message(|down| !down.gone.is_empty() || !down.services.is_empty()).await;
    assert!(told.gone.is_empty());
    assert_eq!(told.services[0].name, "web", "and a service again");
}
