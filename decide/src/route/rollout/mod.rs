//! Rollouts: a changed split is reached step by step, so that services without enough pods are not flooded.
//!
//! A step waits until every growing service has the pods for its *current* share, and no step is taken while
//! one of them is failing. The next step adds little to that, and autoscaling follows it. If there are any
//! requests, at least one pod is required: a small share of few requests may not have reached the service
//! yet.

mod progress;
#[cfg(test)]
mod tests;
mod weights;

use std::time::Duration;

use ebb_annotations::{Share, split_text};
use ebb_core::Tick;
use serde_json::{Value, json};

pub use progress::{Progress, UnderWay};
pub use weights::{WHOLE, rollout};
use weights::{divides_alike, growing, rounded};

/// The first step is taken at once: it wakes a service at zero.
const FIRST: u16 = 10;
/// The most further steps, which share the rest of the way.
const MOST_STEPS: u16 = 99;
/// How often a step under way is checked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How a changed split is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// The duration without waits; `None` applies the split at once.
    pub over: Option<Duration>,
    /// Whether the rollout is paused.
    pub paused: bool,
    /// The progress that was written down.
    pub kept: Option<Progress>,
}

/// The state of a service that takes part in a rollout.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// It serves, or is scaled to zero.
    Well {
        /// Its ready pods.
        ready: u32,
        /// The pods that its current share requires.
        wanted: u32,
        /// Requests per second.
        rate: f64,
    },
    /// Its pods cannot start, or it cannot be served; with the reason.
    Failed(String),
    /// It is not known yet.
    Unknown,
    /// It does not exist.
    Gone,
}

/// Why a rollout does not advance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It is paused.
    Paused,
    /// It waits for pods of this service.
    Waiting(String),
    /// This growing service is not known yet.
    Unseen(String),
    /// A growing service has failed, for this reason.
    Stopped(String),
}

/// A route's rollout to its split.
#[derive(Clone, Debug)]
pub struct Rollout {
    progress: Progress,
    /// When the current step began.
    since: Tick,
    hold: Option<Hold>,
}

impl Rollout {
    /// Creates a rollout with `progress`.
    pub fn new(progress: Progress, now: Tick) -> Self {
        Self { progress, since: now, hold: None }
    }

    /// Returns its progress.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Returns why it does not advance, if it does not.
    pub fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// Sets a new target split: it applies at once if `over` is `None`, or if it is the split that held
    /// before.
    pub fn head_for(&mut self, to: Vec<Share>, over: Option<Duration>, now: Tick) {
        let Progress { to: last, under_way } = &self.progress;
        let same = divides_alike(last, &to);
        let leads_back = !same && under_way.as_ref().is_some_and(|way| divides_alike(&way.before, &to));
        let from = rounded(&self.progress.weights());
        if over.is_none() || leads_back || divides_alike(&from, &to) {
            *self = Self::new(Progress { to, under_way: None }, now);
        } else if same {
            self.progress.to = to;
        } else {
            let (from, before) = match under_way {
                Some(way) => (from, way.before.clone()),
                None => (last.clone(), last.clone()),
            };
            let way = UnderWay { from, before, done: 0, stopped: String::new() };
            *self = Self::new(Progress { to, under_way: Some(way) }, now);
        }
    }

    /// Takes the next step of `pace` if it is due at `now` and all growing services have what they need;
    /// `look` returns the state of each.
    pub fn advance(&mut self, pace: &Pace, now: Tick, look: impl Fn(&str) -> Standing) {
        self.hold = None;
        let weights = self.progress.weights();
        let Progress { to, under_way } = &mut self.progress;
        let Some(way) = under_way else { return };
        // The share of a service that is gone and has no weight goes to the others; its requests would be
        // refused.
        let stays = |share: &Share| {
            to.iter().any(|one| one.service == share.service) || look(&share.service) != Standing::Gone
        };
        way.from.retain(stays);
        let Some(over) = pace.over.filter(|_| way.from.iter().any(|share| share.weight > 0)) else {
            *under_way = None;
            return;
        };
        self.hold = if pace.paused { Some(Hold::Paused) } else { hold(way, to, &weights, look) };
        match &self.hold {
            // Whether it has failed is not known, either.
            Some(Hold::Unseen(_)) => {}
            // The time elapsed in the step still counts.
            Some(Hold::Waiting(_)) => way.stopped.clear(),
            Some(Hold::Paused) => (self.since, way.stopped) = (now, String::new()),
            Some(Hold::Stopped(why)) => (self.since, way.stopped) = (now, why.clone()),
            None => {
                way.stopped.clear();
                if way.done == 0 || now >= self.since.after(step(over)) {
                    (self.since, way.done) = (now, next(way.done, over));
                }
                if way.done >= WHOLE {
                    *under_way = None;
                }
            }
        }
    }

    /// Returns when to check again, at the latest; `None` if no rollout is under way.
    pub fn again(&self, now: Tick) -> Option<Tick> {
        self.progress.under_way.as_ref().map(|_| now.after(LOOK_EVERY))
    }

    /// Returns how long the rest takes from `now`, without waits.
    fn rest(&self, over: Duration, now: Tick) -> Duration {
        let Some(way) = &self.progress.under_way else { return Duration::ZERO };
        let left = u32::from(steps(over).saturating_sub(taken(way.done, over)));
        (step(over) * left).saturating_sub(now.since(self.since).min(step(over)))
    }

    /// Formats the rollout for programs: splits as annotations, times in seconds, `null` if none is under
    /// way.
    pub fn to_json(&self, pace: &Pace, now: Tick) -> Value {
        let Some(way) = &self.progress.under_way else { return Value::Null };
        let (state, why) = match &self.hold {
            None => ("moving", ""),
            Some(Hold::Paused) => ("paused", ""),
            Some(Hold::Waiting(why) | Hold::Unseen(why)) => ("waiting", &**why),
            Some(Hold::Stopped(why)) => ("stopped", &**why),
        };
        let over = pace.over.unwrap_or_default();
        json!({
            "from": split_text(&way.from),
            "to": split_text(&self.progress.to),
            "before": split_text(&way.before),
            "percent": f64::from(way.done) * 100.0 / f64::from(WHOLE),
            "state": state,
            "why": why,
            "over_seconds": over.as_secs_f64(),
            "left_seconds": self.rest(over, now).as_secs_f64(),
        })
    }
}

/// Returns why a rollout with the current `weights` does not advance. Failures come before waits.
fn hold(way: &UnderWay, to: &[Share], weights: &[Share], look: impl Fn(&str) -> Standing) -> Option<Hold> {
    let has_requests =
        |share: &Share| matches!(look(&share.service), Standing::Well { rate, .. } if rate > 0.0);
    let is_busy = weights.iter().any(has_requests);
    let mut waits = None;
    for service in growing(&way.from, to) {
        let gets_some = weights.iter().any(|share| share.service == service && share.weight > 0);
        let least = u32::from(is_busy && gets_some);
        let hold = match look(service) {
            Standing::Failed(why) => return Some(Hold::Stopped(format!("{service}: {why}"))),
            Standing::Well { ready, wanted, .. } if ready >= wanted.max(least) => continue,
            Standing::Well { wanted: 0 | 1, .. } => Hold::Waiting(format!("{service} has no pod yet")),
            Standing::Well { ready, wanted, .. } => Hold::Waiting(format!(
                "{service} has {ready} of the {wanted} pods that it needs for what it gets now"
            )),
            Standing::Unknown | Standing::Gone => Hold::Unseen(format!("{service} is not known yet")),
        };
        waits = waits.or(Some(hold));
    }
    waits
}

/// Returns the number of steps after the first: one a second, up to the maximum.
fn steps(over: Duration) -> u16 {
    u16::try_from(over.as_secs()).unwrap_or(MOST_STEPS).clamp(1, MOST_STEPS)
}

/// Returns the duration of a step.
fn step(over: Duration) -> Duration {
    over / u32::from(steps(over))
}

/// Returns how many steps are taken when `done` of the way is done; steps of another pace are converted.
fn taken(done: u16, over: Duration) -> u16 {
    let (done, rest) = (u32::from(done.saturating_sub(FIRST)), u32::from(WHOLE - FIRST));
    u16::try_from(done * u32::from(steps(over)) / rest).unwrap_or(MOST_STEPS)
}

/// Returns how much of the way is done after the next step.
fn next(done: u16, over: Duration) -> u16 {
    if done < FIRST {
        return FIRST;
    }
    let (taken, rest) = (u32::from(taken(done, over)) + 1, u32::from(WHOLE - FIRST));
    let done = u32::from(FIRST) + (taken * rest).div_ceil(u32::from(steps(over)));
    u16::try_from(done).unwrap_or(WHOLE).min(WHOLE)
}
