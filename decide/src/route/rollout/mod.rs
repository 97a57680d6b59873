//! A split that has changed and is approached step by step, so that nobody is flooded who has no pods yet.
//!
//! A step waits until every service that grows has the pods for what it gets *now*, and none is taken while one of them is
//! in trouble: what the next step brings is little beside that, and autoscaling follows it. While there are any requests, one
//! pod is the least: a small share of few requests may not have met the service yet.

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

/// The first step is taken at once: what a service at zero gets by it wakes it.
const FIRST: u16 = 10;
/// Most steps after it, which share the rest of the way.
const MOST_STEPS: u16 = 99;
/// A step under way is looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How a changed split is approached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// In so long, if nobody has to be waited for; `None`: it holds at once.
    pub over: Option<Duration>,
    /// It is to stay where it is.
    pub paused: bool,
    /// How far it is, as was written down.
    pub kept: Option<Progress>,
}

/// What is seen of a service that has a part in a rollout.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// It serves, or rests.
    Well {
        /// Its pods that are ready.
        ready: u32,
        /// Those that what it gets now asks for.
        wanted: u32,
        /// Requests per second.
        rate: f64,
    },
    /// Its pods cannot start, or it cannot be served, and why.
    Failed(String),
    /// It is not known yet.
    Unknown,
    /// It is not there.
    Gone,
}

/// Why a rollout stays where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Somebody wishes so.
    Paused,
    /// For pods, and whose.
    Waiting(String),
    /// A service that is to get more is not known yet, and which.
    Unseen(String),
    /// A service that is to get more has failed, and why.
    Stopped(String),
}

/// A route's way to its split.
#[derive(Clone, Debug)]
pub struct Rollout {
    progress: Progress,
    /// Since when the step that is under way counts.
    since: Tick,
    hold: Option<Hold>,
}

impl Rollout {
    /// One that is as far as `progress` says.
    pub fn new(progress: Progress, now: Tick) -> Self {
        Self { progress, since: now, hold: None }
    }

    /// How far it is.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Why it stays where it is, if it does.
    pub fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// From now on `to` is to be reached: at once if it takes no time, or if it leads back to the split that held before.
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

    /// Takes the next step of `pace`, if it is time for it at `now` and every service that grows has what it takes; `look`
    /// knows how each is.
    pub fn advance(&mut self, pace: &Pace, now: Tick, look: impl Fn(&str) -> Standing) {
        self.hold = None;
        let weights = self.progress.weights();
        let Progress { to, under_way } = &mut self.progress;
        let Some(way) = under_way else { return };
        // What a service got that is gone, and is to get nothing, the others get. With it, it would be refused.
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
            // Whether it has failed is not known either.
            Some(Hold::Unseen(_)) => {}
            // What has elapsed of the step still counts.
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

    /// When to look again, whatever happens; `None` if nothing is under way.
    pub fn again(&self, now: Tick) -> Option<Tick> {
        self.progress.under_way.as_ref().map(|_| now.after(LOOK_EVERY))
    }

    /// How long the rest takes at `now` if nobody has to be waited for.
    fn rest(&self, over: Duration, now: Tick) -> Duration {
        let Some(way) = &self.progress.under_way else { return Duration::ZERO };
        let left = u32::from(steps(over).saturating_sub(taken(way.done, over)));
        (step(over) * left).saturating_sub(now.since(self.since).min(step(over)))
    }

    /// For programs: splits as they are written, times in seconds, `null` where nothing is under way.
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

/// Why a rollout goes no further, where requests are divided by `weights` now. A failure comes before what is only waited
/// for.
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

/// Steps after the first: one a second, unless they are too many.
fn steps(over: Duration) -> u16 {
    u16::try_from(over.as_secs()).unwrap_or(MOST_STEPS).clamp(1, MOST_STEPS)
}

/// How long each takes.
fn step(over: Duration) -> Duration {
    over / u32::from(steps(over))
}

/// How many of them are taken when so much of the way is done, those of another pace counted as of this.
fn taken(done: u16, over: Duration) -> u16 {
    let (done, rest) = (u32::from(done.saturating_sub(FIRST)), u32::from(WHOLE - FIRST));
    u16::try_from(done * u32::from(steps(over)) / rest).unwrap_or(MOST_STEPS)
}

/// How much of the way is done after the next step.
fn next(done: u16, over: Duration) -> u16 {
    if done < FIRST {
        return FIRST;
    }
    let (taken, rest) = (u32::from(taken(done, over)) + 1, u32::from(WHOLE - FIRST));
    let done = u32::from(FIRST) + (taken * rest).div_ceil(u32::from(steps(over)));
    u16::try_from(done).unwrap_or(WHOLE).min(WHOLE)
}
