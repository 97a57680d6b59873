//! Builds the HTTPRoutes of one Service.

use ebb_core::{Host, ServiceKey};
use kube::core::{ApiResource, GroupVersionKind, ObjectMeta};
use serde_json::{Value, json};

use super::Parent;

/// Group and version of the kind.
pub(super) const GROUP_VERSION: &str = "gateway.networking.k8s.io/v1";
pub(super) const KIND: &str = "HTTPRoute";
/// The label on Ebb's HTTPRoutes, and its value.
pub(super) const LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "ebb");
/// Maximum number of hosts in one HTTPRoute, by the kind's schema.
const HOSTS_EACH: usize = 16;

/// A Service, and the hosts whose requests go to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    /// The Service's uid.
    pub(crate) uid: String,
    /// The Service's port whose requests Ebb counts.
    pub(crate) port: u16,
    /// The hosts that it has.
    pub(crate) hosts: Vec<Host>,
}

/// The facts about one of Ebb's HTTPRoutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The Service that owns it.
    pub(super) owner: ServiceKey,
    pub(super) uid: String,
    /// Increases with each change of the spec.
    pub(super) generation: i64,
}

impl Seen {
    /// Returns the facts about an HTTPRoute; `None` if it is not Ebb's, because it lacks the label, the Service as
    /// its owner, or the Service's name.
    pub(super) fn of(metadata: &ObjectMeta) -> Option<Self> {
        let (label, ours) = LABEL;
        if metadata.labels.as_ref()?.get(label)? != ours {
            return None;
        }
        let mut owners = metadata.owner_references.iter().flatten();
        let owner = owners.find(|owner| owner.api_version == "v1" && owner.kind == "Service")?;
        let is_named_after = metadata.name.as_ref()?.starts_with(&prefix(&owner.name));
        is_named_after.then_some(())?;
        Some(Self {
            owner: ServiceKey::new(metadata.namespace.clone()?, owner.name.clone()),
            uid: metadata.uid.clone()?,
            generation: metadata.generation.unwrap_or_default(),
        })
    }
}

/// Returns the resource of HTTPRoutes in the API.
pub(super) fn resource() -> ApiResource {
    let (group, version) = GROUP_VERSION.split_once('/').unwrap_or_default();
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, KIND), "httproutes")
}

/// Returns the prefix of the names of a Service's HTTPRoutes, which is the first one's name.
pub(super) fn prefix(service: &str) -> String {
    format!("{service}-ebb")
}

/// Returns the HTTPRoutes of a Service with their names: one for each 16 hosts.
pub(super) fn objects(key: &ServiceKey, backend: &Backend, parent: &Parent) -> Vec<(String, Value)> {
    let of = |(index, hosts): (usize, &[Host])| {
        let first = prefix(&key.name);
        let name = if index == 0 { first } else { format!("{first}-{}", index + 1) };
        let object = object(&name, key, backend, parent, hosts);
        (name, object)
    };
    backend.hosts.chunks(HOSTS_EACH).enumerate().map(of).collect()
}

fn object(name: &str, key: &ServiceKey, backend: &Backend, parent: &Parent, hosts: &[Host]) -> Value {
    let (label, ours) = LABEL;
    let mut gateway = json!({"namespace": parent.namespace, "name": parent.name});
    if let Some(listener) = &parent.listener {
        gateway["sectionName"] = json!(listener);
    }
    let hosts: Vec<&str> = hosts.iter().map(Host::as_str).collect();
    json!({
        "apiVersion": GROUP_VERSION,
        "kind": KIND,
        "metadata": {
            "name": name,
            "namespace": key.namespace,
            "labels": {label: ours},
            // Kubernetes deletes it with the Service.
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": key.name, "uid": backend.uid}],
        },
        "spec": {
            "parentRefs": [gateway],
            "hostnames": hosts,
            "rules": [{"backendRefs": [{"name": key.name, "port": backend.port}]}],
        },
    })
}
