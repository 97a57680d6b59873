//! What follows from an object: its status, and writes on others.

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service as Front},
};
use kube::core::{ApiResource, ObjectMeta};
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::{ClusterDomainClaim, Configuration, DomainMapping, Revision, Route, Service};

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

/// A kind of object.
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
    /// A pod.
    Pod,
}

impl Object {
    /// Returns its kind and name.
    pub fn reference(&self) -> Reference {
        let (kind, meta) = match self {
            Self::Configuration(object) => (Kind::Configuration, &object.metadata),
            Self::Revision(object) => (Kind::Revision, &object.metadata),
            Self::Route(object) => (Kind::Route, &object.metadata),
            Self::Claim(object) => (Kind::Claim, &object.metadata),
            Self::Deployment(object) => (Kind::Deployment, &object.metadata),
            Self::Front(object) => (Kind::Front, &object.metadata),
        };
        Reference::to(kind, meta)
    }

    /// Returns it as JSON, with its kind.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Configuration(object) => to_value(Kind::Configuration, &**object),
            Self::Revision(object) => to_value(Kind::Revision, &**object),
            Self::Route(object) => to_value(Kind::Route, &**object),
            Self::Claim(object) => to_value(Kind::Claim, &**object),
            Self::Deployment(object) => to_value(Kind::Deployment, &**object),
            Self::Front(object) => to_value(Kind::Front, &**object),
        }
    }
}

/// Returns an object as JSON, with its kind.
pub fn to_value(kind: Kind, object: &impl Serialize) -> Value {
    // Objects have no keys but text, and no numbers that JSON lacks.
    let mut value = serde_json::to_value(object).unwrap_or_default();
    let (api_version, kind) = kind.in_words();
    value["apiVersion"] = json!(api_version);
    value["kind"] = json!(kind);
    value
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Service,
        Self::Configuration,
        Self::Revision,
        Self::Route,
        Self::DomainMapping,
        Self::Claim,
        Self::Deployment,
        Self::Front,
        Self::Pod,
    ];

    /// Returns its group and version, and its name.
    pub fn in_words(self) -> (&'static str, &'static str) {
        match self {
            Self::Service => ("serving.knative.dev/v1", "Service"),
            Self::Configuration => ("serving.knative.dev/v1", "Configuration"),
            Self::Revision => ("serving.knative.dev/v1", "Revision"),
            Self::Route => ("serving.knative.dev/v1", "Route"),
            Self::DomainMapping => ("serving.knative.dev/v1beta1", "DomainMapping"),
            Self::Claim => ("networking.internal.knative.dev/v1alpha1", "ClusterDomainClaim"),
            Self::Deployment => ("apps/v1", "Deployment"),
            Self::Front => ("v1", "Service"),
            Self::Pod => ("v1", "Pod"),
        }
    }

    /// Returns what the API calls it.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::Configuration => ApiResource::erase::<Configuration>(&()),
            Self::Revision => ApiResource::erase::<Revision>(&()),
            Self::Route => ApiResource::erase::<Route>(&()),
            Self::DomainMapping => ApiResource::erase::<DomainMapping>(&()),
            Self::Claim => ApiResource::erase::<ClusterDomainClaim>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::Front => ApiResource::erase::<Front>(&()),
            Self::Pod => ApiResource::erase::<Pod>(&()),
        }
    }
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

impl Reference {
    /// Returns the reference to an object.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Returns the reference to the object of this kind with this metadata.
    pub fn to(kind: Kind, meta: &ObjectMeta) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Self { kind, namespace: text(&meta.namespace), name: text(&meta.name) }
    }
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
