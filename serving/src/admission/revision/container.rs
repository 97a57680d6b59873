//! A container by itself.

use super::{
    super::fault::{Faults, HERE},
    env, mount,
    ports::{self, ServingPort},
    probe, security,
    volume::Volumes,
};
use crate::{api::Container, config::Features, image::Image};

/// The name of the container that every pod gets.
const RESERVED_NAME: &str = "queue-proxy";

/// What a container is in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It takes requests.
    Serving,
    /// It runs beside the one that does.
    Sidecar,
    /// It runs before the others, and ends.
    Init,
}

/// Returns what is wrong with the container that takes requests.
pub(super) fn serving(
    container: &Container,
    port: &ServingPort<'_>,
    volumes: &Volumes<'_>,
    features: &Features,
) -> Faults {
    let of = |probe: &Option<_>| probe.as_ref().map(|probe| probe::serving(probe, port)).unwrap_or_default();
    let readiness = container.readiness_probe.as_ref().map(probe::readiness).unwrap_or_default();
    of(&container.liveness_probe)
        .via_field("livenessProbe")
        .and(of(&container.readiness_probe).and(readiness).via_field("readinessProbe"))
        .and(of(&container.startup_probe).via_field("startupProbe"))
        .and(faults(container, Role::Serving, volumes, features))
}

/// Returns what is wrong with a container, except for its probes.
pub(super) fn faults(
    container: &Container,
    role: Role,
    volumes: &Volumes<'_>,
    features: &Features,
) -> Faults {
    if *container == Container::default() {
        return Faults::missing(HERE);
    }
    name(&container.name)
        .and(env::faults(&container.env, role, features))
        .and(env::faults_of_sources(&container.env_from))
        .and(image(container.image.as_deref().unwrap_or_default()))
        .and(match role {
            Role::Init => ports::of_init(&container.ports),
            Role::Serving | Role::Sidecar => ports::of_container(&container.ports),
        })
        .and(
            security::of_container(container.security_context.as_ref(), features)
                .via_field("securityContext"),
        )
        .and(last_words(container.termination_message_policy.as_deref().unwrap_or_default()))
        .and(mount::faults(&container.volume_mounts, volumes, features))
}

fn name(name: &str) -> Faults {
    if name == RESERVED_NAME {
        return Faults::generic(format!("{name:?} is a reserved container name"), "name");
    }
    Faults::default()
}

fn image(text: &str) -> Faults {
    if text.is_empty() {
        return Faults::missing("image");
    }
    match Image::parse(text) {
        Ok(_) => Faults::default(),
        Err(why) => Faults::generic("Failed to parse image reference", "image")
            .with_details(format!("image: {text:?}, error: {why}")),
    }
}

fn last_words(policy: &str) -> Faults {
    if ["", "File", "FallbackToLogsOnError"].contains(&policy) {
        return Faults::default();
    }
    Faults::invalid_value(policy, "terminationMessagePolicy")
}
