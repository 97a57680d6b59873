//! From zero, to one, and back to zero.

use std::time::Duration;

use crate::support::{
    address,
    client::{get, get_in_background},
    ready_pods, service, start, start_with_lines, until_service,
};
use ebb_core::Tick;
use tokio::time::{Instant, timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_request_wakes_the_service_which_rests_again_after_the_last() {
    let (cluster, mut lines) =
        start_with_lines(vec![service("wakes", &[("target", "10")], &["--startup-ms=300"])]).await;
    let address = address(&cluster, "wakes");
    for cycle in 1..=2 {
        assert_eq!(cluster.status()[0].pods.len(), 0, "cycle {cycle}");
        get(address, "/").await.assert_ok();
        assert_eq!(ready_pods(&cluster.status()[0]), 1, "cycle {cycle}");

        let said = lines.recv().await.unwrap();
        let listening_at = said.text.rsplit_once("at_us=").unwrap().1.parse().unwrap();
        cluster.app_listened(&said.pod, Tick::from_epoch(Duration::from_micros(listening_at)));
        let starts = cluster.take_cold_starts();
        let [start] = &starts[..] else { panic!("want one cold start, got {starts:?}") };
        let phases = start.phases();
        let sum = phases.decide + phases.spawn + phases.start + phases.notice + phases.dispatch;
        assert_eq!(sum, start.total());
        assert!(phases.start >= Duration::from_millis(300), "the app's own time: {phases:?}");
        assert_eq!(start.own() + phases.start, start.total());
        println!("Ebb's own share of cold start {cycle}: {:?} of {:?}", start.own(), start.total());

        until_service(&cluster, "wakes", |status| status.pods.is_empty(), "back to zero").await;
    }
    assert_eq!(cluster.take_cold_starts(), []);
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_start_holds_requests_until_the_app_is_there() {
    let readiness = [("readiness-path", "/healthz")];
    let cluster = start(vec![service("slow", &readiness, &["--startup-ms=3000"])]).await;
    let address = address(&cluster, "slow");
    let began = Instant::now();
    let requests: Vec<_> = (0..5).map(|_| get_in_background(address, "/")).collect();
    until_service(&cluster, "slow", |status| status.load.held == 5, "all are held").await;
    for request in requests {
        request.await.unwrap().assert_ok();
    }
    assert!(began.elapsed() >= Duration::from_secs(3));
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_give_up_their_places_at_once() {
    let cluster = start(vec![service("leaves", &[], &["--startup-ms=3000"])]).await;
    let address = address(&cluster, "leaves");
    let impatient: Vec<_> = (0..4).map(|_| get_in_background(address, "/")).collect();
    let patient = get_in_background(address, "/");
    until_service(&cluster, "leaves", |status| status.load.held == 5, "all are held").await;
    for request in &impatient {
        request.abort();
    }
    // Long before the pod is ready, so it is the leaving that empties the queue.
    let only_one = until_service(&cluster, "leaves", |status| status.load.held == 1, "one stays");
    timeout(Duration::from_secs(2), only_one).await.unwrap();
    assert_eq!(ready_pods(&cluster.status()[0]), 0);
    patient.await.unwrap().assert_ok();
    get(address, "/").await.assert_ok();
    assert_eq!(cluster.status()[0].load.held, 0);
    cluster.shut_down().await;
}
