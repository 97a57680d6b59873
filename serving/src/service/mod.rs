//! From a ksvc to its Configuration and its Route.
//!
//! Both are named as the ksvc. Labels, annotations and specs are compared as wholes: what the ksvc does not have is
//! removed from them. Conditions follow from the two objects as they are now, and from nothing that was known before.

mod children;
mod migration;

#[cfg(test)]
pub(crate) mod cluster;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use kube::{Resource, ResourceExt};

use crate::{
    api::{Condition, Configuration, Observed, Route, Service, ServiceStatus},
    conditions::{Conditions, Truth},
    configuration::{Current, current},
    keys,
    outcome::{Event, Object, Outcome, Write},
    owned,
    seen::Seen,
};

const CONFIGURATIONS_READY: &str = "ConfigurationsReady";
const ROUTES_READY: &str = "RoutesReady";
const DEPENDENTS: &[&str] = &[CONFIGURATIONS_READY, ROUTES_READY];

/// Returns what follows from a ksvc. A creation has an event `Created`, which is true only once the write succeeded.
///
/// If the template names its revision, the Route is left alone until the Configuration has that revision: traffic must
/// not move to a revision of that name that is something else.
pub fn examine(service: &Service, seen: &Seen, now: Timestamp) -> Outcome<ServiceStatus> {
    let before = service.status.clone().unwrap_or_default();
    if service.metadata.deletion_timestamp.is_some() {
        return Outcome { status: before, writes: Vec::new(), events: Vec::new(), again: None };
    }
    let namespace = service.namespace().unwrap_or_default();
    let name = service.name_any();
    let mut examination = Examination {
        service,
        conditions: Conditions::new(DEPENDENTS, &before.observed.conditions, now),
        writes: Vec::new(),
        events: Vec::new(),
    };
    let configuration = seen.configurations.get(&namespace, &name).map(AsRef::as_ref);
    let (progress, configuration) = examination.configuration(configuration);
    let route = seen.routes.get(&namespace, &name).map(AsRef::as_ref);
    let route = if examination.holds_route(progress, configuration, seen) {
        route.filter(|route| examination.is_ours(*route))
    } else {
        examination.route(route, configuration)
    };

    let configuration = configuration.and_then(|one| one.status.clone()).unwrap_or_default();
    let route = route.and_then(|one| one.status.clone()).unwrap_or_default();
    let Examination { conditions, writes, events, .. } = examination;
    let status = ServiceStatus {
        observed: Observed {
            observed_generation: service.metadata.generation,
            conditions: conditions.finish(),
            annotations: before.observed.annotations,
        },
        latest: configuration.latest,
        addresses: route.addresses,
        traffic: route.traffic,
    };
    Outcome { status, writes, events, again: None }
}

/// A ksvc while it is examined.
struct Examination<'a> {
    service: &'a Service,
    conditions: Conditions,
    writes: Vec<Write>,
    events: Vec<Event>,
}

/// How far the Configuration of a ksvc is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It belongs to somebody else.
    NotOwned,
    /// It does not have the present template, or its status is not of it.
    OutOfDate,
    /// Its status is of the present template.
    UpToDate,
}

impl Examination<'_> {
    fn configuration<'b>(
        &mut self,
        existing: Option<&'b Configuration>,
    ) -> (Progress, Option<&'b Configuration>) {
        let wanted = children::configuration(self.service, existing);
        let Some(existing) = existing else {
            self.create(Object::Configuration(Box::new(wanted)), "Configuration");
            self.out_of_date(CONFIGURATIONS_READY, "Configuration");
            return (Progress::OutOfDate, None);
        };
        if !self.is_ours(existing) {
            self.not_owned(CONFIGURATIONS_READY, "Configuration");
            return (Progress::NotOwned, None);
        }
        let observed = existing.status.as_ref().map(|status| &status.observed);
        let ready = present(existing, wanted.spec == existing.spec, observed);
        if wanted != *existing && existing.metadata.deletion_timestamp.is_none() {
            self.writes.push(Write::Replace(Object::Configuration(Box::new(wanted))));
        }
        let Some(ready) = ready else {
            self.out_of_date(CONFIGURATIONS_READY, "Configuration");
            return (Progress::OutOfDate, Some(existing));
        };
        self.conditions.copy(CONFIGURATIONS_READY, ready);
        (Progress::UpToDate, Some(existing))
    }

    /// Returns whether the Route is left alone, and says why in the condition.
    fn holds_route(
        &mut self,
        progress: Progress,
        configuration: Option<&Configuration>,
        seen: &Seen,
    ) -> bool {
        let template = self.service.spec.template.as_ref();
        let name = template.and_then(|template| template.metadata.as_ref()?.name.as_ref());
        let is_named = name.is_some_and(|name| !name.is_empty());
        match (progress, configuration) {
            (Progress::NotOwned, _) => self.out_of_date(ROUTES_READY, "Route"),
            (Progress::OutOfDate, _) if is_named => self.out_of_date(ROUTES_READY, "Route"),
            (Progress::UpToDate, Some(configuration)) if is_named => {
                let Current::Taken(name) = current(configuration, seen) else { return false };
                let message = format!(
                    "The revision name \"{name}\" is taken by a conflicting Revision, so traffic will not be migrated"
                );
                self.conditions.set(ROUTES_READY, Truth::False, "RevisionNameTaken", &message);
            }
            _ => return false,
        }
        true
    }

    fn route<'b>(
        &mut self,
        existing: Option<&'b Route>,
        configuration: Option<&Configuration>,
    ) -> Option<&'b Route> {
        let wanted = children::route(self.service, existing);
        let Some(existing) = existing else {
            self.create(Object::Route(Box::new(wanted)), "Route");
            self.out_of_date(ROUTES_READY, "Route");
            return None;
        };
        if !self.is_ours(existing) {
            self.not_owned(ROUTES_READY, "Route");
            return None;
        }
        let observed = existing.status.as_ref().map(|status| &status.observed);
        let ready = present(existing, wanted.spec == existing.spec, observed);
        if wanted != *existing && existing.metadata.deletion_timestamp.is_none() {
            self.writes.push(Write::Replace(Object::Route(Box::new(wanted))));
        }
        match ready {
            Some(ready)
                if Truth::of(&ready.status) == Truth::True
                    && !migration::is_done(existing, configuration) =>
            {
                let message = "Traffic is not yet migrated to the latest revision.";
                self.conditions.set(ROUTES_READY, Truth::Unknown, "TrafficNotMigrated", message);
            }
            Some(ready) => self.conditions.copy(ROUTES_READY, ready),
            None => self.out_of_date(ROUTES_READY, "Route"),
        }
        Some(existing)
    }

    fn is_ours<K: Resource<DynamicType = ()>>(&self, child: &K) -> bool {
        owned::is_controlled_by(child.meta(), self.service)
            || owned::is_orphan_of(child.meta(), self.service, keys::SERVICE)
    }

    fn create(&mut self, object: Object, kind: &str) {
        self.writes.push(Write::Create(object));
        let text = format!("Created {kind} \"{}\"", self.service.name_any());
        self.events.push(Event { is_warning: false, reason: "Created", text });
    }

    fn out_of_date(&mut self, type_: &str, kind: &str) {
        let message = format!("The {kind} is still working to reflect the latest desired specification.");
        self.conditions.set(type_, Truth::Unknown, "OutOfDate", &message);
    }

    fn not_owned(&mut self, type_: &str, kind: &str) {
        let name = self.service.name_any();
        let message = format!("There is an existing {kind} \"{name}\" that we do not own.");
        self.conditions.set(type_, Truth::False, "NotOwned", &message);
    }
}

/// Returns the child's `Ready`, unless it is of an older spec, or the child is being deleted.
fn present<'a, K: Resource<DynamicType = ()>>(
    child: &K,
    has_wanted_spec: bool,
    observed: Option<&'a Observed>,
) -> Option<&'a Condition> {
    let is_staying = has_wanted_spec && child.meta().deletion_timestamp.is_none();
    observed.filter(|_| is_staying).and_then(|observed| owned::ready(child.meta(), observed))
}
