//! The Service and the Deployment of a Revision.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::world::{BY_DIGEST, UID, World, revision};
use crate::{config::Config, outcome::Write, revision::images_of};

pub(super) fn owner() -> Value {
    json!([{
        "apiVersion": "serving.knative.dev/v1", "kind": "Revision", "name": "cart-00001", "uid": UID,
        "controller": true, "blockOwnerDeletion": true,
    }])
}

fn rich() -> World {
    let labels = json!({ "team": "a", "serving.knative.dev/route": "cart", "app": "shop" });
    let annotations = json!({
        "autoscaling.knative.dev/minScale": "2",
        "autoscaling.knative.dev/max-scale": "9",
        "ebb.dev/queue-depth": "50",
        "ebb.dev/hosts": "evil.example.com",
        "ebb.dev/scale-target": "Deployment/evil",
        "ebb.dev/inject": "true",
        "serving.knative.dev/progress-deadline": "2m",
        "serving.knative.dev/routes": "cart",
        "serving.knative.dev/routingStateModified": "2027-01-15T08:00:00Z",
        "serving.knative.dev/creator": "ann",
    });
    let spec = json!({
        "containerConcurrency": 5,
        "timeoutSeconds": 60,
        "responseStartTimeoutSeconds": 20,
        "idleTimeoutSeconds": 60,
        "serviceAccountName": "cart",
        "imagePullSecrets": [{ "name": "pull" }],
        "tolerations": [{ "key": "spot", "operator": "Exists" }],
        "volumes": [{ "name": "tmp", "emptyDir": { "sizeLimit": 5 } }],
        "initContainers": [{ "name": "init", "image": "kind.local/init" }],
        "containers": [
            { "name": "sidecar", "image": "ghcr.io/shop/cart:v1", "terminationMessagePolicy": "File",
              "readinessProbe": { "exec": { "command": ["ok"] }, "periodSeconds": 0 } },
            { "name": "app", "image": BY_DIGEST, "args": ["-v"],
              "env": [{ "name": "A", "value": "b" }],
              "ports": [{ "name": "h2c", "containerPort": 9000, "protocol": "TCP" }],
              "livenessProbe": { "httpGet": { "path": "/live", "port": "h2c" }, "periodSeconds": 3 },
              "resources": { "limits": { "cpu": 1, "memory": "1Gi" } },
              "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp/x" }] },
        ],
    });
    World::new(revision(&labels, &annotations, &spec))
}

fn environment(port: Option<&str>) -> Value {
    let own = [("A", Some("b")), ("PORT", port)];
    let own = own.into_iter().filter_map(|(name, value)| Some((name, value?))).filter(|_| port.is_some());
    let all = own.chain([("K_REVISION", "cart-00001"), ("K_CONFIGURATION", "cart"), ("K_SERVICE", "cart")]);
    all.map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

#[test]
fn a_service_makes_the_revision_one_that_ebb_scales() {
    let mut world = rich();
    world.examine();
    let labels = json!({
        "app": "shop", "team": "a", "serving.knative.dev/configuration": "cart",
        "serving.knative.dev/revision": "cart-00001", "serving.knative.dev/revisionUID": UID,
        "serving.knative.dev/service": "cart",
    });
    let expected = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "cart-00001", "namespace": "shop", "ownerReferences": owner(), "labels": labels,
            "annotations": {
                "autoscaling.knative.dev/minScale": "2",
                "autoscaling.knative.dev/max-scale": "9",
                "ebb.dev/container-concurrency": "5",
                "ebb.dev/late-response": "end",
                "ebb.dev/queue-depth": "50",
                "ebb.dev/request-timeout": "60s",
                "ebb.dev/response-start-timeout": "20s",
                "ebb.dev/scale-target": "Deployment/cart-00001-deployment",
                "serving.knative.dev/progress-deadline": "2m",
            },
        },
        "spec": {
            "ports": [{
                "name": "h2c", "appProtocol": "kubernetes.io/h2c", "port": 80, "protocol": "TCP", "targetPort": 9000,
            }],
            "selector": { "serving.knative.dev/revisionUID": UID },
        },
    });
    assert_eq!(world.front, Some(expected));
}

#[test]
fn a_port_without_a_name_is_http() {
    let mut world = World::fresh();
    world.examine();
    let ports = json!([{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080 }]);
    assert_eq!(world.front.unwrap()["spec"]["ports"], ports);
}

#[test]
fn a_deployment_has_everything_but_the_queue_proxy() {
    let mut world = rich();
    world.start();
    let mut deployment = world.deployment.unwrap();
    let hash = deployment["metadata"]["labels"]["serving.knative.dev/deployment-hash"].take();
    assert_eq!(hash.as_str().unwrap().len(), 16);
    let mut labels = json!({
        "app": "shop", "team": "a", "serving.knative.dev/configuration": "cart",
        "serving.knative.dev/revision": "cart-00001", "serving.knative.dev/revisionUID": UID,
        "serving.knative.dev/service": "cart",
    });
    let mut annotations = json!({
        "ebb.dev/inject": "true", "serving.knative.dev/creator": "ann", "serving.knative.dev/progress-deadline": "2m",
        "kubectl.kubernetes.io/default-container": "app",
    });
    let template = json!({ "labels": labels, "annotations": annotations });
    labels["serving.knative.dev/deployment-hash"] = Value::Null;
    annotations.as_object_mut().unwrap().remove("kubectl.kubernetes.io/default-container");
    let spread = json!({ "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 100,
        "podAffinityTerm": {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": { "matchLabels": { "serving.knative.dev/revision": "cart-00001" } },
        },
    }] } });
    let expected = json!({
        "metadata": {
            "name": "cart-00001-deployment", "namespace": "shop", "ownerReferences": owner(), "labels": labels,
            "annotations": annotations, "generation": 1,
        },
        "spec": {
            "replicas": 2,
            "progressDeadlineSeconds": 120,
            "revisionHistoryLimit": 0,
            "selector": { "matchLabels": { "serving.knative.dev/revisionUID": UID } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0 } },
            "template": { "metadata": template, "spec": {
                "affinity": spread,
                "enableServiceLinks": false,
                "imagePullSecrets": [{ "name": "pull" }],
                "serviceAccountName": "cart",
                "terminationGracePeriodSeconds": 60,
                "tolerations": [{ "key": "spot", "operator": "Exists" }],
                "volumes": [{ "name": "tmp", "emptyDir": { "sizeLimit": "5" } }],
                "initContainers": [{
                    "name": "init", "image": "kind.local/init", "env": environment(None),
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                }],
                "containers": [
                    {
                        "name": "sidecar", "image": BY_DIGEST, "terminationMessagePolicy": "File",
                        "env": environment(None),
                        "readinessProbe": {
                            "exec": { "command": ["ok"] }, "periodSeconds": 1, "timeoutSeconds": 1,
                            "successThreshold": 1, "failureThreshold": 3,
                        },
                    },
                    {
                        "name": "app", "image": BY_DIGEST, "args": ["-v"], "env": environment(Some("9000")),
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                        "ports": [{ "name": "user-port", "containerPort": 9000, "protocol": "TCP" }],
                        "livenessProbe": { "httpGet": { "path": "/live", "port": 9000 }, "periodSeconds": 3 },
                        "readinessProbe": {
                            "tcpSocket": { "port": 9000 }, "periodSeconds": 1, "timeoutSeconds": 1,
                            "successThreshold": 1, "failureThreshold": 3,
                        },
                        "resources": { "limits": { "cpu": "1", "memory": "1Gi" } },
                        "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp/x" }],
                    },
                ],
            } },
        },
    });
    for part in ["metadata", "spec"] {
        assert_eq!(deployment[part], expected[part]);
    }
    let status = world.revision.status.unwrap();
    let images = status.container_statuses.iter().chain(&status.init_container_statuses);
    let images: Vec<_> = images.map(|one| (one.name.as_str(), one.image_digest.as_str())).collect();
    assert_eq!(images, [("sidecar", BY_DIGEST), ("app", BY_DIGEST), ("init", "")]);
}

#[test]
fn the_deployment_waits_for_the_images_and_for_ebb() {
    let mut world = World::fresh();
    let images = std::mem::take(&mut world.images);
    world.examine();
    world.take_over();
    assert!(world.examine().writes.is_empty() && world.deployment.is_none(), "the image is not known");
    world.images = images.clone();
    assert!(matches!(&world.examine().writes[..], [Write::Create(_)]));

    let mut world = World::fresh();
    world.examine();
    assert!(world.front.is_some() && world.examine().writes.is_empty(), "Ebb does not serve it");
}

#[test]
fn images_are_asked_for_once_and_only_if_they_have_no_digest() {
    let of = |world: &World| images_of(&world.revision, &world.config).into_keys().collect::<Vec<_>>();
    let mut world = rich();
    assert_eq!(of(&world), ["ghcr.io/shop/cart:v1"]);
    world.config.deployment.skipped_registries.insert("ghcr.io".to_owned());
    assert_eq!(of(&world), [""; 0]);
    world.config = Config::default();
    world.examine();
    assert_eq!(of(&world), [""; 0]);
}

#[test]
fn settings_of_the_cluster_go_into_the_pods_unless_the_revision_has_its_own() {
    let pod = |change: fn(&mut Config), spec: Value| {
        let mut world = World::new(revision(&json!({ "tier": "gold" }), &json!({}), &spec));
        change(&mut world.config);
        world.start();
        world.deployment.unwrap()["spec"]["template"]["spec"].take()
    };
    let classes = |config: &mut Config| {
        let of = |key: &str| BTreeMap::from([(key.to_owned(), "gold".to_owned())]);
        config.deployment.runtime_classes = vec![
            ("a".to_owned(), of("other")),
            ("b".to_owned(), of("tier")),
            ("c".to_owned(), BTreeMap::new()),
        ];
    };
    assert_eq!(pod(classes, json!({}))["runtimeClassName"], "b");
    assert_eq!(pod(classes, json!({ "runtimeClassName": "own" }))["runtimeClassName"], "own");
    let packed = |config: &mut Config| config.deployment.spread_over_nodes = false;
    assert_eq!(pod(packed, json!({})).get("affinity"), None);
    let affinity = json!({ "nodeAffinity": {} });
    assert_eq!(pod(|_| {}, json!({ "affinity": affinity }))["affinity"], affinity);
    let links = |config: &mut Config| config.defaults.enable_service_links = None;
    assert_eq!(pod(links, json!({})).get("enableServiceLinks"), None);
    assert_eq!(pod(links, json!({ "enableServiceLinks": true }))["enableServiceLinks"], true);
}
