//! All routes, and which services each concerns.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use ebb_core::{ServiceKey, Tick};

use super::{Keep, RouteActions, RouteState, Split, rollout::Standing};
use crate::{endpoints::Endpoints, pending::Publishing, scheduler::Scheduler};

/// The delay before a failed publication is tried again.
const PUBLISH_AGAIN: Duration = Duration::from_secs(2);

/// All routes.
#[derive(Debug, Default)]
pub struct RouteTable {
    all: HashMap<Arc<ServiceKey>, Route>,
    by_target: HashMap<ServiceKey, BTreeSet<Arc<ServiceKey>>>,
    due: Scheduler<Arc<ServiceKey>>,
}

/// A route of the table.
#[derive(Debug)]
pub struct Route {
    /// Its key, shared.
    pub key: Arc<ServiceKey>,
    /// Its state.
    pub state: RouteState,
    /// The port on which activators serve it; 0 lets each choose one.
    pub port: u16,
    /// Endpoints to publish, and the publication in progress.
    pub publishing: Publishing,
    /// Progress to write down, and the write in progress.
    pub keeping: Publishing<Keep>,
    /// Whether activators may know the route: further changes then cannot wait for its services.
    pub told: bool,
}

impl Route {
    /// Returns its targets, including those with weight 0.
    pub fn targets(&self) -> impl Iterator<Item = ServiceKey> {
        let targets = self.state.split().targets.iter();
        targets.map(|target| ServiceKey::new(self.key.namespace.clone(), target.service.clone()))
    }
}

impl RouteTable {
    /// Sets the split of the route `key` from `now` on. Returns whether the route is new.
    pub fn set(&mut self, key: ServiceKey, split: Arc<Split>, port: u16, now: Tick) -> bool {
        let shared = self.key(&key);
        let is_new = shared.is_none();
        let key = shared.unwrap_or_else(|| Arc::new(key));
        self.unlink(&key);
        let route = self.all.entry(key.clone()).or_insert_with(|| Route {
            key: key.clone(),
            state: RouteState::new(split.clone()),
            port,
            publishing: Publishing::default(),
            keeping: Publishing::default(),
            told: false,
        });
        route.state.set_split(split, now);
        route.port = port;
        self.link(&key);
        is_new
    }

    fn link(&mut self, key: &ServiceKey) {
        let Some(route) = self.all.get(key) else { return };
        for target in route.targets() {
            self.by_target.entry(target).or_default().insert(route.key.clone());
        }
    }

    /// Removes a route. Returns whether it was known.
    pub fn remove(&mut self, key: &ServiceKey) -> bool {
        self.unlink(key);
        let removed = self.all.remove(key);
        if let Some(route) = &removed {
            self.due.forget(&route.key);
        }
        removed.is_some()
    }

    fn unlink(&mut self, key: &ServiceKey) {
        let Some(route) = self.all.get(key) else { return };
        for target in route.targets() {
            if let Some(routes) = self.by_target.get_mut(&target) {
                routes.remove(key);
                if routes.is_empty() {
                    self.by_target.remove(&target);
                }
            }
        }
    }

    /// Returns a route; `None` if it is not known.
    pub fn get(&self, key: &ServiceKey) -> Option<&Route> {
        self.all.get(key)
    }

    /// Returns a route; `None` if it is not known.
    pub fn get_mut(&mut self, key: &ServiceKey) -> Option<&mut Route> {
        self.all.get_mut(key)
    }

    /// Returns the shared key of a route; `None` if it is not known.
    pub fn key(&self, key: &ServiceKey) -> Option<Arc<ServiceKey>> {
        self.all.get_key_value(key).map(|(key, _)| key.clone())
    }

    /// Returns all routes.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.all.values()
    }

    /// Returns the routes that name `service`.
    pub fn of_target(&self, service: &ServiceKey) -> Vec<Arc<ServiceKey>> {
        self.by_target.get(service).into_iter().flatten().cloned().collect()
    }

    /// Returns whether activators choose `service` for requests of a route, as last decided.
    pub fn is_chosen(&self, service: &ServiceKey) -> bool {
        let routes = self.by_target.get(service).into_iter().flatten();
        routes.filter_map(|key| self.all.get(key)).any(|route| !route.state.mirrors())
    }

    /// Decides the split and the endpoints of a route at `now`; returns `None` if it is not known. `of`
    /// returns a service's endpoints, and `look` its state.
    pub fn evaluate(
        &mut self,
        key: &ServiceKey,
        now: Tick,
        of: impl Fn(&ServiceKey) -> Option<Endpoints>,
        look: impl Fn(&ServiceKey) -> Standing,
    ) -> Option<RouteActions> {
        // A rollout that ends leaves services behind.
        let moves = self.all.get(key)?.state.is_under_way();
        if moves {
            self.unlink(key);
        }
        let route = self.all.get_mut(key)?;
        let actions = route.state.evaluate(key, now, of, look);
        match actions.again {
            Some(at) => self.due.schedule(&route.key, at),
            None => self.due.forget(&route.key),
        }
        if moves {
            self.link(key);
        }
        Some(actions)
    }

    /// Records at `now` that a route's endpoints are written. Ignored if more is waiting to be written.
    pub fn written(&mut self, key: &ServiceKey, now: Tick) {
        if let Some(route) = self.all.get_mut(key)
            && route.publishing.is_idle()
            && let Some(again) = route.state.written(now)
        {
            self.due.schedule(&route.key, again);
        }
    }

    /// Records that a route's publication failed: it is due again soon.
    pub fn publish_failed(&mut self, key: &ServiceKey, now: Tick) {
        if let Some(route) = self.all.get_mut(key) {
            route.state.publish_failed();
            self.due.schedule(&route.key, now.after(PUBLISH_AGAIN));
        }
    }

    /// Records that a rollout's progress could not be written: it is due again soon.
    pub fn keep_failed(&mut self, key: &ServiceKey, now: Tick) {
        if let Some(route) = self.all.get_mut(key) {
            route.state.keep_failed();
            self.due.schedule(&route.key, now.after(PUBLISH_AGAIN));
        }
    }

    /// Forgets at `now` everything published or written down: another leader may have replaced it.
    pub fn forget_published(&mut self, now: Tick) {
        let keys: Vec<Arc<ServiceKey>> = self.all.keys().cloned().collect();
        for key in keys {
            self.unlink(&key);
            if let Some(route) = self.all.get_mut(&key) {
                route.state.forget_published(&key, now);
                (route.publishing, route.keeping) = (Publishing::default(), Publishing::default());
            }
            self.link(&key);
        }
    }

    /// Returns when a route is due next.
    pub fn next_due(&mut self) -> Option<Tick> {
        self.due.next_due()
    }

    /// Returns a route that is due at `now`.
    pub fn due(&mut self, now: Tick) -> Option<Arc<ServiceKey>> {
        self.due.pop(now).map(|(key, _)| key)
    }
}
