//! More requests at once than one pod can take.

use crate::support::{
    address,
    client::{Answer, get_in_background},
    raise_open_files, service, start, until,
};
use ebb_local::{Cluster, PodPhase, ServiceStatus};
use tokio::task::JoinHandle;

/// Waits for all answers and tells the most pods that were seen meanwhile.
async fn peak_of(cluster: &Cluster, requests: Vec<JoinHandle<Answer>>) -> (usize, Vec<Answer>) {
    let mut peak = 0;
    let answered = |all: &[ServiceStatus]| {
        // Those that drain were replaced already.
        let staying = all[0].pods.iter().filter(|pod| pod.phase != PodPhase::Draining).count();
        peak = peak.max(staying);
        requests.iter().all(JoinHandle::is_finished)
    };
    until(cluster, answered, "every request has ended").await;
    let mut answers = Vec::with_capacity(requests.len());
    for request in requests {
        answers.push(request.await.unwrap());
    }
    (peak, answers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_from_zero_is_answered_by_many_pods_and_nothing_is_lost() {
    raise_open_files();
    let scale = [("target", "10"), ("max-scale", "6")];
    let cluster = start(vec![service("burst", &scale, &["--startup-ms=200"])]).await;
    let address = address(&cluster, "burst");
    let requests = (0..500).map(|_| get_in_background(address, "/?ms=500")).collect();
    let (peak, answers) = peak_of(&cluster, requests).await;
    for answer in &answers {
        answer.assert_ok();
    }
    assert_eq!(answers.len(), 500);
    assert!((2..=6).contains(&peak), "{peak} pods");
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_pod_gets_more_at_once_than_its_container_concurrency() {
    let one_by_one = [("container-concurrency", "1"), ("max-scale", "3")];
    let cluster = start(vec![service("one-by-one", &one_by_one, &[])]).await;
    let address = address(&cluster, "one-by-one");
    let requests = (0..60).map(|_| get_in_background(address, "/?ms=50")).collect();
    let (_, answers) = peak_of(&cluster, requests).await;
    for answer in &answers {
        answer.assert_ok();
        assert_eq!(answer.header("sample-concurrent"), "1", "at {}", answer.header("sample-pod"));
    }
    cluster.shut_down().await;
}
