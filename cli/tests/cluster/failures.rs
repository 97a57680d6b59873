//! Apps that do not do what they should.

use std::time::Duration;

use crate::support::{
    address,
    client::{get, get_in_background},
    processes::{self, kill},
    ready_pods, service, start, start_with_lines, until, until_service,
};
use ebb_local::{PodPhase, ServiceStatus};
use http::StatusCode;
use tokio::{
    net::TcpListener,
    time::{Instant, timeout},
};

const SHORT: [(&str, &str); 1] = [("activation-deadline", "2s")];
/// Within the activation deadline, and a busy machine's delay.
const BOUNDED: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_an_app_that_crashes_is_told_how_it_crashed() {
    let cluster = start(vec![service("crashes", &SHORT, &["--fail=crash"])]).await;
    let answer = timeout(BOUNDED, get(address(&cluster, "crashes"), "/")).await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("ebb-reason"), "activation-deadline");
    for part in ["no pod became ready within 2", "exited with status 3", "crashing, as told by --fail crash"]
    {
        assert!(answer.body.contains(part), "{part:?} in {:?}", answer.body);
    }
    let once = answer.body.matches("crashing, as told").count();
    assert_eq!(once, 1, "only what the last process said: {:?}", answer.body);
    let restarted = |status: &ServiceStatus| status.pods.iter().any(|pod| pod.restarts >= 2);
    until_service(&cluster, "crashes", restarted, "the pod is started again and again").await;
    cluster.shut_down().await;
    assert_eq!(processes::of_service("crashes"), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_an_app_that_never_listens_is_told_so() {
    let cluster = start(vec![service("silent", &SHORT, &["--fail=never-listen"])]).await;
    let answer = timeout(BOUNDED, get(address(&cluster, "silent"), "/")).await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("ebb-reason"), "activation-deadline");
    assert!(answer.body.contains("pod silent-1 runs and does not listen on 127.0.0.1:"), "{:?}", answer.body);
    cluster.shut_down().await;
    assert_eq!(processes::of_service("silent"), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_is_killed_is_started_again_and_no_get_is_lost() {
    let cluster = start(vec![service("killed", &[], &["--startup-ms=100"])]).await;
    let address = address(&cluster, "killed");
    get(address, "/").await.assert_ok();
    let in_flight: Vec<_> = (0..5).map(|_| get_in_background(address, "/?ms=1000")).collect();
    let busy = |status: &ServiceStatus| status.pods.iter().any(|pod| pod.in_flight >= 5.0);
    until_service(&cluster, "killed", busy, "requests are at the app").await;
    let victims = processes::of_service("killed");
    let [victim] = &victims[..] else { panic!("one pod, one process: {victims:?}") };
    kill(victim.id);
    // What is sent to a process that is about to die may have been read by it, and so is sent once more at most.
    let dead = |_: &[ServiceStatus]| processes::of_service("killed").iter().all(|one| one.id != victim.id);
    until(&cluster, dead, "the process is gone").await;
    for _ in 0..20 {
        get(address, "/").await.assert_ok();
    }
    for request in in_flight {
        request.await.unwrap().assert_ok();
    }
    assert_eq!(cluster.status()[0].pods.iter().map(|pod| pod.restarts).sum::<u32>(), 1);
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_whose_port_was_taken_is_replaced() {
    let (cluster, mut lines) = start_with_lines(vec![service("robbed", &[], &[])]).await;
    let address = address(&cluster, "robbed");
    get(address, "/").await.assert_ok();
    let said = lines.recv().await.unwrap().text;
    let port: u16 = said.split(['=', ' ']).nth(2).unwrap().parse().unwrap();
    kill(processes::of_service("robbed")[0].id);
    let _thief = loop {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            break listener;
        }
        tokio::task::yield_now().await;
    };
    let replaced = |status: &ServiceStatus| {
        status.pods.iter().all(|pod| &*pod.name == "robbed-2" && pod.phase == PodPhase::Ready)
            && status.pods.len() == 1
    };
    until_service(&cluster, "robbed", replaced, "another pod on another port").await;
    get(address, "/").await.assert_ok();
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_goes_into_the_background_is_told_of_and_not_multiplied() {
    let mut daemon = service("daemon", &[], &[]);
    let app = daemon.service.command.join(" ");
    // The second waits for the app, not the test.
    let detached = format!("setsid {app} </dev/null >/dev/null 2>&1 & sleep 1");
    daemon.service.command = vec!["sh".into(), "-c".into(), detached];
    let cluster = start(vec![daemon]).await;
    let address = address(&cluster, "daemon");
    get(address, "/").await.assert_ok();
    let told = |status: &ServiceStatus| {
        let [pod] = &status.pods[..] else { return false };
        pod.restarts >= 2 && matches!(&pod.phase, PodPhase::Waiting { why } if why.contains("foreground"))
    };
    until_service(&cluster, "daemon", told, "the pod says what is wrong, again").await;
    cluster.shut_down().await;
    let left = processes::of_service("daemon");
    for process in &left {
        kill(process.id);
    }
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_crashes_does_not_disturb_another() {
    let cluster =
        start(vec![service("broken", &SHORT, &["--fail=crash"]), service("healthy", &[], &[])]).await;
    let (broken, healthy) = (address(&cluster, "broken"), address(&cluster, "healthy"));
    let hopeless: Vec<_> = (0..50).map(|_| get_in_background(broken, "/")).collect();
    let mut answered = 0;
    while !hopeless.iter().all(tokio::task::JoinHandle::is_finished) {
        let began = Instant::now();
        get(healthy, "/").await.assert_ok();
        assert!(began.elapsed() < Duration::from_secs(5), "as slow as the broken one");
        answered += 1;
    }
    assert!(answered > 10, "{answered} answers while the other one crashed");
    for request in hopeless {
        assert_eq!(request.await.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    }
    let status = cluster.status().swap_remove(1);
    let restarts = status.pods.iter().map(|pod| pod.restarts).sum::<u32>();
    assert_eq!((restarts, ready_pods(&status)), (0, 1), "{status:#?} answered {answered}");
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_zombie_is_left_of_apps_that_crashed() {
    let cluster = start(vec![service("undead", &SHORT, &["--fail=crash"])]).await;
    get(address(&cluster, "undead"), "/").await;
    // Those of other tests are waited for in a moment, too.
    until(&cluster, |_| processes::zombies().is_empty(), "no zombie while it runs").await;
    cluster.shut_down().await;
    let witness = start(vec![service("witness", &[], &[])]).await;
    until(&witness, |_| processes::zombies().is_empty(), "no zombie after the end").await;
    witness.shut_down().await;
}
