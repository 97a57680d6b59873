//! What is wrong with a revision, or with the template of revisions.
//!
//! All faults are found at once, in the reference's words, of objects that have their defaults already. Where the
//! reference names a wrong path, the path here is the right one.

mod annotations;
mod container;
mod env;
mod flagged;
mod init;
mod mount;
mod pod;
mod ports;
mod probe;
mod projected;
mod quantity;
mod scaling;
mod security;
mod shape;
mod sidecar;
#[cfg(test)]
mod tests;
mod volume;

use super::fault::Faults;
use crate::{
    api::{RevisionSpec, RevisionTemplate},
    config::Config,
};

pub(super) use quantity::{canonical, nanos};

/// Returns what is wrong with a template, with paths as `spec.containers[0].image` and
/// `metadata.annotations.autoscaling.knative.dev/min-scale`.
///
/// Its name is not looked at, because that depends on the object which has the template.
pub fn template_faults(template: &RevisionTemplate, config: &Config) -> Faults {
    let nothing = RevisionSpec::default();
    let spec = spec_faults(template.spec.as_ref().unwrap_or(&nothing), config).via_field("spec");
    let Some(metadata) = &template.metadata else { return spec };
    spec.and(annotations::faults(&metadata.annotations, config).via_field("metadata.annotations"))
}

/// Returns what is wrong with the spec of a revision, with paths as `containers[0].image`.
pub fn spec_faults(spec: &RevisionSpec, config: &Config) -> Faults {
    request_faults(spec, config).and(pod::faults(spec, &config.features))
}

/// Returns what is wrong with how requests are taken. Unlike the reference, the time limits of the head and of gaps
/// have bounds too; a time limit of 0 is the default, or none.
fn request_faults(spec: &RevisionSpec, config: &Config) -> Faults {
    let defaults = &config.defaults;
    let least_concurrency = i64::from(!defaults.allow_container_concurrency_zero);
    let bounded = [
        (
            "containerConcurrency",
            spec.container_concurrency,
            least_concurrency,
            defaults.max_container_concurrency,
        ),
        ("timeoutSeconds", spec.timeout_seconds, 0, defaults.max_timeout_seconds),
        ("responseStartTimeoutSeconds", spec.response_start_timeout_seconds, 0, defaults.max_timeout_seconds),
        ("idleTimeoutSeconds", spec.idle_timeout_seconds, 0, defaults.max_timeout_seconds),
    ];
    let outside = |(name, value, low, high): (&str, Option<i64>, i64, i64)| {
        let value = value.filter(|value| !(low..=high).contains(value))?;
        Some(Faults::out_of_bounds(value, low, high, name))
    };
    bounded.into_iter().filter_map(outside).collect()
}
