//! What was seen of the cluster. Decisions read it and change nothing.

mod deployed;
mod front;
mod pod;
mod table;

pub use deployed::{Deployed, Progress};
pub use front::{Front, InEffect};
pub use pod::{Container, Ended, Pod, Waiting};
pub use table::Table;

use kube::core::ObjectMeta;

use crate::api;

/// Everything that decisions may look at.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The ksvcs.
    pub services: Table<api::Service>,
    /// The Configurations.
    pub configurations: Table<api::Configuration>,
    /// The Revisions.
    pub revisions: Table<api::Revision>,
    /// The Routes.
    pub routes: Table<api::Route>,
    /// The `DomainMapping`s.
    pub mappings: Table<api::DomainMapping>,
    /// The `ClusterDomainClaim`s; their namespace is empty.
    pub claims: Table<api::ClusterDomainClaim>,
    /// The Deployments of Revisions.
    pub deployments: Table<Deployed>,
    /// All Services of Kubernetes itself.
    pub fronts: Table<Front>,
    /// The pods of Revisions.
    pub pods: Table<Pod>,
}

/// Returns the uid of the object that controls this one.
pub(crate) fn owner(metadata: &ObjectMeta) -> Option<String> {
    let owners = metadata.owner_references.iter().flatten();
    owners.into_iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone())
}
