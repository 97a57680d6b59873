//! Changes by a service's owner while it has traffic.

use e2e::{App, Front, Load, Running, SOON, Scenario, eventually, kubectl, scenario};
use serde_json::json;

/// Starts loads from outside, with both kinds of clients.
fn both(address: std::net::SocketAddr) -> [Running; 2] {
    let load = Load::of(25, address, "/?ms=20");
    [load.clone().start(), load.keeping_connections().start()]
}

async fn assert_nothing_lost(loads: [Running; 2]) {
    for load in loads {
        load.stop().await.assert_nothing_lost();
    }
}

/// Enough requests of each client for any flapping to show: kube-proxy writes once a second, and decisions
/// are made every two.
const A_WHILE: u32 = 100;

async fn all_serve(loads: &[Running; 2], more: u32) {
    for load in loads {
        load.serves(more).await;
    }
}

async fn is_ebbs(it: &Scenario, service: &str) {
    eventually("Ebb publishes the Service's endpoints, and nobody else", SOON, async || {
        let endpoints = it.endpoints(service, "http").await;
        let selector = it.service(service).await.spec.unwrap_or_default().selector;
        (endpoints.is_ebbs && !endpoints.addresses.is_empty() && selector.unwrap_or_default().is_empty())
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_rolling_update_under_load_loses_nothing() {
    scenario("update", async |it| {
        let app = App::deployment("hello").starting_within_ms(200);
        let front = Front::scaled(&app).with("autoscaling.knative.dev/min-scale", "2");
        let address = it.with(&app, &front).await;
        it.has_ready(&app, 2).await;
        let loads = both(address);
        for version in ["2", "3"] {
            let mut manifest = app.clone().with_variable("VERSION", version).manifest();
            // As GitOps tools are configured: replicas are Ebb's.
            manifest["spec"].as_object_mut().unwrap().remove("replicas");
            it.apply(manifest).await;
            eventually("all pods are of the new version", SOON, async || {
                let pods = it.pods_and_ending("hello").await;
                let is_new = |pod: &k8s_openapi::api::core::v1::Pod| {
                    let variables = pod.spec.iter().flat_map(|spec| spec.containers[0].env.iter().flatten());
                    variables.into_iter().any(|variable| variable.value.as_deref() == Some(version))
                };
                (pods.len() >= 2 && pods.iter().all(is_new)).then_some(())
            })
            .await;
        }
        assert_nothing_lost(loads).await;
    })
    .await;
}

#[tokio::test]
async fn the_annotation_comes_and_goes_under_load_and_nothing_is_lost() {
    scenario("annotation", async |it| {
        let app = App::deployment("hello").with_pods(2).probed();
        let address = it.with(&app, &Front::plain(&app)).await;
        it.has_ready(&app, 2).await;
        let selector = it.service("hello").await.spec.unwrap_or_default().selector;
        let loads = both(address);

        let annotations =
            &Front::scaled(&app).with("ebb.dev/restart", "true").manifest()["metadata"]["annotations"];
        it.annotate("hello", annotations.clone()).await;
        is_ebbs(it, "hello").await;
        eventually("its pods have sidecars", SOON, async || {
            let pods = it.pods_and_ending("hello").await;
            let has_sidecar = |pod: &k8s_openapi::api::core::v1::Pod| {
                pod.spec.as_ref().is_some_and(|spec| spec.containers.len() == 2)
            };
            (!pods.is_empty() && pods.iter().all(has_sidecar)).then_some(())
        })
        .await;
        all_serve(&loads, A_WHILE).await;

        it.annotate("hello", json!({"ebb.dev/scale-target": null})).await;
        eventually("the Service is as it was before Ebb", SOON, async || {
            let service = it.service("hello").await;
            let endpoints = it.endpoints("hello", "http").await;
            let ours = service.metadata.annotations.unwrap_or_default();
            let is_clean = ["ebb.dev/selector", "ebb.dev/activator-port", "ebb.dev/status"]
                .iter()
                .all(|key| !ours.contains_key(*key));
            (is_clean
                && service.spec.unwrap_or_default().selector == selector
                && !endpoints.is_ebbs
                && !endpoints.addresses.is_empty()
                && endpoints.addresses.iter().all(|address| address.port() == e2e::HTTP_PORT))
            .then_some(())
        })
        .await;
        all_serve(&loads, A_WHILE).await;
        assert_nothing_lost(loads).await;
    })
    .await;
}

#[tokio::test]
async fn a_service_at_zero_that_is_given_back_has_its_selector_and_no_endpoints_of_ebbs() {
    scenario("given-back", async |it| {
        let app = App::deployment("hello");
        it.with(&app, &Front::scaled(&app)).await;
        is_ebbs(it, "hello").await;
        it.annotate("hello", json!({"ebb.dev/scale-target": null})).await;
        eventually("the Service has its selector again", SOON, async || {
            let service = it.service("hello").await;
            let selector = service.spec.unwrap_or_default().selector.unwrap_or_default();
            let is_marked = service.metadata.annotations.unwrap_or_default().contains_key("ebb.dev/selector");
            (selector.get("app").map(String::as_str) == Some("hello") && !is_marked).then_some(())
        })
        .await;
        it.has_ready(&app, 1).await;
        eventually("Kubernetes publishes its endpoints", SOON, async || {
            let endpoints = it.endpoints("hello", "http").await;
            (!endpoints.is_ebbs && endpoints.addresses.iter().any(|address| address.port() == e2e::HTTP_PORT))
                .then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn applying_the_same_manifest_again_with_kubectl_changes_nothing() {
    scenario("apply", async |it| {
        let app = App::deployment("hello");
        let front = Front::scaled(&app).with("autoscaling.knative.dev/min-scale", "1");
        it.make(app.manifest()).await;
        let arguments = ["apply", "--namespace", &it.namespace, "--filename", "-"];
        let manifest = front.manifest().to_string();
        kubectl(&arguments, &manifest).await.unwrap();
        let address = it.reachable("hello").await;
        it.has_ready(&app, 1).await;
        is_ebbs(it, "hello").await;
        let loads = both(address);
        for _ in 0..3 {
            kubectl(&arguments, &manifest).await.unwrap();
            is_ebbs(it, "hello").await;
            all_serve(&loads, 25).await;
        }
        all_serve(&loads, A_WHILE).await;
        assert_nothing_lost(loads).await;
    })
    .await;
}

#[tokio::test]
async fn applying_the_same_manifest_again_on_the_server_changes_nothing() {
    scenario("server-apply", async |it| {
        let app = App::deployment("hello");
        let front = Front::scaled(&app).with("autoscaling.knative.dev/min-scale", "1");
        it.make(app.manifest()).await;
        it.apply(front.manifest()).await;
        let address = it.reachable("hello").await;
        it.has_ready(&app, 1).await;
        is_ebbs(it, "hello").await;
        let loads = both(address);
        for _ in 0..3 {
            it.apply(front.manifest()).await;
            is_ebbs(it, "hello").await;
            all_serve(&loads, 25).await;
        }
        all_serve(&loads, A_WHILE).await;
        assert_nothing_lost(loads).await;
    })
    .await;
}

#[tokio::test]
async fn pods_with_a_native_sidecar_that_are_deleted_under_load_lose_nothing() {
    scenario("native", async |it| {
        let app = App::deployment("hello");
        let front = Front::scaled(&app)
            .with("ebb.dev/sidecar", "native")
            .with("autoscaling.knative.dev/min-scale", "2");
        let address = it.with(&app, &front).await;
        it.has_ready(&app, 2).await;
        let loads = both(address);
        let pods = it.pods("hello").await;
        let sidecars = pods[0].spec.as_ref().unwrap().init_containers.iter().flatten();
        assert_eq!(sidecars.filter(|container| container.name == "queue-proxy").count(), 1);
        for pod in &pods {
            let name = pod.metadata.name.as_deref().unwrap();
            kubectl(&["--namespace", &it.namespace, "delete", "pod", name], "").await.unwrap();
            it.has_ready(&app, 2).await;
        }
        all_serve(&loads, A_WHILE).await;
        assert_nothing_lost(loads).await;
    })
    .await;
}
