//! Decides the number of replicas, and when to check again (`spec/autoscaler.md`, sections 7 and 8).

use std::time::Duration;

use ebb_annotations::{ScalingSpec, TargetBurstCapacity};
use ebb_core::Tick;

use super::{ActivatorAnswer, Activity, Facts, Path, Probe, Published, ScaleState, bounded};

/// An activation has failed this long after the progress deadline, because the deployment reports first.
pub const ACTIVATION_BUFFER: Duration = Duration::from_secs(30);

/// An inactive service that was already proxied is checked again after this time, because no event would trigger it.
pub const PROXY_RECHECK: Duration = Duration::from_secs(3);

/// Why the last pods of a service stay although none are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The cluster does not allow scaling to zero.
    ScaleToZeroOff,
    /// It is starting, and may still become ready.
    Starting,
    /// It has been active for less than a stable window.
    StableWindow,
    /// Activators must take over first.
    NoActivator,
    /// They have the grace period to take over.
    GracePeriod,
    /// The last pod stays for its retention period.
    Retention,
}

/// What to do about the replicas of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaling {
    /// Number of pods wanted, within the bounds; `None` if unknown.
    pub wanted_pods: Option<u32>,
    /// Replicas to set on the scale target; `None` leaves them unchanged.
    pub apply: Option<u32>,
    /// Why the last pods stay although none are wanted.
    pub held_by: Option<Held>,
    /// Check again after this time.
    pub wake_after: Option<Duration>,
    /// The probe to make.
    pub probe: Option<Probe>,
}

impl Scaling {
    /// The number is unknown, and nothing changes.
    pub(super) const fn unknown() -> Self {
        Self { wanted_pods: None, apply: None, held_by: None, wake_after: None, probe: None }
    }

    /// Sets the scale target to `pods`.
    const fn apply(pods: u32) -> Self {
        Self { wanted_pods: Some(pods), apply: Some(pods), ..Self::unknown() }
    }

    /// No pods are wanted, but the last pods stay until something else has happened.
    const fn zero_pending(held_by: Held) -> Self {
        Self { wanted_pods: Some(0), held_by: Some(held_by), ..Self::unknown() }
    }

    const fn held_by(self, held_by: Held) -> Self {
        Self { held_by: Some(held_by), ..self }
    }

    const fn wake_after(self, delay: Duration) -> Self {
        Self { wake_after: Some(delay), ..self }
    }

    const fn probe(self, probe: Probe) -> Self {
        Self { probe: Some(probe), ..self }
    }
}

/// Returns what to do about the replicas of a service at `now`, whose traffic goes where `published` says.
pub fn scale(
    spec: &ScalingSpec,
    state: &ScaleState,
    facts: &Facts,
    published: &Published,
    now: Tick,
) -> Scaling {
    let Some(desired) = facts.desired_pods.or(state.activity.is_activating().then_some(0)) else {
        return Scaling::unknown(); // fail static: without a decision nothing changes
    };
    match bounded(spec, state.initialized, facts.scheduled_pods, desired) {
        0 if !spec.scale_to_zero => Scaling::apply(1).held_by(Held::ScaleToZeroOff),
        0 => to_zero(spec, state.activity, facts.activator_answer, published, now),
        pods => Scaling::apply(pods),
    }
}

/// Returns the next step of scaling to zero (section 8).
fn to_zero(
    spec: &ScalingSpec,
    activity: Activity,
    answer: ActivatorAnswer,
    published: &Published,
    now: Tick,
) -> Scaling {
    match activity {
        Activity::Activating { since } => {
            let timeout = spec.progress_deadline.saturating_add(ACTIVATION_BUFFER);
            if now.since(since) > timeout {
                Scaling::apply(0) // the activation failed
            } else {
                Scaling::unknown().held_by(Held::Starting).wake_after(timeout)
            }
        }
        Activity::Active { since } => match remaining(spec.stable_window, now.since(since)) {
            Some(rest) => Scaling::apply(1).held_by(Held::StableWindow).wake_after(rest),
            // Nothing is applied: the service becomes inactive, and its traffic moves to the activators.
            None if published.path == Path::Proxy => {
                Scaling::zero_pending(Held::GracePeriod).wake_after(PROXY_RECHECK)
            }
            None => Scaling::zero_pending(Held::GracePeriod),
        },
        Activity::Inactive { since, .. } => last_pod(spec, now.since(since), answer, published, now),
    }
}

/// Returns whether the last pods of a service that has been inactive for `inactive_for` may be removed (section 8,
/// step 5).
fn last_pod(
    spec: &ScalingSpec,
    inactive_for: Duration,
    answer: ActivatorAnswer,
    published: &Published,
    now: Tick,
) -> Scaling {
    let always_proxied = spec.target_burst_capacity == TargetBurstCapacity::Unlimited;
    match answer {
        _ if always_proxied => {}
        ActivatorAnswer::Yes => {}
        ActivatorAnswer::NotAsked => return Scaling::zero_pending(Held::NoActivator).probe(Probe::Now),
        ActivatorAnswer::No => {
            return Scaling::zero_pending(Held::NoActivator).probe(Probe::UntilAnswered);
        }
    }
    let grace = spec.scale_to_zero_grace_period;
    let retention = if spec.reachable { spec.pod_retention_period } else { Duration::ZERO };
    if inactive_for >= grace.max(retention) {
        return Scaling::apply(0);
    }
    if let Some(rest) = remaining(retention, inactive_for) {
        return Scaling::zero_pending(Held::Retention).wake_after(rest);
    }
    // Activators may have been in the path for long before the service became inactive.
    let proxied_for = published.proxied_since.map_or(Duration::ZERO, |since| now.since(since));
    match remaining(grace, proxied_for) {
        None => Scaling::apply(0),
        Some(rest) => Scaling::zero_pending(Held::GracePeriod).wake_after(rest),
    }
}

/// Returns what is left of `whole` after `passed`; `None` if nothing is.
fn remaining(whole: Duration, passed: Duration) -> Option<Duration> {
    whole.checked_sub(passed).filter(|rest| !rest.is_zero())
}
