//! One service: its state, and what to do about it.
//!
//! The state has no clock, task or client. Facts go in ([`ServiceState::report`], [`ServiceState::scraped`],
//! [`ServiceState::set_pods`] and so on); [`ServiceState::evaluate`] returns what to do and when to evaluate
//! again.

mod announcements;
mod explain;
mod history;
mod intake;
mod routing;
mod startup_time;
#[cfg(test)]
mod tests;
mod view;

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use ebb_annotations::{Metric, Rules, ScalingSpec, Scheduled, TargetBurstCapacity};
use ebb_core::{ServiceKey, Tick, announce::Announced, stat::Stat};

use crate::{
    Pod,
    decider::{Decider, Decision, Observation, Status},
    endpoints::{Answering, Endpoints},
    sampling::{Estimate, SampleError},
    windows::MetricWindows,
    zero::{self, ActivatorAnswer, Facts, ScaleState},
};

pub use announcements::Admission;
use announcements::Announcements;
pub use explain::{Cause, Explained};
pub use history::History;
use intake::Intake;
use routing::Routing;
use startup_time::StartupTime;
pub use view::View;

/// The state of one service.
#[derive(Debug)]
pub struct ServiceState {
    key: Arc<ServiceKey>,
    spec: Arc<ScalingSpec>,
    /// The spec by its annotations, if another one is in effect.
    declared: Option<Arc<ScalingSpec>>,
    windows: MetricWindows,
    /// The pods' answers; `None` before there were any, and while the service rests.
    intake: Option<Box<Intake>>,
    /// The time that a request spends in a pod, as last known before the service went to rest.
    request_seconds: Option<f64>,
    startup: StartupTime,
    /// Created with the first decision; `None` while the service rests.
    decider: Option<Box<Decider>>,
    status: Status,
    scale: ScaleState,
    scheduled: Scheduled,
    pods: Vec<Pod>,
    announcements: Announcements,
    /// For each pod, whether it was seen to take traffic, or may have before it was first seen.
    proven: Vec<bool>,
    ready_pods: u32,
    /// When the last pod stopped taking traffic, if none does now.
    unready_since: Option<Tick>,
    /// The replicas that the scale target wants; `None` until the platform reported them.
    replicas: Option<u32>,
    /// When more pods were last requested.
    asked_at: Tick,
    routing: Routing,
    history: History,
}

/// What to do about a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actions {
    /// The number of pods to scale to, if it changes.
    pub scale_to: Option<u32>,
    /// The endpoints to publish, if they change.
    pub publish: Option<Endpoints>,
    /// Whether activators must be told their shares again.
    pub sharing_changed: bool,
    /// When to evaluate again, at the latest.
    pub next: Next,
}

/// When to evaluate a service again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At the next tick.
    Tick,
    /// After this time, or at the next tick if that is sooner.
    Within(Duration),
    /// The service rests: when something happens, or after this time if one is set.
    Rest(Option<Duration>),
}

impl ServiceState {
    /// Creates the state of a new service.
    pub fn new(key: Arc<ServiceKey>, spec: Arc<ScalingSpec>, now: Tick) -> Self {
        Self {
            windows: MetricWindows::new(&spec),
            intake: None,
            request_seconds: None,
            startup: StartupTime::default(),
            decider: None,
            status: Status::initial(&spec),
            scale: ScaleState::new(now),
            scheduled: scheduled(&spec, now),
            declared: None,
            pods: Vec::new(),
            announcements: Announcements::default(),
            proven: Vec::new(),
            ready_pods: 0,
            unready_since: None,
            replicas: None,
            asked_at: now,
            routing: Routing::default(),
            history: History::default(),
            spec,
            key,
        }
    }

    /// Returns the spec in effect.
    pub fn spec(&self) -> &Arc<ScalingSpec> {
        &self.spec
    }

    /// Returns the spec by its annotations.
    pub fn declared(&self) -> &Arc<ScalingSpec> {
        self.declared.as_ref().unwrap_or(&self.spec)
    }

    /// Returns its pods.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// Returns the replicas that its scale target wants; `None` until the platform reported them.
    pub fn replicas(&self) -> Option<u32> {
        self.replicas
    }

    /// Returns whether its pods are scraped: not if the activators see all traffic.
    pub fn is_scraped(&self) -> bool {
        self.ready_pods > 0 && self.spec.target_burst_capacity != TargetBurstCapacity::Unlimited
    }

    /// Sets the spec after its annotations changed; measurements stay.
    pub fn set_spec(&mut self, spec: Arc<ScalingSpec>, now: Tick) {
        self.declared = None;
        self.hold(spec, now);
        self.see_to_direct_pods(now);
    }

    /// Adapts the spec to pods without a queue-proxy: they report no load, so while there are any, activators
    /// stay in the path and see all of it.
    fn see_to_direct_pods(&mut self, now: Tick) {
        let unlimited = TargetBurstCapacity::Unlimited;
        let direct = self.pods.iter().any(|pod| pod.direct);
        if direct && self.spec.target_burst_capacity != unlimited {
            let proxied = ScalingSpec { target_burst_capacity: unlimited, ..ScalingSpec::clone(&self.spec) };
            self.declared = Some(self.spec.clone());
            self.hold(Arc::new(proxied), now);
        } else if !direct && let Some(declared) = self.declared.take() {
            self.hold(declared, now);
        }
    }

    fn hold(&mut self, spec: Arc<ScalingSpec>, now: Tick) {
        self.windows.resize(now, &spec);
        if spec.rules != self.spec.rules {
            self.decider = None;
        }
        if let Some(decider) = &mut self.decider {
            decider.set_scale_down_delay(spec.scale_down_delay);
        }
        self.scheduled = scheduled(&spec, now);
        self.spec = spec;
    }

    /// Sets the pods as its platform reports them. Their own announcements are kept.
    pub fn set_pods(&mut self, pods: Vec<Pod>, replicas: u32, now: Tick) {
        let pods = self.announcements.apply(pods, &self.pods);
        self.replace_pods(pods, now);
        if self.replicas.is_none() && replicas == 0 {
            // It rested before this autoscaler knew it.
            self.scale = ScaleState::resting(now);
        }
        self.set_replicas(replicas, now);
    }

    /// Returns what would become of `said`.
    pub fn judge(&self, said: &Announced) -> Admission {
        self.announcements.judge(said, &self.pods)
    }

    /// Applies an announcement of one of its pods, if it is authentic.
    pub fn announced(&mut self, said: &Announced, now: Tick) -> Admission {
        let admission = self.judge(said);
        if admission == Admission::Taken {
            let pods = self.announcements.take(said, &self.pods);
            self.replace_pods(pods, now);
        }
        admission
    }

    /// Returns pods whose address is known only from their own announcements.
    pub fn coming(&self) -> impl Iterator<Item = &Pod> {
        self.announcements.coming(&self.pods)
    }

    /// Returns pods that announced that they drain, and are no longer in [`Self::pods`].
    pub fn draining(&self) -> &[Pod] {
        self.announcements.draining()
    }

    fn replace_pods(&mut self, pods: Vec<Pod>, now: Tick) {
        let proven = self.prove(&pods, now);
        (self.pods, self.proven) = (pods, proven);
        self.ready_pods = count(self.pods.iter().filter(|pod| pod.ready));
        self.unready_since = match self.unready_since {
            _ if self.ready_pods > 0 || !self.proven.contains(&true) => None,
            since => since.or(Some(now)),
        };
        if let Some(intake) = self.intake.as_mut().filter(|_| self.pods.is_empty()) {
            intake.nobody_left();
        }
        self.see_to_direct_pods(now);
        self.routing.changed();
    }

    /// Returns which of `pods` take traffic, or ever did. Learns the start-up time from those that take it
    /// for the first time.
    fn prove(&mut self, pods: &[Pod], now: Tick) -> Vec<bool> {
        let known: HashMap<&str, bool> =
            self.pods.iter().zip(&self.proven).map(|(pod, proven)| (&*pod.name, *proven)).collect();
        let mut proven = Vec::with_capacity(pods.len());
        for pod in pods {
            let age = now.since(pod.started_at);
            proven.push(match known.get(&*pod.name) {
                Some(true) => true,
                Some(false) => {
                    if pod.ready {
                        self.startup.learn(age);
                    }
                    pod.ready
                }
                None => pod.ready || age > StartupTime::SEEN_FROM_ITS_START,
            });
        }
        proven
    }

    /// Records that its scale target was told to have this many pods.
    pub fn scaled(&mut self, replicas: u32, now: Tick) {
        self.set_replicas(replicas, now);
    }

    fn set_replicas(&mut self, replicas: u32, now: Tick) {
        if self.replicas.is_some_and(|before| before < replicas) {
            self.asked_at = now;
        }
        self.replicas = Some(replicas);
    }

    /// Makes this autoscaler the leader at `now`. The actions of the former leader are taken as they are
    /// seen, as after a start. Activators' reports received while following count, unless pods report the
    /// rest of the load.
    pub fn take_over(&mut self, now: Tick) {
        self.decider = None;
        self.status = Status::initial(&self.spec);
        self.scale = if self.replicas == Some(0) { ScaleState::resting(now) } else { ScaleState::new(now) };
        self.routing.forget_published();
        if self.is_scraped() {
            // A part of the load would look like all of it.
            self.forget_load();
        }
    }

    /// Releases the load data if it no longer matters; otherwise returns when to check again. For autoscalers
    /// that do not lead, and so decide nothing.
    pub fn rest_unled(&mut self, now: Tick) -> Option<Duration> {
        if !self.windows.is_empty(now) {
            return Some(self.spec.stable_window);
        }
        self.forget_load();
        None
    }

    fn forget_load(&mut self) {
        self.windows.forget();
        if let Some(intake) = self.intake.take() {
            self.request_seconds = intake.request_seconds();
        }
    }

    /// Records that the publication failed and must be repeated.
    pub fn publish_failed(&mut self) {
        self.routing.publish_failed();
    }

    /// Returns where its traffic was last sent; `None` before anything was published.
    pub fn endpoints(&self) -> Option<&Endpoints> {
        self.routing.endpoints()
    }

    /// Sets whether a route's activators choose this service, so that all of them forward its traffic.
    /// Returns whether that changed.
    pub fn set_chosen(&mut self, chosen: bool) -> bool {
        self.routing.set_chosen(chosen)
    }

    /// Returns the activators that share its traffic, in the order of their addresses as text.
    pub fn sharing(&self) -> &[SocketAddr] {
        self.routing.sharing()
    }

    /// Sets the activators that serve it.
    pub fn set_activators(&mut self, activators: Answering, now: Tick) {
        self.routing.set_activators(activators, now);
    }

    /// Applies an activator's report. Returns whether to decide at once: the service has no pods, or the
    /// report alone asks for more than was decided. Otherwise the tick is soon enough.
    pub fn report(&mut self, now: Tick, stat: &Stat) -> bool {
        if !stat.is_sane() {
            return false;
        }
        if self.scale.activity.is_inactive() && !self.windows.has_records() && stat.is_idle() {
            // The final report of a service that already rests.
            return false;
        }
        self.windows.record(now, stat);
        if self.is_scraped() {
            self.intake().reported(stat);
        } else if self.ready_pods > 0 {
            // Activators see all traffic, including requests that wait for a pod.
            let capacity = self.capacity();
            self.intake().passed_on(now, stat, capacity);
        }
        match self.spec.rules {
            Rules::Mended => self.asks_for_more(stat.own_concurrency(), stat.own_rate()),
            Rules::Reference => self.status.desired_pods().unwrap_or(0) == 0 && stat.own_concurrency() != 0.0,
        }
    }

    fn intake(&mut self) -> &mut Intake {
        let known = self.request_seconds;
        self.intake.get_or_insert_with(|| Box::new(Intake::knowing(known)))
    }

    /// Returns the requests that its pods can have in flight.
    fn capacity(&self) -> f64 {
        f64::from(self.ready_pods) * self.spec.pod_concurrency
    }

    /// Applies a scrape begun at `asked_at`: an error if no pod answered in time, and `None` if there was
    /// none to scrape. Returns the same as [`Self::report`].
    pub fn scraped(&mut self, asked_at: Tick, round: Result<Option<Estimate>, SampleError>) -> bool {
        let estimate = match round {
            // The scraped pods may have gone since.
            _ if !self.is_scraped() => return false,
            Ok(None) => return false,
            Ok(Some(estimate)) if estimate.stat.is_sane() => Some(estimate),
            Ok(Some(_)) | Err(_) => None,
        };
        if self.spec.rules == Rules::Reference {
            if let Some(estimate) = estimate {
                self.windows.record(asked_at, &estimate.stat);
            }
            return false;
        }
        let alone = !self.routing.hears();
        let capacity = self.capacity();
        let Some(load) = self.intake().heard(asked_at, estimate.as_ref(), alone, capacity) else {
            return false;
        };
        self.windows.add(asked_at, load.in_flight, load.rate);
        self.asks_for_more(load.in_flight, load.rate)
    }

    /// Returns whether this load, in requests in flight or per second, is more than was decided for.
    fn asks_for_more(&self, in_flight: f64, rate: f64) -> bool {
        let decided = f64::from(self.status.desired_pods().unwrap_or(0));
        let over = |metric, target: f64| match metric {
            Metric::Concurrency => in_flight > decided * target,
            Metric::Rps => rate > decided * target,
        };
        over(self.spec.metric, self.spec.target)
            || self.spec.second.as_ref().is_some_and(|second| over(second.metric, second.target))
    }

    /// Decides at `now`, because of `cause`.
    pub fn evaluate(&mut self, now: Tick, cause: Cause) -> Actions {
        if self.scheduled.until.is_some_and(|until| until <= now) {
            self.scheduled = scheduled(&self.spec, now);
        }
        let seen = if self.decides(cause) { self.observe(now, cause) } else { None };
        let decision = seen.map(|seen| self.decide(now, &seen));
        let facts = Facts {
            desired_pods: self.last_desired(seen.is_some()).or_else(|| self.least_pods()),
            excess_burst_capacity: self.status.excess_burst_capacity(),
            ready_pods: self.ready_pods,
            scheduled_pods: self.scheduled.pods,
            published: self.routing.published(),
            service_known: self.routing.published().is_some(),
            activator_answer: if self.routing.hears() { ActivatorAnswer::Yes } else { ActivatorAnswer::No },
        };
        let outcome = zero::step(&self.spec, &self.scale, &facts, now);
        self.scale = outcome.state;
        let first = facts.published.is_none();
        let publish = self.routing.publish(&self.key, &outcome, &self.pods, now);
        let scale_to = outcome.apply.filter(|pods| self.may_have(*pods, seen.as_ref(), cause));
        self.history.note(Explained {
            at: now,
            cause,
            seen: seen.unwrap_or_else(|| self.unseen(now)),
            decision,
            scheduled_pods: self.scheduled.pods,
            held_by: outcome.held_by,
            wanted_pods: outcome.wanted_pods,
            scale_to,
        });
        let next = if first {
            Next::Within(Duration::ZERO)
        } else {
            self.next(outcome.wake_after, seen.as_ref(), now)
        };
        Actions { scale_to, publish, sharing_changed: self.routing.take_sharing_changed(), next }
    }

    /// Returns whether the scale target may be set to `pods` now, if that is a change. Decreases need a tick
    /// and fresh data, unless `pods` is the service's maximum.
    fn may_have(&self, pods: u32, seen: Option<&Observation>, cause: Cause) -> bool {
        let Some(replicas) = self.replicas else { return false };
        let may_go = cause == Cause::Tick && seen.is_some_and(|seen| seen.fresh)
            || self.spec.max_scale.is_some_and(|most| most.get() == pods)
            || self.spec.rules == Rules::Reference;
        pods > replicas || (pods < replicas && may_go)
    }

    /// Returns whether `cause` leads to a decision. The reference decides at ticks, and on requests for a
    /// service that has no pods.
    fn decides(&self, cause: Cause) -> bool {
        self.replicas.is_some() && (self.spec.rules == Rules::Mended || cause != Cause::Change)
    }

    /// Returns the input of a decision at `now`; `None` if the windows have no data.
    fn observe(&mut self, now: Tick, cause: Cause) -> Option<Observation> {
        let mended = self.spec.rules == Rules::Mended;
        // Pods that took traffic cannot be scraped and may still have it, for a limited time.
        let is_blind = self.spec.target_burst_capacity != TargetBurstCapacity::Unlimited
            && self.unready_since.is_some_and(|since| now.since(since) < self.spec.progress_deadline);
        let has_lost_one = self.routing.has_lost_one(self.spec.stable_window, now);
        let fresh = self.routing.hears()
            && if self.is_scraped() { self.intake().is_fresh(now) } else { !is_blind && !has_lost_one };
        if mended && fresh && !self.is_scraped() {
            // Activators see all traffic: what they do not report does not exist.
            self.windows.add(now, 0.0, 0.0);
        }
        let concurrency = self.windows.averages(Metric::Concurrency, now).ok()?;
        let rps = self.windows.averages(Metric::Rps, now).ok()?;
        let (fresh, regular) = (fresh || !mended, cause == Cause::Tick || !mended);
        Some(Observation { concurrency, rps, fresh, regular, ..self.unseen(now) })
    }

    /// Returns an observation without the load.
    fn unseen(&self, now: Tick) -> Observation {
        // Pods that Ebb did not request, of a job or a former scale target, take traffic, but must not cause
        // the service's own pods to be removed.
        let own = match self.spec.rules {
            Rules::Mended => self.ready_pods.min(self.replicas.unwrap_or(u32::MAX)),
            Rules::Reference => self.ready_pods,
        };
        Observation {
            ready_pods: own,
            coming_pods: self.coming_pods(now),
            replicas: self.replicas.unwrap_or(0),
            request_seconds: self
                .intake
                .as_ref()
                .map_or(self.request_seconds, |intake| intake.request_seconds()),
            ..Observation::default()
        }
    }

    /// Returns the number of pods that were requested, are not ready, and are not overdue.
    fn coming_pods(&self, now: Tick) -> u32 {
        let starting = self.pods.iter().filter(|pod| !pod.ready && self.startup.expects(pod.started_at, now));
        let missing = self.replicas.unwrap_or(0).saturating_sub(count(self.pods.iter()));
        let to_come = if self.startup.expects(self.asked_at, now) { missing } else { 0 };
        count(starting).saturating_add(to_come)
    }

    /// Returns the last decision. A decision that cannot be renewed does not remove existing pods.
    fn last_desired(&self, is_new: bool) -> Option<u32> {
        let stands = |desired: &u32| is_new || self.replicas.is_none_or(|replicas| *desired >= replicas);
        self.status.desired_pods().filter(|desired| self.spec.rules == Rules::Reference || stands(desired))
    }

    /// Returns the minimum of the service, if it has fewer pods: this needs no data.
    fn least_pods(&self) -> Option<u32> {
        let least = zero::bounded(&self.spec, self.scale.initialized, self.scheduled.pods, 0);
        let lacks = self.replicas.is_some_and(|replicas| replicas < least);
        (lacks && self.spec.rules == Rules::Mended).then_some(least)
    }

    fn decide(&mut self, now: Tick, seen: &Observation) -> Decision {
        let spec = &self.spec;
        // Starting pods that a former leader requested stay as well.
        let at_start = match spec.rules {
            Rules::Mended => seen.ready_pods.max(seen.replicas),
            Rules::Reference => seen.ready_pods,
        };
        let decider = self.decider.get_or_insert_with(|| Box::new(Decider::new(now, at_start, spec)));
        let decision = decider.decide(now, spec, seen);
        // Whether it matters shows in the actions.
        let _ = self.status.update(&decision);
        decision
    }

    /// Returns when to evaluate again. A service at zero waits for an event; its load data is released once
    /// it no longer matters.
    fn next(&mut self, wake_after: Option<Duration>, seen: Option<&Observation>, now: Tick) -> Next {
        let rests = self.scale.activity.is_inactive()
            && self.replicas == Some(0)
            && self.pods.is_empty()
            && self.scheduled.pods == 0;
        if !rests {
            return wake_after.map_or(Next::Tick, Next::Within);
        }
        let minimum = self.scheduled.until.map(|until| until.since(now));
        let quiet = |seen: &Observation| seen.concurrency.stable == 0.0 && seen.rps.stable == 0.0;
        let says_nothing = match self.spec.rules {
            Rules::Mended => seen.is_none_or(quiet),
            // Its windows remember that there was no load.
            Rules::Reference => self.windows.is_empty(now),
        };
        if says_nothing {
            self.forget_load();
            self.decider = None;
            self.history.rest();
            return Next::Rest(minimum);
        }
        let window = self.spec.stable_window;
        Next::Rest(Some(minimum.map_or(window, |minimum| minimum.min(window))))
    }

    /// Returns the last decisions, oldest first.
    pub fn history(&self) -> &History {
        &self.history
    }
}

fn scheduled(spec: &ScalingSpec, now: Tick) -> Scheduled {
    spec.schedule.as_ref().map_or(Scheduled { pods: 0, until: None }, |schedule| schedule.at(now))
}

fn count<'a>(pods: impl Iterator<Item = &'a Pod>) -> u32 {
    u32::try_from(pods.count()).unwrap_or(u32::MAX)
}
