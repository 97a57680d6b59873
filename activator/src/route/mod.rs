//! A route at the activator: it has no pods, and chooses a service for each request.

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
    /// Notified when the plan changes.
    changed: Notify,
}

/// The split, replaced as a whole, so that no request sees half of a change.
#[derive(Debug)]
struct Plan {
    entry: RouteEntry,
    targets: Vec<Arc<Target>>,
    by: Option<Affinity>,
    wheel: Mutex<Wheel>,
    connections: ConnectionLimits,
}

/// A target of one plan.
#[derive(Debug)]
struct Target {
    said: SplitTarget,
    /// `None` if it is not known here.
    service: Option<Arc<Service>>,
    metrics: Arc<TargetMetrics>,
}

/// The service that was chosen for a request.
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
    /// Creates the route of `entry`; `find` looks up its services by key.
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

    /// Applies a new table entry.
    pub(crate) fn update(&self, entry: &RouteEntry, find: &impl Fn(&ServiceKey) -> Option<Arc<Service>>) {
        let before = self.plan.load_full();
        let plan = Plan::new(entry, &self.metrics, find, Some(&before));
        self.plan.store(Arc::new(plan));
        self.changed.notify_waiters();
    }

    /// Returns the value in `headers`, as the client sent them, that identifies the user; `None` if requests
    /// are split one by one.
    pub(crate) fn user(&self, headers: &HeaderMap) -> Option<Box<[u8]>> {
        self.plan.load().by.as_ref()?.value(headers).map(Box::from)
    }

    /// Looks up the targets again, after services were added or removed.
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
    /// Chooses this target for a request, or counts a refusal.
    fn take(self: &Arc<Self>) -> Result<Chosen, Refused> {
        let SplitTarget { service: name, trouble, .. } = &self.said;
        if let (Some(service), true) = (&self.service, trouble.is_empty()) {
            return Ok(Chosen { target: self.clone(), service: service.clone() });
        }
        self.metrics.answered(StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO);
        let trouble = if trouble.is_empty() { "it is not known here" } else { trouble };
        Err(Refused::SplitTarget { service: name.clone(), trouble: trouble.to_owned() })
    }

    /// Returns whether this is the service that was chosen.
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

/// Creates the wheel for the targets of `entry`; targets that stay keep their debts.
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
    /// Identifies the user; `None` if requests are split one by one.
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

    /// A removed target's share goes to its successor of the same name. Other targets get the request only if
    /// the route sends nothing to that name any more.
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
    /// Returns whether a request may still go to `chosen`. A failing target keeps its share.
    fn still_sends_to(&self, chosen: &Chosen) -> bool {
        let name = &chosen.target.said.service;
        self.targets.iter().any(|target| target.said.service == *name && target.said.weight > 0)
    }
}
