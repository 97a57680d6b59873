//! What a Deployment is like.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

use crate::keys;

/// What is known of the Deployment of a Revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployed {
    /// Its uid.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// The uid of the object that controls it.
    pub owner: Option<String>,
    /// The hash of what it was made from ([`keys::DEPLOYMENT_HASH`]).
    pub hash: Option<String>,
    /// The annotations of its metadata, if it is one that was made here.
    pub annotations: BTreeMap<String, String>,
    /// Whether its status is of its present spec.
    pub is_observed: bool,
    /// Number of pods that it should have.
    pub wanted: i32,
    /// Number of pods that it has.
    pub replicas: i32,
    /// Number of its pods that are ready.
    pub ready: i32,
    /// Number of its pods that have been ready for long enough.
    pub available: i32,
    /// Its condition `Progressing`.
    pub progressing: Option<Progress>,
    /// Its condition `ReplicaFailure`.
    pub replica_failure: Option<Progress>,
}

/// A condition of a Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, as one word.
    pub reason: String,
    /// Why, in words.
    pub message: String,
}

impl Deployed {
    /// Reads a Deployment.
    pub fn of(deployment: &Deployment) -> Self {
        let spec = deployment.spec.as_ref();
        let status = deployment.status.as_ref();
        let condition = |type_: &str| {
            let all = status?.conditions.as_ref()?;
            let one = all.iter().find(|one| one.type_ == type_)?;
            Some(Progress {
                status: one.status.clone(),
                reason: one.reason.clone().unwrap_or_default(),
                message: one.message.clone().unwrap_or_default(),
            })
        };
        let hash = deployment.labels().get(keys::DEPLOYMENT_HASH).cloned();
        let observed = status.and_then(|status| status.observed_generation);
        Self {
            uid: deployment.uid().unwrap_or_default(),
            resource_version: deployment.resource_version().unwrap_or_default(),
            owner: super::owner(&deployment.metadata),
            annotations: if hash.is_some() { deployment.annotations().clone() } else { BTreeMap::new() },
            hash,
            is_observed: observed >= deployment.metadata.generation,
            wanted: spec.and_then(|spec| spec.replicas).unwrap_or(1),
            replicas: status.and_then(|status| status.replicas).unwrap_or_default(),
            ready: status.and_then(|status| status.ready_replicas).unwrap_or_default(),
            available: status.and_then(|status| status.available_replicas).unwrap_or_default(),
            progressing: condition("Progressing"),
            replica_failure: condition("ReplicaFailure"),
        }
    }
}
