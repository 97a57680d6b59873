//! Decides how many pods a service should have (`spec/autoscaler.md`, section 6).
//!
//! [`Decider::decide`] takes pods and averages, and returns a [`Decision`]. It keeps only what must outlast one
//! decision: whether the service panics, what delays a decrease, and since when pods are starting. Bounds (such as
//! `min_scale`) and scaling to zero are applied afterwards, in [`crate::zero`].
//!
//! With [`Rules::Reference`], it computes exactly the reference's numbers. With [`Rules::Mended`], the default, it
//! differs where a complaint about the reference is known; `docs/differences.md` lists all differences.

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

/// The state of one service between decisions.
#[derive(Clone, Debug)]
pub struct Decider {
    panic: Panic,
    delay: Option<Box<MaxWindow>>,
    startup: Startup,
    last_desired: Option<u32>,
}

/// The input of one decision. If the averages or the pods are unknown, do not decide: without a decision, nothing
/// changes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observation {
    /// Number of pods that take traffic; 0 if there are none.
    pub ready_pods: u32,
    /// Number of pods that were requested, do not take traffic yet, and are expected to.
    pub coming_pods: u32,
    /// Number of pods that were requested, whatever their state.
    pub replicas: u32,
    /// Requests in flight. Not-a-number counts as no load, here and below.
    pub concurrency: Averages,
    /// Requests per second.
    pub rps: Averages,
    /// How long a request takes in a pod, in seconds; `None` until enough requests were seen.
    pub request_seconds: Option<f64>,
    /// Whether all recent reports have arrived. If not, no pod is removed.
    pub fresh: bool,
    /// Whether this is a regular decision. Other decisions, which are triggered by events, can only add pods.
    /// Otherwise, the rate limits would depend on the number of events.
    pub regular: bool,
}

impl Observation {
    /// Returns the averages of `metric`.
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
    /// Number of pods wanted, before the service's own bounds.
    pub desired_pods: u32,
    /// Number of requests that the pods could take in addition to the load, minus the target burst capacity. If it is
    /// negative, activators must stay in the path. It saturates.
    pub excess_burst_capacity: i64,
    /// Which average sets the number.
    pub mode: Mode,
    /// Which metric wants the most pods, if a service is scaled by two.
    pub signal: Metric,
    /// Which rule set `desired_pods`.
    pub bound_by: Bound,
    /// Number of pods for the stable average, within the rate limits.
    pub stable_pods: u32,
    /// Number of pods for the panic average, within the rate limits.
    pub panic_pods: u32,
}

/// The rule that set the number of a [`Decision`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// No rule: the load itself.
    Load,
    /// Growth per decision is limited by `max_scale_up_rate`.
    ScaleUpRate,
    /// Decrease per decision is limited by `max_scale_down_rate`.
    ScaleDownRate,
    /// Whenever any pods are wanted, at least `activation_scale` are.
    ActivationScale,
    /// Requests that wait for starting pods count only in part.
    Startup,
    /// At most `max_starting_pods` start at a time.
    MaxStartingPods,
    /// A service in panic keeps the highest number of pods that it wanted.
    PanicPeak,
    /// A decrease waits for `scale_down_delay`.
    ScaleDownDelay,
    /// A decrease waits for the next regular decision.
    NextTick,
    /// A decrease waits for fresh data.
    NoFreshData,
}

impl Decider {
    /// Returns a decider that starts at `now`, when `ready_at_start` pods took traffic (0 if unknown).
    ///
    /// With more than one pod it starts in panic: its windows are empty, and pods from before must not be removed
    /// until one stable window was observed.
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

    /// Decides at `now`. An earlier `now` than before counts as if no time had passed.
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
        // After a restart, the existing replicas count as the last decision.
        let last = self.last_desired.unwrap_or(seen.replicas);
        if !seen.regular {
            ruling.raise(last, Bound::NextTick);
        }
        if !seen.fresh {
            // Existing pods may be busy, although none was wanted at the last decision.
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

    /// Returns the panic state after the last decision.
    pub const fn panic(&self) -> &Panic {
        &self.panic
    }

    /// Changes how long a decrease waits, from the next decision on.
    ///
    /// In the reference, the delay is fixed when a revision's decider is created, because a revision never changes. A
    /// Service's annotation does, and its reader calls this method.
    pub fn set_scale_down_delay(&mut self, delay: Duration) {
        match &mut self.delay {
            _ if delay.is_zero() => self.delay = None,
            Some(window) => window.resize(delay),
            None => self.delay = Some(Box::new(MaxWindow::new(delay, DELAY_GRANULARITY))),
        }
    }

    /// Returns the most pods wanted within the delay. Pods of an unreachable service may be removed at once.
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

/// Returns `⌊ready × total − target burst capacity − panic average⌋`; 0 if no burst capacity is required, and -1 if
/// more is required than any number of pods could provide (step 10).
///
/// The burst capacity is a number of requests in flight. For services scaled by requests per second, the reference
/// subtracts it from those. The mended rules always use requests in flight for capacity and load.
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
