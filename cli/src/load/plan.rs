//! The times of requests, decided before the first is sent and independent of anything that happens later.

use std::time::Duration;

use rand::{Rng, RngExt};

/// A period with a constant rate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Phase {
    /// Its name in the display and the report.
    pub(crate) name: String,
    /// How long it lasts.
    pub(crate) duration: Duration,
    /// Requests per second on average. Zero is silence, and so is an invalid rate (negative, infinite, NaN).
    pub(crate) rate_per_second: f64,
}

/// How the requests of a phase lie in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Arrivals {
    /// Independent of each other, as many clients who do not know of each other are.
    #[default]
    Poisson,
    /// At equal distances, the first at the start of its phase.
    Even,
}

/// A planned request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlannedSend {
    /// Its time, counted from the start of the plan.
    pub(crate) at: Duration,
    /// The index of its phase.
    pub(crate) phase: usize,
}

/// Consecutive phases.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// In order of time.
    pub(crate) phases: Vec<Phase>,
    /// Applies to all phases.
    pub(crate) arrivals: Arrivals,
}

impl Plan {
    /// Returns the total length of all phases.
    pub(crate) fn duration(&self) -> Duration {
        self.phases.iter().map(|phase| phase.duration).fold(Duration::ZERO, Duration::saturating_add)
    }

    /// Returns the phase at `elapsed` since the start, with its index; `None` after the last one.
    pub(crate) fn phase_at(&self, elapsed: Duration) -> Option<(usize, &Phase)> {
        let mut end = Duration::ZERO;
        self.phases.iter().enumerate().find(|(_, phase)| {
            end = end.saturating_add(phase.duration);
            elapsed < end
        })
    }

    /// Returns all planned requests in order of time. The same randomness gives the same plan.
    pub(crate) fn send_times<R: Rng>(self, rng: R) -> SendTimes<R> {
        SendTimes { plan: self, rng, phase: 0, phase_start: Duration::ZERO, last: None }
    }
}

/// Iterates over the planned requests, so that a long plan takes no memory.
#[derive(Debug)]
pub(crate) struct SendTimes<R> {
    plan: Plan,
    rng: R,
    phase: usize,
    phase_start: Duration,
    /// Seconds from the start of the phase to its latest request.
    last: Option<f64>,
}

impl<R: Rng> Iterator for SendTimes<R> {
    type Item = PlannedSend;

    fn next(&mut self) -> Option<PlannedSend> {
        loop {
            let phase = self.plan.phases.get(self.phase)?;
            let offset = next_offset(self.plan.arrivals, self.last, phase.rate_per_second, &mut self.rng);
            if let Some(offset) = offset.filter(|offset| *offset < phase.duration.as_secs_f64()) {
                self.last = Some(offset);
                // Below the phase's own length, hence a valid duration.
                let at = self.phase_start.saturating_add(Duration::from_secs_f64(offset));
                return Some(PlannedSend { at, phase: self.phase });
            }
            // A Poisson process has no memory: starting afresh at the border keeps it one.
            self.phase_start = self.phase_start.saturating_add(phase.duration);
            self.phase += 1;
            self.last = None;
        }
    }
}

/// Returns the seconds from the start of a phase to its next request; `None` in silence.
fn next_offset(arrivals: Arrivals, last: Option<f64>, rate: f64, rng: &mut impl Rng) -> Option<f64> {
    if !(rate.is_finite() && rate > 0.0) {
        return None;
    }
    Some(match (arrivals, last) {
        (Arrivals::Even, None) => 0.0,
        (Arrivals::Even, Some(last)) => last + rate.recip(),
        // The uniform value is below 1, so the logarithm is finite.
        (Arrivals::Poisson, last) => last.unwrap_or(0.0) - (1.0 - rng.random::<f64>()).ln() / rate,
    })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn phase(seconds: u64, rate_per_second: f64) -> Phase {
        Phase { name: "a phase".to_owned(), duration: Duration::from_secs(seconds), rate_per_second }
    }

    fn planned(arrivals: Arrivals, phases: &[Phase]) -> Vec<PlannedSend> {
        let plan = Plan { phases: phases.to_vec(), arrivals };
        plan.send_times(StdRng::seed_from_u64(7)).collect()
    }

    #[test]
    fn planned_times_never_go_back_and_stay_in_their_phase() {
        let plan = [phase(10, 200.0), phase(5, 0.0), phase(10, 50.0)];
        let sends = planned(Arrivals::Poisson, &plan);
        assert!(sends.is_sorted_by_key(|send| (send.at, send.phase)));
        for send in sends {
            let seconds = send.at.as_secs_f64();
            assert!(
                if send.phase == 0 { seconds < 10.0 } else { (15.0..25.0).contains(&seconds) },
                "{send:?}"
            );
        }
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_their_phase() {
        let sends = planned(Arrivals::Poisson, &[phase(100, 100.0)]);
        // The count's standard deviation is the square root of 10,000.
        assert!((9_700..=10_300).contains(&sends.len()), "{}", sends.len());
        // Of exponentially distributed distances a share of 1/e is longer than the mean.
        let mean = Duration::from_millis(10);
        let long = sends.windows(2).filter(|pair| pair[1].at > pair[0].at + mean).count();
        let share = long as f64 / sends.len() as f64;
        assert!((share - 0.368).abs() < 0.02, "{share}");
    }

    #[test]
    fn even_arrivals_keep_their_distance_and_start_anew_with_each_phase() {
        let plan = [phase(1, 4.0), phase(1, 2.0)];
        let times: Vec<_> = planned(Arrivals::Even, &plan).iter().map(|send| send.at.as_millis()).collect();
        assert_eq!(times, [0, 250, 500, 750, 1000, 1500]);
    }

    #[test]
    fn what_is_no_rate_is_silence() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(planned(Arrivals::Poisson, &[phase(10, rate)]), [], "{rate}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_plan() {
        let plan = [phase(10, 20.0)];
        assert_eq!(planned(Arrivals::Poisson, &plan), planned(Arrivals::Poisson, &plan));
    }

    #[test]
    fn the_phase_of_a_moment_begins_with_the_end_of_the_one_before() {
        let plan = Plan { phases: vec![phase(1, 1.0), phase(2, 1.0)], ..Plan::default() };
        assert_eq!(plan.duration(), Duration::from_secs(3));
        let index_at = |millis| plan.phase_at(Duration::from_millis(millis)).map(|(index, _)| index);
        assert_eq!(
            [index_at(0), index_at(999), index_at(1000), index_at(3000)],
            [Some(0), Some(0), Some(1), None]
        );
    }
}
