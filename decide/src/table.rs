//! All services in one place: what is known of each, and when it is to be looked at.
//!
//! No task and no timer per service. A service that rests is in no queue: it costs the memory of its state until
//! something happens to it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ebb_annotations::ScalingSpec;
use ebb_core::{ServiceKey, Tick};

use crate::{
    pending::Pending,
    route::rollout::Standing,
    scheduler::{Scheduler, next_tick},
    service::{Actions, Cause, Next, ServiceState},
};

/// How often what is done without being asked for.
#[derive(Clone, Copy, Debug)]
pub struct Periods {
    /// Each service is decided on so often.
    pub decide: Duration,
    /// Each service's pods are asked so often. Windows count in whole seconds: this must stay one.
    pub scrape: Duration,
}

impl Default for Periods {
    /// The reference's (`spec/autoscaler.md`, section 1).
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

/// One of them.
#[derive(Debug)]
pub struct Service {
    /// Its key, to be shared.
    pub key: Arc<ServiceKey>,
    /// What is known of it.
    pub state: ServiceState,
    /// The port on which activators answer for it; 0 lets each choose one.
    pub port: u16,
    /// Why there are fewer pods than wanted, for those who wait; empty if nothing is wrong.
    pub trouble: String,
    /// What is wanted for it, and what is under way.
    pub pending: Pending,
}

impl Service {
    /// How it is, for a rollout that is to give it more requests.
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
    /// None yet.
    pub fn new(periods: Periods) -> Self {
        let (ticks, scrapes) = (Scheduler::default(), Scheduler::default());
        Self { all: HashMap::new(), ticks, scrapes, periods }
    }

    /// Takes over what the annotations of `key` say, whether it is known or new.
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

    /// Forgets a service, and answers what was known of it.
    pub fn remove(&mut self, key: &ServiceKey) -> Option<Box<Service>> {
        let service = self.all.remove(key)?;
        self.ticks.forget(&service.key);
        self.scrapes.forget(&service.key);
        Some(service)
    }

    /// A service; `None` if it is not known.
    pub fn get(&self, key: &ServiceKey) -> Option<&Service> {
        self.all.get(key).map(|service| &**service)
    }

    /// A service; `None` if it is not known.
    pub fn get_mut(&mut self, key: &ServiceKey) -> Option<&mut Service> {
        self.all.get_mut(key).map(|service| &mut **service)
    }

    /// The shared key of a service; `None` if it is not known.
    pub fn key(&self, key: &ServiceKey) -> Option<Arc<ServiceKey>> {
        self.all.get(key).map(|service| service.key.clone())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Service> {
        self.all.values().map(|service| &**service)
    }

    /// Decides on a service at `now`; `None` if it is not known. It is due again as the decision says, and its
    /// pods are asked from now on, if there are any to ask.
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

    /// Nothing is done about any service from now on without being asked for: another one leads.
    pub fn stand_by(&mut self) {
        (self.ticks, self.scrapes) = (Scheduler::default(), Scheduler::default());
        for service in self.all.values_mut() {
            service.pending = Pending::default();
        }
    }

    /// From `now` on this autoscaler leads: each service is to be decided on as if it had just started.
    pub fn take_over(&mut self, now: Tick) {
        self.stand_by();
        for service in self.all.values_mut() {
            service.state.take_over(now);
        }
    }

    /// Sees to it that what is kept of the load of `key` is given back some time, although nobody decides on it.
    pub fn look_again(&mut self, key: &ServiceKey, now: Tick) {
        if let Some(service) = self.all.get(key)
            && !self.ticks.is_scheduled(&service.key)
        {
            self.ticks.schedule(&service.key, now.after(service.state.spec().stable_window));
        }
    }

    /// Gives back what is kept of the load of a service, if that says nothing any more.
    pub fn rest_unled(&mut self, key: &ServiceKey, now: Tick) {
        let Some(service) = self.all.get_mut(key) else { return };
        if let Some(delay) = service.state.rest_unled(now) {
            self.ticks.schedule(&service.key, now.after(delay));
        }
    }

    /// When something is due next.
    pub fn next_due(&mut self) -> Option<Tick> {
        [self.ticks.next_due(), self.scrapes.next_due()].into_iter().flatten().min()
    }

    /// A service that is due to be decided on at `now`.
    pub fn due(&mut self, now: Tick) -> Option<Arc<ServiceKey>> {
        self.ticks.pop(now).map(|(key, _)| key)
    }

    /// A service whose pods are due to be asked at `now`; they are due again one period after they were. What was
    /// missed is not made up for.
    pub fn due_to_be_asked(&mut self, now: Tick) -> Option<Arc<ServiceKey>> {
        let (key, at) = self.scrapes.pop(now)?;
        let next = at.after(self.periods.scrape);
        self.scrapes.schedule(&key, if next > now { next } else { now.after(self.periods.scrape) });
        Some(key)
    }
}
