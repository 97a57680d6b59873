//! Panics in the platform, or in work for it.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test")]

mod support;

use std::time::Duration;

use ebb_core::link::{Unanswered, Up};
use support::{Activator, Call, SOON, Told, world};
use tokio::time::timeout;

#[tokio::test]
async fn a_scale_that_panics_is_counted_and_the_service_is_scaled_all_the_same() {
    let mut world = world().await;
    world.will_panic(Call::Scale);
    let activator = Activator::join(world.address, "a", "10.0.1.1").await;
    activator.report(1.0).await;
    let pods = world.until(|told| if let Told::Scale(pods) = told { Some(pods) } else { None }).await;
    assert_eq!(pods, 1);
    let (_, metrics) = world.get("/metrics").await;
    assert!(metrics.contains("ebb_autoscaler_panics_total{work=\"scale\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn endpoints_whose_writer_panics_are_published_all_the_same() {
    let mut world = world().await;
    world.will_panic(Call::Publish);
    let activator = Activator::join(world.address, "a", "10.0.1.1").await;
    activator.listening(30_001, "").await;
    activator.report(1.0).await;
    world.until_published("10.0.1.1:30001").await;
    let (_, metrics) = world.get("/metrics").await;
    assert!(metrics.contains("ebb_autoscaler_panics_total{work=\"publish\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn an_autoscaler_whose_deciding_task_panics_has_ended() {
    let mut world = world().await;
    let running = timeout(Duration::ZERO, world.autoscaler.ended()).await;
    assert!(running.is_err());
    world.will_panic(Call::Unanswered);
    let activator = Activator::join(world.address, "a", "10.0.1.1").await;
    let news = Unanswered { namespace: "ns".into(), name: "web".into(), requests: 1 };
    activator.say(&Up { unanswered: vec![news], ..Up::default() }).await;
    timeout(SOON, world.autoscaler.ended()).await.unwrap();
}

#[tokio::test]
async fn an_autoscaler_whose_platform_is_gone_has_ended() {
    let mut world = world().await;
    drop(world.fleet);
    timeout(SOON, world.autoscaler.ended()).await.unwrap();
}
