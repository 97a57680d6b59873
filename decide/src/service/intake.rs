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
    passed_on: PassedOn,
    /// What activators said in a second, together.
    said: (u64, Load),
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
    /// As `default`, where it is known from before how long a request is in a pod.
    pub(super) fn knowing(request_seconds: Option<f64>) -> Self {
        Self {
            request_time: RequestTime { known: request_seconds, ..RequestTime::default() },
            ..Self::default()
        }
    }

    /// Takes what a round of the second `asked_at` says; `None` if no pod answered. Answers the load to count for
    /// that second; `None` if nothing is known. Where no activator reports what it passes on (`alone`), or not all
    /// of them do, the pods' word is all there is. `capacity` is how many requests the pods can have in flight.
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

    /// Takes what an activator says of a service whose pods are asked, too.
    pub(super) fn reported(&mut self, stat: &Stat) {
        self.passed_on.reported_since += stat.own_concurrency();
    }

    /// Takes what an activator says of a service whose pods are not asked. What several say within a second is one
    /// word.
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
        self.request_time.seconds()
    }
}

/// Whether activators report what pods say came through an activator. One whose stream is away goes on passing
/// requests on, and nobody would count them.
#[derive(Clone, Copy, Debug, Default)]
struct PassedOn {
    /// In flight, by what the activators said since the last round.
    reported_since: f64,
    /// Both averaged over some rounds, as reports and rounds have phases of their own.
    reported: f64,
    proxied: f64,
}

impl PassedOn {
    /// What the newest round weighs, as one part of so many.
    const ROUNDS: f64 = 6.0;
    /// As much more in the pods is nobody's error of measurement.
    const SLACK: f64 = 1.5;

    fn is_unreported(&mut self, stat: &Stat) -> bool {
        let newest = 1.0 / Self::ROUNDS;
        let reported = std::mem::take(&mut self.reported_since);
        self.reported += (reported - self.reported) * newest;
        self.proxied += (stat.average_proxied_concurrent_requests - self.proxied) * newest;
        self.proxied > Self::SLACK * self.reported + 0.5
    }
}

/// How long a request is in a pod, by Little's law: requests in flight by requests that began each second, both
/// summed up over about [`MEMORY`](Self::MEMORY) rounds in which pods had no more than they can have.
///
/// Of pods that have more one learns how long it takes to wait. A request takes then what those that are executed
/// take: capacity by requests that end each second. That is little where pods are overrun, and much where
/// connections stay.
#[derive(Clone, Copy, Debug, Default)]
struct RequestTime {
    busy: f64,
    began: f64,
    /// As of the last time that there were enough of them.
    known: Option<f64>,
    in_flight: f64,
    /// Requests that end each second, for each that the pods can have; and of how many rounds.
    ending: f64,
    rounds: u32,
    /// As of the last round, if pods had more than they can have.
    in_overload: Option<f64>,
}

impl RequestTime {
    /// Rounds after which an answer weighs little more than a third.
    const MEMORY: f64 = 30.0;
    /// The same for requests that end, where pods have too much: that must be noticed sooner.
    const ENDING_MEMORY: f64 = 6.0;
    /// Requests that must have begun before their time is believed.
    const ENOUGH: f64 = 5.0;
    /// Seconds that a request takes at least, where only pods that have too much were ever seen: a pod may get on
    /// with more than its target says.
    const GUESS: f64 = 1.0;
    /// The first rounds tell of a beginning, not of how things end.
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

    /// A pod that can have ten, with four requests a second of half a second each, and then 500 at once of which
    /// `ending` end each second.
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
            // Now and then a report comes late, and two of them the next time.
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
