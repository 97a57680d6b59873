//! The activator's reports on one service (`spec/activator.md`, section 8.1).
//!
//! The first request after silence is reported at once, so that the autoscaler wakes the service without
//! waiting for a tick. The report of the following second leaves it out, so that it counts once.

use ebb_core::{
    Tick,
    request_stats::{Origin, RequestStats},
    stat::Stat,
};

/// The reports of one service.
#[derive(Debug)]
pub struct Reporter {
    stats: RequestStats,
    /// Already reported at once, and left out of the next report.
    told: f64,
    speaking: bool,
    /// Requests that gave up since the last report because no pod answered.
    unanswered: u32,
}

impl Reporter {
    /// Creates a reporter with nothing in flight.
    pub const fn new(now: Tick) -> Self {
        Self { stats: RequestStats::new(now), told: 0.0, speaking: false, unanswered: 0 }
    }

    /// Returns the requests in flight.
    pub const fn in_flight(&self) -> f64 {
        self.stats.in_flight()
    }

    /// Records the start of a request. Returns a report to be sent at once if it is the first after silence.
    pub fn begin(&mut self, now: Tick) -> Option<Stat> {
        if self.speaking {
            self.stats.begin(now, Origin::Direct);
            return None;
        }
        self.speaking = true;
        self.told = 1.0;
        self.stats = RequestStats::new(now);
        self.stats.begin(now, Origin::Direct);
        Some(stat(1.0, 1.0))
    }

    /// Records the end of a request.
    pub fn end(&mut self, now: Tick) {
        self.stats.end(now, Origin::Direct);
    }

    /// Records that a request gave up because no pod answered. It is still in flight, so a report follows.
    pub const fn gave_up(&mut self) {
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// Returns how many requests gave up since the last call.
    pub const fn take_unanswered(&mut self) -> u32 {
        std::mem::replace(&mut self.unanswered, 0)
    }

    /// Returns the report since the last one, and whether another will follow: after an empty report the
    /// service falls silent.
    pub fn report(&mut self, now: Tick) -> (Stat, bool) {
        let report = self.stats.report(now);
        let told = std::mem::take(&mut self.told);
        let idle = report.average_concurrency == 0.0 && self.stats.in_flight() == 0.0;
        self.speaking = !idle;
        let stat = stat((report.average_concurrency - told).max(0.0), (report.requests - told).max(0.0));
        (stat, self.speaking)
    }

    /// Returns the report for an autoscaler that joins others: everything in flight, as one second of it. The
    /// period of the others does not restart; at worst this second counts twice for the new one.
    pub fn so_far(&self) -> Option<Stat> {
        self.speaking.then(|| stat(self.stats.in_flight(), self.stats.in_flight()))
    }

    /// Returns the report for an autoscaler that has no report yet: everything in flight, as one second of
    /// it. The next period begins here, so that nothing is reported twice and silence is not averaged in.
    /// Requests that gave up meanwhile are dropped: they say nothing about the current pods.
    pub fn catch_up(&mut self, now: Tick) -> Option<Stat> {
        if !self.speaking {
            return None;
        }
        self.stats.report(now);
        (self.told, self.unanswered) = (0.0, 0);
        Some(stat(self.stats.in_flight(), self.stats.in_flight()))
    }
}

fn stat(concurrency: f64, requests: f64) -> Stat {
    Stat { average_concurrent_requests: concurrency, request_count: requests, ..Stat::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    fn told(stat: &Stat) -> (f64, f64) {
        (stat.average_concurrent_requests, stat.request_count)
    }

    #[test]
    fn fifty_that_come_and_stay_are_told_as_one_then_49_then_50() {
        let mut reporter = Reporter::new(ms(0));
        assert_eq!(reporter.begin(ms(300)).as_ref().map(told), Some((1.0, 1.0)));
        for _ in 1..50 {
            assert_eq!(reporter.begin(ms(300)), None);
        }
        for (at, want) in [(1_000, (49.0, 49.0)), (2_000, (50.0, 0.0)), (3_000, (50.0, 0.0))] {
            let (stat, again) = reporter.report(ms(at));
            assert_eq!((told(&stat), again), (want, true), "at {at} ms");
        }
    }

    #[test]
    fn after_a_second_of_nothing_it_falls_silent_and_the_next_request_is_told_at_once() {
        let mut reporter = Reporter::new(ms(0));
        assert!(reporter.begin(ms(0)).is_some());
        reporter.end(ms(20));
        assert!(reporter.report(ms(1_000)).1, "there was something in this second");
        let (stat, again) = reporter.report(ms(2_000));
        assert_eq!((told(&stat), again), ((0.0, 0.0), false));
        assert!(reporter.begin(ms(3_000)).is_some());
    }

    #[test]
    fn a_request_that_came_just_before_the_report_keeps_it_speaking() {
        let mut reporter = Reporter::new(ms(0));
        reporter.begin(ms(1_000));
        assert!(reporter.report(ms(1_000)).1);
    }

    #[test]
    fn those_that_gave_up_are_told_once_and_not_to_who_comes_later() {
        let mut reporter = Reporter::new(ms(0));
        reporter.begin(ms(0));
        reporter.gave_up();
        reporter.gave_up();
        assert!(reporter.report(ms(1_000)).1);
        assert_eq!([reporter.take_unanswered(), reporter.take_unanswered()], [2, 0]);
        reporter.gave_up();
        reporter.catch_up(ms(60_000));
        assert_eq!(reporter.take_unanswered(), 0);
    }

    #[test]
    fn one_more_listener_takes_nothing_from_the_others() {
        let mut reporter = Reporter::new(ms(0));
        assert_eq!(reporter.so_far(), None);
        reporter.begin(ms(0));
        reporter.begin(ms(0));
        assert_eq!(reporter.so_far().as_ref().map(told), Some((2.0, 2.0)));
        assert_eq!(told(&reporter.report(ms(1_000)).0), (1.0, 1.0), "the first one was told at once");
    }

    #[test]
    fn a_new_listener_hears_of_what_is_held() {
        let mut reporter = Reporter::new(ms(0));
        assert_eq!(reporter.catch_up(ms(0)), None);
        reporter.begin(ms(0));
        reporter.begin(ms(0));
        assert_eq!(reporter.catch_up(ms(60_000)).as_ref().map(told), Some((2.0, 2.0)));
        reporter.end(ms(60_500));
        assert_eq!(told(&reporter.report(ms(61_000)).0), (1.5, 0.0), "of the second since then");
    }
}
