//! A route at the activator: it has no pods of its own, and chooses for each request a service that takes it.

mod affinity;
mod wheel;

use std::{borrow::Borrow, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use ebb_core::{
    ServiceKey,
    link::{RouteEntry, SplitTarget},
};
use ebb_proxy::{ConnectionLimits, Drain, RequestBody};
use http::{HeaderMap, Request, StatusCode};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::timeout};

use crate::{
    errors::Refused,
    handler::{Answer, Entrance, SUCCESSOR_WITHIN, within_the_cluster},
    metrics::{Metrics, TargetMetrics},
    service::{Service, connection_limits},
};

use affinity::{Affinity, target_of};
use wheel::Wheel;

/// A route.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) key: ServiceKey,
    pub(crate) drain: Drain,
    metrics: Arc<Metrics>,
    plan: ArcSwap<Plan>,
    /// The plan is another one now.
    changed: Notify,
}

/// How requests are divided, as a whole: no request sees half of a change.
#[derive(Debug)]
struct Plan {
    entry: RouteEntry,
    targets: Vec<Arc<Target>>,
    by: Option<Affinity>,
    wheel: Mutex<Wheel>,
    connections: ConnectionLimits,
}

/// A service that gets requests, as one plan has it.
#[derive(Debug)]
struct Target {
    said: SplitTarget,
    /// `None` if it is not known here.
    service: Option<Arc<Service>>,
    metrics: Arc<TargetMetrics>,
}

/// A service that was chosen for a request.
#[derive(Debug)]
pub(crate) struct Chosen {
    target: Arc<Target>,
    service: Arc<Service>,
}

impl Borrow<Arc<Service>> for Chosen {
    fn borrow(&self) -> &Arc<Service> {
        &self.service
    }
}

impl Route {
    /// The route of `entry`, whose services `find` finds by their keys.
    pub(crate) fn new(
        entry: &RouteEntry,
        metrics: Arc<Metrics>,
        find: &impl Fn(&ServiceKey) -> Option<Arc<Service>>,
    ) -> Arc<Self> {
        let key = entry.route();
        let plan = Plan::new(entry, &metrics, find, None);
        let plan = ArcSwap::from_pointee(plan);
        Arc::new(Self { key, drain: Drain::default(), metrics, plan, changed: Notify::new() })
    }

    /// Takes over what the table says now.
    pub(crate) fn update(&self, entry: &RouteEntry, find: &impl Fn(&ServiceKey) -> Option<Arc<Service>>) {
        let before = self.plan.load_full();
        let plan = Plan::new(entry, &self.metrics, find, Some(&before));
        self.plan.store(Arc::new(plan));
        self.changed.notify_waiters();
    }

    /// By what a request with these `headers`, as its client sent them, is told from those of other users; `None` if each
    /// request is for itself.
    pub(crate) fn user(&self, headers: &HeaderMap) -> Option<Box<[u8]>> {
        self.plan.load().by.as_ref()?.value(headers).map(Box::from)
    }

    /// Services have come or gone: looks for its own anew.
    pub(crate) fn find_again(&self, find: &impl Fn(&ServiceKey) -> Option<Arc<Service>>) {
        let plan = self.plan.load_full();
        let same = |target: &Arc<Target>| {
            let found = find(&plan.key_of(&target.said));
            found.as_ref().map(Arc::as_ptr) == target.service.as_ref().map(Arc::as_ptr)
        };
        if !plan.targets.iter().all(same) {
            self.update(&plan.entry, find);
        }
    }
}

impl Target {
    /// Has it take a request; else counts that it did not.
    fn take(self: &Arc<Self>) -> Result<Chosen, Refused> {
        let SplitTarget { service: name, trouble, .. } = &self.said;
        if let (Some(service), true) = (&self.service, trouble.is_empty()) {
            return Ok(Chosen { target: self.clone(), service: service.clone() });
        }
        self.metrics.answered(StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO);
        let trouble = if trouble.is_empty() { "it is not known here" } else { trouble };
        Err(Refused::SplitTarget { service: name.clone(), trouble: trouble.to_owned() })
    }

    /// Whether it is the very service that was chosen.
    fn is(&self, chosen: &Chosen) -> bool {
        self.service.as_ref().is_some_and(|service| Arc::ptr_eq(service, &chosen.service))
    }
}

impl Plan {
    fn new(
        entry: &RouteEntry,
        metrics: &Arc<Metrics>,
        find: &impl Fn(&ServiceKey) -> Option<Arc<Service>>,
        before: Option<&Self>,
    ) -> Self {
        let key = entry.route();
        let known = |said: &SplitTarget| {
            let targets = before.into_iter().flat_map(|before| &before.targets);
            targets.into_iter().find(|target| target.said.service == said.service)
        };
        let targets: Vec<Arc<Target>> = entry
            .targets
            .iter()
            .map(|said| {
                let metrics = known(said).map_or_else(
                    || Arc::new(TargetMetrics::new(metrics, &key, &said.service)),
                    |target| target.metrics.clone(),
                );
                let service = find(&ServiceKey::new(key.namespace.clone(), said.service.clone()));
                Arc::new(Target { said: said.clone(), service, metrics })
            })
            .collect();
        Self {
            wheel: Mutex::new(wheel(entry, before)),
            by: Affinity::of(entry.by.as_ref()),
            targets,
            connections: connection_limits(entry.max_connection_age_ms, entry.tunnel_idle_timeout_ms),
            entry: entry.clone(),
        }
    }

    fn key_of(&self, said: &SplitTarget) -> ServiceKey {
        ServiceKey::new(self.entry.namespace.clone(), said.service.clone())
    }

    fn choose(&self, user: Option<&[u8]>) -> Option<&Arc<Target>> {
        let index = match user {
            Some(user) => {
                let targets = self.targets.iter().map(|target| (&*target.said.service, target.said.weight));
                target_of(user, targets)
            }
            None => self.wheel.lock().turn(),
        };
        self.targets.get(index?)
    }
}

/// The turns of the targets of `entry`; those that were there before are owed what they were.
fn wheel(entry: &RouteEntry, before: Option<&Plan>) -> Wheel {
    let weights = entry.targets.iter().map(|target| target.weight).collect();
    let Some(before) = before else { return Wheel::new(weights) };
    let owed: Vec<f64> = before.wheel.lock().debts().collect();
    let owed_to = |said: &SplitTarget| {
        let at = before.entry.targets.iter().position(|target| target.service == said.service);
        at.and_then(|at| owed.get(at)).copied().unwrap_or(0.0)
    };
    let debts: Vec<f64> = entry.targets.iter().map(owed_to).collect();
    Wheel::continuing(weights, &debts)
}

impl Entrance for Arc<Route> {
    /// By what it is told from the requests of other users; `None` if it is for itself.
    type Asked = Option<Box<[u8]>>;
    type Chosen = Chosen;

    fn receive(
        &self,
        request: &mut Request<RequestBody>,
        _: SocketAddr,
    ) -> Result<Option<Box<[u8]>>, Answer> {
        let user = self.user(request.headers());
        within_the_cluster(request)?;
        Ok(user)
    }

    fn choose(&self, user: &Option<Box<[u8]>>) -> Result<Chosen, Refused> {
        self.plan.load().choose(user.as_deref()).ok_or(Refused::NoTarget)?.take()
    }

    async fn withdrawn(&self, chosen: &Chosen) {
        loop {
            let changed = self.changed.notified();
            if !self.plan.load().still_sends_to(chosen) {
                return;
            }
            changed.await;
        }
    }

    /// Its share is its successor's of the same name, if there is one. Only if the route sends nothing there any more it is
    /// anybody's.
    async fn instead(&self, chosen: &Chosen, user: &Option<Box<[u8]>>) -> Option<Result<Chosen, Refused>> {
        let follow = async {
            loop {
                let changed = self.changed.notified();
                let plan = self.plan.load();
                let name = &chosen.target.said.service;
                let target = plan.targets.iter().find(|target| target.said.service == *name);
                match target.filter(|target| target.said.weight > 0) {
                    None => return self.choose(user),
                    Some(target) if !target.is(chosen) => return target.take(),
                    Some(_) => {}
                }
                drop(plan);
                changed.await;
            }
        };
        timeout(SUCCESSOR_WITHIN, follow).await.ok()
    }

    fn answered(&self, chosen: &Chosen, status: StatusCode, after: Duration) {
        chosen.target.metrics.answered(status, after);
    }

    fn connection_limits(&self) -> ConnectionLimits {
        self.plan.load().connections
    }
}

impl Plan {
    /// Whether a request may still be for `chosen`. Trouble is no reason to give its share to others.
    fn still_sends_to(&self, chosen: &Chosen) -> bool {
        let name = &chosen.target.said.service;
        self.targets.iter().any(|target| target.said.service == *name && target.said.weight > 0)
    }
}
