//! Whether a Deployment has all its pods.

use k8s_openapi::api::apps::v1::Deployment;

/// The progress of a Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rollout {
    /// The pods that it should have.
    pub(crate) wanted: i32,
    /// Ready pods, including old ones.
    pub(crate) ready: i32,
    /// Whether all of its pods are available and of the current template.
    pub(crate) is_complete: bool,
}

impl Rollout {
    pub(crate) fn of(deployment: &Deployment) -> Self {
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let Some(status) = &deployment.status else { return Self { wanted, ready: 0, is_complete: false } };
        let is_seen = status.observed_generation >= deployment.metadata.generation;
        let number = |field: Option<i32>| field.unwrap_or(0);
        let is_complete = is_seen
            && number(status.updated_replicas) >= wanted
            && number(status.available_replicas) >= wanted
            && number(status.replicas) <= wanted;
        Self { wanted, ready: number(status.ready_replicas), is_complete }
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "what json! makes reads better without a reference")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rollout(status: Value) -> Rollout {
        let deployment = json!({"metadata": {"generation": 2}, "spec": {"replicas": 2, "selector": {}, "template": {}}, "status": status});
        Rollout::of(&serde_json::from_value(deployment).unwrap())
    }

    #[test]
    fn it_is_complete_when_all_new_pods_are_there_and_no_old_one() {
        let there = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2});
        assert_eq!(rollout(there.clone()), Rollout { wanted: 2, ready: 2, is_complete: true });
        for (field, value) in
            [("observedGeneration", 1), ("replicas", 3), ("updatedReplicas", 1), ("availableReplicas", 1)]
        {
            let mut other = there.clone();
            other[field] = json!(value);
            assert!(!rollout(other).is_complete, "{field}");
        }
        assert!(!rollout(json!({})).is_complete);
    }
}
