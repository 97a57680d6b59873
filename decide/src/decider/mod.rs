//! How many pods a service should have (`spec/autoscaler.md`, section 6).
//!
//! [`Decider::decide`] is the whole of it: pods and averages in, a [`Decision`] out. It owns the little that
//! must outlast one decision: whether the service panics, what delays a decrease, since when pods are starting.
//! Bounds (`min_scale` and its like) and the way down to zero come after it, in [`crate::zero`].
//!
//! By [`Rules::Reference`] it computes what the reference does, number by number. By [`Rules::Mended`], the
//! default, it differs where a complaint about the reference is known; `docs/differences.md` lists them all.

mod panic;
mod proposal;
mod startup;
mod status;

use std::time::Duration;

use ebb_annotations::{Metric, Rules, ScalingSpec, TargetBurstCapacity};
use ebb_core::Tick;

pub use panic::{Mode, Panic};
use proposal::{Proposal, saturating};
use startup::Startup;
pub use status::Status;

use crate::windows::{Averages, MaxWindow};

/// Step of the scale-down delay: one decision interval (`spec/autoscaler.md`, sections 1 and 6.2).
const DELAY_GRANULARITY: Duration = Duration::from_secs(2);

/// What outlasts one decision about one service.
#[derive(Clone, Debug)]
pub struct Decider {
    panic: Panic,
    delay: Option<Box<MaxWindow>>,
    startup: Startup,
    last_desired: Option<u32>,
}

/// What one decision is made from. If the averages or the pods are not known, do not ask: a decision
/// that is not made changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observation {
    /// Pods that take traffic; 0 where none exist.
    pub ready_pods: u32,
    /// Pods that were asked for, do not take traffic yet, and are expected to.
    pub coming_pods: u32,
    /// Pods that were asked for, whatever they do.
    pub replicas: u32,
    /// Requests in flight. Not-a-number counts as no load, here and below.
    pub concurrency: Averages,
    /// Requests per second.
    pub rps: Averages,
    /// How long a request is in a pod, in seconds; `None` until enough were seen.
    pub request_seconds: Option<f64>,
    /// Whether everything that should have reported lately has. Without it no pod goes.
    pub fresh: bool,
    /// Whether this is a regular decision. In between, because something happened, pods may come; they go with
    /// the next regular one, or the rates would be rates of whatever happens.
    pub regular: bool,
}

impl Observation {
    /// The averages of `metric`.
    pub const fn of(&self, metric: Metric) -> Averages {
        match metric {
            Metric::Concurrency => self.concurrency,
            Metric::Rps => self.rps,
        }
    }
}

/// How many pods are wanted, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// Pods wanted, before the service's own bounds.
    pub desired_pods: u32,
    /// Requests that could come on top of the load before pods are full, less those that must be able
    /// to; negative where activators have to stay in the path. Saturates.
    pub excess_burst_capacity: i64,
    /// Which average ruled.
    pub mode: Mode,
    /// Which metric asked for the most pods, where a service is scaled by two.
    pub signal: Metric,
    /// Which rule set `desired_pods`.
    pub bound_by: Bound,
    /// Pods that the stable average asks for, within the rates.
    pub stable_pods: u32,
    /// Pods that the panic average asks for, within the rates.
    pub panic_pods: u32,
}

/// The rule that set the number of a [`Decision`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// None: the load asked for it.
    Load,
    /// Growth per decision is limited by `max_scale_up_rate`.
    ScaleUpRate,
    /// Shrinking per decision is limited by `max_scale_down_rate`.
    ScaleDownRate,
    /// Whenever any pods are wanted, `activation_scale` are.
    ActivationScale,
    /// What waits for pods that are starting is not counted as if they never came.
    Startup,
    /// No more than `max_starting_pods` start at a time.
    MaxStartingPods,
    /// A service that panics keeps the most pods it wanted.
    PanicPeak,
    /// A decrease waits for `scale_down_delay`.
    ScaleDownDelay,
    /// A decrease waits for the next regular decision.
    NextTick,
    /// A decrease waits for data.
    NoFreshData,
}

impl Decider {
    /// A decider that begins at `now`, when `ready_at_start` pods took traffic (0 if unknown).
    ///
    /// With more than one it begins in panic: its windows are empty, and what a predecessor scaled up
    /// must not shrink before one stable window was seen.
    pub fn new(now: Tick, ready_at_start: u32, spec: &ScalingSpec) -> Self {
        let mut decider = Self {
            panic: Panic::at_start(now, ready_at_start, spec.rules, spec.stable_window),
            delay: None,
            startup: Startup::default(),
            last_desired: None,
        };
        decider.set_scale_down_delay(spec.scale_down_delay);
        decider
    }

    /// Decides at `now`. An earlier `now` than before counts as no time having passed.
    pub fn decide(&mut self, now: Tick, spec: &ScalingSpec, seen: &Observation) -> Decision {
        let limit = self.startup.limit(now, spec, seen);
        let stable = Proposal::of(seen, |averages| averages.stable, limit, spec);
        let panic = Proposal::of(seen, |averages| averages.panic, limit, spec);

        let over = panic.per_pod >= spec.panic_threshold;
        let mode = self.panic.observe(now, over, spec.stable_window);
        let mut ruling = stable;
        if mode == Mode::Panic {
            if panic.pods > ruling.pods {
                ruling = panic;
            }
            ruling.raise(self.panic.raise_peak(now, ruling.pods, spec.stable_window), Bound::PanicPeak);
        }
        if let Some(most) = startup::most_pods(spec, seen) {
            ruling.lower(most, Bound::MaxStartingPods);
        }
        let delayed = self.delayed(now, spec, ruling.pods);
        ruling.raise(delayed, Bound::ScaleDownDelay);
        // What a predecessor wanted is what there is.
        let last = self.last_desired.unwrap_or(seen.replicas);
        if !seen.regular {
            ruling.raise(last, Bound::NextTick);
        }
        if !seen.fresh {
            // What is there may be busy, although nothing was wanted when last heard of.
            ruling.raise(last.max(seen.replicas.min(1)), Bound::NoFreshData);
        }
        self.last_desired = Some(ruling.pods);
        Decision {
            desired_pods: ruling.pods,
            excess_burst_capacity: excess_burst_capacity(spec, seen),
            mode,
            signal: ruling.signal,
            bound_by: ruling.bound_by,
            stable_pods: stable.pods,
            panic_pods: panic.pods,
        }
    }

    /// The panic as of the last decision.
    pub const fn panic(&self) -> &Panic {
        &self.panic
    }

    /// Changes how long a decrease waits, from the next decision on.
    ///
    /// The reference fixes the delay when a revision's decider is made, because a revision never
    /// changes. A Service's annotation does; whoever reads it calls this.
    pub fn set_scale_down_delay(&mut self, delay: Duration) {
        match &mut self.delay {
            _ if delay.is_zero() => self.delay = None,
            Some(window) => window.resize(delay),
            None => self.delay = Some(Box::new(MaxWindow::new(delay, DELAY_GRANULARITY))),
        }
    }

    /// The most pods wanted within the delay. What nobody can reach may go at once.
    fn delayed(&mut self, now: Tick, spec: &ScalingSpec, desired_pods: u32) -> u32 {
        match &mut self.delay {
            Some(window) if spec.reachable => {
                window.record(now, desired_pods);
                window.current()
            }
            _ => desired_pods,
        }
    }
}

/// `⌊ready × total − target burst capacity − panic average⌋`; 0 if no capacity is asked for, -1 if more
/// than any number of pods could give is (step 10).
///
/// The burst capacity is a number of requests in flight. The reference subtracts it from requests per second
/// where a service is scaled by those; mended, capacity and load are requests in flight always.
fn excess_burst_capacity(spec: &ScalingSpec, seen: &Observation) -> i64 {
    let (per_pod, load) = match spec.rules {
        Rules::Reference => (spec.total, seen.of(spec.metric).panic),
        Rules::Mended => (spec.pod_concurrency, seen.concurrency.panic),
    };
    match spec.target_burst_capacity {
        TargetBurstCapacity::Unlimited => -1,
        TargetBurstCapacity::Requests(0.0) => 0,
        TargetBurstCapacity::Requests(wanted) => {
            saturating((f64::from(seen.ready_pods) * per_pod - wanted - load).floor())
        }
    }
}
