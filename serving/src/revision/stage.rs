//! How far a Revision is, and what to write next.

use std::sync::Arc;

use kube::ResourceExt;

use super::{
    deployment, front,
    images::{Digests, Images, digests},
    scaling,
};
use crate::{
    api::Revision,
    config::Config,
    outcome::Write,
    seen::{Deployed, Seen},
};

/// How far a Revision is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    /// No pod can be made of it, for this reason.
    Impossible(String),
    /// An object of another owner has the name of one of its objects.
    Taken {
        /// The kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The digests of its images are being asked for.
    Resolving,
    /// An image has no digest.
    Missing {
        /// The image, as in the spec.
        image: String,
        /// The reason.
        why: String,
    },
    /// Ebb does not serve its Service yet.
    Claiming,
    /// Ebb cannot serve its Service, for this reason.
    Refused(String),
    /// Its Deployment is being created.
    Starting,
    /// It has its Deployment.
    Running(Arc<Deployed>),
}

/// Returns how far `revision` is, and the writes that get it further. `was_available` says that it had its initial
/// pods once.
pub(super) fn advance(
    revision: &Revision,
    images: &Images,
    seen: &Seen,
    config: &Config,
    was_available: bool,
) -> (Stage, Vec<Write>) {
    if revision.spec.containers.is_empty() {
        return (Stage::Impossible("The Revision has no containers.".to_owned()), Vec::new());
    }
    let namespace = revision.namespace().unwrap_or_default();
    let (name, deployment_name) = (revision.name_any(), scaling::deployment_name(revision));
    let front = seen.fronts.get(&namespace, &name);
    let deployed = seen.deployments.get(&namespace, &deployment_name);
    if let Some(front) = front.filter(|front| !front::is_own(revision, front)) {
        if front::is_left_behind(revision, front) {
            let delete = Write::Delete(front::reference(revision), front.uid.clone());
            return (Stage::Claiming, vec![delete]);
        }
        return (Stage::Taken { kind: "Service", name }, Vec::new());
    }
    if let Some(other) = deployed.filter(|deployed| deployed.owner != revision.metadata.uid) {
        // Its pods have the uid of a Revision that does not exist any more.
        if other.owner.is_none() && other.hash.is_some() {
            let delete = Write::Delete(deployment::reference(revision), other.uid.clone());
            return (Stage::Starting, vec![delete]);
        }
        return (Stage::Taken { kind: "Deployment", name: deployment_name }, Vec::new());
    }
    let mut writes: Vec<Write> = front::write(revision, front.map(Arc::as_ref), config).into_iter().collect();
    let plan = match digests(revision, images, config) {
        Digests::Known { containers, init_containers } => {
            Ok(deployment::plan(revision, [&containers, &init_containers], config))
        }
        Digests::Pending => Err(Stage::Resolving),
        Digests::Missing { image, why } => Err(Stage::Missing { image, why }),
    };
    let stage = match (plan, deployed) {
        (plan, Some(deployed)) => {
            // A change starts new pods, which would get no queue-proxy before.
            let plan = plan.ok().filter(|_| front.is_some_and(|front| front::is_taken(front)));
            writes.extend(plan.and_then(|plan| plan.update(revision, deployed)));
            Stage::Running(deployed.clone())
        }
        (Err(stage), None) => stage,
        (Ok(plan), None) => match front {
            Some(front) if front::is_taken(front) => {
                // A Revision without requests starts with its first one.
                let rests = was_available && scaling::is_in_reserve(revision);
                let pods = if rests { 0 } else { scaling::initial_pods(revision, config) };
                match plan.create(revision, pods) {
                    Ok(create) => {
                        writes.push(create);
                        Stage::Starting
                    }
                    Err(why) => Stage::Impossible(format!("The pod's spec is invalid: {why}")),
                }
            }
            Some(front) => match front::refusal(front) {
                Some(why) => Stage::Refused(why.to_owned()),
                None => Stage::Claiming,
            },
            None => Stage::Claiming,
        },
    };
    (stage, writes)
}
