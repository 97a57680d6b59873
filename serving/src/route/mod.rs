//! From a Route to the Services that divide its requests.
//!
//! A Route is one plain Service for itself and one for each tag, without a selector, with `ebb.dev/split`. Ebb's own
//! condition on each says whether what it asks for is in effect; the Route is ready only then.

pub(crate) mod certificate;
#[cfg(test)]
pub(crate) mod fixtures;
pub(crate) mod front;
mod host;
mod labels;
#[cfg(test)]
mod properties;
mod split;
mod target;
#[cfg(test)]
mod tests;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};

use ebb_annotations::keys as ebb;
use jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::{
    api::{Addressable, Route, RouteStatus},
    conditions::{Conditions, READY, Truth},
    config::Config,
    keys,
    outcome::{Event, Kind, Outcome, Reference, Write},
    seen::Seen,
};
use front::{State, Wanted};
use split::{Division, Pace};
use target::{Fault, Target};

pub use host::{Address, address};
pub use labels::without_gone;

/// The condition that all targets mean Revisions that are ready.
const ASSIGNED: &str = "AllTrafficAssigned";
/// The condition that requests are routed as asked for.
pub(crate) const INGRESS: &str = "IngressReady";
const DEPENDENTS: &[&str] = &[ASSIGNED, certificate::PROVISIONED, INGRESS];
/// What the reference adds to each Route, and nobody else removes.
const FINALIZER: &str = "routes.serving.knative.dev";

/// Returns what follows from a Route. While a target means no Revision that is ready, its Services stay as they are, and
/// so does the status of its traffic.
pub fn examine(route: &Route, seen: &Seen, config: &Config, now: Timestamp) -> Outcome<RouteStatus> {
    let mut status = route.status.clone().unwrap_or_default();
    let mut outcome = Outcome { status: status.clone(), writes: Vec::new(), events: Vec::new(), again: None };
    if route.metadata.deletion_timestamp.is_some() {
        outcome.writes.extend(release(Kind::Route, route, FINALIZER));
        return outcome;
    }
    let mut conditions = Conditions::new(DEPENDENTS, &status.observed.conditions, now);
    if status.observed.observed_generation != route.metadata.generation
        || conditions.get(INGRESS).is_none_or(|one| one.status == "Unknown" && one.reason.is_empty())
    {
        let message = "Ingress has not yet been reconciled.";
        conditions.set(INGRESS, Truth::Unknown, "IngressNotConfigured", message);
    }
    status.observed.observed_generation = route.metadata.generation;
    certificate::provisioned(&mut conditions, certificate::secret(route), route.annotations(), config);
    let plan = plan(route, &mut status, seen, config);
    match plan {
        Err(Fault { truth, reason, message }) => conditions.set(ASSIGNED, truth, reason, &message),
        Ok(plan) => {
            conditions.mark_true(ASSIGNED);
            settle(route, &plan, seen, &mut conditions, &mut outcome);
            status.traffic = plan.traffic(route, seen);
        }
    }
    let is_settled = conditions.truth(READY) != Truth::Unknown;
    // A Revision is active before it gets requests.
    let labels = labels::of_route(route, &status.traffic, is_settled, seen, now);
    outcome.writes.splice(0..0, labels);
    status.observed.conditions = conditions.finish();
    outcome.status = status;
    outcome
}

/// Returns the names of the Configurations and of the Revisions that a Route mentions in its spec or its status. It is to
/// be examined when one of them changes, and when a Revision of one of these Configurations does.
pub fn targets(route: &Route) -> (BTreeSet<String>, BTreeSet<String>) {
    let status = route.status.iter().flat_map(|status| &status.traffic);
    let (mut configurations, mut revisions) = (BTreeSet::new(), BTreeSet::new());
    for target in route.spec.traffic.iter().chain(status) {
        let is_there = |name: &&String| !name.is_empty();
        revisions.extend(target.revision_name.as_ref().filter(is_there).cloned());
        configurations.extend(target.configuration_name.as_ref().filter(is_there).cloned());
    }
    (configurations, revisions)
}

/// Returns the write that removes a finalizer from an object that is being deleted, if it has it.
pub(crate) fn release<K: Resource>(kind: Kind, object: &K, finalizer: &str) -> Option<Write> {
    let all = object.meta().finalizers.as_ref()?;
    let rest: Vec<&String> = all.iter().filter(|one| *one != finalizer).collect();
    if rest.len() == all.len() {
        return None;
    }
    let mut patch = json!({ "metadata": { "finalizers": rest } });
    if let Some(version) = &object.meta().resource_version {
        patch["metadata"]["resourceVersion"] = json!(version);
    }
    let namespace = object.meta().namespace.clone().unwrap_or_default();
    Some(Write::Merge(Reference { kind, namespace, name: object.name_any() }, patch))
}

/// A Route whose targets all mean Revisions.
struct Plan {
    targets: Vec<Target>,
    branches: Vec<Branch>,
}

/// A Route's Service, or that of a tag.
struct Branch {
    tag: String,
    address: Address,
    pace: Pace,
    wanted: Wanted,
}

impl Plan {
    fn traffic(&self, route: &Route, seen: &Seen) -> Vec<crate::api::TrafficTarget> {
        let urls: BTreeMap<&str, &str> =
            self.branches.iter().map(|branch| (&*branch.tag, &*branch.address.url)).collect();
        let main = self.branches.iter().find(|branch| branch.tag.is_empty());
        let present = main.and_then(|main| main.pace.present.as_deref());
        traffic::status(&self.targets, present, &urls, namespace(route), seen)
    }
}

/// Returns how the Route's requests are to be divided. Its URL is set whether or not they can be.
fn plan(route: &Route, status: &mut RouteStatus, seen: &Seen, config: &Config) -> Result<Plan, Fault> {
    let no_name = |message: String| Fault::lasting("ErrorConfig", message);
    let own = host::address(route, "", seen, config).map_err(no_name)?;
    status.addresses.url = Some(own.url);
    let targets = target::resolve(route, seen)?;
    let divisions = split::divisions(&targets);
    let mut branches: Vec<Branch> = Vec::with_capacity(divisions.len());
    for (tag, division) in &divisions {
        let address = host::address(route, tag, seen, config).map_err(no_name)?;
        if let Some(other) = branches.iter().find(|other| other.address.service == address.service) {
            let message = format!(
                "domain name error: the tags {:?} and {tag:?} have the same name {:?}",
                other.tag, address.service
            );
            return Err(Fault::lasting("ErrorConfig", message));
        }
        branches.push(branch(route, tag, address, division, seen, config)?);
    }
    let url = Some(own.local_url);
    status.addresses.address = Some(Addressable { url, ..Addressable::default() });
    Ok(Plan { targets, branches })
}

fn branch(
    route: &Route,
    tag: &str,
    address: Address,
    division: &Division,
    seen: &Seen,
    config: &Config,
) -> Result<Branch, Fault> {
    let name = address.service.clone();
    let front = seen.fronts.get(namespace(route), &name).filter(|front| front::is_of(front, route));
    let pace = split::pace(front.map(AsRef::as_ref), division, split::duration(route, config));
    let mut labels = route.labels().clone();
    labels.remove(keys::VISIBILITY);
    labels.insert(keys::ROUTE.to_owned(), route.name_any());
    let mut routing = split::annotations(division, &pace);
    let chosen = |key: &&'static str| Some((*key, route.annotations().get(*key)?.clone()));
    routing.extend(front::CHOSEN.iter().filter_map(chosen));
    if let Some(public) = &address.public {
        routing.insert(ebb::HOSTS.name, public.clone());
        if let Some(secret) = certificate::secret(route) {
            routing.insert(ebb::TLS_SECRET.name, secret.to_owned());
            let redirects = certificate::redirects(route.annotations(), config);
            let redirects = redirects.map_err(|message| Fault::lasting("ErrorConfig", message))?;
            routing.insert(ebb::HTTPS_REDIRECT.name, redirects.to_string());
        }
    }
    let wanted = Wanted { name, labels, annotations: front::handed_on(route.annotations()), routing };
    Ok(Branch { tag: tag.to_owned(), address, pace, wanted })
}

/// Writes the Services as planned, and says whether they are in effect.
fn settle(
    route: &Route,
    plan: &Plan,
    seen: &Seen,
    conditions: &mut Conditions,
    outcome: &mut Outcome<RouteStatus>,
) {
    let mut states = Vec::with_capacity(plan.branches.len());
    for branch in &plan.branches {
        let (write, state) = front::settle(route, &branch.wanted, seen);
        if matches!(write, Some(Write::Create(_))) {
            outcome.events.push(created(&branch.wanted.name));
        }
        outcome.writes.extend(write);
        states.push((branch, state));
    }
    let wanted = plan.branches.iter().map(|branch| branch.wanted.name.as_str()).collect();
    outcome.writes.extend(front::stale(route, &wanted, seen));
    let worst = states.iter().min_by_key(|(branch, state)| match state {
        State::Foreign => 0,
        State::Refused(..) => 1,
        State::Waiting => 2,
        State::InEffect if branch.pace.present.is_some() => 3,
        State::InEffect => 4,
    });
    match worst {
        Some((branch, State::InEffect)) if branch.pace.present.is_some() => {
            let mut message = "A gradual rollout of the latest revision(s) is in progress.".to_owned();
            if let Some(why) = &branch.pace.stopped {
                message = format!("{message} It has stopped: {why}");
            }
            conditions.set(INGRESS, Truth::Unknown, "RolloutInProgress", &message);
        }
        Some((branch, state)) => report(conditions, &branch.wanted.name, state),
        None => {}
    }
}

/// Says what became of a Service as the condition [`INGRESS`].
pub(crate) fn report(conditions: &mut Conditions, name: &str, state: &State) {
    match state {
        State::InEffect => conditions.mark_true(INGRESS),
        State::Waiting => {
            conditions.set(INGRESS, Truth::Unknown, "Uninitialized", "Waiting for load balancer to be ready");
        }
        State::Refused(reason, message) => conditions.set(INGRESS, Truth::False, reason, message),
        State::Foreign => {
            let message = format!("There is an existing placeholder Service {name:?} that we do not own.");
            conditions.set(INGRESS, Truth::False, "NotOwned", &message);
        }
    }
}

/// Returns the Event for a new Service.
pub(crate) fn created(name: &str) -> Event {
    let text = format!("Created placeholder service {name:?}");
    Event { is_warning: false, reason: "Created", text }
}

fn namespace(route: &Route) -> &str {
    route.metadata.namespace.as_deref().unwrap_or_default()
}
