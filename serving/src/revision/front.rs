//! The Service of a Revision, which makes it one that Ebb scales.
//!
//! Ebb takes the selector away from it and puts annotations of its own on it. Neither is written here again.

use ebb_annotations::keys as ebb;
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt;
use serde_json::{Map, Value, json};

use super::{
    labels::{Texts, labels, selector},
    pod, scaling,
};
use crate::{
    api::Revision,
    config::Config,
    keys,
    outcome::{Kind, Object, Reference, Write},
    owned,
    seen::Front,
};

/// The port of every Revision's Service.
const PORT: i32 = 80;
/// The name of a port whose app speaks HTTP/2 without TLS.
const H2C: &str = "h2c";

/// Returns the write that makes the Service of a Revision, or makes it what it should be; `None` if it is.
pub(super) fn write(revision: &Revision, there: Option<&Front>, config: &Config) -> Option<Write> {
    let annotations = scaling::annotations(revision, config);
    let Some(front) = there else {
        let front = service(revision, annotations);
        return Some(Write::Create(Object::Front(Box::new(front))));
    };
    let mut metadata = Map::new();
    let changes = [
        ("labels", changed(&front.labels, &labels(revision), |_| false)),
        ("annotations", changed(&front.annotations, &annotations, scaling::is_ours)),
    ];
    metadata.extend(changes.into_iter().filter(|(_, change)| !change.is_empty()).map(|(of, change)| {
        let change: Map<String, Value> = change.into_iter().map(|(key, value)| (key, json!(value))).collect();
        (of.to_owned(), Value::Object(change))
    }));
    if front.owner.is_none() {
        metadata.insert("ownerReferences".to_owned(), json!([owned::owner_reference(revision)]));
    }
    (!metadata.is_empty()).then(|| Write::Merge(reference(revision), json!({ "metadata": metadata })))
}

/// Returns whether Ebb serves the Revision, so that its pods get their queue-proxy.
pub(super) fn is_taken(front: &Front) -> bool {
    front.annotations.contains_key(ebb::ACTIVATOR_PORT.name)
}

/// Returns why Ebb does not serve the Revision; `None` if it will.
pub(super) fn refusal(front: &Front) -> Option<&str> {
    front.annotations.get(ebb::STATUS.name).map(String::as_str)
}

/// Returns whether the Service was a Revision's of this name that was deleted without it, as in a restore from a
/// backup: it selects pods that do not exist any more.
pub(super) fn is_left_behind(revision: &Revision, front: &Front) -> bool {
    let is_of_name = front.labels.get(keys::REVISION).is_some_and(|name| *name == revision.name_any());
    front.owner.is_none() && is_of_name && !is_of_uid(revision, front)
}

/// Returns whether the Service is the Revision's, even if it lost its owner.
pub(super) fn is_own(revision: &Revision, front: &Front) -> bool {
    match &front.owner {
        Some(owner) => Some(owner) == revision.metadata.uid.as_ref(),
        None => is_of_uid(revision, front),
    }
}

/// Returns the Service by its name.
pub(super) fn reference(revision: &Revision) -> Reference {
    let namespace = revision.namespace().unwrap_or_default();
    Reference { kind: Kind::Front, namespace, name: revision.name_any() }
}

fn is_of_uid(revision: &Revision, front: &Front) -> bool {
    revision.metadata.uid.is_some() && front.labels.get(keys::REVISION_UID) == revision.metadata.uid.as_ref()
}

fn service(revision: &Revision, annotations: Texts) -> Service {
    let is_h2c = pod::protocol(&revision.spec).is_some_and(|name| name == H2C);
    let port = ServicePort {
        name: Some(if is_h2c { H2C } else { "http" }.to_owned()),
        app_protocol: is_h2c.then(|| "kubernetes.io/h2c".to_owned()),
        port: PORT,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(pod::port(&revision.spec))),
        ..ServicePort::default()
    };
    Service {
        metadata: owned::metadata(revision, &revision.name_any(), labels(revision), annotations),
        spec: Some(ServiceSpec {
            ports: Some(vec![port]),
            selector: Some(selector(revision)),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Returns the keys that differ from `wanted`, with their values; those that should not be there, although `is_ours`
/// says that nobody else writes them, have `None`.
pub(super) fn changed(
    there: &Texts,
    wanted: &Texts,
    is_ours: impl Fn(&str) -> bool,
) -> Vec<(String, Option<String>)> {
    let differs = wanted.iter().filter(|(key, value)| there.get(*key) != Some(value));
    let differs = differs.map(|(key, value)| (key.clone(), Some(value.clone())));
    let extra = there.keys().filter(|key| !wanted.contains_key(*key) && is_ours(key));
    differs.chain(extra.map(|key| (key.clone(), None))).collect()
}
