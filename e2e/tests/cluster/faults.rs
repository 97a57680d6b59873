//! Faults of Ebb's parts, which clients must not notice.

use std::{net::SocketAddr, process::Command, time::Duration};

use e2e::{
    App, Faults, Front, LATE, Load, Lost, SOON, Scenario, alone, eventually, get, get_within, kubectl, served,
};
use serde_json::json;

const WEBHOOKS: [&str; 2] = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];

/// Creates a service that always has a pod, and returns the address for its clients, which must notice
/// nothing.
pub(crate) async fn busy(it: &Scenario) -> (App, SocketAddr) {
    let app = App::deployment("busy").probed();
    let front = Front::scaled(&app).with("autoscaling.knative.dev/min-scale", "1");
    let address = it.with(&app, &front).await;
    it.has_ready(&app, 1).await;
    (app, address)
}

#[tokio::test]
async fn an_activator_that_is_killed_takes_only_what_it_held() {
    alone("activator-killed", async |it| {
        if Faults::find().is_none() {
            return;
        }
        let (_, warm) = busy(it).await;
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
        // Pods created without a sidecar are gone, and the webhooks are back.
        let address = it.address("hello").await;
        served(address, "/").await;
        let pods = it.pods("hello").await;
        assert_eq!(pods[0].spec.as_ref().unwrap().containers.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn requests_wait_for_an_autoscaler_while_there_is_none() {
    alone("no-autoscaler", async |it| {
        if Faults::find().is_none() {
            return;
        }
        let (_, warm) = busy(it).await;
        let app = App::deployment("hello");
        let cold = it.with(&app, &Front::scaled(&app)).await;
        let load = Load::of(50, warm, "/?ms=5").start();

        let count = it.system().pods("autoscaler").await.len();
        let back =
            PutBack(vec!["scale".into(), "deployment/ebb-autoscaler".into(), format!("--replicas={count}")]);
        in_ebb_system(&["scale", "deployment/ebb-autoscaler", "--replicas=0"]).await;
        // An autoscaler still does what it was asked for until it has ended.
        let all = ["--selector", "app.kubernetes.io/component=autoscaler"];
        in_ebb_system(&["wait", "pod", all[0], all[1], "--for=delete", "--timeout=60s"]).await;
        let held = tokio::spawn(get_within(cold, "/", LATE));
        eventually("an activator holds the request", SOON, async || {
            let of_it = format!("namespace=\"{}\",service=\"hello\"", it.namespace);
            let all = it.system().metrics("activator").await;
            let held = |samples: &e2e::Samples| samples.sum("ebb_activator_held_requests", &[&of_it]);
            (all.iter().map(held).sum::<f64>() >= 1.0).then_some(())
        })
        .await;
        load.serves(250).await;
        assert!(!held.is_finished(), "nobody can give it a pod");
        assert_eq!(it.replicas(&app).await, Some(0));
        drop(back);
        held.await.unwrap().unwrap().assert_ok();
        load.stop().await.assert_nothing_lost();
        it.at_zero(&app).await;
    })
    .await;
}

/// Arguments for `kubectl` in Ebb's namespace, run when this is dropped, however the scenario ends.
struct PutBack(Vec<String>);

impl Drop for PutBack {
    fn drop(&mut self) {
        let done = Command::new("kubectl").args(["--namespace", "ebb-system"]).args(&self.0).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("cannot put back: kubectl {}", self.0.join(" "));
        }
    }
}

async fn in_ebb_system(arguments: &[&str]) {
    let done = kubectl(&[&["--namespace", "ebb-system"], arguments].concat(), "").await;
    done.expect("kubectl does so");
}

#[tokio::test]
async fn pods_that_cannot_announce_themselves_are_found_all_the_same() {
    alone("unannounced", async |it| {
        if Faults::find().is_none() {
            return;
        }
        // Meanwhile the Service's port leads nowhere, as with a network policy.
        let leading = |to: &str| {
            let port = json!({"name": "link", "port": 8080, "targetPort": to});
            let patch = json!({"spec": {"ports": [port]}}).to_string();
            vec!["patch".into(), "service/ebb-autoscaler".into(), "--patch".into(), patch]
        };
        let back = PutBack(leading("link"));
        let away: Vec<String> = leading("nowhere");
        in_ebb_system(&away.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let (app, other) = (App::deployment("hello"), App::deployment("probed").probed());
        let address = it.with(&app, &Front::scaled(&app)).await;
        let of_other = it.with(&other, &Front::scaled(&other)).await;
        let answers = (get(address, "/").await, get(of_other, "/").await);
        drop(back);
        answers.0.unwrap().assert_ok();
        answers.1.unwrap().assert_ok();
        let pods = it.pods("hello").await;
        assert_eq!(pods[0].spec.as_ref().unwrap().containers.len(), 2, "it has a sidecar, that nobody heard");
        it.at_zero(&app).await;
        it.at_zero(&other).await;
    })
    .await;
}
