//! The plain Services by which Ebb routes, and whether what they ask for is in effect.

use std::collections::{BTreeMap, BTreeSet};

use ebb_annotations::keys as ebb;
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::Resource;
use serde_json::{Map, Value, json};

use crate::{
    keys,
    outcome::{Kind, Object, Reference, Write},
    owned,
    seen::{Front, Seen},
};

/// Counts the changes of what a Service asks for. Ebb says of which one it speaks.
const GENERATION: &str = "ebb.dev/generation";
/// What the split was made of, before targets became Revisions: it tells a new Revision from a changed target.
pub(super) const SOURCES: &str = "networking.internal.knative.dev/traffic";
/// The annotations that decide how requests reach a Service. They are as wanted, or absent.
const ROUTING: [&str; 9] = [
    ebb::SPLIT.name,
    ebb::SPLIT_BY.name,
    ebb::SPLIT_DURATION.name,
    ebb::HOSTS.name,
    ebb::TLS_SECRET.name,
    ebb::HTTPS_REDIRECT.name,
    ebb::MAX_CONNECTION_AGE.name,
    ebb::TUNNEL_IDLE_TIMEOUT.name,
    SOURCES,
];
/// Of those, the ones that an object may set for its Services.
pub(crate) const CHOSEN: [&str; 3] =
    [ebb::SPLIT_BY.name, ebb::MAX_CONNECTION_AGE.name, ebb::TUNNEL_IDLE_TIMEOUT.name];
/// Annotations with these prefixes say something of the object that has them, and are not handed on.
const OWN_PREFIXES: [&str; 2] = [ebb::EBB_PREFIX, ebb::SCALING_PREFIX];

/// A Service that should exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its name.
    pub(crate) name: String,
    /// Labels that it should have, among others.
    pub(crate) labels: BTreeMap<String, String>,
    /// Annotations that it should have, among others.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Its annotations about routing, complete: the others of them are removed.
    pub(crate) routing: BTreeMap<&'static str, String>,
}

/// What became of a wanted Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Another object has its name.
    Foreign,
    /// It is not known whether what it asks for is in effect.
    Waiting,
    /// Ebb cannot do what it asks for: reason and message.
    Refused(String, String),
    /// What it asks for is in effect.
    InEffect,
}

/// Returns the annotations that an object hands on to its Services. What `kubectl apply` wrote is about the object
/// alone, and so is what Ebb reads on it. Whether a rollout is paused is handed on but never removed, because the
/// tool pauses it at the Service.
pub(crate) fn handed_on(annotations: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let is_own = |key: &str| {
        key == keys::LAST_APPLIED
            || OWN_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) && key != ebb::ROLLOUT_PAUSED.name
    };
    annotations
        .iter()
        .filter(|(key, _)| !is_own(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Returns whether `owner` controls a Service.
pub(crate) fn is_of<K: Resource>(front: &Front, owner: &K) -> bool {
    front.owner.is_some() && front.owner == owner.meta().uid
}

/// Returns what to write so that a Service is as `owner` wants it, and what became of it so far. Labels and annotations
/// that it has besides stay, also if they came from `owner` once.
pub(crate) fn settle<K>(owner: &K, wanted: &Wanted, seen: &Seen) -> (Option<Write>, State)
where
    K: Resource<DynamicType = ()>,
{
    let namespace = owner.meta().namespace.clone().unwrap_or_default();
    let Some(front) = seen.fronts.get(&namespace, &wanted.name) else {
        return (Some(Write::Create(Object::Front(Box::new(new(owner, wanted))))), State::Waiting);
    };
    let is_orphan = front.owner.is_none()
        && front.labels.get(keys::ROUTE).is_some_and(|of| Some(of) == wanted.labels.get(keys::ROUTE));
    if !is_of(front, owner) && !is_orphan {
        return (None, State::Foreign);
    }
    let changes =
        is_orphan || ROUTING.iter().any(|key| front.annotations.get(*key) != wanted.routing.get(key));
    let is_first = !front.annotations.contains_key(GENERATION);
    let mut metadata = metadata_changes(front, wanted, changes || is_first);
    if is_orphan {
        metadata.insert("ownerReferences".to_owned(), json!([owned::owner_reference(owner)]));
    }
    let write = (!metadata.is_empty()).then(|| {
        let mut patch = json!({ "metadata": metadata });
        if is_orphan || is_first {
            // The reference makes it an ExternalName, which has no address that Ebb could take over.
            patch["spec"] =
                json!({ "type": "ClusterIP", "externalName": null, "selector": null, "ports": [port()] });
        }
        Write::Merge(Reference { kind: Kind::Front, namespace, name: wanted.name.clone() }, patch)
    });
    (write, if changes || is_first { State::Waiting } else { state(front) })
}

/// Returns whether what a Service asked for when it was seen is in effect.
fn state(front: &Front) -> State {
    let generation = generation(front);
    match front.in_effect.as_ref().filter(|one| one.generation == Some(generation)) {
        Some(one) if one.status == "True" => State::InEffect,
        Some(one) if one.status == "False" => State::Refused(one.reason.clone(), one.message.clone()),
        _ => State::Waiting,
    }
}

fn generation(front: &Front) -> i64 {
    let text = front.annotations.get(GENERATION);
    text.and_then(|text| text.parse().ok()).filter(|generation| *generation > 0).unwrap_or_default()
}

fn metadata_changes(front: &Front, wanted: &Wanted, routes_anew: bool) -> Map<String, Value> {
    let text = |value: &String| Value::String(value.clone());
    let mut changes = Map::new();
    let mut add = |field: &str, all: Map<String, Value>| {
        if !all.is_empty() {
            changes.insert(field.to_owned(), Value::Object(all));
        }
    };
    let differ = |wanted: &BTreeMap<String, String>, now: &BTreeMap<String, String>| {
        let new = wanted.iter().filter(|(key, value)| now.get(*key) != Some(value));
        new.map(|(key, value)| (key.clone(), text(value))).collect::<Map<_, _>>()
    };
    add("labels", differ(&wanted.labels, &front.labels));
    let mut annotations = differ(&wanted.annotations, &front.annotations);
    for key in ROUTING {
        let value = wanted.routing.get(key);
        if value != front.annotations.get(key) {
            annotations.insert(key.to_owned(), value.map_or(Value::Null, text));
        }
    }
    if routes_anew {
        // Ebb may have seen a generation that somebody removed since.
        let last = front.in_effect.as_ref().and_then(|one| one.generation).unwrap_or_default();
        let next = generation(front).max(last).saturating_add(1);
        annotations.insert(GENERATION.to_owned(), Value::String(next.to_string()));
    }
    add("annotations", annotations);
    changes
}

fn new<K: Resource<DynamicType = ()>>(owner: &K, wanted: &Wanted) -> Service {
    let mut annotations = wanted.annotations.clone();
    annotations.extend(wanted.routing.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    annotations.insert(GENERATION.to_owned(), "1".to_owned());
    Service {
        metadata: owned::metadata(owner, &wanted.name, wanted.labels.clone(), annotations),
        spec: Some(ServiceSpec { ports: Some(vec![port()]), ..ServiceSpec::default() }),
        status: None,
    }
}

fn port() -> ServicePort {
    ServicePort {
        name: Some("http".to_owned()),
        port: 80,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(80)),
        ..ServicePort::default()
    }
}

/// Returns deletions of the Services that `owner` has besides those that are `wanted`.
pub(super) fn stale<K: Resource>(owner: &K, wanted: &BTreeSet<&str>, seen: &Seen) -> Vec<Write> {
    let namespace = owner.meta().namespace.as_deref().unwrap_or_default();
    let all = seen.fronts.named_of_namespace(namespace);
    let stale = all.filter(|(name, front)| is_of(front, owner) && !wanted.contains(name));
    stale.map(|(name, front)| deletion(namespace, name, front)).collect()
}

/// Returns the deletion of a Service.
pub(crate) fn deletion(namespace: &str, name: &str, front: &Front) -> Write {
    let reference = Reference { kind: Kind::Front, namespace: namespace.to_owned(), name: name.to_owned() };
    Write::Delete(reference, front.uid.clone())
}
