//! What watches and answers of the API server tell.

use std::collections::{BTreeMap, HashSet};

use ebb_cluster::watches::{Name, name_of};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod as PodObject, Service},
};
use kube::core::DynamicObject;

use crate::{
    api,
    outcome::{Kind, Reference},
    seen::{Deployed, Front, Pod},
};

/// A fact about the cluster.
#[derive(Clone, Debug)]
pub enum Fact {
    /// An object exists, and is like this.
    Is(Found),
    /// An object is gone; its uid, if that is known.
    Gone(Reference, String),
    /// These are all objects of a kind.
    Listed(Kind, HashSet<Name>),
    /// A `ConfigMap` of the installation, by its name, with its data; `None` if there is none.
    Settings(String, Option<BTreeMap<String, String>>),
    /// These are all `ConfigMap`s of the installation.
    SettingsListed(HashSet<Name>),
}

/// An object, as it was found.
#[derive(Clone, Debug)]
pub enum Found {
    /// A ksvc.
    Service(Box<api::Service>),
    /// A Configuration.
    Configuration(Box<api::Configuration>),
    /// A Revision.
    Revision(Box<api::Revision>),
    /// A Route.
    Route(Box<api::Route>),
    /// A `DomainMapping`.
    DomainMapping(Box<api::DomainMapping>),
    /// A `ClusterDomainClaim`.
    Claim(Box<api::ClusterDomainClaim>),
    /// A Deployment.
    Deployment(Name, Box<Deployed>),
    /// A Service of Kubernetes itself.
    Front(Name, Box<Front>),
    /// A pod of a Revision.
    Pod(Name, Box<Pod>),
}

impl Fact {
    /// Returns whether this tells how that object is.
    pub fn is_about(&self, of: &Reference) -> bool {
        matches!(self, Self::Is(found) if found.reference() == *of)
    }
}

impl Found {
    /// Returns its kind and name.
    pub fn reference(&self) -> Reference {
        let named = |kind, (namespace, name): &Name| Reference::new(kind, namespace, name);
        match self {
            Self::Service(object) => Reference::to(Kind::Service, &object.metadata),
            Self::Configuration(object) => Reference::to(Kind::Configuration, &object.metadata),
            Self::Revision(object) => Reference::to(Kind::Revision, &object.metadata),
            Self::Route(object) => Reference::to(Kind::Route, &object.metadata),
            Self::DomainMapping(object) => Reference::to(Kind::DomainMapping, &object.metadata),
            Self::Claim(object) => Reference::to(Kind::Claim, &object.metadata),
            Self::Deployment(name, _) => named(Kind::Deployment, name),
            Self::Front(name, _) => named(Kind::Front, name),
            Self::Pod(name, _) => named(Kind::Pod, name),
        }
    }

    /// Reads an object of `kind`; `None` if it is none.
    pub fn read(kind: Kind, object: DynamicObject) -> Option<Self> {
        let name = name_of(&object.metadata);
        Some(match kind {
            Kind::Service => Self::Service(Box::new(object.try_parse().ok()?)),
            Kind::Configuration => Self::Configuration(Box::new(object.try_parse().ok()?)),
            Kind::Revision => Self::Revision(Box::new(object.try_parse().ok()?)),
            Kind::Route => Self::Route(Box::new(object.try_parse().ok()?)),
            Kind::DomainMapping => Self::DomainMapping(Box::new(object.try_parse().ok()?)),
            Kind::Claim => Self::Claim(Box::new(object.try_parse().ok()?)),
            Kind::Deployment => {
                Self::Deployment(name, Box::new(Deployed::of(&object.try_parse::<Deployment>().ok()?)))
            }
            Kind::Front => Self::Front(name, Box::new(Front::of(&object.try_parse::<Service>().ok()?))),
            Kind::Pod => Self::Pod(name, Box::new(Pod::of(&object.try_parse::<PodObject>().ok()?)?)),
        })
    }
}
