//! All routes in one place, and which services each concerns.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use ebb_core::{ServiceKey, Tick};

use super::{Keep, RouteActions, RouteState, Split, rollout::Standing};
use crate::{endpoints::Endpoints, pending::Publishing, scheduler::Scheduler};

/// What could not be published is tried again after so long.
const PUBLISH_AGAIN: Duration = Duration::from_secs(2);

/// All routes.
#[derive(Debug, Default)]
pub struct RouteTable {
    all: HashMap<Arc<ServiceKey>, Route>,
    by_target: HashMap<ServiceKey, BTreeSet<Arc<ServiceKey>>>,
    due: Scheduler<Arc<ServiceKey>>,
}

/// One of them.
#[derive(Debug)]
pub struct Route {
    /// Its key, to be shared.
    pub key: Arc<ServiceKey>,
    /// What is known of it.
    pub state: RouteState,
    /// The port on which activators answer for it; 0 lets each choose one.
    pub port: u16,
    /// What is to be published, and what is under way.
    pub publishing: Publishing,
    /// What is to be written down of its rollout, and what is under way.
    pub keeping: Publishing<Keep>,
    /// Whether activators may know of it: what they are told of it from then on cannot wait for its services.
    pub told: bool,
}

impl Route {
    /// The services that it sends requests to, those that get none for now among them.
    pub fn targets(&self) -> impl Iterator<Item = ServiceKey> {
        let targets = self.state.split().targets.iter();
        targets.map(|target| ServiceKey::new(self.key.namespace.clone(), target.service.clone()))
    }
}

impl RouteTable {
    /// Takes over how the requests of `key` are divided from `now` on, whether it is known or new. Answers whether it is
    /// new.
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

    /// Forgets a route. Answers whether it was known.
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

    /// A route; `None` if it is not known.
    pub fn get(&self, key: &ServiceKey) -> Option<&Route> {
        self.all.get(key)
    }

    /// A route; `None` if it is not known.
    pub fn get_mut(&mut self, key: &ServiceKey) -> Option<&mut Route> {
        self.all.get_mut(key)
    }

    /// The shared key of a route; `None` if it is not known.
    pub fn key(&self, key: &ServiceKey) -> Option<Arc<ServiceKey>> {
        self.all.get_key_value(key).map(|(key, _)| key.clone())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.all.values()
    }

    /// The routes that name `service`.
    pub fn of_target(&self, service: &ServiceKey) -> Vec<Arc<ServiceKey>> {
        self.by_target.get(service).into_iter().flatten().cloned().collect()
    }

    /// Whether activators choose `service` for requests that come by a route, as last decided.
    pub fn is_chosen(&self, service: &ServiceKey) -> bool {
        let routes = self.by_target.get(service).into_iter().flatten();
        routes.filter_map(|key| self.all.get(key)).any(|route| !route.state.mirrors())
    }

    /// Decides how the requests of a route are divided and where its traffic goes at `now`; `None` if it is not known. `of`
    /// knows where that of a service goes, and `look` how it is.
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

    /// What was published for a route is written, at `now`. As long as there is more to be written, that says nothing.
    pub fn written(&mut self, key: &ServiceKey, now: Tick) {
        if let Some(route) = self.all.get_mut(key)
            && route.publishing.is_idle()
            && let Some(again) = route.state.written(now)
        {
            self.due.schedule(&route.key, again);
        }
    }

    /// What was published for a route did not get there: it is due again soon.
    pub fn publish_failed(&mut self, key: &ServiceKey, now: Tick) {
        if let Some(route) = self.all.get_mut(key) {
            route.state.publish_failed();
            self.due.schedule(&route.key, now.after(PUBLISH_AGAIN));
        }
    }

    /// What was to be written down of a rollout was not: it is due again soon.
    pub fn keep_failed(&mut self, key: &ServiceKey, now: Tick) {
        if let Some(route) = self.all.get_mut(key) {
            route.state.keep_failed();
            self.due.schedule(&route.key, now.after(PUBLISH_AGAIN));
        }
    }

    /// Whatever was published or written down, or was to be, is another one's from `now` on, or was.
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

    /// When a route is due next.
    pub fn next_due(&mut self) -> Option<Tick> {
        self.due.next_due()
    }

    /// A route that is due to be decided on at `now`.
    pub fn due(&mut self, now: Tick) -> Option<Arc<ServiceKey>> {
        self.due.pop(now).map(|(key, _)| key)
    }
}
