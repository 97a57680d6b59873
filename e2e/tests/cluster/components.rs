//! Faults of Kubernetes' own components, which clients must not notice.

use std::env;

use e2e::{App, Faults, Front, LATE, Load, SOON, Scenario, alone, eventually, get, get_within, served};
use serde_json::json;

use crate::faults::busy;

/// The variable for how long the API server is down, in seconds; the default is short.
const AWAY: &str = "EBB_E2E_API_AWAY";
/// Requests a second for that measurement.
const RATE: u32 = 50;

/// Returns `Some` if a pod of `app` exists that has a node, or has none.
async fn has_pod(it: &Scenario, app: &str, with_node: bool) -> Option<()> {
    let has_node = |pod: &k8s_openapi::api::core::v1::Pod| {
        pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
    };
    it.pods(app).await.iter().any(|pod| has_node(pod) == with_node).then_some(())
}

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
        eventually("its pod waits for the kubelet", SOON, async || has_pod(it, "cold", true).await).await;
        load.serves(50).await;
        assert!(!held.is_finished(), "nobody starts its pod");
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

        let load = Load::of(RATE, warm, "/?ms=5").start();
        let before: Vec<_> = it.pods("busy").await;
        let stopped = faults.stop("kube-apiserver");
        // Longer than it takes the idle one to be removed.
        load.serves(away * RATE).await;
        served(idle_at, "/").await;
        drop(stopped);
        eventually("the API answers again", SOON, async || it.replicas(&app).await).await;
        let names = |pods: &[k8s_openapi::api::core::v1::Pod]| {
            pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&it.pods("busy").await), names(&before));
        it.at_zero_within(&idle, LATE).await;
        // Kubernetes' controllers may have taken the node for lost, with its pods.
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
        eventually("its pod waits for a node", SOON, async || has_pod(it, "hello", false).await).await;
        load.serves(50).await;
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
        // One goes to zero, the other wakes, and the nodes' rules stay as they were.
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
