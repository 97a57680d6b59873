//! What a Service of Kubernetes itself is like.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

use crate::keys;

/// The condition by which Ebb says that a Service's hosts and split are in effect.
const IN_EFFECT: &str = "ebb.dev/InEffect";

/// What is known of a Service of Kubernetes itself. Of one that belongs to nobody here, only who owns it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Front {
    /// Its uid.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// The uid of the object that controls it.
    pub owner: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// What Ebb says of its hosts and its split; `None` if nothing yet.
    pub in_effect: Option<InEffect>,
}

/// Whether what a Service asks for is in effect on every activator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InEffect {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The value of `ebb.dev/generation` that this is about.
    pub generation: Option<i64>,
    /// Why, as one word.
    pub reason: String,
    /// Why, in words.
    pub message: String,
}

impl Front {
    /// Reads a Service.
    pub fn of(service: &Service) -> Self {
        let labels = service.labels();
        let is_ours = [keys::ROUTE, keys::REVISION].iter().any(|key| labels.contains_key(*key));
        let front = Self {
            uid: service.uid().unwrap_or_default(),
            resource_version: service.resource_version().unwrap_or_default(),
            owner: super::owner(&service.metadata),
            ..Self::default()
        };
        if !is_ours {
            return front;
        }
        let conditions = service.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let in_effect = conditions.into_iter().find(|one| one.type_ == IN_EFFECT).map(|one| InEffect {
            status: one.status.clone(),
            generation: one.observed_generation,
            reason: one.reason.clone(),
            message: one.message.clone(),
        });
        Self { labels: labels.clone(), annotations: service.annotations().clone(), in_effect, ..front }
    }
}
