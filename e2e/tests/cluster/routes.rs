//! Services that split their requests between others.

use std::{net::SocketAddr, time::Duration};

use e2e::{
    ACTIVATOR_PORTS, App, Endpoints, Front, Load, SERVING_PORT, SOON, Scenario, eventually, get, scenario,
    served,
};
use http::StatusCode;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;

/// The time within which a target without weight stops getting requests.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(1);

/// Creates two apps at zero, and a route between them. Returns its address.
async fn two_apps(it: &Scenario, split: &str) -> (SocketAddr, [App; 2]) {
    let apps = ["v1", "v2"].map(App::deployment);
    for app in &apps {
        it.make(app.manifest()).await;
        it.make(Front::scaled(app).manifest()).await;
    }
    it.make(Front::route("hello", split).manifest()).await;
    (it.reachable("hello").await, apps)
}

#[tokio::test]
async fn requests_are_divided_by_weight_and_wake_both_services() {
    scenario("split", async |it| {
        let (address, _) = two_apps(it, "v1=90, v2=10").await;
        let load = Load::of(50, address, "/").start();
        load.serves(500).await;
        let report = load.stop().await;
        report.assert_nothing_lost();
        let second = report.shots.iter().filter(|shot| shot.is_by("v2")).count();
        let first = report.shots.iter().filter(|shot| shot.is_by("v1")).count();
        assert_eq!(first + second, report.sent());
        // Each activator is less than one request off.
        let off = (second as f64 - report.sent() as f64 / 10.0).abs();
        assert!(off < 4.0, "{second} of {}", report.sent());
        it.leads("hello", "to activators", |address| ACTIVATOR_PORTS.contains(&address.port())).await;
    })
    .await;
}

#[tokio::test]
async fn one_service_alone_is_reached_without_a_detour_and_wakes_from_zero() {
    scenario("sole", async |it| {
        let (address, [v1, _]) = two_apps(it, "v1").await;
        it.leads("hello", "to activators", |address| ACTIVATOR_PORTS.contains(&address.port())).await;
        served(address, "/").await;
        it.leads("hello", "to the pod's sidecar", |address| address.port() == SERVING_PORT).await;
        assert!(served(address, "/").await.body.starts_with("hello from v1-"));
        it.at_zero(&v1).await;
        it.leads("hello", "to activators again", |address| ACTIVATOR_PORTS.contains(&address.port())).await;
        served(address, "/").await;
    })
    .await;
}

#[tokio::test]
async fn weights_change_under_load_at_once_and_lose_nothing() {
    scenario("weights", async |it| {
        let (address, _) = two_apps(it, "v1=100, v2=0").await;
        served(address, "/").await;
        let begin = Instant::now();
        let load = Load::of(50, address, "/").start();
        // The times without weight for v2; it is at zero when it first gets one.
        let mut without = vec![(Duration::ZERO, Duration::ZERO)];
        for round in 0..12 {
            load.serves(50).await;
            let (split, has_weight) =
                [("v1=50, v2=50", true), ("v1=100, v2=0", false), ("v2=1, v1=3", true)][round % 3];
            if let Some(last) = without.last_mut().filter(|last| has_weight && last.1.is_zero()) {
                last.1 = begin.elapsed();
            }
            it.annotate("hello", json!({"ebb.dev/split": split})).await;
            if !has_weight {
                without.push((begin.elapsed(), Duration::ZERO));
            }
        }
        load.serves(50).await;
        let report = load.stop().await;
        report.assert_nothing_lost();
        assert!(report.shots.iter().any(|shot| shot.is_by("v2")), "it had its share");
        for shot in report.shots.iter().filter(|shot| shot.is_by("v2")) {
            let answered = shot.at + shot.took;
            let late = without
                .iter()
                .find(|(from, to)| answered > *from + FOLLOWED_WITHIN && (to.is_zero() || answered < *to));
            assert!(late.is_none(), "{shot:?} was answered by v2, without a weight from {late:?}");
        }
    })
    .await;
}

/// Waits until the progress written on a route is as `wanted` says.
async fn written(it: &Scenario, what: &str, wanted: impl Fn(&str) -> bool) {
    eventually(what, SOON, async || {
        it.annotation("hello", "ebb.dev/rollout").await.filter(|text| wanted(text)).map(drop)
    })
    .await;
}

#[tokio::test]
async fn a_changed_split_is_reached_step_by_step_stops_where_it_cannot_and_is_undone_at_once() {
    scenario("rollout", async |it| {
        let (address, _) = two_apps(it, "v1=100").await;
        it.annotate("hello", json!({"ebb.dev/split-duration": "20s"})).await;
        written(it, "the split holds", |text| text == r#"{"to":"v1=100"}"#).await;
        served(address, "/").await;
        let load = Load::of(50, address, "/").start();
        load.serves(100).await;
        let begin = Instant::now();
        // v2 is at zero: its first requests wake it, and no further step is taken before its pod is ready.
        it.annotate("hello", json!({"ebb.dev/split": "v2=100"})).await;
        assert_eq!(it.event("hello", "RolloutStarted").await, "from v1=100 to v2=100 in 20s");
        written(it, "v2 gets everything", |text| text == r#"{"to":"v2=100"}"#).await;
        assert!(begin.elapsed() > Duration::from_secs(18), "it took its time");
        load.serves(50).await;
        let mut report = load.stop().await;
        report.assert_nothing_lost();
        report.shots.sort_by_key(|shot| shot.at);
        let (mut before, mut of_v2) = (0.0, Vec::new());
        for part in report.shots.chunks_exact(report.shots.len() / 4) {
            let second = part.iter().filter(|shot| shot.is_by("v2")).count() as f64 / part.len() as f64;
            of_v2.push(second);
            assert!(second >= before, "v2 gets more and more: {of_v2:?}");
            before = second;
        }
        assert!(of_v2[0] < 0.5 && before > 0.5, "{of_v2:?}");

        it.annotate("hello", json!({"ebb.dev/split": "v3=100", "ebb.dev/split-duration": "1h"})).await;
        let why = "the rollout to v3=100 has stopped at 0.0 %: v3: there is no Service v3";
        assert_eq!(it.event("hello", "RolloutStopped").await, why);
        eventually("the status says so", SOON, async || {
            it.annotation("hello", "ebb.dev/status").await.filter(|status| status.contains(why)).map(drop)
        })
        .await;
        for _ in 0..10 {
            assert!(served(address, "/").await.body.starts_with("hello from v2-"));
        }
        it.annotate("hello", json!({"ebb.dev/split": "v1=100"})).await;
        written(it, "it is on its way to v1", |text| {
            text.contains(r#""from":"#) && text.contains(r#""to":"v1=100""#)
        })
        .await;
        it.annotate("hello", json!({"ebb.dev/split": "v2=100"})).await;
        written(it, "it is undone", |text| text == r#"{"to":"v2=100"}"#).await;
        for _ in 0..10 {
            assert!(served(address, "/").await.body.starts_with("hello from v2-"));
        }
        eventually("nothing is wrong any more", SOON, async || {
            it.annotation("hello", "ebb.dev/status").await.is_none().then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_share_without_a_service_is_refused_and_the_others_are_served() {
    scenario("missing-share", async |it| {
        let v1 = App::deployment("v1");
        it.make(v1.manifest()).await;
        it.make(Front::scaled(&v1).manifest()).await;
        it.make(Front::route("hello", "v1=1, v2=1").manifest()).await;
        let address = it.reachable("hello").await;
        let mut refused = 0;
        for _ in 0..10 {
            let answer = get(address, "/").await.unwrap();
            if answer.status == StatusCode::OK {
                continue;
            }
            assert_eq!(
                (answer.status, answer.header("ebb-reason")),
                (StatusCode::SERVICE_UNAVAILABLE, "split-target")
            );
            assert!(answer.body.contains("there is no Service v2"), "{}", answer.body);
            refused += 1;
        }
        assert!((4..=6).contains(&refused), "{refused} of 10");
        let why = "v2 gets 1 of 2: there is no Service v2";
        assert_eq!(it.event("hello", "SplitTarget").await, why);
        eventually("the status says so", SOON, async || {
            (it.annotation("hello", "ebb.dev/status").await.as_deref() == Some(why)).then_some(())
        })
        .await;
        let v2 = App::deployment("v2");
        it.make(v2.manifest()).await;
        it.make(Front::scaled(&v2).manifest()).await;
        eventually("nothing is wrong any more", SOON, async || {
            it.annotation("hello", "ebb.dev/status").await.is_none().then_some(())
        })
        .await;
        for _ in 0..4 {
            served(address, "/").await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_split_at_fault_is_refused_with_all_its_faults() {
    scenario("bad-split", async |it| {
        let split = "v1=ninety, hello=1, V2=1, v1=-2";
        let refused = it.try_make(Front::route("hello", split).manifest()).await.unwrap_err();
        for part in ["v1=ninety", "is the route itself", "V2=1", "v1=-2"] {
            assert!(refused.contains(part), "{part} is not in {refused}");
        }
        let with_selector = Front::route("hello", "v1").with_field("selector", json!({"app": "v1"}));
        let refused = it.try_make(with_selector.manifest()).await.unwrap_err();
        assert!(refused.contains("the Service has a selector (app=v1) and ebb.dev/split"), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn a_route_becomes_a_plain_service_under_load_and_loses_nothing() {
    scenario("plain-again", async |it| {
        let (address, apps) = two_apps(it, "v1=1, v2=1").await;
        served(address, "/").await;
        // A ready pod can take it over.
        it.annotate("v1", json!({"autoscaling.knative.dev/min-scale": "1"})).await;
        it.has_ready(&apps[0], 1).await;
        let load = Load::of(20, address, "/").start();
        load.serves(20).await;
        let patch = json!({
            "metadata": {"annotations": {"ebb.dev/split": null}},
            "spec": {"selector": {"app": "v1"}, "ports": [{"name": "http", "port": 80, "targetPort": e2e::HTTP_PORT}]},
        });
        let services: kube::Api<Service> = it.api();
        services.patch("hello", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
        eventually("Kubernetes has taken over", SOON, async || {
            let Endpoints { addresses, is_ebbs } = it.endpoints("hello", "http").await;
            (!is_ebbs && addresses.iter().all(|address| address.port() == e2e::HTTP_PORT)).then_some(())
        })
        .await;
        load.serves(20).await;
        load.stop().await.assert_nothing_lost();
        assert_eq!(it.annotation("hello", "ebb.dev/activator-port").await, None);
    })
    .await;
}
