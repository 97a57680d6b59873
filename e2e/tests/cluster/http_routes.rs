//! Tests with a Gateway of the cluster: the API server must accept Ebb's HTTPRoutes.

use std::panic::{AssertUnwindSafe, resume_unwind};

use e2e::{App, Front, SOON, Scenario, alone, eventually, served};
use futures_util::FutureExt;
use k8s_openapi::{
    api::core::v1::ConfigMap, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

const KIND: &str = "httproutes.gateway.networking.k8s.io";

fn http_routes(it: &Scenario) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
    let resource = ApiResource::from_gvk_with_plural(&kind, "httproutes");
    Api::namespaced_with(it.client(), &it.namespace, &resource)
}

/// Installs the kind in the cluster.
async fn install_kind(it: &Scenario) {
    let text = include_str!("../../../kubernetes/tests/fixtures/httproutes.crd.yaml");
    let kind: Value = serde_saphyr::from_str(text).expect("it is YAML");
    let kinds: Api<CustomResourceDefinition> = Api::all(it.client());
    kinds.patch(KIND, &PatchParams::apply("e2e"), &Patch::Apply(&kind)).await.expect("the kind is taken");
}

async fn remove_kind(it: &Scenario) {
    let kinds: Api<CustomResourceDefinition> = Api::all(it.client());
    // A kind that does not exist need not be deleted.
    let _ = kinds.delete(KIND, &DeleteParams::default()).await;
    eventually("the kind is gone", SOON, async || kinds.get_opt(KIND).await.ok()?.is_none().then_some(()))
        .await;
}

/// Names the Gateway in the settings, or removes it.
async fn set_gateway(it: &Scenario, parent: Option<&str>) {
    let settings: Api<ConfigMap> = Api::namespaced(it.client(), "ebb-system");
    let patch = json!({"data": {"gateway-parent": parent}});
    let patched = settings.patch("ebb-config", &PatchParams::default(), &Patch::Merge(&patch)).await;
    patched.expect("the setting is taken");
}

/// Waits until the namespace has HTTPRoutes of exactly these names, and returns them.
async fn until_named(it: &Scenario, names: &[&str]) -> Vec<DynamicObject> {
    eventually(&format!("the HTTPRoutes are {names:?}"), SOON, async || {
        let all = http_routes(it).list(&ListParams::default()).await.ok()?.items;
        all.iter().map(ResourceExt::name_any).eq(names.iter().copied()).then_some(all)
    })
    .await
}

#[tokio::test]
async fn a_gateway_of_the_clusters_has_http_routes_as_long_as_it_is_named() {
    alone("http-routes", async |it| {
        let played = AssertUnwindSafe(play(it)).catch_unwind().await;
        // The other scenarios test Ebb's own gateway.
        set_gateway(it, None).await;
        remove_kind(it).await;
        played.unwrap_or_else(|panic| resume_unwind(panic));
    })
    .await;
}

async fn play(it: &Scenario) {
    remove_kind(it).await;
    let app = App::deployment("hello");
    let hosts: Vec<String> = (0..17).map(|index| format!("h{index}.{}.test", it.namespace)).collect();
    let front = Front::scaled(&app).with("ebb.dev/hosts", &hosts.join(","));
    let address = it.with(&app, &front).await;

    // Without the kind, everything else still works.
    set_gateway(it, Some("infra/web")).await;
    served(address, "/").await;
    install_kind(it).await;
    let all = until_named(it, &["hello-ebb", "hello-ebb-2"]).await;
    let spec = &all[0].data["spec"];
    assert_eq!(spec["hostnames"].as_array().map(Vec::len), Some(16), "{spec}");
    assert_eq!(spec["parentRefs"][0]["kind"], "Gateway", "{spec}");
    let backend = &spec["rules"][0]["backendRefs"][0];
    assert_eq!((&backend["name"], &backend["port"]), (&json!("hello"), &json!(80)), "{spec}");
    assert_eq!(Some(&all[0].owner_references()[0].uid), it.service("hello").await.metadata.uid.as_ref());

    // Changes by others are reverted.
    let patch = json!({"spec": {"hostnames": ["theirs.test"]}});
    let patched = http_routes(it).patch("hello-ebb", &PatchParams::default(), &Patch::Merge(&patch)).await;
    patched.expect("anybody may change it");
    eventually("it is as it was", SOON, async || {
        let now = http_routes(it).get("hello-ebb").await.ok()?;
        (now.data["spec"]["hostnames"][0] == *hosts[0]).then_some(())
    })
    .await;
    http_routes(it).delete("hello-ebb-2", &DeleteParams::default()).await.expect("anybody may delete it");
    until_named(it, &["hello-ebb", "hello-ebb-2"]).await;

    // Another listener, and one host.
    set_gateway(it, Some("infra/web/https")).await;
    it.annotate("hello", json!({"ebb.dev/hosts": hosts[0], "ebb.dev/tls-secret": "hello-tls"})).await;
    let all = until_named(it, &["hello-ebb"]).await;
    assert_eq!(all[0].data["spec"]["hostnames"], json!([hosts[0]]));
    eventually("the listener is named", SOON, async || {
        let now = http_routes(it).get("hello-ebb").await.ok()?;
        (now.data["spec"]["parentRefs"][0]["sectionName"] == "https").then_some(())
    })
    .await;
    let why = it.event("hello", "TlsAtGateway").await;
    assert!(why.contains("Gateway infra/web/https takes the requests"), "{why}");

    // HTTPRoutes of others are left alone.
    let theirs = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "other-ebb"},
        "spec": {"hostnames": ["theirs.test"]},
    });
    let theirs = serde_json::from_value(theirs).expect("it is an object");
    http_routes(it).create(&PostParams::default(), &theirs).await.expect("the HTTPRoute is taken");
    let other = App::deployment("other");
    it.with(&other, &Front::scaled(&other).with("ebb.dev/hosts", &hosts[1])).await;
    let why = it.event("other", "HttpRouteTaken").await;
    assert!(why.starts_with("HTTPRoute other-ebb is not Ebb's"), "{why}");
    let theirs = http_routes(it).get("other-ebb").await.expect("it is there");
    assert_eq!(theirs.data["spec"]["hostnames"], json!(["theirs.test"]));

    set_gateway(it, None).await;
    until_named(it, &["other-ebb"]).await;
    set_gateway(it, Some("infra/web")).await;
    until_named(it, &["hello-ebb", "other-ebb"]).await;
    it.annotate("hello", json!({"ebb.dev/hosts": null, "ebb.dev/tls-secret": null})).await;
    until_named(it, &["other-ebb"]).await;
}
