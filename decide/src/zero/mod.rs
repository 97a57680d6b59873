//! From a decision to replicas: bounds, scaling to zero, and who answers meanwhile (`spec/autoscaler.md`, sections 7
//! and 8).
//!
//! [`step`] is one pass: from the state of a service ([`ScaleState`]) and the current facts ([`Facts`]), it computes
//! what to do ([`Outcome`]), including the state for the next pass and when that is due at the latest. It does not
//! write, probe or wait.
//!
//! ```text
//!              enough pods ready
//! Activating ───────────────────────▶ Active
//!  ▲      │ not in time                  │ zero wanted after a stable window of activity
//!  │      ▼                              ▼
//!  │   Inactive: TimedOut      Inactive: NoTraffic ─ activators had the grace period ─▶ 0 replicas
//!  └──────┴────── pods wanted ───────────┘
//! ```

mod activity;
mod bounds;
mod path;
mod scale;

use std::time::Duration;

use ebb_annotations::ScalingSpec;
use ebb_core::Tick;

pub use activity::{Activity, InactiveCause, next_activity};
pub use bounds::{apply_bounds, bounded};
pub use path::{MIN_ACTIVATORS, Path, num_activators};
pub use scale::{ACTIVATION_BUFFER, Held, PROXY_RECHECK, Scaling, scale};

/// The state of a service between passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleState {
    /// Whether the service is active, activating or inactive.
    pub activity: Activity,
    /// Whether it was ever ready with its initial number of pods; stays true.
    pub initialized: bool,
    /// The last known number of wanted pods; `None` if it was never known.
    pub wanted_pods: Option<u32>,
}

/// The facts of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The decider's number of pods; `None` before the first decision.
    pub desired_pods: Option<u32>,
    /// The decider's excess burst capacity in requests; if it is negative, activators must be in the path.
    pub excess_burst_capacity: i64,
    /// Pods that take traffic.
    pub ready_pods: u32,
    /// The schedule's current minimum number of pods; 0 if there is none.
    pub scheduled_pods: u32,
    /// Where traffic goes now; `None` before anything was published.
    pub published: Option<Published>,
    /// Whether the service has an address for clients. Without one it is not active, even with ready pods.
    pub service_known: bool,
    /// Whether an activator answers at the service's address.
    pub activator_answer: ActivatorAnswer,
}

/// Where the last pass sent a service's traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// To pods or to activators.
    pub path: Path,
    /// Since when activators have been in the service's endpoints; `None` if they are not.
    pub proxied_since: Option<Tick>,
}

/// The result of a probe of the service's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivatorAnswer {
    /// There was no probe for this pass.
    NotAsked,
    /// An activator answered: traffic has moved.
    Yes,
    /// There was no answer, or one from something else.
    No,
}

/// A probe for the caller to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Probe once, now; then repeat this pass with the result, and ignore the rest of its outcome.
    Now,
    /// Probe in the background until an activator answers; then make a new pass. At most one such probe at a time.
    UntilAnswered,
}

/// The outcome of one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Number of pods wanted, within the bounds; `None` if unknown.
    pub wanted_pods: Option<u32>,
    /// Replicas to set on the scale target; `None` leaves them unchanged.
    pub apply: Option<u32>,
    /// Why the last pods stay although none are wanted; `None` if they are removed, or some are wanted.
    pub held_by: Option<Held>,
    /// Make another pass after this time at the latest.
    pub wake_after: Option<Duration>,
    /// The probe to make.
    pub probe: Option<Probe>,
    /// Where traffic must go.
    pub path: Path,
    /// How many activators share the service, at least [`MIN_ACTIVATORS`].
    pub activators: u32,
    /// The state for the next pass.
    pub state: ScaleState,
}

impl ScaleState {
    /// Returns the state of a service first seen at `now`: activating, with an unknown number of pods.
    pub const fn new(now: Tick) -> Self {
        Self { activity: Activity::Activating { since: now }, initialized: false, wanted_pods: None }
    }

    /// Returns the state of a service that had no pods when it was first seen, at `now`, and wants none. Its initial
    /// scale counts as reached.
    pub const fn resting(now: Tick) -> Self {
        let activity = Activity::Inactive { since: now, cause: InactiveCause::NoTraffic };
        Self { activity, initialized: true, wanted_pods: Some(0) }
    }
}

/// Makes one pass at `now`.
///
/// If nothing was published yet, activators are published first: a service's traffic must have a destination before
/// any scaling (section 7, step 1).
pub fn step(spec: &ScalingSpec, state: &ScaleState, facts: &Facts, now: Tick) -> Outcome {
    let (scaling, ready_pods, activators) = match &facts.published {
        None => (Scaling::unknown(), 0, MIN_ACTIVATORS),
        Some(published) => (
            scale(spec, state, facts, published, now),
            facts.ready_pods,
            num_activators(spec, facts.ready_pods),
        ),
    };
    let wanted_pods = scaling.wanted_pods;
    let threshold = spec.active_threshold(state.initialized);
    let initialized = state.initialized || (facts.service_known && ready_pods >= threshold);
    let activity = next_activity(state.activity, wanted_pods, ready_pods, threshold, now);
    Outcome {
        wanted_pods,
        apply: scaling.apply,
        held_by: scaling.held_by,
        wake_after: scaling.wake_after,
        probe: scaling.probe,
        path: Path::of(wanted_pods, facts.excess_burst_capacity),
        activators,
        state: ScaleState { activity, initialized, wanted_pods: wanted_pods.or(state.wanted_pods) },
    }
}
