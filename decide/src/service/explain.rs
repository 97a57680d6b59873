//! Why a service has its number of pods: its last decisions, and the data behind each.

use std::fmt;

use ebb_annotations::Metric;
use ebb_core::Tick;
use serde_json::{Value, json};

use crate::{
    decider::{Bound, Decision, Mode, Observation},
    zero::Held,
};

/// Why a decision was made at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A regular tick.
    Tick,
    /// A report asked for more than was decided.
    Poke,
    /// Pods, annotations or activators changed.
    Change,
}

/// A decision and the data behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// When it was made.
    pub at: Tick,
    /// What caused it.
    pub cause: Cause,
    /// What was observed; without a decision, only the pods.
    pub seen: Observation,
    /// What the averages asked for; `None` without data, so that the last decision stands.
    pub decision: Option<Decision>,
    /// The minimum that the schedule sets; 0 if none.
    pub scheduled_pods: u32,
    /// Why the last pods stay although none are wanted.
    pub held_by: Option<Held>,
    /// The pods wanted within the service's bounds; `None` if unknown.
    pub wanted_pods: Option<u32>,
    /// What the scale target was told, if anything.
    pub scale_to: Option<u32>,
}

impl Explained {
    /// Returns whether the panic window ruled.
    pub fn panicking(&self) -> bool {
        self.decision.is_some_and(|decision| decision.mode == Mode::Panic)
    }

    /// Returns whether all expected reports had come.
    pub fn is_fresh(&self) -> bool {
        self.decision.is_some() && self.seen.fresh
    }

    /// Formats the decision for programs. Times are in seconds, `at` since the Unix epoch; loads in requests
    /// in flight and in requests per second; unknown values are `null`.
    pub fn to_json(&self) -> Value {
        let seen = &self.seen;
        let averages = |metric| {
            let averages = seen.of(metric);
            self.decision.map(|_| json!({ "stable": averages.stable + 0.0, "panic": averages.panic + 0.0 }))
        };
        json!({
            "at": self.at.since_epoch().as_secs_f64(),
            "cause": self.cause.as_str(),
            "ready_pods": seen.ready_pods,
            "coming_pods": seen.coming_pods,
            "concurrency": averages(Metric::Concurrency),
            "rps": averages(Metric::Rps),
            "request_seconds": seen.request_seconds,
            "fresh": self.is_fresh(),
            "decision": self.decision.map(|decision| json!({
                "mode": decision.mode.as_str(),
                "signal": decision.signal.as_str(),
                "bound_by": decision.bound_by.as_str(),
                "stable_pods": decision.stable_pods,
                "panic_pods": decision.panic_pods,
                "desired_pods": decision.desired_pods,
                "excess_burst_capacity": decision.excess_burst_capacity,
            })),
            "scheduled_pods": self.scheduled_pods,
            "held_by": self.held_by.map(Held::as_str),
            "wanted_pods": self.wanted_pods,
            "scale_to": self.scale_to,
            "text": self.to_string(),
        })
    }

    /// Returns whether it equals `other`, except for the time and continuously learned values.
    pub(super) fn repeats(&self, other: &Self) -> bool {
        let seen = Observation { request_seconds: other.seen.request_seconds, ..self.seen };
        Self { at: other.at, cause: other.cause, seen, ..self.clone() } == *other
    }
}

impl Cause {
    /// Returns its name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tick => "tick",
            Self::Poke => "poke",
            Self::Change => "change",
        }
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = &self.seen;
        let Some(decision) = self.decision else {
            return match (self.scale_to, self.wanted_pods) {
                (Some(pods), _) => write!(f, "nothing decided, and {pods} are the least"),
                _ if seen.ready_pods == 0 && seen.coming_pods == 0 => {
                    write!(f, "nothing decided, and no pods")
                }
                _ => write!(f, "nothing decided, so nothing changes; {} ready", seen.ready_pods),
            };
        };
        let averages = seen.of(decision.signal);
        write!(
            f,
            "{}: {} stable {:.2}, panic {:.2}{}, {} ready",
            decision.mode.as_str(),
            decision.signal.as_str(),
            averages.stable,
            averages.panic,
            if seen.fresh { "" } else { " as last known" },
            seen.ready_pods
        )?;
        if seen.coming_pods > 0 {
            write!(f, ", {} coming", seen.coming_pods)?;
        }
        write!(f, ": {} desired {}", decision.desired_pods, decision.bound_by.why())?;
        match (self.held_by, self.wanted_pods) {
            (Some(held_by), _) => write!(f, ", and the last stay: {}", held_by.why()),
            (None, Some(wanted)) if wanted != decision.desired_pods && wanted == self.scheduled_pods => {
                write!(f, ", {wanted} by the schedule")
            }
            (None, Some(wanted)) if wanted != decision.desired_pods => {
                write!(f, ", {wanted} within the bounds")
            }
            _ => Ok(()),
        }
    }
}

impl Held {
    /// Returns its name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ScaleToZeroOff => "enable-scale-to-zero",
            Self::Starting => "starting",
            Self::StableWindow => "stable-window",
            Self::NoActivator => "no-activator",
            Self::GracePeriod => "scale-to-zero-grace-period",
            Self::Retention => "scale-to-zero-pod-retention-period",
        }
    }

    const fn why(self) -> &'static str {
        match self {
            Self::ScaleToZeroOff => "no service goes to zero here",
            Self::Starting => "it is just starting",
            Self::StableWindow => "it was active for less than a stable window",
            Self::NoActivator => "no activator has taken over",
            Self::GracePeriod => "activators have the grace period to take over",
            Self::Retention => "for the retention period",
        }
    }
}

impl Bound {
    /// Returns its name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::ScaleUpRate => "max-scale-up-rate",
            Self::ScaleDownRate => "max-scale-down-rate",
            Self::ActivationScale => "activation-scale",
            Self::Startup => "startup-aware",
            Self::MaxStartingPods => "max-starting-pods",
            Self::PanicPeak => "panic-peak",
            Self::ScaleDownDelay => "scale-down-delay",
            Self::NextTick => "next-tick",
            Self::NoFreshData => "no-fresh-data",
        }
    }

    const fn why(self) -> &'static str {
        match self {
            Self::Load => "by the load",
            Self::ScaleUpRate => "held back by max-scale-up-rate",
            Self::ScaleDownRate => "held up by max-scale-down-rate",
            Self::ActivationScale => "raised to activation-scale",
            Self::Startup => "as what waits is for the pods that are starting",
            Self::MaxStartingPods => "held back by max-starting-pods",
            Self::PanicPeak => "kept at the peak of the panic",
            Self::ScaleDownDelay => "kept up by scale-down-delay",
            Self::NextTick => "kept up until the next tick",
            Self::NoFreshData => "kept up for want of fresh data",
        }
    }
}

impl Mode {
    /// Returns its name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Panic => "panic",
        }
    }
}
