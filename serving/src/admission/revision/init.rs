//! Containers that run before the others. They need a flag.

use std::collections::BTreeSet;

use super::{
    super::fault::Faults,
    container::{self, Role},
    pod::duplicate_name,
    volume::Volumes,
};
use crate::{
    api::{Container, RevisionSpec},
    config::{Feature, Features},
};

/// Returns what is wrong with the init containers.
pub(super) fn faults(spec: &RevisionSpec, volumes: &Volumes<'_>, features: &Features) -> Faults {
    let containers = &spec.init_containers;
    if containers.is_empty() {
        return Faults::default();
    }
    if !features.is_enabled(Feature::InitContainers) {
        let count = containers.len();
        let off = "pod spec support for init-containers is off";
        return Faults::nowhere(format!("{off}, but found {count} init containers"));
    }
    let mut names: BTreeSet<&str> = spec.containers.iter().map(|other| other.name.as_str()).collect();
    let one = containers.iter().enumerate().map(|(index, container)| {
        duplicate_name(names.insert(&container.name), &container.name)
            .and(probes(container))
            .and(container::faults(container, Role::Init, volumes, features))
            .via_index("initContainers", index)
    });
    one.collect()
}

fn probes(container: &Container) -> Faults {
    let probes = [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ];
    let given = probes.into_iter().filter(|(_, probe)| probe.is_some());
    given.map(|(name, _)| Faults::generic("field not allowed in an init container", name)).collect()
}
