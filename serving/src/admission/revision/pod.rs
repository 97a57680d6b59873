//! The pod as a whole: its containers among each other, and what they share.

use std::collections::BTreeSet;

use super::{
    super::{fault::Faults, names},
    container::{self, Role},
    flagged, init,
    ports::{self, ServingPort},
    security, sidecar,
    volume::{self, Volumes},
};
use crate::{
    api::{Container, RevisionSpec},
    config::{Feature, Features},
};

/// Returns what is wrong with the pod.
pub(super) fn faults(spec: &RevisionSpec, features: &Features) -> Faults {
    let volumes = Volumes::of(&spec.volumes);
    let all = spec.init_containers.iter().chain(&spec.containers);
    flagged::faults(spec, features)
        .and(security::of_pod(spec.security_context.as_ref(), features).via_field("securityContext"))
        .and(account(spec))
        .and(volume::faults(&spec.volumes, &mounted(all), features))
        .and(init::faults(spec, &volumes, features))
        .and(ports::of_all(&spec.containers).via_field("containers[*]"))
        .and(containers(&spec.containers, &volumes, features))
}

fn account(spec: &RevisionSpec) -> Faults {
    let mut faults = Faults::default();
    if spec.automount_service_account_token == Some(true) {
        faults.add(Faults::disallowed("automountServiceAccountToken"));
    }
    if let Some(name) = spec.service_account_name.as_deref().filter(|name| !name.is_empty()) {
        for text in names::dns_1123_subdomain(name) {
            faults.add(Faults::invalid_value(name, "serviceAccountName").with_details(text));
        }
    }
    faults
}

/// Returns the names of the volumes that containers mount.
fn mounted<'a>(containers: impl Iterator<Item = &'a Container>) -> BTreeSet<&'a str> {
    containers.flat_map(|container| &container.volume_mounts).map(|mount| mount.name.as_str()).collect()
}

fn containers(containers: &[Container], volumes: &Volumes<'_>, features: &Features) -> Faults {
    let count = containers.len();
    if count == 0 {
        return Faults::missing("containers");
    }
    if count > 1 && !features.is_enabled(Feature::MultiContainer) {
        return Faults::nowhere(format!("multi-container is off, but found {count} containers"));
    }
    let port = ServingPort::of(containers);
    let mut names = BTreeSet::new();
    let faults = containers.iter().enumerate().map(|(index, container)| {
        let duplicate = duplicate_name(names.insert(container.name.as_str()), &container.name);
        let takes_requests = count == 1 || !container.ports.is_empty();
        let faults = if takes_requests {
            container::serving(container, &port, volumes, features)
        } else {
            let faults = container::faults(container, Role::Sidecar, volumes, features);
            sidecar::probes(container, features).and(faults)
        };
        duplicate.and(faults).via_index("containers", index)
    });
    faults.collect()
}

/// Returns the fault of a container's name that another container has.
pub(super) fn duplicate_name(is_new: bool, name: &str) -> Faults {
    if is_new {
        return Faults::default();
    }
    Faults::generic(format!("duplicate container name {name:?}"), "name")
}
