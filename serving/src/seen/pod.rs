//! What a pod is like, as far as it says why a Revision does not run.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{self, ContainerStatus};
use kube::ResourceExt;

use crate::keys;

/// What is known of a pod of a Revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its uid.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// The Revision that it runs.
    pub revision: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Whether it is being deleted.
    pub is_leaving: bool,
    /// Why it has no node: reason and message.
    pub unscheduled: Option<(String, String)>,
    /// Whether it is ready.
    pub is_ready: bool,
    /// Its init containers, in the order of its status.
    pub init_containers: Vec<Container>,
    /// Its containers, in the order of its status.
    pub containers: Vec<Container>,
}

/// What is known of a container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// The image that the kubelet runs, with its digest.
    pub image_id: String,
    /// Whether it is ready.
    pub is_ready: bool,
    /// Why it does not run yet.
    pub waiting: Option<Waiting>,
    /// How it ended, now or before its last restart.
    pub ended: Option<Ended>,
}

/// Why a container does not run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// In one word.
    pub reason: String,
    /// In words.
    pub message: String,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// In one word, as `OOMKilled`.
    pub reason: String,
    /// Its last words.
    pub message: String,
}

impl Pod {
    /// Reads a pod; `None` if it is no Revision's.
    pub fn of(pod: &v1::Pod) -> Option<Self> {
        let revision = pod.labels().get(keys::REVISION)?.clone();
        let status = pod.status.as_ref();
        let conditions = || status.iter().flat_map(|status| status.conditions.iter().flatten());
        let unscheduled = conditions()
            .find(|one| one.type_ == "PodScheduled" && one.status == "False")
            .map(|one| (one.reason.clone().unwrap_or_default(), one.message.clone().unwrap_or_default()));
        let containers = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
        let before = status.and_then(|status| status.init_container_statuses.as_deref()).unwrap_or_default();
        Some(Self {
            uid: pod.uid().unwrap_or_default(),
            resource_version: pod.resource_version().unwrap_or_default(),
            revision,
            created: pod.creation_timestamp().map(|time| time.0),
            is_leaving: pod.metadata.deletion_timestamp.is_some(),
            unscheduled,
            is_ready: conditions().any(|one| one.type_ == "Ready" && one.status == "True"),
            init_containers: before.iter().map(Container::of).collect(),
            containers: containers.iter().map(Container::of).collect(),
        })
    }
}

impl Container {
    fn of(status: &ContainerStatus) -> Self {
        let now = status.state.as_ref();
        let last = status.last_state.as_ref();
        let ended = now.and_then(|state| state.terminated.as_ref());
        let ended = ended.or_else(|| last.and_then(|state| state.terminated.as_ref()));
        Self {
            name: status.name.clone(),
            image_id: status.image_id.clone(),
            is_ready: status.ready,
            waiting: now.and_then(|state| state.waiting.as_ref()).map(|waiting| Waiting {
                reason: waiting.reason.clone().unwrap_or_default(),
                message: waiting.message.clone().unwrap_or_default(),
            }),
            ended: ended.map(|ended| Ended {
                code: ended.exit_code,
                signal: ended.signal,
                reason: ended.reason.clone().unwrap_or_default(),
                message: ended.message.clone().unwrap_or_default(),
            }),
        }
    }
}
