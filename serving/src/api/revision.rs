//! The kind that runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Observed;

/// What is known of a Revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// What every status has.
    #[serde(flatten)]
    pub observed: Observed,
    /// Where its logs can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_url: Option<String>,
    /// The images of its containers, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub container_statuses: Vec<ContainerStatus>,
    /// The images of its init containers, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub init_container_statuses: Vec<ContainerStatus>,
    /// Number of its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual_replicas: Option<i32>,
    /// Number of pods that it should have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_replicas: Option<i32>,
}

/// The image of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStatus {
    /// The container.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its image by digest; empty if it is not resolved.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image_digest: String,
}
