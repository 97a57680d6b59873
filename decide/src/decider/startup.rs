//! Treats starting pods as capacity to come.
//!
//! While pods start, few pods answer, and requests pile up. The reference counts the pile as load: with 500 requests
//! per second that take 0.1 s each, 50 are in flight when pods answer, and 15 000 if none has answered for 30 s. It
//! then wants 300 times the pods, which are idle once the pile is gone. Here, while pods are starting and until the
//! pile has left the windows, the requests in flight are limited to what there would be if pods answered: the number
//! that arrives in the time that a request takes (Little's law), times two, so that the pile is worked off in about
//! the time in which it grew.
//!
//! As long as it is unknown how long a request takes, the limit is what the pods can execute plus what arrived within
//! the panic window.

use std::time::Duration;

use ebb_annotations::ScalingSpec;
use ebb_core::Tick;

use super::Observation;

/// Multiple of the arrivals that may be in flight: half of it works off the pile.
const HEADROOM: f64 = 2.0;

/// All arrivals of this many seconds count as long as it is unknown how long a request takes.
const UNKNOWN_SECONDS: f64 = 6.0;

/// A limit of the requests in flight that count, for the values of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// Requests in flight per request per second.
    each_arrival: f64,
    /// The minimum: requests that are being executed.
    executing: f64,
}

impl Limit {
    /// Returns the limit if `rate` requests arrive per second.
    pub(super) fn of(&self, rate: f64) -> f64 {
        (rate * self.each_arrival).max(self.executing)
    }
}

/// Since when pods have been starting, or when they last were.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Startup {
    coming: Option<Coming>,
}

/// Pods were starting all the time from `since` to `until`.
#[derive(Clone, Copy, Debug)]
struct Coming {
    since: Tick,
    until: Tick,
}

impl Coming {
    /// Returns whether the pile may still be in the windows at `now`: it is worked off in about the time in which it
    /// grew, and then stays in the window for another stable window.
    fn shows(&self, now: Tick, stable_window: Duration) -> bool {
        let grew = self.until.since(self.since);
        now <= self.until.after(grew).after(stable_window)
    }
}

impl Startup {
    /// Returns the limit of requests in flight at `now`; `None` if all count.
    pub(super) fn limit(&mut self, now: Tick, spec: &ScalingSpec, seen: &Observation) -> Option<Limit> {
        if !spec.startup_aware {
            return None;
        }
        self.coming = self.coming.filter(|coming| coming.shows(now, spec.stable_window));
        if seen.coming_pods > 0 {
            let since = self.coming.map_or(now, |coming| coming.since);
            self.coming = Some(Coming { since, until: now });
        }
        self.coming?;
        let each_arrival = seen.request_seconds.map_or(UNKNOWN_SECONDS, |seconds| HEADROOM * seconds);
        Some(Limit { each_arrival, executing: executing(spec, seen) })
    }
}

/// Returns how many requests the pods execute: at most the number in flight, and at most what they can execute. For a
/// pod without a limit, that is its target. If requests take longer than the panic window, it is the number in
/// flight, because clients that wait for them wait in the pod.
fn executing(spec: &ScalingSpec, seen: &Observation) -> f64 {
    let all = seen.concurrency.panic;
    let pods = f64::from(seen.ready_pods);
    match spec.serving.container_concurrency {
        Some(limit) => (pods * f64::from(limit.get())).min(all),
        None if seen.ready_pods > 0 && seen.request_seconds >= Some(spec.panic_window.as_secs_f64()) => all,
        None => (pods * spec.pod_concurrency).min(all),
    }
}

/// Returns the maximum number of pods, so that no more start at a time than the service allows. Pods that were
/// already requested are never too many.
pub(super) fn most_pods(spec: &ScalingSpec, seen: &Observation) -> Option<u32> {
    let starting = spec.max_starting_pods?.get();
    Some(seen.ready_pods.saturating_add(starting).max(seen.replicas))
}
