//! The last answers of a service's pods, and whether they suffice to remove one.
//!
//! The reference records nothing for a second in which its scrape failed, and the next record turns that into
//! a zero, so that overloaded pods look idle. Here such a second repeats the last one, or takes what few pods
//! reported if that is more. Until there is a better answer, no pod is removed.

use std::time::Duration;

use ebb_core::{Tick, stat::Stat};

use crate::sampling::Estimate;

/// Pods are scraped each second, and have three seconds to answer: after this time, they count as silent.
const FRESH_FOR: Duration = Duration::from_secs(4);

/// What is remembered of the pods' answers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Intake {
    last: Load,
    fresh_at: Option<Tick>,
    request_time: RequestTime,
    passed_on: PassedOn,
    /// The sum of what activators reported within a second.
    said: (u64, Load),
}

/// A load that only its reporter has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    /// Requests in flight.
    pub(super) in_flight: f64,
    /// Requests per second.
    pub(super) rate: f64,
}

impl Intake {
    /// Like `default`, with the time that a request spends in a pod, if it is known from before.
    pub(super) fn knowing(request_seconds: Option<f64>) -> Self {
        Self {
            request_time: RequestTime { known: request_seconds, ..RequestTime::default() },
            ..Self::default()
        }
    }

    /// Applies a scrape of the second `asked_at`; `None` if no pod answered. Returns the load to count for
    /// that second; `None` if it is unknown. If activators report nothing (`alone`), or not everything, only
    /// the pods' reports count. `capacity` is how many requests the pods can have in flight.
    pub(super) fn heard(
        &mut self,
        asked_at: Tick,
        estimate: Option<&Estimate>,
        alone: bool,
        capacity: f64,
    ) -> Option<Load> {
        let known = self.fresh_at.map(|_| self.last);
        let Some(Estimate { stat, fresh }) = estimate else { return known };
        self.request_time.saw(stat.average_concurrent_requests, stat.request_count, capacity);
        let alone = self.passed_on.is_unreported(stat) || alone;
        let load = Load {
            in_flight: if alone { stat.average_concurrent_requests } else { stat.own_concurrency() },
            rate: if alone { stat.request_count } else { stat.own_rate() },
        };
        if *fresh {
            (self.last, self.fresh_at) = (load, self.fresh_at.max(Some(asked_at)));
            return Some(load);
        }
        let known = known.unwrap_or_default();
        Some(Load { in_flight: load.in_flight.max(known.in_flight), rate: load.rate.max(known.rate) })
    }

    /// Applies an activator's report on a service whose pods are scraped, too.
    pub(super) fn reported(&mut self, stat: &Stat) {
        self.passed_on.reported_since += stat.own_concurrency();
    }

    /// Applies an activator's report on a service whose pods are not scraped. Reports within one second are
    /// added up.
    pub(super) fn passed_on(&mut self, now: Tick, stat: &Stat, capacity: f64) {
        let (second, said) = &mut self.said;
        if *second != now.as_secs() {
            let said = std::mem::take(said);
            *second = now.as_secs();
            self.request_time.saw(said.in_flight, said.rate, capacity);
        }
        self.said.1.in_flight += stat.average_concurrent_requests;
        self.said.1.rate += stat.request_count;
    }

    /// Records that there is no pod to scrape; former answers do not hold for new pods.
    pub(super) fn nobody_left(&mut self) {
        (self.last, self.fresh_at) = (Load::default(), None);
    }

    /// Returns whether the pods have answered lately.
    pub(super) fn is_fresh(&self, now: Tick) -> bool {
        self.fresh_at.is_some_and(|at| now.since(at) <= FRESH_FOR)
    }

    /// Returns the time that a request spends in a pod; `None` until enough requests were seen.
    pub(super) fn request_seconds(&self) -> Option<f64> {
        self.request_time.seconds()
    }
}

/// Tells whether activators report the traffic that pods see coming through activators. An activator whose
/// stream is broken still forwards requests, which nobody else would count.
#[derive(Clone, Copy, Debug, Default)]
struct PassedOn {
    /// Requests in flight that activators reported since the last round.
    reported_since: f64,
    /// Both averaged over some rounds, because reports and rounds have different phases.
    reported: f64,
    proxied: f64,
}

impl PassedOn {
    /// The newest round weighs one part in this many.
    const ROUNDS: f64 = 6.0;
    /// A surplus in the pods of this factor is not a measuring error.
    const SLACK: f64 = 1.5;

    fn is_unreported(&mut self, stat: &Stat) -> bool {
        let newest = 1.0 / Self::ROUNDS;
        let reported = std::mem::take(&mut self.reported_since);
        self.reported += (reported - self.reported) * newest;
        self.proxied += (stat.average_proxied_concurrent_requests - self.proxied) * newest;
        self.proxied > Self::SLACK * self.reported + 0.5
    }
}

/// The time that a request spends in a pod, by Little's law: requests in flight divided by requests that
/// begin each second, both summed over about [`MEMORY`](Self::MEMORY) rounds in which pods were not over
/// capacity.
///
/// Overloaded pods only show how long requests wait. Then the time is that of the requests being executed:
/// capacity divided by requests that end each second. It is short if pods are merely flooded, and long if
/// connections stay open.
#[derive(Clone, Copy, Debug, Default)]
struct RequestTime {
    busy: f64,
    began: f64,
    /// The last value for which there were enough requests.
    known: Option<f64>,
    in_flight: f64,
    /// Requests that end each second, per request of capacity; and over how many rounds.
    ending: f64,
    rounds: u32,
    /// The value of the last round, if pods were over capacity.
    in_overload: Option<f64>,
}

impl RequestTime {
    /// The number of rounds after which an answer's weight falls to about a third.
    const MEMORY: f64 = 30.0;
    /// The same for ending requests in overload, which must be noticed sooner.
    const ENDING_MEMORY: f64 = 6.0;
    /// The requests that must have begun before their time is trusted.
    const ENOUGH: f64 = 5.0;
    /// The least time, in seconds, if only overloaded pods were ever seen: a pod may manage more than its
    /// target says.
    const GUESS: f64 = 1.0;
    /// The first rounds show how overload begins, not how requests end.
    const FIRST_ROUNDS: u32 = 3;

    fn saw(&mut self, in_flight: f64, began: f64, capacity: f64) {
        let ended = (began - (in_flight - self.in_flight)).max(0.0);
        self.in_flight = in_flight;
        self.rounds = self.rounds.saturating_add(1);
        let newest = 1.0 / Self::ENDING_MEMORY.min(f64::from(self.rounds));
        self.ending += (ended / capacity.max(f64::MIN_POSITIVE) - self.ending) * newest;
        if in_flight > capacity {
            let seconds = 1.0 / self.ending.max(f64::MIN_POSITIVE);
            self.in_overload = (self.rounds > Self::FIRST_ROUNDS).then_some(seconds);
            return;
        }
        self.in_overload = None;
        let keep = 1.0 - 1.0 / Self::MEMORY;
        self.busy = self.busy * keep + in_flight;
        self.began = self.began * keep + began;
        if self.began >= Self::ENOUGH {
            self.known = Some(self.busy / self.began);
        }
    }

    fn seconds(&self) -> Option<f64> {
        match (self.known, self.in_overload) {
            (Some(known), Some(in_overload)) => Some(known.max(in_overload)),
            (None, Some(in_overload)) => Some(in_overload.max(Self::GUESS)),
            (known, None) => known,
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
        intake.heard(at(second), estimate, false, 100.0).map_or(-1.0, |load| load.in_flight)
    }

    #[test]
    fn a_second_without_an_answer_counts_as_the_last_one_did() {
        let mut intake = Intake::default();
        assert_eq!(heard(&mut intake, 0, None), -1.0, "nothing is known, which is not nothing");
        assert_eq!(heard(&mut intake, 0, Some(&estimate(8.0, true))), 8.0);
        assert_eq!(heard(&mut intake, 1, None), 8.0);
        assert_eq!(heard(&mut intake, 2, Some(&estimate(5.0, false))), 8.0, "few pods, and less: no");
        assert_eq!(heard(&mut intake, 3, Some(&estimate(9.0, false))), 9.0, "few pods, and more already");
        assert_eq!((intake.is_fresh(at(4)), intake.is_fresh(at(5))), (true, false));
        assert_eq!(heard(&mut intake, 5, Some(&estimate(2.0, true))), 2.0);
        assert!(intake.is_fresh(at(5)));
        intake.nobody_left();
        assert_eq!((heard(&mut intake, 6, None), intake.is_fresh(at(6))), (-1.0, false));
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
        assert_eq!(heard(false), Some(Load { in_flight: 1.0, rate: 5.0 }));
        assert_eq!(heard(true), Some(Load { in_flight: 3.0, rate: 9.0 }));
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
    }

    /// A pod with capacity for ten gets four requests a second of half a second each, and then 500 at once,
    /// of which `ending` end each second.
    fn after_too_many(ending: f64) -> f64 {
        let mut time = RequestTime::default();
        for _ in 0..60 {
            time.saw(2.0, 4.0, 10.0);
        }
        time.saw(502.0, 500.0, 10.0);
        for _ in 0..20 {
            time.saw(502.0, ending, 10.0);
        }
        time.seconds().unwrap_or_default()
    }

    #[test]
    fn of_a_pod_that_has_too_much_one_learns_by_what_ends() {
        let overrun = after_too_many(20.0);
        assert!((0.4..=0.6).contains(&overrun), "ten at a time of half a second: {overrun}");
        assert!(after_too_many(0.0) > 20.0, "connections that stay");
    }

    #[test]
    fn what_two_activators_say_is_one_word() {
        let mut intake = Intake::default();
        let stat = |in_flight, began| Stat {
            average_concurrent_requests: in_flight,
            request_count: began,
            ..Stat::default()
        };
        for second in 0..60 {
            let began = if second == 0 { 300.0 } else { 0.0 };
            intake.passed_on(at(second), &stat(250.0, began), 10.0);
            intake.passed_on(at(second), &stat(50.0, 0.0), 10.0);
        }
        assert!(
            intake.request_seconds() > Some(20.0),
            "connections that stay: {:?}",
            intake.request_seconds()
        );
    }

    #[test]
    fn what_an_activator_without_a_stream_passes_on_is_counted_by_the_pods() {
        let stat = Stat {
            average_concurrent_requests: 30.0,
            average_proxied_concurrent_requests: 30.0,
            ..Stat::default()
        };
        let estimate = Estimate { stat: stat.clone(), fresh: true };
        let mut intake = Intake::default();
        let mut round = |reports: &[f64]| {
            for in_flight in reports {
                intake.reported(&Stat { average_concurrent_requests: *in_flight, ..Stat::default() });
            }
            intake.heard(at(0), Some(&estimate), false, 100.0).map_or(0.0, |load| load.in_flight)
        };
        for second in 0..60 {
            // Now and then a report comes late, and two come the next time.
            let counted = round(match second % 10 {
                8 => &[],
                9 => &[20.0, 10.0, 20.0, 10.0],
                _ => &[20.0, 10.0],
            });
            assert!(counted == 0.0 || second < 10, "second {second}: {counted} counted twice");
        }
        let rounds = (0..20).map(|_| round(&[10.0])).filter(|counted| *counted == 30.0).count();
        assert!(rounds >= 14, "noticed after {} rounds", 20 - rounds);
    }
}
