//! The Deployment of a Revision.

use std::hash::Hasher;

use ebb_annotations::{GoDuration, keys as ebb};
use fnv::FnvHasher;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde_json::{Map, Value, json};

use super::{
    front::changed,
    labels::{Texts, annotations, is_of_the_api, labels, selector},
    pod, scaling,
};
use crate::{
    api::{ContainerStatus, Revision},
    config::Config,
    keys,
    outcome::{Kind, Object, Reference, Write},
    owned,
    seen::Deployed,
};

/// Tells `kubectl logs` which container is meant.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// Fields of a pod that the cluster's settings, or another program that made the Deployment, may have filled.
const MAYBE_LEFT: [&str; 5] =
    ["affinity", "enableServiceLinks", "initContainers", "runtimeClassName", "volumes"];

/// What a Revision's Deployment should be.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Its labels.
    labels: Texts,
    /// Its annotations.
    annotations: Texts,
    /// Its spec, without the number of pods.
    spec: Map<String, Value>,
    /// Tells a change of what it was made from. It stays if only Ebb changes.
    hash: String,
}

/// Plans the Deployment of a Revision whose images are known.
pub(super) fn plan(revision: &Revision, images: [&[ContainerStatus]; 2], config: &Config) -> Plan {
    let (labels, annotations) = (labels(revision), annotations(revision));
    let deadline = progress_deadline(revision, config);
    let pod = pod::spec(revision, images, config);
    let hash = hash(&json!({
        "labels": &labels,
        "annotations": &annotations,
        "spec": &revision.spec,
        "images": images,
        "progressDeadline": deadline,
        "spread": config.deployment.spread_over_nodes,
        "runtimeClass": pod.get("runtimeClassName"),
        "serviceLinks": pod.get("enableServiceLinks"),
    }));
    let mut of_pods = annotations.clone();
    if let Some(container) = pod::serving(&revision.spec) {
        of_pods.entry(DEFAULT_CONTAINER.to_owned()).or_insert_with(|| container.name.clone());
    }
    let spec = json!({
        "progressDeadlineSeconds": deadline,
        "revisionHistoryLimit": 0,
        "selector": { "matchLabels": selector(revision) },
        "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0 } },
        "template": { "metadata": { "labels": &labels, "annotations": of_pods }, "spec": pod },
    });
    let spec = if let Value::Object(spec) = spec { spec } else { Map::new() };
    Plan { labels, annotations, spec, hash }
}

impl Plan {
    /// Returns the write that creates the Deployment with so many pods.
    ///
    /// # Errors
    ///
    /// Returns an error if the Revision has a field that Kubernetes does not know in this form.
    pub(super) fn create(&self, revision: &Revision, pods: i32) -> Result<Write, String> {
        let mut spec = self.spec.clone();
        spec.insert("replicas".to_owned(), json!(pods));
        let spec = serde_json::from_value(Value::Object(spec)).map_err(|error| error.to_string())?;
        let name = scaling::deployment_name(revision);
        let metadata = owned::metadata(revision, &name, self.all_labels(), self.annotations.clone());
        let deployment = Deployment { metadata, spec: Some(spec), ..Deployment::default() };
        Ok(Write::Create(Object::Deployment(Box::new(deployment))))
    }

    /// Returns the write that makes the Deployment what it should be; `None` if it was made from the same inputs.
    ///
    /// It replaces the pods' containers. The number of pods, and labels and annotations of others, stay: the autoscaler
    /// and `kubectl rollout restart` write them.
    pub(super) fn update(&self, revision: &Revision, there: &Deployed) -> Option<Write> {
        if there.hash.as_ref() == Some(&self.hash) {
            return None;
        }
        let stale: Map<String, Value> = changed(&there.annotations, &self.annotations, is_of_the_api)
            .into_iter()
            .filter(|(_, value)| value.is_none())
            .map(|(key, _)| (key, Value::Null))
            .collect();
        let mut annotations = stale.clone();
        annotations.extend(self.annotations.iter().map(|(key, value)| (key.clone(), json!(value))));
        let mut spec = self.spec.clone();
        // It cannot be changed, and is the same for ever.
        spec.remove("selector");
        let template = spec.get_mut("template").and_then(Value::as_object_mut);
        for (part, value) in template.into_iter().flatten() {
            match (part.as_str(), value) {
                ("metadata", Value::Object(metadata)) => {
                    if let Some(Value::Object(of_pods)) = metadata.get_mut("annotations") {
                        of_pods.extend(stale.clone());
                    }
                }
                ("spec", Value::Object(pod)) => {
                    for field in MAYBE_LEFT {
                        pod.entry(field).or_insert(Value::Null);
                    }
                }
                _ => {}
            }
        }
        let metadata = json!({ "labels": self.all_labels(), "annotations": annotations });
        Some(Write::Merge(reference(revision), json!({ "metadata": metadata, "spec": spec })))
    }

    fn all_labels(&self) -> Texts {
        let mut labels = self.labels.clone();
        labels.insert(keys::DEPLOYMENT_HASH.to_owned(), self.hash.clone());
        labels
    }
}

/// Returns the Deployment by its name.
pub(super) fn reference(revision: &Revision) -> Reference {
    Reference {
        kind: Kind::Deployment,
        namespace: revision.namespace().unwrap_or_default(),
        name: scaling::deployment_name(revision),
    }
}

/// Returns how long the Deployment may make no progress, in seconds.
pub(super) fn progress_deadline(revision: &Revision, config: &Config) -> i32 {
    let own = revision.annotations().get(ebb::PROGRESS_DEADLINE.name);
    let own = own.and_then(|text| text.parse().ok()).map(GoDuration::to_std);
    let deadline = own.unwrap_or(config.deployment.progress_deadline);
    // Kubernetes refuses 0.
    i32::try_from(deadline.as_secs()).unwrap_or(i32::MAX).max(1)
}

/// Returns a short text that is the same for the same inputs. The keys of a [`Value`] are sorted.
fn hash(inputs: &Value) -> String {
    let mut hasher = FnvHasher::default();
    hasher.write(inputs.to_string().as_bytes());
    format!("{:016x}", hasher.finish())
}
