//! What activators and a platform observe, over a real stream and with a scripted platform.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test")]

mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use ebb_core::{
    ServiceKey,
    link::{Hello, ServiceEntry, Unanswered, Up},
};
use ebb_decide::platform::FleetEvent;
use ebb_decide::zero::Path;
use http::StatusCode;
use support::{Activator, Told, World, key, listening, pod, service_event, world, young_world};

#[tokio::test]
async fn the_first_request_at_an_activator_scales_the_service_from_zero() {
    let mut world = world().await;
    let activator = Activator::join(world.address, "a", "10.0.1.1").await;
    activator.listening(30_001, "").await;
    activator.report(1.0).await;
    let pods = world.until(|told| if let Told::Scale(pods) = told { Some(pods) } else { None }).await;
    assert_eq!(pods, 1);
}

#[tokio::test]
async fn traffic_goes_to_activators_that_answer_and_to_pods_once_there_is_room() {
    let mut world = world().await;
    let activator = Activator::join(world.address, "a", "10.0.1.1").await;
    activator.listening(30_001, "").await;
    let proxied = world
        .until(|told| match told {
            Told::Publish(endpoints) if endpoints.path == Path::Proxy => Some(endpoints.addresses),
            _ => None,
        })
        .await;
    assert_eq!(proxied, ["10.0.1.1:30001".parse::<SocketAddr>().unwrap()]);
    activator.listening(30_001, "address in use").await;
    let nobody = world
        .until(|told| match told {
            Told::Publish(endpoints) if endpoints.addresses.is_empty() => Some(endpoints.path),
            _ => None,
        })
        .await;
    assert_eq!(nobody, Path::Serve, "an activator that cannot listen gets no traffic");
}

#[tokio::test]
async fn an_address_that_comes_late_moves_the_services_that_are_answered_for_there() {
    let mut world = world().await;
    let mut activator = Activator::connect(world.address).await;
    activator.until(|entry| entry.name == "web").await;
    activator.listening(30_001, "").await;
    for ip in ["10.0.1.1", "10.0.1.2"] {
        activator.introduce("a", ip).await;
        world.until_published(&format!("{ip}:30001")).await;
    }
}

#[tokio::test]
async fn services_that_are_named_with_the_introduction_get_their_traffic_there() {
    let mut world = world().await;
    let mut activator = Activator::connect(world.address).await;
    activator.until(|entry| entry.name == "web").await;
    let hello = Hello { name: "a".into(), address: "10.0.1.1".into(), heartbeats: true, confirms: false };
    activator.say(&Up { hello: Some(hello), listening: vec![listening(30_001, "")], ..Up::default() }).await;
    world.until_published("10.0.1.1:30001").await;
}

#[tokio::test]
async fn an_activator_gets_all_tables_when_it_joins_and_each_change_after() {
    let world = world().await;
    let mut activator = Activator::join(world.address, "a", "10.0.1.1").await;
    let entry = activator.until(|entry| entry.name == "web").await;
    assert_eq!((entry.port, entry.pods.len(), entry.queue_depth), (30_001, 0, 10_000));
    world.pods(vec![pod(false)], 1, "pod web-1 exited with status 3").await;
    let entry = activator.until(|entry| !entry.pods.is_empty()).await;
    assert_eq!(entry.trouble, "pod web-1 exited with status 3");
    assert_eq!((&*entry.pods[0].address, &*entry.pods[0].nonce), ("10.0.0.1:8012", "secret"));
    world.fleet.send(FleetEvent::Gone(key())).await.unwrap();
    loop {
        let table = activator.table().await.unwrap();
        if table.gone == ["ns/web"] {
            break;
        }
    }
    assert!(world.autoscaler.view(&key()).is_none());
}

#[tokio::test]
async fn activators_are_told_how_long_connections_may_stay_and_of_each_change() {
    let world = world().await;
    let mut activator = Activator::join(world.address, "a", "10.0.1.1").await;
    let limits = |entry: &ServiceEntry| (entry.max_connection_age_ms, entry.tunnel_idle_timeout_ms);
    let entry = activator.until(|entry| entry.name == "web").await;
    assert_eq!(limits(&entry), (0, 0), "for ever, where nothing is said");
    let seconds = |count| Some(Duration::from_secs(count));
    for (age, idle, millis) in [(seconds(3600), seconds(60), (3_600_000, 60_000)), (None, None, (0, 0))] {
        let FleetEvent::Service { key, mut spec, port } = service_event() else { unreachable!() };
        let serving = &mut Arc::make_mut(&mut spec).serving;
        (serving.max_connection_age, serving.tunnel_idle_timeout) = (age, idle);
        world.fleet.send(FleetEvent::Service { key, spec, port }).await.unwrap();
        activator.until(|entry| limits(entry) == millis).await;
    }
}

#[tokio::test]
async fn an_activator_that_comes_back_gets_all_tables_again() {
    let mut world = world().await;
    let first = Activator::join(world.address, "a", "10.0.1.1").await;
    first.listening(30_001, "").await;
    drop(first);
    let mut again = Activator::join(world.address, "a", "10.0.1.1").await;
    while !again.table().await.is_some_and(|table| table.complete && table.services.len() == 1) {}
    again.report(1.0).await;
    world.until(|told| (told == Told::Scale(1)).then_some(())).await;
}

#[tokio::test]
async fn what_cannot_be_read_closes_that_stream_and_no_other() {
    let mut world = world().await;
    let sound = Activator::join(world.address, "sound", "10.0.1.1").await;
    let mut broken = Activator::join(world.address, "broken", "10.0.1.2").await;
    broken.up.send(Bytes::from_static(&[0xff; 64])).await.unwrap();
    while broken.table().await.is_some() {}
    sound.report(f64::NAN).await;
    sound.report(2.0).await;
    world.until(|told| matches!(told, Told::Scale(1..)).then_some(())).await;
}

#[tokio::test]
async fn the_platform_hears_of_requests_that_no_pod_answered() {
    let mut world = world().await;
    let activator = Activator::join(world.address, "a", "10.0.1.1").await;
    let of = |name: &str, requests| Unanswered { namespace: "ns".into(), name: name.into(), requests };
    activator.say(&Up { unanswered: vec![of("other", 0), of("web", 2)], ..Up::default() }).await;
    let service =
        world.until(|told| if let Told::Unanswered(service) = told { Some(service) } else { None }).await;
    assert_eq!(service, key(), "of the other one nobody gave up");
}

#[tokio::test]
async fn it_can_be_asked_why() {
    let mut world = world().await;
    let activator = Activator::join(world.address, "a", "10.0.1.1").await;
    activator.report(1.0).await;
    world.until(|told| (told == Told::Scale(1)).then_some(())).await;
    let history = world.autoscaler.history(&key()).await;
    assert!(history.iter().any(|one| one.scale_to == Some(1)), "{history:?}");
    assert!(world.autoscaler.history(&ServiceKey::new("no", "body")).await.is_empty());
}

#[tokio::test]
async fn an_autoscaler_that_has_just_started_takes_nothing_from_activators() {
    let world = young_world().await;
    let mut activator = Activator::join(world.address, "a", "10.0.1.1").await;
    let table = activator.table().await.unwrap();
    assert!(!table.complete && table.services.is_empty(), "what it has may still come");
    world.fleet.send(service_event()).await.unwrap();
    world.pods(vec![pod(true)], 1, "").await;
    let entry = activator.until(|entry| entry.name == "web").await;
    assert_eq!(entry.pods.len(), 1, "not without the pods that it has");
    world.fleet.send(FleetEvent::Complete).await.unwrap();
    while !activator.table().await.is_some_and(|table| table.complete && table.services.len() == 1) {}
}

#[tokio::test]
async fn activators_that_share_a_service_are_told_which_part_is_theirs() {
    let world = world().await;
    let mut activators = Vec::new();
    for ip in ["10.0.1.2", "10.0.1.10"] {
        let activator = Activator::join(world.address, ip, ip).await;
        activator.listening(30_001, "").await;
        activators.push(activator);
    }
    let mut parts = Vec::new();
    for activator in &mut activators {
        let entry = activator.until(|entry| entry.activators == 2).await;
        parts.push(entry.activator_index);
    }
    assert_eq!(parts, [1, 0], "in the order of their addresses' text");
    drop(activators.pop());
    let alone = activators[0].until(|entry| entry.activators == 0).await;
    assert_eq!(alone.activator_index, 0);
}

/// Returns two activators that answer for the service and get its traffic.
async fn two_activators(world: &mut World) -> [Activator; 2] {
    let activators = [
        Activator::join(world.address, "a", "10.0.1.1").await,
        Activator::join(world.address, "b", "10.0.1.2").await,
    ];
    for activator in &activators {
        activator.listening(30_001, "").await;
    }
    world.until_all_published(&["10.0.1.1:30001", "10.0.1.2:30001"]).await;
    activators
}

#[tokio::test]
async fn an_activator_whose_pod_is_not_ready_gets_no_traffic_unless_it_is_the_last() {
    let mut world = world().await;
    let activators = two_activators(&mut world).await;
    world.activator_pods(&[("10.0.1.1", false), ("10.0.1.2", true)]).await;
    world.until_published("10.0.1.2:30001").await;
    let (_, metrics) = world.get("/metrics").await;
    assert!(metrics.contains("ebb_autoscaler_doubtful_activators 1\n"), "{metrics}");
    world.activator_pods(&[("10.0.1.1", false), ("10.0.1.2", false)]).await;
    world.until_all_published(&["10.0.1.1:30001", "10.0.1.2:30001"]).await;
    // Its pod terminates.
    world.activator_pods(&[("10.0.1.1", true)]).await;
    world.until_published("10.0.1.1:30001").await;
    world.activator_pods(&[("10.0.1.1", true), ("10.0.1.2", true)]).await;
    world.until_all_published(&["10.0.1.1:30001", "10.0.1.2:30001"]).await;
    drop(activators);
}

#[tokio::test]
async fn the_last_activator_stays_published_where_its_stream_broke_off_and_not_where_it_closed_it() {
    let mut world = world().await;
    let [mut first, second] = two_activators(&mut world).await;
    drop(second.up);
    world.until_published("10.0.1.1:30001").await;
    first.up.send(Bytes::from_static(&[0xff; 64])).await.unwrap();
    while first.table().await.is_some() {}
    // It reconnects, and answers on another port; nothing else was published meanwhile.
    let again = Activator::join(world.address, "a", "10.0.1.1").await;
    again.listening(30_002, "").await;
    let next =
        world.until(|told| if let Told::Publish(endpoints) = told { Some(endpoints) } else { None }).await;
    assert_eq!(next.addresses, ["10.0.1.1:30002".parse().unwrap()]);
    drop(again.up);
    let next =
        world.until(|told| if let Told::Publish(endpoints) = told { Some(endpoints) } else { None }).await;
    assert_ne!(next.addresses, ["10.0.1.1:30002".parse().unwrap()], "it said that it leaves");
}

#[tokio::test]
async fn programs_are_told_why_over_http() {
    let mut world = world().await;
    let activator = Activator::join(world.address, "a", "10.0.1.1").await;
    activator.report(1.0).await;
    world.until(|told| (told == Told::Scale(1)).then_some(())).await;
    let (status, text) = world.get("/explain/ns/web").await;
    assert_eq!(status, StatusCode::OK);
    let why: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&why["service"], &why["now"]["desired_pods"]), (&"ns/web".into(), &1.into()), "{text}");
    assert_eq!(why["leads"], true);
    let woke = why["decisions"].as_array().unwrap().iter().find(|one| one["scale_to"] == 1).unwrap();
    assert_eq!((&woke["cause"], &woke["decision"]["bound_by"]), (&"poke".into(), &"load".into()), "{text}");
    for unknown in ["/explain/ns/nobody", "/explain/web", "/explain/", "/explain/a/b/c"] {
        assert_eq!(world.get(unknown).await.0, StatusCode::NOT_FOUND, "{unknown}");
    }
    let (_, metrics) = world.get("/metrics").await;
    for series in ["desired_pods", "no_data", "stable_load", "scrape_failures_total"] {
        let line = format!("ebb_autoscaler_{series}{{namespace=\"ns\",service=\"web\"}}");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}
