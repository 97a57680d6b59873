use std::fmt;

use ebb_annotations::ScaleTarget;
use ebb_core::ServiceKey;
use kube::core::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use super::Seen;

/// A scale target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TargetKey {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl TargetKey {
    pub(crate) fn new(service: &ServiceKey, target: &ScaleTarget) -> Self {
        Self { kind: target.kind.clone(), namespace: service.namespace.clone(), name: target.name.clone() }
    }
}

impl fmt::Display for TargetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// What is read of a scale target. Its kind, and thus its schema, is unknown.
pub(crate) type Target = Seen<TargetSpec, TargetStatus>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TargetSpec {
    replicas: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TargetStatus {
    conditions: Value,
}

/// The facts about a scale target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TargetFacts {
    /// The number of pods that it wants.
    pub(crate) replicas: u32,
    /// Who wrote that number last.
    pub(crate) writer: Option<String>,
    /// Why it cannot have its pods.
    pub(crate) trouble: Option<String>,
}

impl TargetFacts {
    /// Returns the facts about an object whose replicas are in `.spec.replicas`.
    pub(crate) fn of(object: &Target) -> Self {
        let replicas = object.spec.replicas.as_u64();
        Self {
            // The API's default.
            replicas: replicas.map_or(1, |replicas| u32::try_from(replicas).unwrap_or(u32::MAX)),
            writer: writer(&object.metadata),
            trouble: trouble(&object.status),
        }
    }
}

/// Returns who wrote the replicas last, by the managed fields.
pub(crate) fn writer(metadata: &ObjectMeta) -> Option<String> {
    let owns = |fields: &Value| fields.pointer("/f:spec/f:replicas").is_some();
    let entries = metadata.managed_fields.iter().flatten();
    let own = entries.filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| owns(&fields.0)));
    own.max_by_key(|entry| entry.time.clone()).and_then(|entry| {
        let manager = entry.manager.clone()?;
        Some(match entry.subresource.as_deref() {
            Some(subresource) if !subresource.is_empty() => format!("{manager} ({subresource})"),
            _ => manager,
        })
    })
}

/// Returns a Deployment's or ReplicaSet's report that pods could not be created, because of a quota or admission.
fn trouble(status: &TargetStatus) -> Option<String> {
    let conditions = status.conditions.as_array()?;
    let failed = conditions
        .iter()
        .find(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True")?;
    Some(format!("no pod can be created: {}", failed["message"].as_str().unwrap_or("no reason given")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts(object: Value) -> TargetFacts {
        TargetFacts::of(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn the_last_writer_of_the_replicas_is_known() {
        let entry = |manager: &str, time: &str, fields: Value, subresource: &str| json!({"manager": manager, "time": time, "fieldsV1": fields, "subresource": subresource});
        let replicas = json!({"f:spec": {"f:replicas": {}}});
        let object = json!({
            "metadata": {"name": "a", "managedFields": [
                entry("kubectl", "2026-01-01T00:00:00Z", replicas.clone(), ""),
                entry("kube-controller-manager", "2026-01-01T00:00:02Z", replicas, "scale"),
                entry("other", "2026-01-01T00:00:09Z", json!({"f:status": {}}), "status"),
            ]},
            "spec": {"replicas": 3},
        });
        let writer = Some("kube-controller-manager (scale)".to_owned());
        assert_eq!(facts(object), TargetFacts { replicas: 3, writer, trouble: None });
        assert_eq!(facts(json!({"metadata": {"name": "a"}})).replicas, 1, "as the API would have it");
    }

    #[test]
    fn a_quota_is_told() {
        let object = json!({"metadata": {"name": "a"}, "spec": {"replicas": 0}, "status": {"conditions": [
            {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"},
        ]}});
        assert_eq!(facts(object).trouble.unwrap(), "no pod can be created: exceeded quota");
    }
}
