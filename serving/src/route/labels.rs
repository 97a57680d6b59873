//! Which Routes send requests to a Revision, as labels and annotations on it and on its Configuration.
//!
//! A Route writes its own name, and removes it where it is not needed any more. A Route that is gone cannot: the objects
//! that have its name drop it when they are examined ([`without_gone`]), and not a finalizer. With a finalizer, no Route,
//! and no namespace with one, could be deleted while this program is away, or after it was removed; this way, a name stays
//! a little longer, which keeps a Revision, and nothing is lost.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::{Resource, ResourceExt, core::ObjectMeta};
use serde_json::{Map, Value, json};

use crate::{
    api::{Route, TrafficTarget},
    conditions::rfc3339,
    keys,
    outcome::{Kind, Reference, Write},
    seen::Seen,
};

/// The state of a Revision that a Route names.
const ACTIVE: &str = "active";
/// The state of a Revision that no Route names any more.
const RESERVE: &str = "reserve";

/// Names of Configurations, and of Revisions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Named {
    configurations: BTreeSet<String>,
    revisions: BTreeSet<String>,
}

/// Returns the writes by which the objects that a Route sends requests to, by its spec or by `traffic`, name it. Others
/// lose its name once the Route `is_settled`: until then, they may still get requests.
pub(super) fn of_route(
    route: &Route,
    traffic: &[TrafficTarget],
    is_settled: bool,
    seen: &Seen,
    now: Timestamp,
) -> Vec<Write> {
    let (namespace, own) = (super::namespace(route), route.name_any());
    let named = named(route, traffic, seen);
    let write = |kind: Kind, metadata: &ObjectMeta, is_named: bool| {
        let before = names(metadata);
        let mut after = before.clone();
        if is_named {
            after.insert(&own);
        } else if is_settled {
            after.remove(own.as_str());
        }
        if is_named || before != after { change(kind, metadata, &before, &after, now) } else { None }
    };
    let configurations = seen.configurations.of_namespace(namespace).filter_map(|one| {
        let is_named = named.configurations.contains(one.metadata.name.as_deref().unwrap_or_default());
        write(Kind::Configuration, &one.metadata, is_named)
    });
    let revisions = seen.revisions.of_namespace(namespace).filter_map(|one| {
        let is_named = named.revisions.contains(one.metadata.name.as_deref().unwrap_or_default());
        write(Kind::Revision, &one.metadata, is_named)
    });
    configurations.chain(revisions).collect()
}

/// Returns the write by which a Configuration or a Revision loses the names of Routes that are gone; `None` if it has no
/// such name. It is due whenever such an object is examined, and when a Route is deleted that it has the name of.
pub fn without_gone<K: Resource>(kind: Kind, object: &K, seen: &Seen, now: Timestamp) -> Option<Write> {
    let metadata = object.meta();
    let before = names(metadata);
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    // The Route of a ksvc comes after its Configuration, which names it already.
    let service = metadata.labels.as_ref().and_then(|labels| labels.get(keys::SERVICE));
    let is_coming = |name: &str| {
        let service = service.filter(|service| *service == name);
        let service = service.and_then(|service| seen.services.get(namespace, service));
        service.is_some_and(|service| service.metadata.deletion_timestamp.is_none())
    };
    let is_there = |name: &&&str| seen.routes.get(namespace, name).is_some() || is_coming(name);
    let after = before.iter().filter(is_there).copied().collect();
    if before == after { None } else { change(kind, metadata, &before, &after, now) }
}

/// Returns the write that turns the names `before` into those `after`, if there is anything to change. It fails if the
/// object changed since it was seen: another Route may have written its name.
fn change(
    kind: Kind,
    metadata: &ObjectMeta,
    before: &BTreeSet<&str>,
    after: &BTreeSet<&str>,
    now: Timestamp,
) -> Option<Write> {
    let (mut labels, mut annotations) = (Map::new(), Map::new());
    if before != after {
        let text = after.iter().copied().collect::<Vec<_>>().join(",");
        let value = if after.is_empty() { Value::Null } else { Value::String(text) };
        annotations.insert(keys::ROUTES.to_owned(), value);
    }
    let state = metadata.labels.as_ref().and_then(|labels| labels.get(keys::ROUTING_STATE));
    // A Revision that no Route has named yet is pending.
    let wanted = if after.is_empty() { (!before.is_empty()).then_some(RESERVE) } else { Some(ACTIVE) };
    if let Some(wanted) =
        wanted.filter(|wanted| kind == Kind::Revision && state.map(String::as_str) != Some(wanted))
    {
        labels.insert(keys::ROUTING_STATE.to_owned(), json!(wanted));
        annotations.insert(keys::ROUTING_STATE_MODIFIED.to_owned(), json!(rfc3339(now)));
    }
    if labels.is_empty() && annotations.is_empty() {
        return None;
    }
    let mut patch = json!({ "metadata": { "annotations": annotations } });
    if !labels.is_empty() {
        patch["metadata"]["labels"] = Value::Object(labels);
    }
    if let Some(version) = &metadata.resource_version {
        patch["metadata"]["resourceVersion"] = json!(version);
    }
    let reference = Reference {
        kind,
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    };
    Some(Write::Merge(reference, patch))
}

/// Returns the Routes that an object has the names of.
fn names(metadata: &ObjectMeta) -> BTreeSet<&str> {
    let text = metadata.annotations.as_ref().and_then(|annotations| annotations.get(keys::ROUTES));
    let names = text.iter().flat_map(|text| text.split(',')).map(str::trim);
    names.filter(|name| !name.is_empty()).collect()
}

fn named(route: &Route, traffic: &[TrafficTarget], seen: &Seen) -> Named {
    let namespace = super::namespace(route);
    let mut named = Named::default();
    for target in route.spec.traffic.iter().chain(traffic) {
        if let Some(revision) = target.revision_name.as_deref().filter(|name| !name.is_empty()) {
            named.revisions.insert(revision.to_owned());
            let labels = seen.revisions.get(namespace, revision).and_then(|one| one.metadata.labels.as_ref());
            named.configurations.extend(labels.and_then(|labels| labels.get(keys::CONFIGURATION)).cloned());
        } else if let Some(configuration) = &target.configuration_name {
            named.configurations.insert(configuration.clone());
            let status =
                seen.configurations.get(namespace, configuration).and_then(|one| one.status.as_ref());
            let latest = status.map(|status| &status.latest);
            named.revisions.extend(latest.and_then(|latest| latest.latest_created_revision_name.clone()));
            named.revisions.extend(latest.and_then(|latest| latest.latest_ready_revision_name.clone()));
        }
    }
    named
}
