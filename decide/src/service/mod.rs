//! One service: all that is known of it, and what is to be done about it.
//!
//! A value without clock, task or client. Facts go in ([`ServiceState::report`], [`ServiceState::scraped`],
//! [`ServiceState::set_pods`] and so on), [`ServiceState::evaluate`] says what to do and when to look again.

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

/// One service's state.
#[derive(Debug)]
pub struct ServiceState {
    key: Arc<ServiceKey>,
    spec: Arc<ScalingSpec>,
    /// What its annotations say, where that is not what holds.
    declared: Option<Arc<ScalingSpec>>,
    windows: MetricWindows,
    /// What the pods said; none before there were any, nor where the service rests.
    intake: Option<Box<Intake>>,
    /// How long a request is in a pod, as last known when the service went to rest.
    request_seconds: Option<f64>,
    startup: StartupTime,
    /// Made with the first decision; none where the service rests.
    decider: Option<Box<Decider>>,
    status: Status,
    scale: ScaleState,
    scheduled: Scheduled,
    pods: Vec<Pod>,
    announcements: Announcements,
    /// For each of them, whether it was seen to take traffic, or may have been before it was seen.
    proven: Vec<bool>,
    ready_pods: u32,
    /// When the last of them ceased to take traffic, if none does now.
    unready_since: Option<Tick>,
    /// What the scale target wants; `None` until its platform told.
    replicas: Option<u32>,
    /// When more pods were last asked for.
    asked_at: Tick,
    routing: Routing,
    history: History,
}

/// What is to be done about a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actions {
    /// Pods that its scale target is to have, where that is not what it has.
    pub scale_to: Option<u32>,
    /// Endpoints that are to be published, where they are not.
    pub publish: Option<Endpoints>,
    /// Whether activators must be told anew which part of the service is theirs.
    pub sharing_changed: bool,
    /// When to look again, whatever happens.
    pub next: Next,
}

/// When a service is to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// With the next tick.
    Tick,
    /// After so long, or with the next tick if that is sooner.
    Within(Duration),
    /// It rests: when something happens, and if that is known, after so long.
    Rest(Option<Duration>),
}

impl ServiceState {
    /// A service that was just heard of.
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

    /// How it is scaled.
    pub fn spec(&self) -> &Arc<ScalingSpec> {
        &self.spec
    }

    /// How its annotations say that it is scaled.
    pub fn declared(&self) -> &Arc<ScalingSpec> {
        self.declared.as_ref().unwrap_or(&self.spec)
    }

    /// Its pods.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// What its scale target wants; `None` until its platform told of its pods.
    pub fn replicas(&self) -> Option<u32> {
        self.replicas
    }

    /// Whether its pods are to be asked for their load: not where the activators see everything.
    pub fn is_scraped(&self) -> bool {
        self.ready_pods > 0 && self.spec.target_burst_capacity != TargetBurstCapacity::Unlimited
    }

    /// Its annotations changed; what was measured stays.
    pub fn set_spec(&mut self, spec: Arc<ScalingSpec>, now: Tick) {
        self.declared = None;
        self.hold(spec, now);
        self.see_to_direct_pods(now);
    }

    /// Pods without a queue-proxy tell nothing of their load: as long as there are any, activators see it all.
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

    /// Its platform told of its pods. What they said of themselves is kept.
    pub fn set_pods(&mut self, pods: Vec<Pod>, replicas: u32, now: Tick) {
        let pods = self.announcements.apply(pods, &self.pods);
        self.replace_pods(pods, now);
        if self.replicas.is_none() && replicas == 0 {
            // It rested before anyone here knew of it.
            self.scale = ScaleState::resting(now);
        }
        self.set_replicas(replicas, now);
    }

    /// What would become of `said`.
    pub fn judge(&self, said: &Announced) -> Admission {
        self.announcements.judge(said, &self.pods)
    }

    /// Takes what one of its pods says of itself, if it is the pod that speaks.
    pub fn announced(&mut self, said: &Announced, now: Tick) -> Admission {
        let admission = self.judge(said);
        if admission == Admission::Taken {
            let pods = self.announcements.take(said, &self.pods);
            self.replace_pods(pods, now);
        }
        admission
    }

    /// Pods that said of themselves where they are, and that nobody else knows of.
    pub fn coming(&self) -> impl Iterator<Item = &Pod> {
        self.announcements.coming(&self.pods)
    }

    /// Pods that said that they drain, and that are none of [`Self::pods`] any more.
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

    /// Which of `pods` take traffic, or ever did. Learns from those that take it for the first time.
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

    /// Its scale target was told to have so many pods.
    pub fn scaled(&mut self, replicas: u32, now: Tick) {
        self.set_replicas(replicas, now);
    }

    fn set_replicas(&mut self, replicas: u32, now: Tick) {
        if self.replicas.is_some_and(|before| before < replicas) {
            self.asked_at = now;
        }
        self.replicas = Some(replicas);
    }

    /// From `now` on this autoscaler leads. What another one did before is taken as it is seen, as after a start;
    /// what activators said while it followed counts, unless pods say the rest of it.
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

    /// Gives back what is kept of its load, if that says nothing any more; else answers when it may be looked at
    /// again. For one who follows, and decides nothing.
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

    /// What was published did not get there: it is to be published again.
    pub fn publish_failed(&mut self) {
        self.routing.publish_failed();
    }

    /// Where its traffic was sent last; `None` before anything was published.
    pub fn endpoints(&self) -> Option<&Endpoints> {
        self.routing.endpoints()
    }

    /// Whether a route has activators choose it: all of them pass its traffic on then. Answers whether that is news.
    pub fn set_chosen(&mut self, chosen: bool) -> bool {
        self.routing.set_chosen(chosen)
    }

    /// The activators that are to pass its traffic on, each its part of it, in the order of their addresses' text.
    pub fn sharing(&self) -> &[SocketAddr] {
        self.routing.sharing()
    }

    /// The activators that answer for it changed.
    pub fn set_activators(&mut self, activators: Answering, now: Tick) {
        self.routing.set_activators(activators, now);
    }

    /// Takes an activator's report, and answers whether it must be decided on at once: the service has nothing,
    /// or the report alone asks for more than was decided. Everything else waits for the tick.
    pub fn report(&mut self, now: Tick, stat: &Stat) -> bool {
        if !stat.is_sane() {
            return false;
        }
        if self.scale.activity.is_inactive() && !self.windows.has_records() && stat.is_idle() {
            // The last word about a service that rests already.
            return false;
        }
        self.windows.record(now, stat);
        if self.is_scraped() {
            self.intake().reported(stat);
        } else if self.ready_pods > 0 {
            // Activators see everything, what waits for a pod among it.
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

    /// Requests that its pods can have in flight.
    fn capacity(&self) -> f64 {
        f64::from(self.ready_pods) * self.spec.pod_concurrency
    }

    /// Takes what the pods said when they were asked at `asked_at`: an error if none answered in time, and
    /// `None` if there was none to ask. Answers as [`Self::report`] does.
    pub fn scraped(&mut self, asked_at: Tick, round: Result<Option<Estimate>, SampleError>) -> bool {
        let estimate = match round {
            // Those that were asked may have gone since.
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

    /// Whether so many requests in flight, or so many a second, are more than was decided for.
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

    /// Whether `pods` are another number than there is, and one that may be written now: fewer only at a tick, and
    /// with fresh data, unless that is the most that the service may have.
    fn may_have(&self, pods: u32, seen: Option<&Observation>, cause: Cause) -> bool {
        let Some(replicas) = self.replicas else { return false };
        let may_go = cause == Cause::Tick && seen.is_some_and(|seen| seen.fresh)
            || self.spec.max_scale.is_some_and(|most| most.get() == pods)
            || self.spec.rules == Rules::Reference;
        pods > replicas || (pods < replicas && may_go)
    }

    /// Whether anything is decided because of `cause`. The reference decides at ticks, and when somebody calls a
    /// service that has nothing.
    fn decides(&self, cause: Cause) -> bool {
        self.replicas.is_some() && (self.spec.rules == Rules::Mended || cause != Cause::Change)
    }

    /// What a decision at `now` is made from; `None` if the windows say nothing.
    fn observe(&mut self, now: Tick, cause: Cause) -> Option<Observation> {
        let mended = self.spec.rules == Rules::Mended;
        // Pods that took traffic, cannot be asked, and may have it still; not for ever.
        let is_blind = self.spec.target_burst_capacity != TargetBurstCapacity::Unlimited
            && self.unready_since.is_some_and(|since| now.since(since) < self.spec.progress_deadline);
        let has_lost_one = self.routing.has_lost_one(self.spec.stable_window, now);
        let fresh = self.routing.hears()
            && if self.is_scraped() { self.intake().is_fresh(now) } else { !is_blind && !has_lost_one };
        if mended && fresh && !self.is_scraped() {
            // Activators see everything: what they do not report is not there.
            self.windows.add(now, 0.0, 0.0);
        }
        let concurrency = self.windows.averages(Metric::Concurrency, now).ok()?;
        let rps = self.windows.averages(Metric::Rps, now).ok()?;
        let (fresh, regular) = (fresh || !mended, cause == Cause::Tick || !mended);
        Some(Observation { concurrency, rps, fresh, regular, ..self.unseen(now) })
    }

    /// What is seen of the service without its load.
    fn unseen(&self, now: Tick) -> Observation {
        // Pods that nobody asked for, of a job or of a former scale target, take traffic, and must not keep the
        // service's own from going.
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

    /// Pods that were asked for, are not ready, and are not overdue.
    fn coming_pods(&self, now: Tick) -> u32 {
        let starting = self.pods.iter().filter(|pod| !pod.ready && self.startup.expects(pod.started_at, now));
        let missing = self.replicas.unwrap_or(0).saturating_sub(count(self.pods.iter()));
        let to_come = if self.startup.expects(self.asked_at, now) { missing } else { 0 };
        count(starting).saturating_add(to_come)
    }

    /// What was decided last. What is there already is not taken away by a decision that could not be made anew.
    fn last_desired(&self, is_new: bool) -> Option<u32> {
        let stands = |desired: &u32| is_new || self.replicas.is_none_or(|replicas| *desired >= replicas);
        self.status.desired_pods().filter(|desired| self.spec.rules == Rules::Reference || stands(desired))
    }

    /// What the service has at least, if that is more than it has: it needs no data to be wanted.
    fn least_pods(&self) -> Option<u32> {
        let least = zero::bounded(&self.spec, self.scale.initialized, self.scheduled.pods, 0);
        let lacks = self.replicas.is_some_and(|replicas| replicas < least);
        (lacks && self.spec.rules == Rules::Mended).then_some(least)
    }

    fn decide(&mut self, now: Tick, seen: &Observation) -> Decision {
        let spec = &self.spec;
        // Pods that a predecessor asked for and that are starting are to stay as well.
        let at_start = match spec.rules {
            Rules::Mended => seen.ready_pods.max(seen.replicas),
            Rules::Reference => seen.ready_pods,
        };
        let decider = self.decider.get_or_insert_with(|| Box::new(Decider::new(now, at_start, spec)));
        let decision = decider.decide(now, spec, seen);
        // Whether it matters is seen in what there is to do.
        let _ = self.status.update(&decision);
        decision
    }

    /// A service that rests at zero is looked at again when something happens, and not before; what it keeps
    /// for decisions is given back once it says nothing any more.
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
            // Its windows remember that nothing was there.
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

    /// The last decisions, oldest first.
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
