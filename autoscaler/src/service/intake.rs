//! What the pods of a service said last, and whether that is enough to let one go.
//!
//! The reference records nothing in a second in which its scrape failed. The next record makes a zero of it, so
//! that overloaded pods look idle. Here such a second counts as the last one did, or as what few pods said if
//! that is more, and as long as nothing better comes no pod goes.

use std::time::Duration;

use ebb_core::{Tick, stat::Stat};

use crate::sampling::Estimate;

/// Pods are asked each second, and have three seconds to answer: later than this, they are silent.
const FRESH_FOR: Duration = Duration::from_secs(4);

/// What must be remembered of the pods' answers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Intake {
    last: Load,
    fresh_at: Option<Tick>,
    request_time: RequestTime,
}

/// A load that nobody else reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    /// Requests in flight.
    pub(super) in_flight: f64,
    /// Requests per second.
    pub(super) rate: f64,
}

impl Intake {
    /// Takes what a round of the second `asked_at` says; `None` if no pod answered. Answers the load to count for
    /// that second. Where no activator reports what it passes on (`alone`), the pods' word is all there is.
    /// `capacity` is how many requests the pods can have in flight.
    pub(super) fn heard(
        &mut self,
        asked_at: Tick,
        estimate: Option<&Estimate>,
        alone: bool,
        capacity: f64,
    ) -> Load {
        let Some(Estimate { stat, fresh }) = estimate else { return self.last };
        self.request_time.saw(stat, stat.average_concurrent_requests > capacity);
        let load = Load {
            in_flight: if alone { stat.average_concurrent_requests } else { stat.own_concurrency() },
            rate: if alone { stat.request_count } else { stat.own_rate() },
        };
        if *fresh {
            (self.last, self.fresh_at) = (load, self.fresh_at.max(Some(asked_at)));
            return load;
        }
        Load { in_flight: load.in_flight.max(self.last.in_flight), rate: load.rate.max(self.last.rate) }
    }

    /// Takes what an activator says of a service whose pods are not asked.
    pub(super) fn passed_on(&mut self, stat: &Stat, capacity: f64) {
        self.request_time.saw(stat, stat.average_concurrent_requests > capacity);
    }

    /// There is nobody left to ask; what they said does not hold for those to come.
    pub(super) fn nobody_left(&mut self) {
        (self.last, self.fresh_at) = (Load::default(), None);
    }

    /// Whether the pods have answered lately.
    pub(super) fn is_fresh(&self, now: Tick) -> bool {
        self.fresh_at.is_some_and(|at| now.since(at) <= FRESH_FOR)
    }

    /// How long a request is in a pod; `None` until enough were seen.
    pub(super) fn request_seconds(&self) -> Option<f64> {
        self.request_time.known
    }
}

/// How long a request is in a pod, by Little's law: requests in flight by requests that began each second, both
/// summed up over about [`MEMORY`] rounds.
#[derive(Clone, Copy, Debug, Default)]
struct RequestTime {
    busy: f64,
    began: f64,
    /// As of the last time that there were enough of them.
    known: Option<f64>,
}

/// Rounds after which an answer weighs little more than a third.
const MEMORY: f64 = 30.0;

/// Requests that must have begun before their time is believed.
const ENOUGH: f64 = 5.0;

/// Of pods that have too much to do one learns how long a request waits in them, which may be what it takes (a
/// connection that stays) or not (a pod that is overrun). So the time grows no faster then than this a round, about
/// twofold in a minute ...
const GROWTH_IN_OVERLOAD: f64 = 1.012;

/// ... from so many seconds if nothing else is known.
const GUESS_IN_OVERLOAD: f64 = 1.0;

impl RequestTime {
    fn saw(&mut self, stat: &Stat, overloaded: bool) {
        let keep = 1.0 - 1.0 / MEMORY;
        self.busy = self.busy * keep + stat.average_concurrent_requests;
        self.began = self.began * keep + stat.request_count;
        if overloaded {
            let most = self.known.unwrap_or(GUESS_IN_OVERLOAD) * GROWTH_IN_OVERLOAD;
            self.busy = self.busy.min(self.began * most);
        }
        if self.began >= ENOUGH {
            self.known = Some(self.busy / self.began);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Tick {
        Tick::from_secs(second)
    }

    fn estimate(in_flight: f64, fresh: bool) -> Estimate {
        let stat = Stat { average_concurrent_requests: in_flight, request_count: 10.0, ..Stat::default() };
        Estimate { stat, fresh }
    }

    fn heard(intake: &mut Intake, second: u64, estimate: Option<&Estimate>) -> f64 {
        intake.heard(at(second), estimate, false, 100.0).in_flight
    }

    #[test]
    fn a_second_without_an_answer_counts_as_the_last_one_did() {
        let mut intake = Intake::default();
        assert_eq!(heard(&mut intake, 0, Some(&estimate(8.0, true))), 8.0);
        assert_eq!(heard(&mut intake, 1, None), 8.0);
        assert_eq!(heard(&mut intake, 2, Some(&estimate(5.0, false))), 8.0, "few pods, and less: no");
        assert_eq!(heard(&mut intake, 3, Some(&estimate(9.0, false))), 9.0, "few pods, and more already");
        assert_eq!((intake.is_fresh(at(4)), intake.is_fresh(at(5))), (true, false));
        assert_eq!(heard(&mut intake, 5, Some(&estimate(2.0, true))), 2.0);
        assert!(intake.is_fresh(at(5)));
        intake.nobody_left();
        assert_eq!((heard(&mut intake, 6, None), intake.is_fresh(at(6))), (0.0, false));
    }

    #[test]
    fn what_came_through_an_activator_counts_if_no_activator_says_so() {
        let stat = Stat {
            average_concurrent_requests: 3.0,
            average_proxied_concurrent_requests: 2.0,
            request_count: 9.0,
            proxied_request_count: 4.0,
            ..Stat::default()
        };
        let estimate = Estimate { stat, fresh: true };
        let heard = |alone| Intake::default().heard(at(0), Some(&estimate), alone, 100.0);
        assert_eq!(heard(false), Load { in_flight: 1.0, rate: 5.0 });
        assert_eq!(heard(true), Load { in_flight: 3.0, rate: 9.0 });
    }

    #[test]
    fn the_time_of_a_request_is_learned_from_enough_of_them() {
        let mut intake = Intake::default();
        let slow = Stat { average_concurrent_requests: 2.0, request_count: 4.0, ..Stat::default() };
        let mut saw = |stat: &Stat| {
            intake.heard(at(0), Some(&Estimate { stat: stat.clone(), fresh: true }), false, 10.0);
            intake.request_seconds()
        };
        assert_eq!(saw(&slow), None);
        assert_eq!(saw(&slow), Some(0.5));
        let endless = Stat { average_concurrent_requests: 8.0, ..Stat::default() };
        let longer = saw(&endless).unwrap_or_default();
        assert!(longer > 1.0, "who is still there has taken that long at least: {longer}");
        let too_many = Stat { average_concurrent_requests: 500.0, request_count: 1.0, ..Stat::default() };
        let waited = saw(&too_many).unwrap_or_default();
        assert!(waited > longer && waited < longer * 1.02, "that is time waited, most of it: {waited}");
    }
}
