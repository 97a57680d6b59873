//! Why a service has the pods it has: its last decisions, each with what it was made from.

use std::{collections::VecDeque, fmt};

use ebb_core::Tick;

use crate::{
    decider::{Bound, Decision, Mode},
    zero::Path,
};

/// Decisions that are kept for each service: a minute of them at one each two seconds.
const KEPT: usize = 30;

/// Why a decision was made just then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was time.
    Tick,
    /// A report asked for more than was decided.
    Poke,
    /// Pods, annotations or activators changed.
    Change,
}

/// One decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// When.
    pub at: Tick,
    /// Why then.
    pub cause: Cause,
    /// Pods that took traffic.
    pub ready_pods: u32,
    /// The stable and the panic average; `None` without fresh data.
    pub averages: Option<(f64, f64)>,
    /// What the averages asked for; `None` without fresh data: then the last decision stands.
    pub decision: Option<Decision>,
    /// Pods wanted within the service's bounds; `None` if that is not known.
    pub wanted_pods: Option<u32>,
    /// What the scale target was told, if it was told anything.
    pub scale_to: Option<u32>,
}

impl Explained {
    /// Whether the panic average ruled.
    pub fn panicking(&self) -> bool {
        self.decision.is_some_and(|decision| decision.mode == Mode::Panic)
    }

    /// Whether it says the same as `other`, but for its time.
    fn repeats(&self, other: &Self) -> bool {
        Self { at: other.at, cause: other.cause, ..self.clone() } == *other
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some((stable, panic)), Some(decision)) = (self.averages, self.decision) else {
            return write!(f, "no fresh data, so nothing changes; {} ready", self.ready_pods);
        };
        let rule = match decision.bound_by {
            Bound::Load => "by the load",
            Bound::ScaleUpRate => "held back by max-scale-up-rate",
            Bound::ScaleDownRate => "held up by max-scale-down-rate",
            Bound::ActivationScale => "raised to activation-scale",
            Bound::PanicPeak => "kept at the peak of the panic",
            Bound::ScaleDownDelay => "kept up by scale-down-delay",
        };
        let mode = if decision.mode == Mode::Panic { "panic" } else { "stable" };
        write!(
            f,
            "{mode}: stable {stable:.2}, panic {panic:.2}, {} ready: {} desired {rule}",
            self.ready_pods, decision.desired_pods
        )?;
        match self.wanted_pods {
            Some(wanted) if wanted != decision.desired_pods => write!(f, ", {wanted} within the bounds"),
            _ => Ok(()),
        }
    }
}

/// The last decisions of a service, oldest first. One that repeats the last one takes no place.
#[derive(Clone, Debug, Default)]
pub struct History {
    kept: VecDeque<Explained>,
}

impl History {
    pub(super) fn note(&mut self, decision: Explained) {
        if self.kept.back().is_some_and(|last| decision.repeats(last)) {
            return;
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(decision);
    }

    /// The last one.
    pub fn last(&self) -> Option<&Explained> {
        self.kept.back()
    }

    /// All that are kept.
    pub fn iter(&self) -> impl Iterator<Item = &Explained> {
        self.kept.iter()
    }
}

/// What others may see of a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Where its traffic goes.
    pub path: Path,
    /// Whether it serves.
    pub active: bool,
    /// Pods that take traffic.
    pub ready_pods: u32,
    /// Pods that were decided, within the bounds.
    pub desired_pods: u32,
    /// Pods that its scale target wants.
    pub replicas: u32,
    /// Average of the metric over the stable window; `None` without fresh data.
    pub stable: Option<f64>,
    /// Average of the metric over the panic window; `None` without fresh data.
    pub panic: Option<f64>,
    /// Requests per second, over the panic window.
    pub rate: f64,
    /// Whether the panic average rules.
    pub panicking: bool,
    /// Requests that could come on top before pods are full.
    pub excess_burst_capacity: i64,
    /// The metric wanted per pod.
    pub target: f64,
}
