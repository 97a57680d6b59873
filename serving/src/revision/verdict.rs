//! What is true of a Revision at its stage.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    cause::{Cause, Causes},
    stage::Stage,
};
use crate::{
    api::Condition,
    conditions::{Conditions, Truth},
    seen::{Deployed, Progress},
};

/// Whether the pods could be made.
pub(super) const RESOURCES_AVAILABLE: &str = "ResourcesAvailable";
/// Whether the containers run.
pub(super) const CONTAINER_HEALTHY: &str = "ContainerHealthy";
/// Whether there are pods that take requests. `Ready` does not depend on it.
const ACTIVE: &str = "Active";

const DEPLOYING: &str = "Deploying";
const RESOLVING: &str = "ResolvingDigests";
const DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";
const NOT_OWNED: &str = "NotOwned";
const REFUSED: &str = "AnnotationsRefused";

/// The conditions of a Revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    resources: Mark,
    container: Mark,
    active: Mark,
    /// When the Revision must be judged again.
    pub(super) again: Option<Timestamp>,
}

/// What a condition becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    truth: Truth,
    reason: String,
    message: String,
}

/// What a Revision is judged by, beside its stage.
#[derive(Clone, Debug)]
pub(super) struct Evidence<'a> {
    /// Its conditions so far.
    pub(super) before: &'a [Condition],
    /// What keeps its pods from running.
    pub(super) causes: Causes,
    /// Number of pods that it needs once before requests are sent to it.
    pub(super) initial_pods: i32,
    /// How long it may take to get further.
    pub(super) deadline: Duration,
    /// Whether a pod without a node is no failure.
    pub(super) is_always_schedulable: bool,
    /// The time.
    pub(super) now: Timestamp,
}

impl Verdict {
    /// Sets the conditions.
    pub(super) fn apply(&self, conditions: &mut Conditions) {
        for (type_, mark) in [(RESOURCES_AVAILABLE, &self.resources), (CONTAINER_HEALTHY, &self.container)] {
            conditions.set(type_, mark.truth, &mark.reason, &mark.message);
        }
        conditions.inform(ACTIVE, self.active.truth, &self.active.reason, &self.active.message);
    }
}

impl Mark {
    fn new(truth: Truth, reason: &str, message: &str) -> Self {
        Self { truth, reason: reason.to_owned(), message: message.to_owned() }
    }

    fn yes() -> Self {
        Self::new(Truth::True, "", "")
    }

    fn no(reason: &str, message: &str) -> Self {
        Self::new(Truth::False, reason, message)
    }

    fn open(reason: &str) -> Self {
        Self::new(Truth::Unknown, reason, "")
    }

    fn caused(truth: Truth, cause: &Cause) -> Self {
        Self::new(truth, &cause.reason, &cause.message)
    }
}

impl Evidence<'_> {
    /// Returns whether the Revision had its initial pods once. What was wrong with its objects since does not matter,
    /// as its containers were healthy.
    pub(super) fn was_available(&self) -> bool {
        let resources = self.condition(RESOURCES_AVAILABLE);
        let is = |type_: &str, status: &str| self.condition(type_).is_some_and(|one| one.status == status);
        is(RESOURCES_AVAILABLE, "True")
            || (is(CONTAINER_HEALTHY, "True")
                && resources.is_some_and(|one| [NOT_OWNED, REFUSED].contains(&one.reason.as_str())))
    }

    fn condition(&self, type_: &str) -> Option<&Condition> {
        self.before.iter().find(|condition| condition.type_ == type_)
    }

    /// Judges the Revision at its stage.
    pub(super) fn judge(&self, stage: &Stage) -> Verdict {
        let healthy_once = || if self.was_available() { Mark::yes() } else { Mark::open(DEPLOYING) };
        let active = Mark::open(DEPLOYING);
        let (resources, container) = match stage {
            Stage::Running(deployed) => return self.running(deployed),
            Stage::Claiming => return self.awaited("Ebb has not taken over the Service of the Revision."),
            Stage::Starting => return self.awaited("The Deployment of the Revision could not be created."),
            Stage::Impossible(why) => (Mark::no("Invalid", why), healthy_once()),
            Stage::Refused(why) => (Mark::no(REFUSED, why), healthy_once()),
            Stage::Taken { kind, name } => {
                let message = format!("There is an existing {kind} {name:?} that we do not own.");
                (Mark::no(NOT_OWNED, &message), healthy_once())
            }
            Stage::Resolving => (Mark::open(RESOLVING), Mark::open(RESOLVING)),
            Stage::Missing { image, why } => {
                let message =
                    format!("Unable to fetch image {image:?}: failed to resolve image to digest: {why}");
                (Mark::open(RESOLVING), Mark::no("ContainerMissing", &message))
            }
        };
        Verdict { resources, container, active, again: None }
    }

    /// Judges a Revision whose next object should be there soon. No event tells if it never comes.
    fn awaited(&self, late: &str) -> Verdict {
        let active = Mark::open(DEPLOYING);
        if self.was_available() {
            return Verdict { resources: Mark::yes(), container: Mark::yes(), active, again: None };
        }
        let due = self.due();
        let resources = match due {
            Some(due) if self.now < due => Mark::open(DEPLOYING),
            _ => Mark::no(DEADLINE_EXCEEDED, late),
        };
        let again = due.filter(|due| self.now < *due);
        Verdict { resources, container: Mark::open(DEPLOYING), active, again }
    }

    /// Returns when the next object is overdue; `None` if it is already.
    fn due(&self) -> Option<Timestamp> {
        let resources = self.condition(RESOURCES_AVAILABLE);
        if resources.is_some_and(|one| one.status == "False" && one.reason == DEADLINE_EXCEEDED) {
            return None;
        }
        let since = resources.filter(|one| one.status == "Unknown" && one.reason == DEPLOYING);
        let since = since.and_then(|one| one.last_transition_time.as_ref()?.parse().ok()).unwrap_or(self.now);
        Some(since.checked_add(self.deadline).unwrap_or(Timestamp::MAX))
    }

    fn running(&self, deployed: &Deployed) -> Verdict {
        // A Deployment that rests, of a Revision without any condition, comes from a backup: a Revision gets
        // conditions before its Deployment.
        let is_restored = self.before.is_empty() && deployed.wanted == 0;
        let is_available = self.was_available()
            || is_restored
            || deployed.available.max(deployed.ready) >= self.initial_pods;
        let (resources, container) = if is_available {
            (Mark::yes(), Mark::yes())
        } else {
            (self.starting(deployed), self.container(deployed))
        };
        Verdict { resources, container, active: self.active(deployed, is_available), again: None }
    }

    /// Judges whether the first pods can be made. Nothing here stays if the pods come later after all.
    fn starting(&self, deployed: &Deployed) -> Mark {
        if let Some(failure) = replica_failure(deployed) {
            return Mark::caused(Truth::False, &failure);
        }
        let stuck = self.unscheduled().or(self.causes.waiting.as_ref());
        let timed_out = deployed.progressing.as_ref();
        let timed_out = timed_out.filter(|progress| progress.status == "False" && deployed.is_observed);
        match (timed_out, stuck) {
            (Some(_), Some(stuck)) => Mark::caused(Truth::False, stuck),
            (Some(progress), None) => Mark::no(&progress.reason, &progress.message),
            (None, _) if deployed.wanted == 0 => {
                Mark::no(DEADLINE_EXCEEDED, "Initial scale was never achieved")
            }
            // A node, or an image, may still come.
            (None, Some(stuck)) => Mark::caused(Truth::Unknown, stuck),
            (None, None) => Mark::open(DEPLOYING),
        }
    }

    /// Judges whether the containers of the first pods run.
    fn container(&self, deployed: &Deployed) -> Mark {
        if deployed.ready > 0 {
            return Mark::yes();
        }
        if let Some(exited) = &self.causes.exited {
            return Mark::caused(Truth::False, exited);
        }
        let before = self.condition(CONTAINER_HEALTHY).filter(|one| one.status == "False");
        match before {
            // The last pods told, and there are no others.
            Some(before) if deployed.wanted == 0 => Mark::no(&before.reason, &before.message),
            _ => Mark::open(DEPLOYING),
        }
    }

    fn active(&self, deployed: &Deployed, is_available: bool) -> Mark {
        if deployed.wanted == 0 {
            return Mark::no("NoTraffic", "The target is not receiving traffic.");
        }
        if is_available && deployed.ready > 0 {
            return Mark::yes();
        }
        let failure = replica_failure(deployed);
        let trouble = self.causes.exited.as_ref().or(failure.as_ref());
        let trouble = trouble.or(self.unscheduled()).or(self.causes.waiting.as_ref());
        match trouble {
            Some(cause) if deployed.ready == 0 => {
                let message = format!("0 of {} pods are ready: {}", deployed.wanted, cause.message);
                Mark::no(&cause.reason, &message)
            }
            _ => Mark::new(
                Truth::Unknown,
                "Queued",
                "Requests to the target are being buffered as resources are provisioned.",
            ),
        }
    }

    fn unscheduled(&self) -> Option<&Cause> {
        self.causes.unscheduled.as_ref().filter(|_| !self.is_always_schedulable)
    }
}

/// Returns why pods could not be created, if that leaves the Revision without any.
fn replica_failure(deployed: &Deployed) -> Option<Cause> {
    let counts = |failure: &&Progress| failure.status == "True" && deployed.available == 0;
    let failure = deployed.replica_failure.as_ref().filter(counts)?;
    Some(Cause { reason: failure.reason.clone(), message: failure.message.clone() })
}
