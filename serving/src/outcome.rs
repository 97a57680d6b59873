//! What follows from an object: its status, and writes on others.

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service as Front};
use serde_json::Value;

use crate::api::{ClusterDomainClaim, Configuration, Revision, Route};

/// What follows from an object of the kind with the status `S`.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<S> {
    /// The status that it should have, with `observedGeneration`. It is written if it differs.
    pub status: S,
    /// What to write, in this order. If one fails, the rest is left, and the object is examined again later.
    pub writes: Vec<Write>,
    /// Events on the object.
    pub events: Vec<Event>,
    /// When to examine the object again even if nothing changes.
    pub again: Option<Timestamp>,
}

/// A write on another object, or on the object's own metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Creates it. If an object of that name exists, it is read, and this object is examined again.
    Create(Object),
    /// Replaces it as it was seen (it has a `resourceVersion`); a conflict is retried once the newer one is seen.
    Replace(Object),
    /// Applies it by server-side apply: fields that it does not name stay as they are, and belong to others.
    Apply(Object),
    /// Changes a part of it, by a JSON merge patch.
    Merge(Reference, Value),
    /// Deletes it, if it still has this uid.
    Delete(Reference, String),
}

/// An object to write.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A Configuration.
    Configuration(Box<Configuration>),
    /// A Revision.
    Revision(Box<Revision>),
    /// A Route.
    Route(Box<Route>),
    /// A `ClusterDomainClaim`.
    Claim(Box<ClusterDomainClaim>),
    /// A Deployment, which runs a Revision.
    Deployment(Box<Deployment>),
    /// A Service of Kubernetes itself, which is what Ebb scales or routes by.
    Front(Box<Front>),
}

/// The kinds that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `serving.knative.dev` Service.
    Service,
    /// Configuration.
    Configuration,
    /// Revision.
    Revision,
    /// Route.
    Route,
    /// `DomainMapping`.
    DomainMapping,
    /// `ClusterDomainClaim`, which has no namespace.
    Claim,
    /// Deployment.
    Deployment,
    /// A Service of Kubernetes itself.
    Front,
}

/// An object by its kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty if it has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// An Event on the object that is examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether somebody should act on it.
    pub is_warning: bool,
    /// The reason, in one word.
    pub reason: &'static str,
    /// The text, in a sentence.
    pub text: String,
}
