//! Tests of Knative's API: what users of ksvcs see.

use std::{collections::BTreeSet, time::Duration};

use e2e::{App, HTTP_PORT, Load, Place, SOON, Scenario, eventually, get, kubectl, scenario, served};
use http::StatusCode;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::gateway::gateway;

const HTTP: u16 = 80;
/// No pod in a test is needed for longer.
const WINDOW: &str = "6s";

/// Returns a ksvc of the sample app, which says `greeting`.
fn ksvc(name: &str, greeting: &str) -> Value {
    let app = App::deployment(name).manifest();
    let container = &app["spec"]["template"]["spec"]["containers"][0];
    json!({
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"template": {
            "metadata": {"annotations": {"autoscaling.knative.dev/window": WINDOW}},
            "spec": {"containers": [{
                "image": container["image"],
                "imagePullPolicy": "IfNotPresent",
                "args": container["args"],
                "env": [{"name": "GREETING", "value": greeting}],
                "ports": [{"containerPort": HTTP_PORT}],
            }]},
        }},
    })
}

/// Reads an object as the user's tools do.
async fn read(it: &Scenario, kind: &str, name: &str) -> Option<Value> {
    let text = kubectl(&["-n", &it.namespace, "get", kind, name, "-o", "json"], "").await.ok()?;
    serde_json::from_str(&text).ok()
}

/// Returns a condition's status, reason and message, if it is of the present generation.
fn condition(object: &Value, type_: &str) -> Option<(String, String, String)> {
    if object["status"]["observedGeneration"] != object["metadata"]["generation"] {
        return None;
    }
    let all = object["status"]["conditions"].as_array()?;
    let one = all.iter().find(|one| one["type"] == type_)?;
    let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

/// Waits until the object is ready, and returns it.
async fn ready(it: &Scenario, kind: &str, name: &str) -> Value {
    eventually(&format!("{kind} {name} is ready"), SOON, async || {
        let object = read(it, kind, name).await?;
        (condition(&object, "Ready")?.0 == "True").then_some(object)
    })
    .await
}

/// Returns the place of a URL at the gateway.
async fn place(it: &Scenario, url: &Value) -> Place {
    let host = url.as_str().and_then(|url| url.strip_prefix("http://")).expect("a URL");
    Place::named(gateway(it, HTTP).await, host)
}

async fn patch(it: &Scenario, name: &str, patch: Value) -> Result<String, String> {
    kubectl(&["-n", &it.namespace, "patch", "ksvc", name, "--type=merge", "-p", &patch.to_string()], "").await
}

/// Returns a change of the app's greeting.
fn greeting(object: &Value, text: &str) -> Value {
    let mut containers = object["spec"]["template"]["spec"]["containers"].clone();
    containers[0]["env"] = json!([{"name": "GREETING", "value": text}]);
    json!({"spec": {"template": {"spec": {"containers": containers}}}})
}

#[tokio::test]
async fn a_ksvc_that_is_ready_serves_the_very_next_request() {
    scenario("ksvc", async |it| {
        it.make(ksvc("hello", "one")).await;
        let service = ready(it, "ksvc", "hello").await;
        let status = &service["status"];
        assert_eq!(status["latestReadyRevisionName"], "hello-00001");
        assert_eq!(status["url"], format!("http://hello.{}.example.test", it.namespace));
        assert_eq!(status["address"]["url"], format!("http://hello.{}.svc.cluster.local", it.namespace));
        let answer = get(place(it, &status["url"]).await, "/").await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let pods = it.api::<Pod>().list(&ListParams::default()).await.unwrap().items;
        assert!(pods.iter().all(|pod| {
            pod.metadata.name.as_deref().unwrap_or_default().starts_with("hello-00001-deployment")
        }));
        let containers: BTreeSet<_> = pods
            .iter()
            .flat_map(|pod| &pod.spec.as_ref().unwrap().containers)
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(containers, ["queue-proxy", "user-container"].into());
        let annotations = &service["metadata"]["annotations"];
        assert!(annotations["serving.knative.dev/creator"].is_string(), "{annotations}");
    })
    .await;
}

#[tokio::test]
async fn a_ksvc_goes_to_zero_stays_ready_and_comes_back() {
    scenario("ksvc-zero", async |it| {
        it.make(ksvc("hello", "one")).await;
        let service = ready(it, "ksvc", "hello").await;
        eventually("the revision has no pod", SOON, async || {
            let revision = read(it, "revision", "hello-00001").await?;
            let active = condition(&revision, "Active")?;
            (active.0 == "False" && active.1 == "NoTraffic").then_some(())
        })
        .await;
        assert_eq!(condition(&read(it, "ksvc", "hello").await.unwrap(), "Ready").unwrap().0, "True");
        served(place(it, &service["status"]["url"]).await, "/").await;
    })
    .await;
}

#[tokio::test]
async fn updates_under_load_lose_nothing() {
    scenario("ksvc-updates", async |it| {
        it.make(ksvc("hello", "0")).await;
        let service = ready(it, "ksvc", "hello").await;
        let load = Load::of(50, place(it, &service["status"]["url"]).await, "/").start();
        load.serves(50).await;
        for round in 1..4 {
            patch(it, "hello", greeting(&service, &round.to_string())).await.unwrap();
            let name = format!("hello-0000{}", round + 1);
            eventually("the new revision is the ready one", SOON, async || {
                let service = read(it, "ksvc", "hello").await?;
                let is_ready = condition(&service, "Ready")?.0 == "True";
                (is_ready && service["status"]["latestReadyRevisionName"] == *name).then_some(())
            })
            .await;
            load.serves(50).await;
        }
        load.stop().await.assert_nothing_lost();
    })
    .await;
}

#[tokio::test]
async fn tags_have_addresses_of_their_own_and_shares_hold() {
    scenario("ksvc-tags", async |it| {
        it.make(ksvc("hello", "blue")).await;
        let service = ready(it, "ksvc", "hello").await;
        patch(it, "hello", greeting(&service, "green")).await.unwrap();
        ready(it, "revision", "hello-00002").await;
        let traffic = json!({"spec": {"traffic": [
            {"revisionName": "hello-00001", "percent": 50, "tag": "blue"},
            {"revisionName": "hello-00002", "percent": 50, "tag": "green"},
        ]}});
        patch(it, "hello", traffic).await.unwrap();
        let service = ready(it, "ksvc", "hello").await;
        let shown = service["status"]["traffic"].as_array().unwrap();
        assert_eq!(shown.len(), 2, "{shown:?}");
        for (target, revision) in shown.iter().zip(["hello-00001", "hello-00002"]) {
            let answer = served(place(it, &target["url"]).await, "/").await;
            assert!(answer.body.contains(revision), "{}", answer.body);
        }
        let mut seen = BTreeSet::new();
        for _ in 0..20 {
            let body = served(place(it, &service["status"]["url"]).await, "/").await.body;
            seen.extend(["hello-00001", "hello-00002"].into_iter().filter(|name| body.contains(name)));
        }
        assert_eq!(seen.len(), 2, "{seen:?}");
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_all_its_faults() {
    scenario("ksvc-refused", async |it| {
        let mut wrong = ksvc("hello", "one");
        wrong["spec"]["template"]["spec"]["timeoutSeconds"] = json!(601);
        wrong["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([{"name": "arbitrary", "containerPort": 8080}]);
        wrong["spec"]["traffic"] = json!([{"percent": 50}, {"percent": 40}]);
        let why = it.try_make(wrong).await.unwrap_err();
        for text in [
            "admission webhook \"validation.webhook.serving.knative.dev\" denied the request: validation failed: ",
            "Port name arbitrary is not allowed: spec.template.spec.containers[0].ports\nName must be empty, or one of: 'h2c', 'http1'\n",
            "Traffic targets sum to 90, want 100: spec.traffic\n",
            "expected 0 <= 601 <= 600: spec.template.spec.timeoutSeconds",
        ] {
            assert!(why.contains(text), "{why}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_container_that_ends_is_told_everywhere() {
    scenario("ksvc-crash", async |it| {
        let mut crashing = ksvc("hello", "one");
        let arguments = App::deployment("hello").crashing().manifest()["spec"]["template"]["spec"]["containers"][0]["args"].clone();
        crashing["spec"]["template"]["spec"]["containers"][0]["args"] = arguments;
        it.make(crashing).await;
        let service = eventually("the ksvc says that it failed", SOON, async || {
            let service = read(it, "ksvc", "hello").await?;
            (condition(&service, "Ready")?.0 == "False").then_some(service)
        })
        .await;
        for type_ in ["ConfigurationsReady", "RoutesReady", "Ready"] {
            let (status, reason, message) = condition(&service, type_).unwrap();
            assert_eq!(status, "False", "{type_}");
            assert!(!reason.is_empty() && !message.is_empty(), "{type_}: {reason} {message}");
        }
        let revision = read(it, "revision", "hello-00001").await.unwrap();
        let (_, reason, message) = condition(&revision, "ContainerHealthy").unwrap();
        assert!(reason.starts_with("ExitCode") && !message.is_empty(), "{reason}: {message}");
    })
    .await;
}

#[tokio::test]
async fn a_domain_of_ones_own_leads_to_a_ksvc() {
    scenario("ksvc-domain", async |it| {
        it.make(ksvc("hello", "one")).await;
        ready(it, "ksvc", "hello").await;
        let domain = format!("shop.{}.example.org", it.namespace);
        let mapping = json!({
            "apiVersion": "serving.knative.dev/v1beta1",
            "kind": "DomainMapping",
            "metadata": {"name": domain},
            "spec": {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "hello"}},
        });
        it.make(mapping).await;
        let mapping = ready(it, "domainmapping", &domain).await;
        let answer = get(place(it, &mapping["status"]["url"]).await, "/").await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_ksvc_leaves_nothing() {
    scenario("ksvc-deleted", async |it| {
        it.make(ksvc("hello", "one")).await;
        ready(it, "ksvc", "hello").await;
        kubectl(&["-n", &it.namespace, "delete", "ksvc", "hello", "--wait=false"], "").await.unwrap();
        eventually("all objects are gone", SOON + Duration::from_secs(60), async || {
            let kinds = "ksvc,configurations,revisions,routes.serving.knative.dev,deployments,services,pods";
            let left = kubectl(&["-n", &it.namespace, "get", kinds, "-o", "name"], "").await.ok()?;
            left.trim().is_empty().then_some(())
        })
        .await;
    })
    .await;
}
