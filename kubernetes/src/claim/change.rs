//! How a Service comes to be Ebb's, and its own again.

use ebb_annotations::keys;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Map, Value, json};

use super::{Claim, Labels, selector};

/// Where the selector is to go.
#[derive(Clone, Debug, Default, PartialEq)]
enum Move {
    #[default]
    Nowhere,
    OutOfTheSpec,
    IntoTheSpec(Labels),
}

/// A change of a Service: what its spec and its annotations are to be, where they are not.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Change {
    selector: Move,
    /// Annotations that are to be written, or removed.
    annotations: Vec<(&'static str, Option<String>)>,
}

impl Change {
    /// Nobody but Ebb is to publish the Service's endpoints, and its selector stays where Ebb finds it.
    pub(crate) fn take(service: &Service, claim: &Claim, activator_port: Option<u16>) -> Self {
        let mut change = Self::default();
        if claim.selector_in_place {
            change.selector = Move::OutOfTheSpec;
        }
        change.annotate(service, keys::SELECTOR.name, Some(selector::to_text(&claim.selector)));
        for key in [keys::VALID_SPLIT, keys::ROLLOUT] {
            change.annotate(service, key.name, None);
        }
        if let Some(port) = activator_port {
            change.annotate(service, keys::ACTIVATOR_PORT.name, Some(port.to_string()));
        }
        change
    }

    /// The Service is a route: it has no selector, and activators know it by that port. What is `valid` of its split now is
    /// written down for when it is not.
    pub(crate) fn route(service: &Service, activator_port: Option<u16>, valid: Option<String>) -> Self {
        let mut change = Self::default();
        change.annotate(service, keys::SELECTOR.name, None);
        if valid.is_some() {
            change.annotate(service, keys::VALID_SPLIT.name, valid);
        }
        if let Some(port) = activator_port {
            change.annotate(service, keys::ACTIVATOR_PORT.name, Some(port.to_string()));
        }
        change
    }

    /// The Service is a route no more.
    pub(crate) fn end_route(service: &Service) -> Self {
        let mut change = Self::default();
        for key in [keys::ACTIVATOR_PORT, keys::VALID_SPLIT, keys::ROLLOUT] {
            change.annotate(service, key.name, None);
        }
        change
    }

    /// The Service is as if Ebb had never been there.
    pub(crate) fn give_back(service: &Service, selector: &Labels) -> Self {
        let mut change = Self::default();
        if super::own_selector(service).as_ref() != Some(selector) {
            change.selector = Move::IntoTheSpec(selector.clone());
        }
        for key in [keys::SELECTOR, keys::ACTIVATOR_PORT, keys::VALID_SPLIT, keys::ROLLOUT, keys::STATUS] {
            change.annotate(service, key.name, None);
        }
        change
    }

    /// How far the route's rollout is, is to be written on it; `None`: nothing.
    pub(crate) fn set_rollout(&mut self, service: &Service, rollout: Option<String>) {
        self.annotate(service, keys::ROLLOUT.name, rollout);
    }

    /// What is wrong with the Service is to be written on it, or that nothing is.
    pub(crate) fn set_status(&mut self, service: &Service, status: Option<String>) {
        self.annotations.retain(|(key, _)| *key != keys::STATUS.name);
        self.annotate(service, keys::STATUS.name, status);
    }

    fn annotate(&mut self, service: &Service, key: &'static str, value: Option<String>) {
        let there = service.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
        if there != value.as_ref() {
            self.annotations.push((key, value));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.selector == Move::Nowhere && self.annotations.is_empty()
    }

    /// As a JSON merge patch that holds for the version of the object that it was made from.
    pub(crate) fn merge_patch(&self, service: &Service) -> Value {
        let annotations: Map<String, Value> =
            self.annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let mut patch = json!({
            "metadata": { "resourceVersion": service.metadata.resource_version, "annotations": annotations },
        });
        match &self.selector {
            Move::Nowhere => {}
            Move::OutOfTheSpec => patch["spec"] = json!({ "selector": null }),
            Move::IntoTheSpec(selector) => {
                // A merge patch adds to the labels that are there: each that is not to stay is named.
                let there = super::own_selector(service).unwrap_or_default();
                let mut wanted: Map<String, Value> =
                    there.into_keys().map(|label| (label, Value::Null)).collect();
                wanted.extend(selector.iter().map(|(label, value)| (label.clone(), json!(value))));
                patch["spec"] = json!({ "selector": wanted });
            }
        }
        patch
    }

    /// As the object that it is to become: what an admission webhook answers.
    pub(crate) fn apply(&self, service: &mut Service) {
        let selector = match &self.selector {
            Move::Nowhere => None,
            Move::OutOfTheSpec => Some(None),
            Move::IntoTheSpec(selector) => Some(Some(selector.clone())),
        };
        if let Some(selector) = selector {
            service.spec.get_or_insert_default().selector = selector;
        }
        if self.annotations.is_empty() {
            return;
        }
        let annotations = service.metadata.annotations.get_or_insert_default();
        for (key, value) in &self.annotations {
            match value {
                Some(value) => annotations.insert((*key).to_owned(), value.clone()),
                None => annotations.remove(*key),
            };
        }
    }
}
