//! Changes that make a Service Ebb's, and its own again.

use ebb_annotations::keys;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Map, Value, json};

use super::{Claim, Labels, selector};

/// Where the selector should be.
#[derive(Clone, Debug, Default, PartialEq)]
enum Move {
    #[default]
    Nowhere,
    OutOfTheSpec,
    IntoTheSpec(Labels),
}

/// The changes that a Service's spec and annotations need.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Change {
    selector: Move,
    /// Annotations to write, or to remove if `None`.
    annotations: Vec<(&'static str, Option<String>)>,
}

impl Change {
    /// Makes Ebb the only publisher of the Service's endpoints, and keeps its selector in an annotation.
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

    /// Makes the Service a route, without a selector and with a port on the activators. Writes down `valid`, the
    /// split if it is valid now, for when it is not.
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

    /// Makes the Service no longer a route.
    pub(crate) fn end_route(service: &Service) -> Self {
        let mut change = Self::default();
        for key in [keys::ACTIVATOR_PORT, keys::VALID_SPLIT, keys::ROLLOUT] {
            change.annotate(service, key.name, None);
        }
        change
    }

    /// Restores the Service as if Ebb had never changed it.
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

    /// Sets the progress of the route's rollout; `None` removes it.
    pub(crate) fn set_rollout(&mut self, service: &Service, rollout: Option<String>) {
        self.annotate(service, keys::ROLLOUT.name, rollout);
    }

    /// Sets what is wrong with the Service; `None` removes it.
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

    /// Returns a JSON merge patch that applies only to the version of the object that it was made from.
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
                // A merge patch keeps other labels, so each label to remove is named.
                let there = super::own_selector(service).unwrap_or_default();
                let mut wanted: Map<String, Value> =
                    there.into_keys().map(|label| (label, Value::Null)).collect();
                wanted.extend(selector.iter().map(|(label, value)| (label.clone(), json!(value))));
                patch["spec"] = json!({ "selector": wanted });
            }
        }
        patch
    }

    /// Applies the change to the object, as the answer of an admission webhook.
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
