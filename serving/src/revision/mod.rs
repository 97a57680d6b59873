//! From a Revision to the Deployment and the Service that run it.
//!
//! The Service, named as the Revision, makes it one that Ebb scales. Once Ebb serves it, and the digests of the images
//! are known, the Deployment is created: Ebb adds the queue-proxy to its pods, and scales it. From then on, the
//! Revision's conditions follow from the Deployment and its pods.

mod cause;
mod cluster;
mod deployment;
mod front;
mod images;
mod labels;
mod pod;
mod probe;
mod scaling;
mod stage;
#[cfg(test)]
mod tests;
mod verdict;

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use self::{
    cause::Causes,
    images::Digests,
    verdict::{CONTAINER_HEALTHY, Evidence, RESOURCES_AVAILABLE},
};
use crate::{
    api::{Revision, RevisionStatus},
    conditions::{Conditions, READY},
    config::Config,
    outcome::{Event, Outcome},
    seen::Seen,
};

pub use images::{Images, images_of};
pub use pod::{port, protocol, serving};
pub use scaling::annotations;
pub(crate) use scaling::deployment_name;

const DEPENDENTS: &[&str] = &[CONTAINER_HEALTHY, RESOURCES_AVAILABLE];

/// Returns what follows from `revision`: its status, and what to write so that it runs. `images` is what is known of
/// its images ([`images_of`]).
pub fn examine(
    revision: &Revision,
    images: &Images,
    seen: &Seen,
    config: &Config,
    now: Timestamp,
) -> Outcome<RevisionStatus> {
    let mut status = revision.status.clone().unwrap_or_default();
    status.observed.observed_generation = revision.metadata.generation;
    if revision.metadata.deletion_timestamp.is_some() {
        return Outcome { status, writes: Vec::new(), events: Vec::new(), again: None };
    }
    let namespace = revision.namespace().unwrap_or_default();
    let pods = seen.pods.of_namespace(&namespace).filter(|pod| pod.revision == revision.name_any());
    let deadline = u64::try_from(deployment::progress_deadline(revision, config)).unwrap_or_default();
    let evidence = Evidence {
        before: &status.observed.conditions,
        causes: Causes::of(pods.map(AsRef::as_ref)),
        initial_pods: scaling::initial_pods(revision, config),
        deadline: Duration::from_secs(deadline),
        is_always_schedulable: config.deployment.pod_is_always_schedulable,
        now,
    };
    let (stage, writes) = stage::advance(revision, images, seen, config, evidence.was_available());
    let verdict = evidence.judge(&stage);
    let mut conditions = Conditions::new(DEPENDENTS, &status.observed.conditions, now);
    let was_ready = conditions.is_true(READY);
    verdict.apply(&mut conditions);
    let becomes_ready = !was_ready && conditions.is_true(READY);
    status.observed.conditions = conditions.finish();
    if let Digests::Known { containers, init_containers } = images::digests(revision, images, config) {
        status.container_statuses = containers;
        status.init_container_statuses = init_containers;
    }
    let deployed = if let stage::Stage::Running(deployed) = &stage { Some(deployed) } else { None };
    status.actual_replicas = deployed.map(|deployed| deployed.ready);
    status.desired_replicas = deployed.map(|deployed| deployed.wanted);
    let ready = Event {
        is_warning: false,
        reason: "RevisionReady",
        text: "Revision becomes ready upon all resources being ready".to_owned(),
    };
    Outcome {
        status,
        writes,
        events: becomes_ready.then_some(ready).into_iter().collect(),
        again: verdict.again,
    }
}
