//! From a decision to replicas: bounds, the way down to zero, and who answers meanwhile
//! (`spec/autoscaler.md`, sections 7 and 8).
//!
//! [`step`] is one pass: what a service was ([`ScaleState`]) and what is seen now ([`Facts`]) become
//! what to do ([`Outcome`]), among it the state for the next pass and when that is due at the latest.
//! Nothing here writes, probes or waits.
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

/// What a service carries from one pass to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleState {
    /// Whether the service serves, wakes or rests.
    pub activity: Activity,
    /// Whether it was ever ready with as many pods as it was created for; stays true.
    pub initialized: bool,
    /// The last pods wanted that were known; `None` if none ever were.
    pub wanted_pods: Option<u32>,
}

/// What is seen at the time of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The decider's number; `None` until it made a decision.
    pub desired_pods: Option<u32>,
    /// The decider's excess burst capacity in requests; negative wants activators in the path.
    pub excess_burst_capacity: i64,
    /// Pods that take traffic.
    pub ready_pods: u32,
    /// The least pods by the service's schedule; 0 if it sets no minimum now.
    pub scheduled_pods: u32,
    /// Where traffic goes now; `None` before anything was published.
    pub published: Option<Published>,
    /// Whether clients have a name for the service. Without one it is not active, whoever is ready.
    pub service_known: bool,
    /// Whether an activator answers at the service's address.
    pub activator_answer: ActivatorAnswer,
}

/// Where a service's traffic was sent by the last pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// To pods or to activators.
    pub path: Path,
    /// Since when activators stand in the service's endpoints; `None` if they do not.
    pub proxied_since: Option<Tick>,
}

/// What a probe of the service's address found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivatorAnswer {
    /// Nobody probed for this pass.
    NotAsked,
    /// An activator answered: traffic has moved.
    Yes,
    /// Something else answered, or nothing.
    No,
}

/// A probe that the caller should make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Once, now; then repeat this pass with the answer, and do nothing else of its outcome.
    Now,
    /// In the background until an activator answers; then make a new pass. At most one at a time.
    UntilAnswered,
}

/// What one pass decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Pods wanted within the bounds; `None` while unknown.
    pub wanted_pods: Option<u32>,
    /// Replicas that the scale target must have; `None` leaves it as it is.
    pub apply: Option<u32>,
    /// Why the last pods stay although none are wanted; `None` if they go, or some are wanted.
    pub held_by: Option<Held>,
    /// Make another pass after so long, whatever happens.
    pub wake_after: Option<Duration>,
    /// The probe to make.
    pub probe: Option<Probe>,
    /// Where traffic must go.
    pub path: Path,
    /// How many activators share the service, at least [`MIN_ACTIVATORS`].
    pub activators: u32,
    /// For the next pass.
    pub state: ScaleState,
}

impl ScaleState {
    /// A service first seen at `now`: waking, and of unknown size.
    pub const fn new(now: Tick) -> Self {
        Self { activity: Activity::Activating { since: now }, initialized: false, wanted_pods: None }
    }

    /// A service that had no pods when it was first seen, at `now`, and wants none: whatever it begins with, it
    /// has had.
    pub const fn resting(now: Tick) -> Self {
        let activity = Activity::Inactive { since: now, cause: InactiveCause::NoTraffic };
        Self { activity, initialized: true, wanted_pods: Some(0) }
    }
}

/// One pass at `now`.
///
/// Where nothing was published yet the activators come first: that a service's traffic has somewhere to
/// go precedes any scaling (section 7, step 1).
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
