//! One service: all that is known of it, and what is to be done about it.
//!
//! A value without clock, task or client. Facts go in ([`ServiceState::record`], [`ServiceState::set_pods`]
//! and so on), [`ServiceState::evaluate`] says what to do and when to look again.

mod explain;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ebb_core::{
    ServiceKey, Tick,
    scaling::{Metric, ScalingSpec},
    stat::Stat,
};

use crate::{
    decider::{Decider, Decision, Observation, Status},
    endpoints::{Endpoints, endpoints},
    platform::Pod,
    windows::{MetricWindows, WindowRules},
    zero::{self, ActivatorAnswer, Activity, Facts, Path, Published, ScaleState},
};

pub use explain::{Cause, Explained, History, View};

/// One service's state.
#[derive(Debug)]
pub struct ServiceState {
    key: ServiceKey,
    spec: Arc<ScalingSpec>,
    windows: MetricWindows,
    decider: Option<Decider>,
    status: Status,
    scale: ScaleState,
    pods: Vec<Pod>,
    /// What the scale target wants; `None` until its platform told.
    replicas: Option<u32>,
    activators: Vec<SocketAddr>,
    published: Option<(Endpoints, Published)>,
    history: History,
}

/// What is to be done about a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actions {
    /// Pods that its scale target is to have, where that is not what it has.
    pub scale_to: Option<u32>,
    /// Endpoints that are to be published, where they are not.
    pub publish: Option<Endpoints>,
    /// When to look again at the latest; `None` if nothing is to be expected but events.
    pub look_again: Option<Duration>,
}

impl ServiceState {
    /// A service that was just heard of.
    pub fn new(key: ServiceKey, spec: Arc<ScalingSpec>, now: Tick) -> Self {
        Self {
            windows: MetricWindows::new(&spec, WindowRules::Mended),
            decider: None,
            status: Status::initial(&spec),
            scale: ScaleState::new(now),
            pods: Vec::new(),
            replicas: None,
            activators: Vec::new(),
            published: None,
            history: History::default(),
            spec,
            key,
        }
    }

    /// How it is scaled.
    pub fn spec(&self) -> &Arc<ScalingSpec> {
        &self.spec
    }

    /// Its pods.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// Its annotations changed; what was measured stays.
    pub fn set_spec(&mut self, spec: Arc<ScalingSpec>, now: Tick) {
        self.windows.resize(now, &spec);
        if let Some(decider) = &mut self.decider {
            decider.set_scale_down_delay(spec.scale_down_delay);
        }
        self.spec = spec;
    }

    /// Its pods changed.
    pub fn set_pods(&mut self, pods: Vec<Pod>, replicas: u32) {
        self.pods = pods;
        self.replicas = Some(replicas);
    }

    /// Its scale target was told to have so many pods.
    pub fn scaled(&mut self, replicas: u32) {
        self.replicas = Some(replicas);
    }

    /// What was published did not get there: it is to be published again.
    pub fn publish_failed(&mut self) {
        if let Some((endpoints, _)) = &mut self.published {
            endpoints.addresses.clear();
        }
    }

    /// The activators that answer for it changed.
    pub fn set_activators(&mut self, activators: Vec<SocketAddr>) {
        self.activators = activators;
    }

    /// Takes a report, and answers whether it must be decided on at once: the service has nothing, or the
    /// report alone asks for more than was decided. Everything else waits for the tick.
    pub fn record(&mut self, now: Tick, stat: &Stat) -> bool {
        if !stat.is_sane() {
            return false;
        }
        self.windows.record(now, stat);
        let load = match self.spec.metric {
            Metric::Concurrency => stat.own_concurrency(),
            Metric::Rps => stat.own_rate(),
        };
        let decided = self.status.desired_pods().unwrap_or(0);
        load > f64::from(decided) * self.spec.target
    }

    /// Decides at `now`, because of `cause`.
    pub fn evaluate(&mut self, now: Tick, cause: Cause) -> Actions {
        let ready: Vec<SocketAddr> =
            self.pods.iter().filter(|pod| pod.ready).map(|pod| pod.serving).collect();
        let ready_pods = u32::try_from(ready.len()).unwrap_or(u32::MAX);
        let averages = self.windows.averages(self.spec.metric, now).ok();
        let decision = averages.map(|averages| {
            let seen = Observation { ready_pods, stable: averages.stable, panic: averages.panic };
            self.decide(now, &seen)
        });
        let facts = Facts {
            desired_pods: self.status.desired_pods(),
            excess_burst_capacity: self.status.excess_burst_capacity(),
            ready_pods,
            published: self.published.as_ref().map(|(_, published)| *published),
            service_known: self.published.is_some(),
            activator_answer: if self.activators.is_empty() {
                ActivatorAnswer::No
            } else {
                ActivatorAnswer::Yes
            },
        };
        let outcome = zero::step(&self.spec, &self.scale, &facts, now);
        self.scale = outcome.state;
        let first = self.published.is_none();
        let publish = self.publish(self.path(&outcome), &ready, outcome.activators, now);
        let scale_to = outcome.apply.filter(|pods| self.replicas.is_some_and(|replicas| replicas != *pods));
        self.history.note(Explained {
            at: now,
            cause,
            ready_pods,
            averages: averages.map(|averages| (averages.stable, averages.panic)),
            decision,
            wanted_pods: outcome.wanted_pods,
            scale_to,
        });
        Actions { scale_to, publish, look_again: self.look_again(first, outcome.wake_after) }
    }

    fn decide(&mut self, now: Tick, seen: &Observation) -> Decision {
        let spec = &self.spec;
        let decider = self.decider.get_or_insert_with(|| Decider::new(now, seen.ready_pods, spec));
        let decision = decider.decide(now, spec, seen);
        // Whether it matters is seen in what there is to do.
        let _ = self.status.update(&decision);
        decision
    }

    /// Where traffic goes. While nothing is known it goes where it went: an autoscaler that has just
    /// started must not put activators before every service.
    fn path(&self, outcome: &zero::Outcome) -> Path {
        match (&self.published, outcome.wanted_pods) {
            (Some((_, published)), None) => published.path,
            _ => outcome.path,
        }
    }

    fn publish(&mut self, path: Path, ready: &[SocketAddr], activators: u32, now: Tick) -> Option<Endpoints> {
        let wanted = endpoints(&self.key, path, ready, &self.activators, activators);
        let before = self.published.as_ref();
        let proxied_since = match wanted.path {
            Path::Proxy => before.and_then(|(_, published)| published.proxied_since).or(Some(now)),
            Path::Serve => None,
        };
        let changed = before.is_none_or(|(endpoints, _)| *endpoints != wanted);
        let published = Published { path: wanted.path, proxied_since };
        self.published = Some((wanted.clone(), published));
        changed.then_some(wanted)
    }

    /// A service that rests at zero is looked at again when something happens, and not before.
    fn look_again(&self, first: bool, wake_after: Option<Duration>) -> Option<Duration> {
        if first {
            return Some(Duration::ZERO);
        }
        let resting = self.scale.activity.is_inactive() && self.replicas == Some(0) && self.pods.is_empty();
        if resting { None } else { Some(wake_after.unwrap_or(Duration::MAX)) }
    }

    /// What others may see of it.
    pub fn view(&mut self, now: Tick) -> View {
        let averages = self.windows.averages(self.spec.metric, now).ok();
        let rate = self.windows.averages(Metric::Rps, now).map_or(0.0, |averages| averages.panic);
        View {
            path: self.published.as_ref().map_or(Path::Proxy, |(_, published)| published.path),
            active: matches!(self.scale.activity, Activity::Active { .. }),
            ready_pods: u32::try_from(self.pods.iter().filter(|pod| pod.ready).count()).unwrap_or(u32::MAX),
            desired_pods: self.scale.wanted_pods.unwrap_or(0),
            replicas: self.replicas.unwrap_or(0),
            // Rounding may leave a zero with a sign; adding zero takes it away.
            stable: averages.map(|averages| averages.stable + 0.0),
            panic: averages.map(|averages| averages.panic + 0.0),
            rate,
            panicking: self.history.last().is_some_and(Explained::panicking),
            excess_burst_capacity: self.status.excess_burst_capacity(),
            target: self.spec.target,
        }
    }

    /// The last decisions, oldest first.
    pub fn history(&self) -> &History {
        &self.history
    }
}
