mod hosts;
mod labels;
mod rollouts;
mod targets;

use kube::ResourceExt;
use serde_json::json;

use super::fixtures::{Cluster, NAMESPACE, condition, read, words};
use crate::{
    conditions::READY,
    outcome::{Object, Write},
};

fn latest() -> serde_json::Value {
    json!([{ "configurationName": "hello", "percent": 100, "latestRevision": true }])
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.ready("hello", "hello-00001");
    cluster.route(&latest());
    cluster
}

fn says(cluster: &Cluster, type_: &str) -> String {
    condition(&cluster.status().observed.conditions, type_)
}

#[test]
fn a_new_route_becomes_a_service_and_is_ready_once_that_is_in_effect() {
    let mut cluster = cluster();
    cluster.edit(|route| {
        route.labels_mut().insert("serving.knative.dev/service".to_owned(), "hello".to_owned());
        route.annotations_mut().insert("serving.knative.dev/creator".to_owned(), "me".to_owned());
    });
    let first = cluster.examine();
    let Some(Write::Create(Object::Front(front))) = first.writes.last() else { panic!("{first:?}") };
    assert_eq!(
        serde_json::to_value(front.as_ref()).unwrap(),
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "hello",
                "namespace": NAMESPACE,
                "labels": {
                    "serving.knative.dev/route": "hello",
                    "serving.knative.dev/service": "hello",
                },
                "annotations": {
                    "ebb.dev/generation": "1",
                    "ebb.dev/hosts": "hello.shop.example.com",
                    "ebb.dev/split": "hello-00001=100",
                    "networking.internal.knative.dev/traffic": "configuration/hello=100",
                    "serving.knative.dev/creator": "me",
                },
                "ownerReferences": [{
                    "apiVersion": "serving.knative.dev/v1",
                    "kind": "Route",
                    "name": "hello",
                    "uid": "route-uid",
                    "controller": true,
                    "blockOwnerDeletion": true,
                }],
            },
            "spec": { "ports": [{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": 80 }] },
        })
    );
    assert_eq!(first.events[0].text, "Created placeholder service \"hello\"");
    let status = cluster.status();
    assert_eq!(status.observed.observed_generation, Some(1));
    assert_eq!(status.addresses.url.as_deref(), Some("http://hello.shop.example.com"));
    let address = status.addresses.address.and_then(|address| address.url);
    assert_eq!(address.as_deref(), Some("http://hello.shop.svc.cluster.local"));
    assert_eq!(words(&status.traffic), ["hello-00001*=100"]);
    assert_eq!(says(&cluster, READY), "Unknown Uninitialized Waiting for load balancer to be ready");
    assert_eq!(cluster.examine().writes, [], "nothing is new");
    cluster.engine();
    cluster.examine();
    assert_eq!(says(&cluster, READY), "True");
    assert_eq!(
        says(&cluster, "CertificateProvisioned"),
        "True TLSNotEnabled external-domain-tls is not enabled"
    );
}

#[test]
fn each_change_waits_for_its_own_generation() {
    let mut cluster = cluster();
    cluster.settle();
    cluster.revision("hello", "hello-00002", "True");
    cluster.route(&json!([
        { "revisionName": "hello-00001", "percent": 90 },
        { "revisionName": "hello-00002", "percent": 10 },
    ]));
    let changed = cluster.examine();
    let Some(Write::Merge(_, patch)) = changed.writes.last() else { panic!("{changed:?}") };
    assert_eq!(
        patch,
        &json!({ "metadata": { "annotations": {
            "ebb.dev/generation": "2",
            "ebb.dev/split": "hello-00001=90, hello-00002=10",
            "networking.internal.knative.dev/traffic": "revision/hello-00001=90, revision/hello-00002=10",
        } } })
    );
    assert_eq!(says(&cluster, READY), "Unknown Uninitialized Waiting for load balancer to be ready");
    cluster.examine();
    assert!(says(&cluster, READY).starts_with("Unknown"), "the proof is of the generation before");
    cluster.engine();
    cluster.examine();
    assert_eq!(says(&cluster, READY), "True");
    assert_eq!(words(&cluster.status().traffic), ["hello-00001=90", "hello-00002=10"]);
}

#[test]
fn what_the_engine_refuses_is_told() {
    let mut cluster = cluster();
    cluster.refused.insert("hello".to_owned(), "hello.shop.example.com is taken".to_owned());
    cluster.settle();
    assert_eq!(says(&cluster, READY), "False Refused hello.shop.example.com is taken");
    cluster.refused.clear();
    cluster.settle();
    assert_eq!(says(&cluster, READY), "True");
}

#[test]
fn a_service_of_somebody_else_stays_and_is_told() {
    let mut cluster = cluster();
    let foreign = json!({
        "metadata": { "name": "hello", "namespace": NAMESPACE, "uid": "x", "labels": { "a": "b" } },
    });
    cluster.service(foreign.clone());
    cluster.settle();
    assert_eq!(
        says(&cluster, READY),
        "False NotOwned There is an existing placeholder Service \"hello\" that we do not own."
    );
    assert_eq!(cluster.services.values().next(), Some(&read(foreign)));
}

#[test]
fn metadata_is_handed_on_and_what_is_removed_stays() {
    let mut cluster = cluster();
    cluster.settle();
    cluster.edit(|route| {
        route.labels_mut().insert("juicy".to_owned(), "jamba".to_owned());
        route.annotations_mut().insert("juicy".to_owned(), "jamba".to_owned());
        route
            .annotations_mut()
            .insert("kubectl.kubernetes.io/last-applied-configuration".to_owned(), "{}".to_owned());
        route.annotations_mut().insert("ebb.dev/scale-target".to_owned(), "Deployment/x".to_owned());
    });
    let changed = cluster.examine();
    let Some(Write::Merge(_, patch)) = changed.writes.last() else { panic!("{changed:?}") };
    let juicy = json!({ "juicy": "jamba" });
    assert_eq!(patch, &json!({ "metadata": { "labels": juicy, "annotations": juicy } }));
    assert_eq!(says(&cluster, READY), "True", "requests do not depend on it");
    cluster.edit(|route| {
        route.labels_mut().clear();
        route.annotations_mut().clear();
    });
    assert_eq!(cluster.settle().writes, []);
    assert_eq!(cluster.annotation("hello", "juicy"), Some("jamba"));
}

#[test]
fn what_a_user_chooses_for_routing_goes_when_the_user_removes_it_but_not_what_the_engine_wrote() {
    let mut cluster = cluster();
    cluster.edit(|route| {
        route.annotations_mut().insert("ebb.dev/split-by".to_owned(), "cookie session".to_owned());
        route.annotations_mut().insert("ebb.dev/rollout-paused".to_owned(), "true".to_owned());
    });
    cluster.settle();
    assert_eq!(cluster.annotation("hello", "ebb.dev/split-by"), Some("cookie session"));
    let service = cluster.services.values_mut().next().unwrap();
    service.annotations_mut().insert("ebb.dev/activator-port".to_owned(), "10000".to_owned());
    cluster.edit(|route| route.annotations_mut().clear());
    cluster.settle();
    assert_eq!(cluster.annotation("hello", "ebb.dev/split-by"), None);
    assert_eq!(cluster.annotation("hello", "ebb.dev/generation"), Some("2"));
    assert_eq!(cluster.annotation("hello", "ebb.dev/activator-port"), Some("10000"));
    assert_eq!(cluster.annotation("hello", "ebb.dev/rollout-paused"), Some("true"), "the tool pauses, too");
    assert_eq!(says(&cluster, READY), "True");
}

#[test]
fn a_tag_has_a_service_and_an_url_until_it_goes() {
    let mut cluster = cluster();
    cluster.revision("hello", "hello-00002", "True");
    cluster.route(&json!([
        { "tag": "current", "revisionName": "hello-00001", "percent": 100 },
        { "tag": "candidate", "revisionName": "hello-00002", "percent": 0 },
        { "tag": "latest", "configurationName": "hello" },
    ]));
    cluster.settle();
    assert_eq!(cluster.names(), ["candidate-hello", "current-hello", "hello", "latest-hello"]);
    assert_eq!(cluster.split("candidate-hello"), Some("hello-00002=100"));
    assert_eq!(
        cluster.annotation("candidate-hello", "ebb.dev/hosts"),
        Some("candidate-hello.shop.example.com")
    );
    let traffic = cluster.status().traffic;
    assert_eq!(
        words(&traffic),
        ["current:hello-00001=100", "candidate:hello-00002=0", "latest:hello-00001*=0"]
    );
    assert_eq!(traffic[1].url.as_deref(), Some("http://candidate-hello.shop.example.com"));
    assert_eq!(says(&cluster, READY), "True");
    cluster.route(&latest());
    cluster.settle();
    assert_eq!(cluster.names(), ["hello"]);
    assert_eq!(cluster.status().traffic[0].url, None);
}

#[test]
fn a_placeholder_of_the_reference_becomes_a_service_with_an_address() {
    let mut cluster = cluster();
    cluster.service(json!({
        "metadata": {
            "name": "hello",
            "namespace": NAMESPACE,
            "uid": "old",
            "labels": { "serving.knative.dev/route": "hello" },
            "ownerReferences": [{
                "apiVersion": "serving.knative.dev/v1", "kind": "Route", "name": "hello", "uid": "route-uid", "controller": true,
            }],
        },
        "spec": {
            "type": "ExternalName",
            "externalName": "gateway.example.com",
            "ports": [{ "name": "http2", "port": 80 }],
        },
    }));
    cluster.settle();
    let spec = cluster.services.values().next().unwrap().spec.clone().unwrap();
    assert_eq!((spec.type_.as_deref(), spec.external_name), (Some("ClusterIP"), None));
    assert_eq!(spec.ports.unwrap()[0].name.as_deref(), Some("http"));
    assert_eq!(says(&cluster, READY), "True");
}

#[test]
fn an_orphan_with_the_routes_name_is_adopted() {
    let mut cluster = cluster();
    cluster.service(json!({
        "metadata": {
            "name": "hello", "namespace": NAMESPACE, "uid": "old", "labels": { "serving.knative.dev/route": "hello" },
            "annotations": { "ebb.dev/generation": "not a number" },
        },
    }));
    let adopted = cluster.examine();
    assert_eq!(
        cluster.seen.fronts.get(NAMESPACE, "hello").unwrap().owner.as_deref(),
        Some("route-uid"),
        "{adopted:?}"
    );
    cluster.settle();
    assert_eq!(says(&cluster, READY), "True");
}

#[test]
fn a_route_that_is_deleted_loses_the_finalizer_of_the_reference_and_nothing_else_is_written() {
    let mut cluster = cluster();
    cluster.edit(|route| {
        route.metadata.deletion_timestamp = Some(read(json!("2027-01-15T08:00:00Z")));
        let finalizers = ["foregroundDeletion", "routes.serving.knative.dev"];
        route.metadata.finalizers = Some(finalizers.map(str::to_owned).to_vec());
    });
    assert_eq!(cluster.examine().writes.len(), 1);
    assert_eq!(cluster.hello().finalizers(), ["foregroundDeletion"]);
    assert_eq!(cluster.examine().writes, []);
}
