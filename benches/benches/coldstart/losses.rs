//! Requests lost while pods come and go: none, or it is printed when and how.

use std::time::Duration;

use e2e::{App, Cluster, Front, Load, SOON, Scenario, eventually};
use tokio::time::{Instant, sleep};

use crate::Failure;

const UPDATE: Duration = Duration::from_secs(30);
/// 200 requests a second, 60 000 in all.
const SCALE_DOWN: Duration = Duration::from_secs(300);

/// A rolling update every ten seconds, under 100 requests a second.
pub(crate) async fn update(cluster: &Cluster) -> Result<(), Failure> {
    println!("rolling updates under 100 requests a second for {} s", UPDATE.as_secs());
    let scenario = Scenario::begin(cluster.clone(), "bench").await;
    let app = App::deployment("hello").starting_within_ms(200);
    let front = Front::scaled(&app).with("autoscaling.knative.dev/min-scale", "3");
    let address = scenario.with(&app, &front).await;
    scenario.has_ready(&app, 3).await;
    let fresh = Load::of(50, address, "/?ms=20").start();
    let kept = Load::of(50, address, "/?ms=20").keeping_connections().start();
    let begin = Instant::now();
    let mut version = 0;
    while begin.elapsed() < UPDATE {
        version += 1;
        let mut manifest = app.clone().with_variable("VERSION", &version.to_string()).manifest();
        // Replicas are Ebb's.
        manifest["spec"].as_object_mut().map(|spec| spec.remove("replicas"));
        scenario.apply(manifest).await;
        sleep(UPDATE / 3).await;
    }
    println!("{version} updates");
    println!("new connections: {}", fresh.stop().await);
    println!("kept connections: {}", kept.stop().await);
    scenario.end().await;
    Ok(())
}

/// Pods come and go with a varying load, under a constant 200 requests a second.
pub(crate) async fn scale_down(cluster: &Cluster) -> Result<(), Failure> {
    println!("scale-downs under 200 requests a second for {} s", SCALE_DOWN.as_secs());
    let scenario = Scenario::begin(cluster.clone(), "bench").await;
    let app = App::deployment("hello");
    let front = Front::scaled(&app)
        .with("autoscaling.knative.dev/target", "10")
        .with("autoscaling.knative.dev/max-scale", "6");
    let address = scenario.with(&app, &front).await;
    let fresh = Load::of(100, address, "/?ms=10").start();
    let kept = Load::of(100, address, "/?ms=10").keeping_connections().start();
    let begin = Instant::now();
    let mut downs = 0;
    let mut more = Vec::new();
    while begin.elapsed() < SCALE_DOWN {
        let burst = Load::of(40, address, "/?ms=1000").start();
        tokio::time::sleep(Duration::from_secs(10)).await;
        more.push(burst.stop().await);
        scenario.has_ready(&app, 3).await;
        eventually("pods have gone", 2 * SOON, async || {
            (scenario.pods_and_ending("hello").await.len() == 1).then_some(())
        })
        .await;
        downs += 1;
    }
    println!("{downs} times up and down");
    println!("new connections: {}", fresh.stop().await);
    println!("kept connections: {}", kept.stop().await);
    for report in more {
        println!("what brought pods: {report}");
    }
    scenario.end().await;
    Ok(())
}
