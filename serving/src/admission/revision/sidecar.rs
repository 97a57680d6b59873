//! Probes of a container beside the one that takes requests. They need a flag.

use super::{
    super::fault::{Faults, HERE},
    probe,
};
use crate::{
    api::{Container, Probe},
    config::{Feature, Features},
};

/// Returns what is wrong with the probes of such a container.
pub(super) fn probes(container: &Container, features: &Features) -> Faults {
    let has_flag = features.is_enabled(Feature::MultiContainerProbing);
    let of = |probe: &Option<Probe>, check: fn(&Probe) -> Faults| {
        probe.as_ref().map(if has_flag { check } else { without_flag }).unwrap_or_default()
    };
    of(&container.liveness_probe, probe::sidecar)
        .via_field("livenessProbe")
        .and(of(&container.readiness_probe, readiness).via_field("readinessProbe"))
        .and(of(&container.startup_probe, probe::sidecar).via_field("startupProbe"))
}

fn readiness(probe: &Probe) -> Faults {
    probe::sidecar(probe).and(probe::readiness(probe))
}

/// Returns the probe and each field that is set in it as what must not be set.
fn without_flag(probe: &Probe) -> Faults {
    let numbers = [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("periodSeconds", probe.period_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    let set = numbers.into_iter().filter(|(_, value)| value.is_some_and(|value| value != 0));
    Faults::disallowed(HERE).and(set.map(|(name, _)| Faults::disallowed(name)).collect())
}
