//! `config-deployment`: how the pods of revisions are made.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How the pods of revisions are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// `progress-deadline`, in whole seconds.
    pub progress_deadline: Duration,
    /// `digest-resolution-timeout`, for each image.
    pub digest_resolution_timeout: Duration,
    /// `registries-skipping-tag-resolving`.
    pub skipped_registries: BTreeSet<String>,
    /// `runtime-class-name`: classes, each with the labels that a revision must have; the most specific first.
    pub runtime_classes: Vec<(String, BTreeMap<String, String>)>,
    /// `default-affinity-type`: whether the pods of a revision prefer different nodes.
    pub spread_over_nodes: bool,
    /// `pod-is-always-schedulable`: whether a pod without a node is not a failure.
    pub pod_is_always_schedulable: bool,
}

impl Default for Deployment {
    fn default() -> Self {
        Self {
            progress_deadline: Duration::from_secs(600),
            digest_resolution_timeout: Duration::from_secs(10),
            skipped_registries: ["kind.local", "ko.local", "dev.local"].map(str::to_owned).into(),
            runtime_classes: Vec::new(),
            spread_over_nodes: true,
            pod_is_always_schedulable: false,
        }
    }
}
