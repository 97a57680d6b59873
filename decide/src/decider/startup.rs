//! Pods that are starting: capacity to come.
//!
//! While pods start, too few answer, and what arrives piles up. The reference takes the pile for load: of 500
//! requests a second that take 0.1 s each, 50 are in flight when pods answer, and 15 000 when none has for 30 s; it
//! asks for 300 times the pods, which stand idle once the pile is gone. Here, as long as pods are coming and until
//! the pile has left the windows, no more requests in flight count than would be there if pods answered: what
//! arrives in the time that a request takes (Little's law), twice over, so that the pile is worked off in about the
//! time in which it grew.
//!
//! As long as nobody knows how long a request takes, what pods can execute counts, and whatever arrived within the
//! panic window on top.

use std::time::Duration;

use ebb_annotations::ScalingSpec;
use ebb_core::Tick;

use super::Observation;

/// How many times what arrives may be in flight: half of it works off what has piled up.
const HEADROOM: f64 = 2.0;

/// Of how many seconds all arrivals count, as long as nobody knows how long a request takes.
const UNKNOWN_SECONDS: f64 = 6.0;

/// How many requests in flight count, of those that a window shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// For each request a second that the window shows.
    each_arrival: f64,
    /// At least so many: they are being executed.
    executing: f64,
}

impl Limit {
    /// The most that count where `rate` requests a second arrive.
    pub(super) fn of(&self, rate: f64) -> f64 {
        (rate * self.each_arrival).max(self.executing)
    }
}

/// Since when pods are starting, or lately were.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Startup {
    coming: Option<Coming>,
}

/// Pods were coming all the time from `since` to `until`.
#[derive(Clone, Copy, Debug)]
struct Coming {
    since: Tick,
    until: Tick,
}

impl Coming {
    /// Whether what piled up may still be in the windows at `now`: it is worked off in about the time in which it
    /// grew, and then in the window for a stable window more.
    fn shows(&self, now: Tick, stable_window: Duration) -> bool {
        let grew = self.until.since(self.since);
        now <= self.until.after(grew).after(stable_window)
    }
}

impl Startup {
    /// How many requests in flight count at `now`; `None` if all do.
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

/// How many requests the pods are executing: no more than there are, and than they can. What a pod without a limit
/// can is not known; of requests that take longer than the panic window it is all that there are, since whoever
/// waits for them waits in the pod.
fn executing(spec: &ScalingSpec, seen: &Observation) -> f64 {
    let all = seen.concurrency.panic;
    let pods = f64::from(seen.ready_pods);
    match spec.serving.container_concurrency {
        Some(limit) => (pods * f64::from(limit.get())).min(all),
        None if seen.ready_pods > 0 && seen.request_seconds >= Some(spec.panic_window.as_secs_f64()) => all,
        None => (pods * spec.pod_concurrency).min(all),
    }
}

/// The most pods that may be wanted, so that no more start at a time than the service allows. Those that were asked
/// for already are none too many.
pub(super) fn most_pods(spec: &ScalingSpec, seen: &Observation) -> Option<u32> {
    let starting = spec.max_starting_pods?.get();
    Some(seen.ready_pods.saturating_add(starting).max(seen.replicas))
}
