//! What the pod reports: the last whole second, like the reference's sidecar, but without its timer.
//!
//! The reference updates its report with a ticker. Here, the next event or reader closes the second: the numbers are
//! the same, and an idle pod does nothing.

use std::time::Duration;

use ebb_core::{
    Tick,
    request_stats::{Origin, Report, RequestStats},
};

/// The period of one report.
pub const PERIOD: Duration = Duration::from_secs(1);

/// Request statistics in periods of one second.
#[derive(Clone, Debug)]
pub struct PeriodStats {
    stats: RequestStats,
    period_ends: Tick,
    last: Option<Report>,
}

impl PeriodStats {
    /// Starts to count at `now`.
    pub fn new(now: Tick) -> Self {
        Self { stats: RequestStats::new(now), period_ends: now.after(PERIOD), last: None }
    }

    /// Records the start of a request.
    pub fn begin(&mut self, now: Tick, origin: Origin) {
        self.advance(now);
        self.stats.begin(now, origin);
    }

    /// Records the end of a request.
    pub fn end(&mut self, now: Tick, origin: Origin) {
        self.advance(now);
        self.stats.end(now, origin);
    }

    /// Returns the number of requests in flight.
    pub const fn in_flight(&self) -> f64 {
        self.stats.in_flight()
    }

    /// Returns the last whole period, or `None` within the first.
    pub fn last(&mut self, now: Tick) -> Option<Report> {
        self.advance(now);
        self.last
    }

    fn advance(&mut self, now: Tick) {
        if now < self.period_ends {
            return;
        }
        self.last = Some(self.stats.report(self.period_ends));
        let silent = now.since(self.period_ends).as_nanos() / PERIOD.as_nanos();
        if let Some(skipped) = u32::try_from(silent).unwrap_or(u32::MAX).checked_sub(1) {
            // Of the periods without an event, only the last one can still be requested.
            let starts = self.period_ends.after(PERIOD * skipped);
            self.stats.report(starts);
            self.period_ends = starts.after(PERIOD);
            self.last = Some(self.stats.report(self.period_ends));
        }
        self.period_ends = self.period_ends.after(PERIOD);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    #[test]
    fn two_half_seconds_are_one_request_all_along() {
        let mut stats = PeriodStats::new(ms(0));
        for begin in [0, 500] {
            stats.begin(ms(begin), Origin::Direct);
            stats.end(ms(begin + 500), Origin::Direct);
        }
        let report = stats.last(ms(1000)).unwrap();
        assert_eq!((report.average_concurrency, report.requests), (1.0, 2.0));
    }

    #[test]
    fn there_is_nothing_to_tell_within_the_first_second() {
        assert_eq!(PeriodStats::new(ms(0)).last(ms(999)), None);
    }

    #[test]
    fn a_request_that_runs_on_is_told_of_in_each_silent_second() {
        let mut stats = PeriodStats::new(ms(0));
        stats.begin(ms(250), Origin::Proxied);
        for at in [2_000, 2_999, 60_000, 61_500] {
            let report = stats.last(ms(at)).unwrap();
            assert_eq!((report.average_proxied_concurrency, report.requests), (1.0, 0.0), "at {at} ms");
        }
        stats.end(ms(61_500), Origin::Proxied);
        assert_eq!(stats.last(ms(62_000)).unwrap().average_concurrency, 0.5);
        assert_eq!(stats.last(ms(63_000)).unwrap(), Report::default());
    }

    proptest! {
        /// Closing the periods late results in the same reports as closing them in time.
        #[test]
        fn late_is_as_good_as_in_time(events in prop::collection::vec((0_u64..3_000, any::<bool>()), 0..40)) {
            let (mut lazy, mut eager) = (PeriodStats::new(ms(0)), PeriodStats::new(ms(0)));
            let (mut now, mut open, mut second) = (0, 0, 0);
            for (gap, begin) in events {
                now += gap;
                while (second + 1) * 1_000 <= now {
                    second += 1;
                    eager.last(ms(second * 1_000));
                }
                for stats in [&mut lazy, &mut eager] {
                    if begin { stats.begin(ms(now), Origin::Direct) }
                    else if open > 0 { stats.end(ms(now), Origin::Direct) }
                }
                if begin { open += 1 } else if open > 0 { open -= 1 }
                prop_assert_eq!(lazy.last(ms(now)), eager.last(ms(now)));
            }
        }
    }
}
