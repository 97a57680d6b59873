//! Routes: activators are told their splits, and the endpoints of each follow from those of its services.

use std::sync::Arc;

use ebb_core::{ServiceKey, link::Down};
use ebb_decide::{
    platform::{EndpointSink, ScaleTarget},
    route::{Route, Split, rollout::Standing},
    service::Cause,
    table::Service,
};

use super::Runtime;
use crate::asks::Whither;
use crate::link::{entry, route_entry};

impl<P: ScaleTarget + EndpointSink> Runtime<P> {
    /// Handles a route that is new or changed.
    pub(super) fn on_route(&mut self, key: &ServiceKey, split: Arc<Split>, port: u16) {
        if self.services.get(key).is_some() {
            // It was a service until now.
            self.forget_service(key);
            self.views.remove(key);
        }
        let before = self.targets_of(key);
        let is_new = self.routes.set(key.clone(), split, port, self.clock.now());
        // Activators may know one from before this term.
        let may_be_known = !self.complete || !self.leads;
        if let (true, Some(route)) = (is_new, self.routes.get_mut(key)) {
            route.state.set_activators(self.activators.answering(key));
            route.told = may_be_known;
        }
        self.tell_route(key);
        self.evaluate_route(key);
        for target in before {
            self.see_whether_any_activator_takes(&target);
        }
    }

    /// Removes a route.
    pub(super) fn forget_route(&mut self, key: &ServiceKey) {
        let targets = self.targets_of(key);
        self.routes.remove(key);
        self.route_views.remove(key);
        for target in targets {
            self.see_whether_any_activator_takes(&target);
        }
    }

    pub(super) fn targets_of(&self, route: &ServiceKey) -> Vec<ServiceKey> {
        self.routes.get(route).into_iter().flat_map(Route::targets).collect()
    }

    /// Tells activators about a route, if this autoscaler leads. A new one waits for its services, because activators
    /// would have to refuse the share of an unknown service.
    fn tell_route(&mut self, key: &ServiceKey) {
        if !self.leads || !self.routes.get(key).is_some_and(|route| self.is_tellable(route)) {
            return;
        }
        if let Some(route) = self.routes.get_mut(key) {
            route.told = true;
            self.activators.tell_route(route);
            self.number_if_told(key);
        }
    }

    fn is_tellable(&self, route: &Route) -> bool {
        route.told || self.knows_targets(route)
    }

    /// Returns whether all services that can take requests of the route are known.
    pub(super) fn knows_targets(&self, route: &Route) -> bool {
        let targets = route.targets().zip(&route.state.split().targets);
        targets
            .filter(|(_, target)| target.trouble.is_empty())
            .all(|(key, _)| self.services.get(&key).is_some_and(|service| service.state.replicas().is_some()))
    }

    /// Tells activators about the routes that name `service`.
    pub(super) fn tell_routes_of(&mut self, service: &ServiceKey) {
        for route in self.routes.of_target(service) {
            self.tell_route(&route);
        }
    }

    /// Returns all tables for an activator. A service whose pods are not known yet is omitted, so that the activator
    /// keeps the pods that it knows.
    pub(super) fn tables(&self) -> Down {
        let known = self.services.iter().filter(|service| service.state.replicas().is_some());
        let routes = self.routes.iter().filter(|route| self.is_tellable(route));
        Down {
            services: known.map(entry).collect(),
            routes: routes.map(route_entry).collect(),
            hosts: self.all_hosts(),
            certificates: self.certificates.values().cloned().collect(),
            complete: self.complete,
            hosts_unknown: !self.hosts_known,
            ..Down::default()
        }
    }

    /// Decides where the traffic of the routes that name `service` goes.
    pub(super) fn evaluate_routes_of(&mut self, service: &ServiceKey) {
        for route in self.routes.of_target(service) {
            self.evaluate_route(&route);
        }
    }

    /// Decides where the traffic of a route goes, if this autoscaler leads.
    pub(super) fn evaluate_route(&mut self, key: &ServiceKey) {
        if !self.leads {
            return;
        }
        let services = &self.services;
        let of =
            |target: &ServiceKey| services.get(target).and_then(|service| service.state.endpoints().cloned());
        let missing = if self.complete { Standing::Gone } else { Standing::Unknown };
        let look = |target: &ServiceKey| services.get(target).map_or(missing.clone(), Service::standing);
        // A rollout that ends may drop services from the split.
        let before = self.targets_of(key);
        let Some(actions) = self.routes.evaluate(key, self.clock.now(), of, look) else { return };
        if actions.divided {
            self.tell_route(key);
        }
        if let Some(route) = self.routes.get_mut(key) {
            actions.publish.into_iter().for_each(|endpoints| route.publishing.want(endpoints));
            actions.keep.into_iter().for_each(|keep| route.keeping.want(keep));
            self.route_views.show(&route.key, route.state.split(), route.state.rollout());
        }
        self.publish_route(key);
        self.keep_rollout(key);
        for service in &actions.renew {
            self.renew(service);
        }
        let left = before.into_iter().filter(|_| actions.divided);
        for target in self.targets_of(key).into_iter().chain(left) {
            self.see_whether_any_activator_takes(&target);
        }
    }

    /// Returns where a route's requests go.
    pub(super) fn whither(&self, route: &Route) -> Whither {
        let view = |key: ServiceKey| self.services.get(&key).map(|service| service.state.view());
        let split = route.state.split();
        let rollout = route.state.rollout().map(|rollout| rollout.to_json(&split.pace, self.clock.now()));
        Whither {
            leads: self.leads,
            split: split.clone(),
            rollout: rollout.unwrap_or_default(),
            mirrors: route.state.mirrors(),
            views: route.targets().map(view).collect(),
        }
    }

    /// Updates whether all activators forward traffic of a service: they do if a route's split chooses it, or if it is
    /// reached through the gateway.
    pub(super) fn see_whether_any_activator_takes(&mut self, service: &ServiceKey) {
        let chosen = self.routes.is_chosen(service) || self.is_behind_the_gateway(service);
        let Some(known) = self.services.get_mut(service) else { return };
        if known.state.set_chosen(chosen) {
            self.evaluate(service, Cause::Change);
        }
    }
}
