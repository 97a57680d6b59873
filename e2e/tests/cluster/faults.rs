//! What breaks, and who must not notice.

use std::time::Duration;

use e2e::{App, Faults, Front, Load, Lost, SOON, alone, eventually, get, get_within, kubectl, served};
use serde_json::json;

const WEBHOOKS: [&str; 2] = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];

/// A service that has pods all along, and clients that must not notice.
fn busy() -> (App, Front) {
    let app = App::deployment("busy").probed();
    let front = Front::scaled(&app).with("autoscaling.knative.dev/min-scale", "1");
    (app, front)
}

#[tokio::test]
async fn an_activator_that_is_killed_takes_only_what_it_held() {
    alone("activator-killed", async |it| {
        if Faults::find().is_none() {
            return;
        }
        let (busy, front) = busy();
        let warm = it.with(&busy, &front).await;
        it.has_ready(&busy, 1).await;
        eventually("clients reach the busy one's pod directly", SOON, async || {
            let endpoints = it.endpoints("busy", "http").await.addresses;
            endpoints.iter().all(|address| address.port() == e2e::SERVING_PORT).then_some(())
        })
        .await;
        let load = Load::of(50, warm, "/?ms=5").start();

        let slow = App::deployment("slow").starting_within_ms(4000);
        let cold = it.with(&slow, &Front::scaled(&slow)).await;
        let held: Vec<_> =
            (0..20).map(|_| tokio::spawn(get_within(cold, "/", Duration::from_secs(40)))).collect();
        let held_by = eventually("requests are held", SOON, async || {
            (it.replicas(&slow).await == Some(1)).then_some(())
        });
        held_by.await;
        let activators = it.system().pods("activator").await;
        let killed = activators.keys().next().expect("there are activators");
        it.system().kill(killed).await;

        let mut answered = 0;
        for request in held {
            match request.await.unwrap() {
                Ok(answer) => {
                    answer.assert_ok();
                    answered += 1;
                }
                Err(Lost::Unanswered(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
        if activators.len() > 1 {
            assert!(answered > 0, "the other activator held some, too");
        }
        load.stop().await.assert_nothing_lost();
        served(cold, "/").await;
        eventually("the service at zero leads to activators that are there only", SOON, async || {
            let there: Vec<_> = it.system().pods("activator").await.into_values().collect();
            let endpoints = it.endpoints("slow", "http").await.addresses;
            let activators = endpoints.iter().filter(|address| address.port() != e2e::SERVING_PORT);
            activators.into_iter().all(|address| there.contains(&address.ip())).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_is_killed_in_a_burst_is_not_missed() {
    alone("leader-killed", async |it| {
        if Faults::find().is_none() {
            return;
        }
        let app = App::deployment("hello");
        let front = Front::scaled(&app)
            .with("autoscaling.knative.dev/target", "5")
            .with("autoscaling.knative.dev/max-scale", "4")
            .with("autoscaling.knative.dev/target-burst-capacity", "20");
        let address = it.with(&app, &front).await;
        let load = Load::of(20, address, "/?ms=500").start();
        eventually("pods come", SOON, async || (it.replicas(&app).await? > 0).then_some(())).await;
        let leader = it.system().leader().await;
        it.system().kill(&leader).await;
        it.has_ready(&app, 2).await;
        assert_ne!(it.system().leader().await, leader);
        // From zero, while the new leader knows little.
        let other = App::deployment("other");
        let cold = it.with(&other, &Front::scaled(&other)).await;
        served(cold, "/").await;
        load.stop().await.assert_nothing_lost();
        it.at_zero(&app).await;
    })
    .await;
}

#[tokio::test]
async fn without_its_webhooks_services_become_ebbs_all_the_same() {
    alone("no-webhooks", async |it| {
        if Faults::find().is_none() {
            return;
        }
        let mut kept = Vec::new();
        for kind in WEBHOOKS {
            let manifest = kubectl(&["get", kind, "ebb", "--output", "json"], "").await.unwrap();
            let mut manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
            for field in ["resourceVersion", "uid", "creationTimestamp", "generation", "managedFields"] {
                manifest["metadata"].as_object_mut().unwrap().remove(field);
            }
            kept.push(manifest.to_string());
            kubectl(&["delete", kind, "ebb"], "").await.unwrap();
        }
        let app = App::deployment("hello").probed();
        let made = async {
            let address = it.with(&app, &Front::scaled(&app)).await;
            get(address, "/").await
        };
        let answer = made.await;
        for manifest in kept {
            kubectl(&["create", "--filename", "-"], &manifest).await.unwrap();
        }
        answer.unwrap().assert_ok();
        it.at_zero(&app).await;
        // What was made without a sidecar is gone with its pod, and the webhooks are back.
        let address = it.address("hello").await;
        served(address, "/").await;
        let pods = it.pods("hello").await;
        assert_eq!(pods[0].spec.as_ref().unwrap().containers.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_kubelet_that_is_restarted_is_not_noticed_by_clients() {
    alone("kubelet", async |it| {
        let Some(faults) = Faults::find() else { return };
        let (app, front) = busy();
        let address = it.with(&app, &front).await;
        it.has_ready(&app, 1).await;
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
        let (app, front) = busy();
        let warm = it.with(&app, &front).await;
        it.has_ready(&app, 1).await;
        let idle = App::deployment("idle");
        let idle_at = it.with(&idle, &Front::scaled(&idle)).await;
        served(idle_at, "/").await;

        let load = Load::of(50, warm, "/?ms=5").start();
        let before: Vec<_> = it.pods("busy").await;
        let stopped = faults.stop("kube-apiserver");
        // Much longer than the window of the idle one.
        tokio::time::sleep(Duration::from_secs(30)).await;
        served(idle_at, "/").await;
        drop(stopped);
        eventually("the API answers again", SOON, async || it.replicas(&app).await).await;
        let names = |pods: &[k8s_openapi::api::core::v1::Pod]| {
            pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&it.pods("busy").await), names(&before));
        load.stop().await.assert_nothing_lost();
        it.at_zero(&idle).await;
        served(idle_at, "/").await;
        it.annotate("busy", json!({"autoscaling.knative.dev/min-scale": "0"})).await;
        it.at_zero(&app).await;
    })
    .await;
}
