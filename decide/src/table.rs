//! All services: the state of each, and when it is due.
//!
//! There is no task or timer per service. A service at rest is in no queue: it costs only the memory of its
//! state until something happens to it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ebb_annotations::ScalingSpec;
use ebb_core::{ServiceKey, Tick};

use crate::{
    pending::Pending,
    route::rollout::Standing,
    scheduler::{Scheduler, next_tick},
    service::{Actions, Cause, Next, ServiceState},
};

/// The periods of regular work.
#[derive(Clone, Copy, Debug)]
pub struct Periods {
    /// The period of each service's decisions.
    pub decide: Duration,
    /// The period of each service's scrapes. Windows count in whole seconds: this must stay one.
    pub scrape: Duration,
}

impl Default for Periods {
    /// Returns the reference's periods (`spec/autoscaler.md`, section 1).
    fn default() -> Self {
        Self { decide: Duration::from_secs(2), scrape: Duration::from_secs(1) }
    }
}

/// All services.
#[derive(Debug)]
pub struct ServiceTable {
    all: HashMap<Arc<ServiceKey>, Box<Service>>,
    ticks: Scheduler<Arc<ServiceKey>>,
    scrapes: Scheduler<Arc<ServiceKey>>,
    periods: Periods,
}

/// A service of the table.
#[derive(Debug)]
pub struct Service {
    /// Its key, shared.
    pub key: Arc<ServiceKey>,
    /// Its state.
    pub state: ServiceState,
    /// The port on which activators serve it; 0 lets each choose one.
    pub port: u16,
    /// Why there are fewer pods than wanted, phrased for waiting clients; empty if nothing is wrong.
    pub trouble: String,
    /// Its pending operations.
    pub pending: Pending,
}

impl Service {
    /// Returns its state, for a rollout that would send it more requests.
    pub fn standing(&self) -> Standing {
        if !self.trouble.is_empty() {
            return Standing::Failed(self.trouble.clone());
        }
        if self.state.replicas().is_none() {
            return Standing::Unknown;
        }
        let (ready, wanted) = self.state.ready_and_wanted();
        Standing::Well { ready, wanted, rate: self.state.view().rate }
    }
}

impl ServiceTable {
    /// Creates an empty table.
    pub fn new(periods: Periods) -> Self {
        let (ticks, scrapes) = (Scheduler::default(), Scheduler::default());
        Self { all: HashMap::new(), ticks, scrapes, periods }
    }

    /// Sets the spec of the service `key`, which may be new.
    pub fn set_spec(
        &mut self,
        key: ServiceKey,
        spec: Arc<ScalingSpec>,
        port: u16,
        now: Tick,
    ) -> &mut Service {
        let key = self.key(&key).unwrap_or_else(|| Arc::new(key));
        let service = self.all.entry(key.clone()).or_insert_with(|| {
            let state = ServiceState::new(key.clone(), spec.clone(), now);
            let (trouble, pending) = (String::new(), Pending::default());
            Box::new(Service { key, state, port, trouble, pending })
        });
        if !Arc::ptr_eq(service.state.declared(), &spec) {
            service.state.set_spec(spec, now);
        }
        service.port = port;
        service
    }

    /// Removes a service, and returns it.
    pub fn remove(&mut self, key: &ServiceKey) -> Option<Box<Service>> {
        let service = self.all.remove(key)?;
        self.ticks.forget(&service.key);
        self.scrapes.forget(&service.key);
        Some(service)
    }

    /// Returns a service; `None` if it is not known.
    pub fn get(&self, key: &ServiceKey) -> Option<&Service> {
        self.all.get(key).map(|service| &**service)
    }

    /// Returns a service; `None` if it is not known.
    pub fn get_mut(&mut self, key: &ServiceKey) -> Option<&mut Service> {
        self.all.get_mut(key).map(|service| &mut **service)
    }

    /// Returns the shared key of a service; `None` if it is not known.
    pub fn key(&self, key: &ServiceKey) -> Option<Arc<ServiceKey>> {
        self.all.get(key).map(|service| service.key.clone())
    }

    /// Returns all services.
    pub fn iter(&self) -> impl Iterator<Item = &Service> {
        self.all.values().map(|service| &**service)
    }

    /// Decides on a service at `now`; returns `None` if it is not known. Schedules the next decision, and
    /// scrapes if there are pods to scrape.
    pub fn evaluate(&mut self, key: &ServiceKey, now: Tick, cause: Cause) -> Option<Actions> {
        let service = self.all.get_mut(key)?;
        let actions = service.state.evaluate(now, cause);
        let tick = || next_tick(key, now, self.periods.decide);
        match actions.next {
            Next::Tick => self.ticks.schedule(&service.key, tick()),
            Next::Within(delay) => self.ticks.schedule(&service.key, tick().min(now.after(delay))),
            Next::Rest(Some(delay)) => self.ticks.schedule(&service.key, now.after(delay)),
            Next::Rest(None) => self.ticks.forget(&service.key),
        }
        if !service.state.is_scraped() {
            self.scrapes.forget(&service.key);
        } else if !self.scrapes.is_scheduled(&service.key) {
            self.scrapes.schedule(&service.key, now);
        }
        Some(actions)
    }

    /// Stops all regular work, because another autoscaler leads.
    pub fn stand_by(&mut self) {
        (self.ticks, self.scrapes) = (Scheduler::default(), Scheduler::default());
        for service in self.all.values_mut() {
            service.pending = Pending::default();
        }
    }

    /// Makes this autoscaler the leader at `now`: each service is decided on as after a start.
    pub fn take_over(&mut self, now: Tick) {
        self.stand_by();
        for service in self.all.values_mut() {
            service.state.take_over(now);
        }
    }

    /// Schedules the release of the load data of `key`, although nothing decides on it.
    pub fn look_again(&mut self, key: &ServiceKey, now: Tick) {
        if let Some(service) = self.all.get(key)
            && !self.ticks.is_scheduled(&service.key)
        {
            self.ticks.schedule(&service.key, now.after(service.state.spec().stable_window));
        }
    }

    /// Releases the load data of a service if it no longer matters.
    pub fn rest_unled(&mut self, key: &ServiceKey, now: Tick) {
        let Some(service) = self.all.get_mut(key) else { return };
        if let Some(delay) = service.state.rest_unled(now) {
            self.ticks.schedule(&service.key, now.after(delay));
        }
    }

    /// Returns when something is due next.
    pub fn next_due(&mut self) -> Option<Tick> {
        [self.ticks.next_due(), self.scrapes.next_due()].into_iter().flatten().min()
    }

    /// Returns a service that is due for a decision at `now`.
    pub fn due(&mut self, now: Tick) -> Option<Arc<ServiceKey>> {
        self.ticks.pop(now).map(|(key, _)| key)
    }

    /// Returns a service whose pods are due for a scrape at `now`, and schedules the next one a period later.
    /// Missed scrapes are skipped.
    pub fn due_to_be_asked(&mut self, now: Tick) -> Option<Arc<ServiceKey>> {
        let (key, at) = self.scrapes.pop(now)?;
        let next = at.after(self.periods.scrape);
        self.scrapes.schedule(&key, if next > now { next } else { now.after(self.periods.scrape) });
        Some(key)
    }
}
