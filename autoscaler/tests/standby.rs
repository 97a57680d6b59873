//! Several autoscalers, one of which leads.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test")]

mod support;

use ebb_decide::platform::FleetEvent;
use http::StatusCode;
use support::{Activator, Told, World, following_world, guarded_world, pod, world};

#[expect(clippy::needless_pass_by_value, reason = "what `World::until` calls")]
fn scaled(told: Told) -> Option<u32> {
    if let Told::Scale(pods) = told { Some(pods) } else { None }
}

/// Returns an autoscaler that follows, knows one service, and has told an activator the addresses of all autoscalers.
async fn following() -> (World, Activator) {
    let world = following_world().await;
    world.service().await;
    world.fleet.send(FleetEvent::Complete).await.unwrap();
    world.replicas(&["10.0.2.1:8080", "10.0.2.2:8080"]).await;
    let mut activator = Activator::join(world.address, "a", "10.0.1.1").await;
    let first = activator.message(|down| !down.replicas.is_empty()).await;
    assert_eq!(first.replicas, ["10.0.2.1:8080", "10.0.2.2:8080"]);
    assert_eq!((first.leads, first.complete, first.services.len()), (Some(false), false, 0));
    (world, activator)
}

/// Waits until the autoscaler has handled earlier events.
async fn settled(world: &World, activator: &mut Activator, marker: &str) {
    world.replicas(&[marker]).await;
    activator.message(|down| down.replicas == [marker]).await;
}

#[tokio::test]
async fn who_follows_writes_nothing_and_wakes_what_is_held_once_it_leads() {
    let (mut world, mut activator) = following().await;
    activator.listening(30_001, "").await;
    activator.report(1.0).await;
    settled(&world, &mut activator, "10.0.2.3:8080").await;
    assert!(world.told.try_recv().is_err(), "nothing is written");
    let (status, why) = world.get("/explain/ns/web").await;
    assert_eq!(status, StatusCode::OK);
    assert!(why.contains("\"leads\":false"), "{why}");
    world.leads(true).await;
    let table = activator.message(|down| down.leads == Some(true)).await;
    assert!(table.complete && table.services.len() == 1, "{table:?}");
    assert_eq!(world.until(scaled).await, 1, "nothing was reported anew");
    let (_, metrics) = world.get("/metrics").await;
    assert!(metrics.contains("ebb_autoscaler_leads 1\n"), "{metrics}");
}

#[tokio::test]
async fn who_takes_over_publishes_where_traffic_goes() {
    let (mut world, activator) = following().await;
    activator.listening(30_001, "").await;
    world.leads(true).await;
    world.until_published("10.0.1.1:30001").await;
}

#[tokio::test]
async fn who_leads_no_longer_writes_nothing_more_and_sends_no_tables() {
    let mut world = world().await;
    let mut activator = Activator::join(world.address, "a", "10.0.1.1").await;
    activator.listening(30_001, "").await;
    world.until_published("10.0.1.1:30001").await;
    world.leads(false).await;
    settled(&world, &mut activator, "10.0.2.3:8080").await;
    while world.told.try_recv().is_ok() {}
    activator.report(9.0).await;
    world.pods(vec![pod(true)], 1, "").await;
    world.replicas(&["10.0.2.4:8080"]).await;
    let next = activator.table().await.unwrap();
    assert_eq!((next.leads, next.services.len()), (Some(false), 0), "no table of the pod");
    assert!(world.told.try_recv().is_err());
    let (_, metrics) = world.get("/metrics").await;
    assert!(!metrics.contains("service=\"web\""), "who leads shows them: {metrics}");

    world.leads(true).await;
    let table = activator.message(|down| down.leads == Some(true)).await;
    assert_eq!(table.services[0].pods.len(), 1);
    let published = |told| matches!(told, Told::Publish(_)).then_some(());
    world.until(published).await;
}

#[tokio::test]
async fn activators_are_told_of_sixteen_autoscalers_at_most() {
    let world = world().await;
    let all: Vec<String> = (1..=20).map(|n| format!("10.0.2.{n}:8080")).collect();
    world.replicas(&all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut activator = Activator::join(world.address, "a", "10.0.1.1").await;
    let told = activator.message(|down| !down.replicas.is_empty()).await.replicas;
    assert_eq!(told, all[..16]);
}

/// Returns a world with two streams of one activator. Its address differs on the later one, which shows when the
/// autoscaler knows of it, and when it has forgotten it.
async fn twice_joined() -> (World, [Activator; 2]) {
    let mut world = world().await;
    let old = Activator::join(world.address, "a", "10.0.1.1").await;
    old.listening(30_001, "").await;
    world.until_published("10.0.1.1:30001").await;
    let new = Activator::join(world.address, "a", "10.0.1.2").await;
    new.listening(30_001, "").await;
    world.until(|told| matches!(told, Told::Publish(both) if both.addresses.len() == 2).then_some(())).await;
    (world, [old, new])
}

#[tokio::test]
async fn an_activator_with_two_streams_is_one_activator() {
    let (mut world, [old, new]) = twice_joined().await;
    let (_, metrics) = world.get("/metrics").await;
    assert!(metrics.contains("ebb_autoscaler_activators 1\n"), "{metrics}");
    old.report(1000.0).await;
    new.report(1.0).await;
    assert_eq!(world.until(scaled).await, 1, "what it says on both counts once");
}

#[tokio::test]
async fn an_activator_that_lost_its_later_stream_speaks_on_the_one_before() {
    let (mut world, [old, new]) = twice_joined().await;
    drop(new);
    world.until_published("10.0.1.1:30001").await;
    old.report(1.0).await;
    assert_eq!(world.until(scaled).await, 1);
}

#[tokio::test]
async fn a_stream_without_the_right_token_is_refused_and_counted() {
    let world = guarded_world(Some("let me in")).await;
    for token in [None, Some("let me out")] {
        let refused = Activator::try_connect(world.address, token).await.err();
        assert_eq!(refused, Some(StatusCode::UNAUTHORIZED), "{token:?}");
    }
    assert!(Activator::try_connect(world.address, Some("let me in")).await.is_ok());
    let (_, metrics) = world.get("/metrics").await;
    assert!(metrics.contains("ebb_autoscaler_refused_streams_total 2\n"), "{metrics}");
}
