//! The pods of a Revision, without the queue-proxy, which Ebb adds when a pod is created.

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde_json::{Map, Value, json};

use super::{probe, scaling};
use crate::{
    api::{Container, ContainerPort, ContainerStatus, EnvVar, Revision, RevisionSpec},
    config::Config,
    keys,
};

/// The port that is served if the spec names none.
const DEFAULT_PORT: i32 = 8080;
/// The name of the served port.
const PORT_NAME: &str = "user-port";
/// Fields of a Revision's spec that are not a pod's.
const NOT_OF_PODS: [&str; 4] =
    ["containerConcurrency", "timeoutSeconds", "responseStartTimeoutSeconds", "idleTimeoutSeconds"];

/// Returns the container that takes requests: the one with a port, or else the first. `None` if there is none.
pub fn serving(spec: &RevisionSpec) -> Option<&Container> {
    spec.containers.get(serving_index(spec))
}

fn serving_index(spec: &RevisionSpec) -> usize {
    spec.containers.iter().position(|container| !container.ports.is_empty()).unwrap_or(0)
}

/// Returns the number of the port that takes requests.
pub fn port(spec: &RevisionSpec) -> i32 {
    let port = serving(spec).and_then(|container| container.ports.first()?.container_port);
    port.filter(|port| *port != 0).unwrap_or(DEFAULT_PORT)
}

/// Returns the name of the port that takes requests, which tells its protocol.
pub fn protocol(spec: &RevisionSpec) -> Option<&str> {
    serving(spec)?.ports.first()?.name.as_deref()
}

/// Returns the spec of a Revision's pods, with the images by digest where digests are known.
pub(super) fn spec(
    revision: &Revision,
    [images, init_images]: [&[ContainerStatus]; 2],
    config: &Config,
) -> Map<String, Value> {
    let mut spec = revision.spec.clone();
    let served = serving_index(&revision.spec);
    let environment = environment(revision);
    for (index, container) in spec.containers.iter_mut().enumerate() {
        complete(container, images.get(index));
        if index == served {
            serve(container, port(&revision.spec));
        } else {
            container.readiness_probe = container.readiness_probe.as_ref().map(probe::readiness);
        }
        container.env.extend(environment.clone());
    }
    for (index, container) in spec.init_containers.iter_mut().enumerate() {
        complete(container, init_images.get(index));
        container.env.extend(environment.clone());
    }
    spec.affinity = affinity(revision, config);
    spec.runtime_class_name = runtime_class(revision, config);
    spec.enable_service_links = spec.enable_service_links.or(config.defaults.enable_service_links);
    let mut fields = match serde_json::to_value(&spec) {
        Ok(Value::Object(fields)) => fields,
        // All keys are text, so there is an object.
        _ => Map::new(),
    };
    fields.retain(|name, _| !NOT_OF_PODS.contains(&name.as_str()));
    let grace = scaling::timeout_seconds(revision, config);
    fields.insert("terminationGracePeriodSeconds".to_owned(), json!(grace));
    fields
}

/// Returns the affinity of the pods: the Revision's own, or else for different nodes, if the cluster wants that.
fn affinity(revision: &Revision, config: &Config) -> Option<Value> {
    let spread = || {
        let revision = BTreeMap::from([(keys::REVISION, revision.name_any())]);
        json!({ "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 100,
            "podAffinityTerm": {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": { "matchLabels": revision },
            },
        }] } })
    };
    revision.spec.affinity.clone().or_else(|| config.deployment.spread_over_nodes.then(spread))
}

/// Returns the runtime class of the pods: the Revision's own, or else the cluster's for its labels.
fn runtime_class(revision: &Revision, config: &Config) -> Option<String> {
    let class = || config.deployment.runtime_class(revision.labels()).map(str::to_owned);
    revision.spec.runtime_class_name.clone().or_else(class)
}

fn environment(revision: &Revision) -> Vec<EnvVar> {
    let label = |key| revision.labels().get(key).cloned().unwrap_or_default();
    vec![
        variable("K_REVISION", revision.name_any()),
        variable("K_CONFIGURATION", label(keys::CONFIGURATION)),
        variable("K_SERVICE", label(keys::SERVICE)),
    ]
}

fn variable(name: &str, value: String) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value), value_from: None }
}

/// Completes what all containers have.
fn complete(container: &mut Container, status: Option<&ContainerStatus>) {
    if let Some(status) = status.filter(|status| !status.image_digest.is_empty()) {
        container.image = Some(status.image_digest.clone());
    }
    let policy = container.termination_message_policy.take().filter(|policy| !policy.is_empty());
    // The status tells why a container ended.
    container.termination_message_policy = policy.or_else(|| Some("FallbackToLogsOnError".to_owned()));
}

/// Completes the container that takes requests on `port`.
fn serve(container: &mut Container, port: i32) {
    container.ports = vec![ContainerPort {
        name: Some(PORT_NAME.to_owned()),
        container_port: Some(port),
        protocol: "TCP".to_owned(),
    }];
    container.readiness_probe = Some(probe::serving_readiness(container.readiness_probe.as_ref(), port));
    for other in [&mut container.liveness_probe, &mut container.startup_probe] {
        *other = other.as_ref().map(|given| probe::aimed(given, port));
    }
    container.env.push(variable("PORT", port.to_string()));
}
