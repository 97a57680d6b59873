//! How many pods a service should have (`spec/autoscaler.md`, section 6).
//!
//! [`Decider::decide`] is the whole of it: ready pods and two averages in, a [`Decision`] out. It owns
//! the little that must outlast one decision: whether the service panics, and what delays a decrease.
//! Bounds (`min_scale` and its like) and the way down to zero come after it, in [`crate::zero`].

mod panic;
mod proposal;
mod status;

use std::time::Duration;

use ebb_core::{
    Tick,
    scaling::{ScalingSpec, TargetBurstCapacity},
};

pub use panic::{Mode, Panic};
use proposal::{Proposal, saturating};
pub use status::Status;

use crate::windows::MaxWindow;

/// Step of the scale-down delay: one decision interval (`spec/autoscaler.md`, sections 1 and 6.2).
const DELAY_GRANULARITY: Duration = Duration::from_secs(2);

/// What outlasts one decision about one service.
#[derive(Clone, Debug)]
pub struct Decider {
    panic: Panic,
    delay: Option<MaxWindow>,
}

/// What one decision is made from. If the averages or the pods are not known, do not ask: a decision
/// that is not made changes nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// Pods that take traffic; 0 where none exist.
    pub ready_pods: u32,
    /// Average over the stable window, in units of the metric. Not-a-number counts as no load.
    pub stable: f64,
    /// Average over the panic window, likewise.
    pub panic: f64,
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
    /// A service that panics keeps the most pods it wanted since the panic began.
    PanicPeak,
    /// A decrease waits for `scale_down_delay`.
    ScaleDownDelay,
}

impl Decider {
    /// A decider that begins at `now`, when `ready_at_start` pods took traffic (0 if unknown).
    ///
    /// With more than one it begins in panic: its windows are empty, and what a predecessor scaled up
    /// must not shrink before one stable window was seen.
    pub fn new(now: Tick, ready_at_start: u32, spec: &ScalingSpec) -> Self {
        let mut decider = Self { panic: Panic::at_start(now, ready_at_start), delay: None };
        decider.set_scale_down_delay(spec.scale_down_delay);
        decider
    }

    /// Decides at `now`. An earlier `now` than before counts as no time having passed.
    pub fn decide(&mut self, now: Tick, spec: &ScalingSpec, seen: &Observation) -> Decision {
        let stable = Proposal::of(seen.stable, seen.ready_pods, spec);
        let panic = Proposal::of(seen.panic, seen.ready_pods, spec);

        let over = panic.per_ready_pod >= spec.panic_threshold;
        let mode = self.panic.observe(now, over, spec.stable_window);
        let (mut desired_pods, mut bound_by) = (stable.pods, stable.bound_by);
        if mode == Mode::Panic {
            if panic.pods > desired_pods {
                (desired_pods, bound_by) = (panic.pods, panic.bound_by);
            }
            let peak = self.panic.raise_peak(desired_pods);
            if peak > desired_pods {
                (desired_pods, bound_by) = (peak, Bound::PanicPeak);
            }
        }
        let delayed = self.delayed(now, spec, desired_pods);
        if delayed > desired_pods {
            (desired_pods, bound_by) = (delayed, Bound::ScaleDownDelay);
        }
        Decision {
            desired_pods,
            excess_burst_capacity: excess_burst_capacity(spec, seen),
            mode,
            bound_by,
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
            None => self.delay = Some(MaxWindow::new(delay, DELAY_GRANULARITY)),
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
fn excess_burst_capacity(spec: &ScalingSpec, seen: &Observation) -> i64 {
    match spec.target_burst_capacity {
        TargetBurstCapacity::Unlimited => -1,
        TargetBurstCapacity::Requests(0.0) => 0,
        TargetBurstCapacity::Requests(wanted) => {
            saturating((f64::from(seen.ready_pods) * spec.total - wanted - seen.panic).floor())
        }
    }
}
