//! The end of a cluster.

use std::{net::SocketAddr, time::Duration};

use crate::support::{
    address,
    client::{get, get_in_background},
    processes, service, start, start_with_lines, until, until_service,
};
use http::StatusCode;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_is_answered_and_nothing_is_left() {
    let (cluster, mut lines) = start_with_lines(vec![service("ends", &[], &[])]).await;
    let address = address(&cluster, "ends");
    let request = get_in_background(address, "/?ms=2000");
    until_service(
        &cluster,
        "ends",
        |status| status.pods.iter().any(|pod| pod.in_flight >= 1.0),
        "at the app",
    )
    .await;
    let said = lines.recv().await.unwrap().text;
    let app_port = said.split(['=', ' ']).nth(2).unwrap().parse().unwrap();
    assert_eq!(processes::of_service("ends").len(), 1);
    cluster.shut_down().await;
    assert!(request.is_finished(), "its answer was waited for");
    request.await.unwrap().assert_ok();
    assert_eq!(processes::of_service("ends"), []);
    for address in [address, SocketAddr::from(([127, 0, 0, 1], app_port))] {
        TcpListener::bind(address).await.unwrap();
    }
    assert!(lines.recv().await.is_none(), "nobody speaks any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_client_is_refused_while_the_last_request_ends() {
    let cluster = start(vec![service("closes", &[("target-burst-capacity", "0")], &[])]).await;
    let address = address(&cluster, "closes");
    let request = get_in_background(address, "/?ms=2000");
    until_service(
        &cluster,
        "closes",
        |status| status.pods.iter().any(|pod| pod.in_flight >= 1.0),
        "at the app",
    )
    .await;
    let ending = tokio::spawn(cluster.shut_down());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!request.is_finished());
    request.await.unwrap().assert_ok();
    ending.await.unwrap();
    assert_eq!(processes::of_service("closes"), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_no_pod_will_take_holds_the_end_up_for_its_deadline_only() {
    let deadline = [("activation-deadline", "3s")];
    let cluster = start(vec![service("hopeless", &deadline, &["--fail=never-listen"])]).await;
    let request = get_in_background(address(&cluster, "hopeless"), "/");
    until_service(&cluster, "hopeless", |status| status.load.held == 1, "it is held").await;
    timeout(Duration::from_secs(10), cluster.shut_down()).await.unwrap();
    assert_eq!(request.await.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(processes::of_service("hopeless"), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_request_gets_its_pod_although_the_end_has_begun() {
    let cluster = start(vec![service("late", &[], &["--startup-ms=1500"])]).await;
    let request = get_in_background(address(&cluster, "late"), "/");
    until_service(&cluster, "late", |status| status.load.held == 1, "it is held").await;
    cluster.shut_down().await;
    request.await.unwrap().assert_ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_without_pods_ends_at_once() {
    let cluster = start(vec![service("rests", &[], &[])]).await;
    timeout(Duration::from_secs(3), cluster.shut_down()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_app_started_goes_with_it_when_it_crashes_and_when_it_is_stopped() {
    let mut family = service("family", &[], &[]);
    let app = family.service.command.join(" ");
    family.service.command = vec!["sh".into(), "-c".into(), format!("sleep 1000 & exec {app}")];
    let cluster = start(vec![family]).await;
    let address = address(&cluster, "family");
    get(address, "/").await.assert_ok();
    let before = processes::of_service("family");
    assert_eq!(before.len(), 2, "{before:?}");
    let app = before.iter().find(|process| process.command != "sleep").unwrap();
    processes::kill(app.id);
    get(address, "/").await.assert_ok();
    // Its successor may answer a moment before the last of what it started is gone.
    let are_others = |_: &[ebb_local::ServiceStatus]| {
        let after = processes::of_service("family");
        after.len() == 2 && after.iter().all(|process| !before.contains(process))
    };
    until(&cluster, are_others, "what it started is gone").await;
    cluster.shut_down().await;
    assert_eq!(processes::of_service("family"), []);
}
