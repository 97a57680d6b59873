use std::hash::{DefaultHasher, Hash, Hasher};

use ebb_core::ServiceKey;
use k8s_openapi::{api::discovery::v1::EndpointSlice, apimachinery::pkg::apis::meta::v1::ObjectMeta};

/// The label that names a slice's Service.
pub(crate) const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// The label that names a slice's manager.
pub(crate) const MANAGER_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
/// Its value on Ebb's slices.
pub(crate) const OURS: &str = "ebb.dev";

/// Who manages a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manager {
    Ebb,
    /// Kubernetes' own controllers: from the Service's selector, or from its Endpoints object.
    Cluster,
    /// Somebody else.
    Other,
}

/// One EndpointSlice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SliceFacts {
    pub(crate) manager: Manager,
    /// Whether any endpoint takes traffic.
    pub(crate) ready: bool,
    /// The digest of its content ([`digest`]).
    pub(crate) digest: u64,
}

impl SliceFacts {
    /// Returns the Service of a slice; `None` if it has none.
    pub(crate) fn service(slice: &ObjectMeta) -> Option<ServiceKey> {
        Some(ServiceKey::new(slice.namespace.clone()?, label(slice, SERVICE_LABEL)?))
    }

    /// Returns the facts about `slice`, and its Service; `None` if it has none.
    pub(crate) fn of(slice: &EndpointSlice) -> Option<(ServiceKey, Self)> {
        let service = Self::service(&slice.metadata)?;
        let manager = match label(&slice.metadata, MANAGER_LABEL) {
            Some(OURS) => Manager::Ebb,
            Some("endpointslice-controller.k8s.io" | "endpointslicemirroring-controller.k8s.io") => {
                Manager::Cluster
            }
            _ => Manager::Other,
        };
        let ready = slice.endpoints.iter().any(|endpoint| {
            endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
        });
        Some((service, Self { manager, ready, digest: digest(slice) }))
    }
}

fn label<'a>(slice: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    slice.labels.as_ref()?.get(name).map(String::as_str)
}

/// Returns a number that is equal for slices with the same content, ignoring the API server's defaults.
pub(crate) fn digest(slice: &EndpointSlice) -> u64 {
    let mut hasher = DefaultHasher::new();
    slice.address_type.hash(&mut hasher);
    for port in slice.ports.iter().flatten() {
        let name = port.name.as_deref().unwrap_or_default();
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        (name, protocol, port.port, port.app_protocol.as_deref()).hash(&mut hasher);
    }
    for endpoint in &slice.endpoints {
        let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
        let target = endpoint.target_ref.as_ref().and_then(|target| target.name.as_deref());
        (&endpoint.addresses, ready, endpoint.node_name.as_deref(), target).hash(&mut hasher);
    }
    hasher.finish()
}
