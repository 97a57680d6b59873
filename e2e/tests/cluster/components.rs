//! Which of Kubernetes' own components break, and who must not notice.

use std::{env, time::Duration};

use e2e::{App, Faults, Front, LATE, Load, SOON, alone, eventually, get, get_within, served};
use serde_json::json;

use crate::faults::busy;

/// How long the API server is away, in seconds, if another time than a short one is wanted.
const AWAY: &str = "EBB_E2E_API_AWAY";

#[tokio::test]
async fn a_kubelet_that_is_restarted_is_not_noticed_by_clients() {
    alone("kubelet", async |it| {
        let Some(faults) = Faults::find() else { return };
        let (_, address) = busy(it).await;
        let load = Load::of(50, address, "/?ms=5").start();
        let stopped = faults.stop("kubelet");
        let cold_app = App::deployment("cold");
        let cold = it.with(&cold_app, &Front::scaled(&cold_app)).await;
        let held = tokio::spawn(get(cold, "/"));
        tokio::time::sleep(Duration::from_secs(5)).await;
        drop(stopped);
        held.await.unwrap().unwrap().assert_ok();
        load.stop().await.assert_nothing_lost();
    })
    .await;
}

#[tokio::test]
async fn an_api_server_that_is_away_is_not_noticed_by_clients_and_takes_no_pod_away() {
    alone("api-away", async |it| {
        let Some(faults) = Faults::find() else { return };
        let away =
            env::var(AWAY).map_or(15, |text| text.parse().expect("EBB_E2E_API_AWAY has whole seconds"));
        let (app, warm) = busy(it).await;
        let idle = App::deployment("idle");
        let idle_at = it.with(&idle, &Front::scaled(&idle)).await;
        served(idle_at, "/").await;

        let load = Load::of(50, warm, "/?ms=5").start();
        let before: Vec<_> = it.pods("busy").await;
        let stopped = faults.stop("kube-apiserver");
        // Longer than it takes the idle one to go.
        tokio::time::sleep(Duration::from_secs(away)).await;
        served(idle_at, "/").await;
        drop(stopped);
        eventually("the API answers again", SOON, async || it.replicas(&app).await).await;
        let names = |pods: &[k8s_openapi::api::core::v1::Pod]| {
            pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&it.pods("busy").await), names(&before));
        it.at_zero_within(&idle, LATE).await;
        // Kubernetes' controllers may have taken the node for lost, and its pods with it.
        load.stop().await.assert_nothing_lost();
        get_within(idle_at, "/", LATE).await.unwrap().assert_ok();
        it.annotate("busy", json!({"autoscaling.knative.dev/min-scale": "0"})).await;
        it.at_zero_within(&app, LATE).await;
    })
    .await;
}

#[tokio::test]
async fn a_scheduler_that_was_away_is_waited_for() {
    alone("scheduler", async |it| {
        let Some(faults) = Faults::find() else { return };
        let (_, warm) = busy(it).await;
        let app = App::deployment("hello");
        let cold = it.with(&app, &Front::scaled(&app)).await;
        let load = Load::of(50, warm, "/?ms=5").start();
        let stopped = faults.stop("kube-scheduler");
        let held = tokio::spawn(get_within(cold, "/", LATE));
        eventually("a pod is asked for", SOON, async || (it.replicas(&app).await? == 1).then_some(())).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!held.is_finished(), "its pod has no node");
        drop(stopped);
        held.await.unwrap().unwrap().assert_ok();
        load.stop().await.assert_nothing_lost();
        it.at_zero(&app).await;
    })
    .await;
}

#[tokio::test]
async fn what_happened_while_kube_proxy_was_away_is_right_once_it_is_back() {
    alone("kube-proxy", async |it| {
        let Some(faults) = Faults::find() else { return };
        let (_, warm) = busy(it).await;
        let (app, waking) = (App::deployment("hello"), App::deployment("waking").probed());
        let address = it.with(&app, &Front::scaled(&app)).await;
        let woken = it.with(&waking, &Front::scaled(&waking)).await;
        served(address, "/").await;
        let load = Load::of(50, warm, "/?ms=5").start();
        let stopped = faults.stop("kube-proxy");
        // The one goes to rest, the other wakes, and the nodes' rules stay what they were.
        it.at_zero(&app).await;
        get(woken, "/").await.unwrap().assert_ok();
        drop(stopped);
        load.stop().await.assert_nothing_lost();
        eventually("the one at zero is reached again", LATE, async || {
            get(address, "/").await.ok().filter(|answer| answer.status.is_success())
        })
        .await;
        served(woken, "/").await;
        it.at_zero(&app).await;
        it.at_zero(&waking).await;
    })
    .await;
}
