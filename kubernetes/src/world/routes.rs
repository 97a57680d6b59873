//! Services that divide their requests between others: tracks which exist, and what is wrong with the services of
//! their splits.

use std::sync::Arc;

use ebb_core::ServiceKey;
use ebb_decide::route::{Split, rollout::Progress};

use super::{Listing, World, forget};
use crate::claim::{Refused, RouteClaim, Verdict, progress};

impl World {
    /// Takes over what a Service requests that is or was a route. Returns what remains to handle otherwise.
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
            // The route keeps its last valid split until the fault is corrected.
            Verdict::Refused(Refused { reasons, .. }) if was_route => {
                self.set_reasons(key, reasons);
                // The progress of its rollout may have changed.
                self.tell_route(key);
            }
            // It was a route under another leader.
            Verdict::Refused(Refused { reasons, route: Some(route), .. }) if has_slices => {
                self.set_reasons(key, reasons);
                self.unclaim(key);
                self.route(key, &Arc::from(route));
            }
            // To avoid an outage, it remains a route as long as its slices send clients to activators.
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

    /// Sets the progress of a route's rollout to write on it. Does nothing if it is no longer a route.
    pub(crate) fn keep(&mut self, key: &ServiceKey, progress: Option<Progress>) {
        if let Some(record) = self.services.get_mut(key).filter(|record| record.route.is_some()) {
            self.notices.extend(record.keep(progress));
            self.touch(key);
        }
    }

    /// Returns whether a Service is a route.
    pub(crate) fn is_route(&self, key: &ServiceKey) -> bool {
        self.services.get(key).is_some_and(|record| record.route.is_some())
    }

    /// Makes the Service a route, unless services are being given back.
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

    /// Makes the Service no longer a route.
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

    /// Re-evaluates the routes that send requests to a service after it changed.
    pub(super) fn tell_routes_to(&mut self, service: &ServiceKey) {
        let routes: Vec<ServiceKey> = self.by_split.get(service).into_iter().flatten().cloned().collect();
        for route in routes {
            self.tell_route(&route);
        }
    }

    /// Re-evaluates all routes once all Services are known, so that a missing one is known not to exist.
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

    /// Sends the autoscaler what it does not know yet of a route, and tells the owner what is wrong with its
    /// services.
    fn tell_route(&mut self, key: &ServiceKey) {
        // While Services are being read, a missing one may still appear.
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

    /// Returns why a service cannot take requests of a route; `None` if it can.
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

/// Returns the services of a route's split, including those with a weight of 0.
fn targets(route: &RouteClaim) -> impl Iterator<Item = ServiceKey> {
    let namespace = &route.front.key.namespace;
    route.spec.split.iter().map(|share| ServiceKey::new(namespace.clone(), share.service.clone()))
}

fn sum(split: &Split) -> u64 {
    split.targets.iter().map(|target| u64::from(target.weight)).sum()
}
