//! Services that divide their requests between others: which there are, and what is wrong with those others.

use std::sync::Arc;

use ebb_core::ServiceKey;
use ebb_decide::route::{Split, rollout::Progress};

use super::{Listing, World, forget};
use crate::claim::{Refused, RouteClaim, Verdict, progress};

impl World {
    /// Takes over what a Service asks that is a route, or was; answers what it asks beside that.
    pub(super) fn read_route(&mut self, key: &ServiceKey, verdict: Verdict) -> Option<Verdict> {
        let record = self.services.get(key)?;
        let has_slices = self.has_own_slices(key) || record.left_at.is_some();
        let was_route = record.route.is_some();
        match verdict {
            Verdict::Route(route) => {
                self.set_reasons(key, Vec::new());
                self.unclaim(key);
                if self.releases && !has_slices {
                    self.unroute(key);
                } else {
                    self.route(key, &Arc::from(route));
                }
            }
            // By what it was divided so far it goes on being divided, until what is wrong is right.
            Verdict::Refused(Refused { reasons, .. }) if was_route => {
                self.set_reasons(key, reasons);
                // How far its rollout is may have changed.
                self.tell_route(key);
            }
            // So it was when somebody else led.
            Verdict::Refused(Refused { reasons, route: Some(route), .. }) if has_slices => {
                self.set_reasons(key, reasons);
                self.unclaim(key);
                self.route(key, &Arc::from(route));
            }
            // Nobody is to notice: clients are sent to activators as long as its slices name them.
            Verdict::NotOurs if was_route && has_slices => {
                self.set_reasons(key, Vec::new());
                let record = self.services.get_mut(key)?;
                record.route_ends = true;
                record.set_troubles(Vec::new());
            }
            other => {
                self.unroute(key);
                return Some(other);
            }
        }
        None
    }

    /// How far the rollout of a route is, is to be written on it. Of one that is none any more, nothing is.
    pub(crate) fn keep(&mut self, key: &ServiceKey, progress: Option<Progress>) {
        if let Some(record) = self.services.get_mut(key).filter(|record| record.route.is_some()) {
            self.notices.extend(record.keep(progress));
            self.touch(key);
        }
    }

    /// Whether a Service divides its requests between others.
    pub(crate) fn is_route(&self, key: &ServiceKey) -> bool {
        self.services.get(key).is_some_and(|record| record.route.is_some())
    }

    /// The Service is a route, for as long as nothing is to be given back.
    fn route(&mut self, key: &ServiceKey, route: &Arc<RouteClaim>) {
        self.forget_split(key);
        let Some(record) = self.services.get_mut(key) else { return };
        (record.route, record.route_ends) = (Some(route.clone()), self.releases);
        if !self.releases {
            record.left_at = None;
        }
        for target in targets(route) {
            self.by_split.entry(target).or_default().insert(key.clone());
        }
        self.allocate(key, route.activator_port);
        self.tell_route(key);
    }

    /// The Service is no route any more.
    pub(super) fn unroute(&mut self, key: &ServiceKey) {
        self.forget_split(key);
        if self.is_route(key) {
            self.let_go(key);
        }
    }

    fn forget_split(&mut self, key: &ServiceKey) {
        let route = self.services.get(key).and_then(|record| record.route.clone());
        for target in route.iter().flat_map(|route| targets(route)) {
            forget(&mut self.by_split, &target, key);
        }
    }

    /// Something about a service may matter to the routes that send requests to it.
    pub(super) fn tell_routes_to(&mut self, service: &ServiceKey) {
        let routes: Vec<ServiceKey> = self.by_split.get(service).into_iter().flatten().cloned().collect();
        for route in routes {
            self.tell_route(&route);
        }
    }

    /// All Services are known: what is missing now is not there.
    pub(super) fn tell_all_routes(&mut self) {
        let routes: Vec<ServiceKey> = self
            .services
            .iter()
            .filter(|(_, record)| record.route.is_some())
            .map(|(key, _)| key.clone())
            .collect();
        for route in routes {
            self.tell_route(&route);
        }
    }

    /// Tells those who decide what they do not know yet of a route, and its owner what is wrong with its services.
    fn tell_route(&mut self, key: &ServiceKey) {
        // As long as they are being read, what is not there may be about to come.
        if !self.listed.contains(&Listing::Services) || self.reads_all {
            return;
        }
        let Some(route) = self.services.get(key).and_then(|record| record.route.clone()) else { return };
        let trouble_of = |service: &str| {
            self.trouble_of_target(&ServiceKey::new(key.namespace.clone(), service)).unwrap_or_default()
        };
        let mut split = Split::new(&route.spec, trouble_of);
        split.pace.kept = self.services.get(key).and_then(|record| progress(&record.object));
        let split = Arc::new(split);
        let troubles = split.targets.iter().filter(|target| !target.trouble.is_empty());
        let troubles: Vec<String> = troubles
            .map(|target| {
                format!("{} gets {} of {}: {}", target.service, target.weight, sum(&split), target.trouble)
            })
            .collect();
        let Some(record) = self.services.get_mut(key) else { return };
        if !record.route_ends {
            record.set_troubles(troubles);
        }
        self.events.extend(record.route_news(key, split));
        self.touch(key);
    }

    /// Why a service cannot take requests of a route; `None` if it can.
    fn trouble_of_target(&self, service: &ServiceKey) -> Option<String> {
        let name = &service.name;
        let Some(record) = self.services.get(service) else {
            return Some(format!("there is no Service {name}"));
        };
        if record.claim.is_some() {
            return record.port.is_none().then(|| format!("activators have no port for {name}"));
        }
        Some(if record.route.is_some() {
            format!("Service {name} is a route itself; name the Services that it sends requests to")
        } else if record.reasons.is_empty() {
            format!("Ebb does not scale Service {name}: it has no annotation ebb.dev/scale-target")
        } else {
            format!("Service {name} cannot be served: {}", record.reasons.join("; "))
        })
    }
}

/// The services that a route sends requests to, those that get none for now among them.
fn targets(route: &RouteClaim) -> impl Iterator<Item = ServiceKey> {
    let namespace = &route.front.key.namespace;
    route.spec.split.iter().map(|share| ServiceKey::new(namespace.clone(), share.service.clone()))
}

fn sum(split: &Split) -> u64 {
    split.targets.iter().map(|target| u64::from(target.weight)).sum()
}
