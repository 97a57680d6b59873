//! Pods announce themselves, and activators are told at once.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test")]

mod support;

use ebb_core::announce::{Announcement, MAX_BYTES};
use ebb_decide::Pod;
use ebb_decide::platform::FleetEvent;
use support::{Activator, World, following_world, key, pod, world};

/// Returns a pod whose address the platform does not know.
fn nowhere() -> Pod {
    Pod { address: None, ..pod(false) }
}

fn coming() -> Announcement {
    Announcement {
        namespace: "ns".into(),
        services: vec!["web".into()],
        pod: "web-1".into(),
        address: "10.0.0.1".into(),
        serving_port: 8012,
        stats_port: 9090,
        nonce: "secret".into(),
        draining: false,
    }
}

fn draining() -> Announcement {
    Announcement { draining: true, ..coming() }
}

/// Returns a world with one pod, and an activator that was told about it.
async fn with_pod(pod: Pod) -> (World, Activator) {
    let world = world().await;
    world.pods(vec![pod], 1, "it is told").await;
    let mut activator = Activator::join(world.address, "a", "10.0.1.1").await;
    activator.until(|entry| entry.trouble == "it is told").await;
    (world, activator)
}

#[tokio::test]
async fn a_pod_that_announces_itself_is_in_the_next_table_before_its_platform_knows_where_it_is() {
    let (world, mut activator) = with_pod(nowhere()).await;
    assert_eq!(world.announce(&coming()).await, 204);
    let entry = activator.until(|entry| !entry.pods.is_empty()).await;
    assert_eq!((&*entry.pods[0].address, &*entry.pods[0].nonce), ("10.0.0.1:8012", "secret"));
    assert_eq!(world.announce(&coming()).await, 204, "again");
    world.pods(vec![nowhere()], 1, "told again").await;
    let entry = activator.until(|entry| entry.trouble == "told again").await;
    assert_eq!(entry.pods.len(), 1, "it keeps its address");
}

#[tokio::test]
async fn a_pod_that_announces_its_drain_is_in_no_table_any_more() {
    let (world, mut activator) = with_pod(pod(true)).await;
    assert_eq!(world.announce(&draining()).await, 204);
    activator.until(|entry| entry.pods.is_empty()).await;
    world.pods(vec![pod(true)], 1, "told again").await;
    let entry = activator.until(|entry| entry.trouble == "told again").await;
    assert!(entry.pods.is_empty(), "although its platform names it still");
    world.pods(vec![], 0, "gone").await;
    activator.until(|entry| entry.trouble == "gone").await;
    for late in [coming(), draining()] {
        assert_eq!(world.announce(&late).await, 410);
    }
}

#[tokio::test]
async fn what_is_not_so_is_refused_and_counted() {
    let (world, _activator) = with_pod(pod(true)).await;
    let elsewhere = || vec!["web".to_owned(), "other".to_owned()];
    let cases = [
        (Announcement { pod: "web-2".into(), ..coming() }, 404),
        (Announcement { services: vec!["other".into()], ..coming() }, 404),
        (Announcement { services: elsewhere(), ..coming() }, 404),
        (Announcement { nonce: "guess!".into(), ..coming() }, 403),
        (Announcement { nonce: String::new(), ..coming() }, 403),
        (Announcement { nonce: "guess!".into(), services: elsewhere(), ..draining() }, 403),
        (Announcement { address: "10.0.0.2".into(), ..coming() }, 403),
        (Announcement { address: "nowhere".into(), ..coming() }, 400),
        (coming(), 204),
    ];
    for (said, want) in cases {
        assert_eq!(world.announce(&said).await, want, "{said:?}");
    }
    assert_eq!(world.post(vec![0xff; 9]).await, 400);
    assert_eq!(world.post(vec![0; MAX_BYTES + 1]).await, 400);
    let (_, metrics) = world.get("/metrics").await;
    for (outcome, count) in [("taken", 1), ("unknown-pod", 3), ("forged", 4), ("malformed", 3)] {
        let line = format!("ebb_autoscaler_announcements_total{{outcome=\"{outcome}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn who_follows_passes_on_what_pods_announce_also_to_activators_that_come_later() {
    let world = following_world().await;
    world.service().await;
    world.pods(vec![nowhere()], 1, "").await;
    world.replicas(&["10.0.2.1:8080"]).await;
    let mut activator = Activator::join(world.address, "a", "10.0.1.1").await;
    activator.message(|down| !down.replicas.is_empty()).await;
    assert_eq!(world.announce(&coming()).await, 204);
    let news = activator.message(|down| !down.announced.is_empty()).await;
    assert_eq!((news.leads, news.services.len()), (Some(false), 0));
    assert_eq!((news.announced[0].service(), news.announced[0].draining), (key(), false));
    let entry = news.announced[0].pod.clone().unwrap();
    assert_eq!((&*entry.name, &*entry.address, &*entry.nonce), ("web-1", "10.0.0.1:8012", "secret"));

    let mut late = Activator::join(world.address, "b", "10.0.1.2").await;
    assert_eq!(late.table().await.unwrap().announced, news.announced);
    assert_eq!(world.announce(&draining()).await, 204);
    let news = late.message(|down| !down.announced.is_empty()).await;
    assert!(news.announced[0].draining);

    // A follower remembers what it heard when it begins to lead.
    world.fleet.send(FleetEvent::Complete).await.unwrap();
    world.leads(true).await;
    let table = late.message(|down| down.leads == Some(true)).await;
    assert!(table.complete && table.services[0].pods.is_empty(), "{table:?}");
}
