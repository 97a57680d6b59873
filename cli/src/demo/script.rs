//! The phases of the load.

use std::time::Duration;

use crate::load::{Arrivals, Phase, Plan};

/// The demo's phases: steady, spike, pause to zero, a second wake-up, and to zero again.
#[derive(Clone)]
pub(crate) struct Script {
    plan: Plan,
}

/// Name, share of the total time, and rate as a multiple of the steady rate.
const PHASES: [(&str, f64, f64); 5] = [
    ("steady", 0.22, 1.0),
    ("spike", 0.16, 10.0),
    ("pause", 0.32, 0.0),
    ("second wake-up", 0.10, 1.0),
    ("silence", 0.20, 0.0),
];

impl Script {
    pub(crate) fn new(total: Duration, steady_rate: f64, arrivals: Arrivals) -> Self {
        let phases = PHASES
            .iter()
            .map(|(name, share, times)| Phase {
                name: (*name).to_owned(),
                duration: total.mul_f64(*share),
                rate_per_second: steady_rate * times,
            })
            .collect();
        Self { plan: Plan { phases, arrivals } }
    }

    pub(crate) fn plan(&self) -> Plan {
        self.plan.clone()
    }

    pub(crate) fn duration(&self) -> Duration {
        self.plan.duration()
    }

    /// Returns the name of the phase at `elapsed`; after the last one, "to zero".
    pub(crate) fn phase_at(&self, elapsed: Duration) -> &str {
        self.plan.phase_at(elapsed).map_or("to zero", |(_, phase)| &phase.name)
    }

    /// Describes the phases in one line.
    pub(crate) fn describe(&self) -> String {
        let phases: Vec<String> = self
            .plan
            .phases
            .iter()
            .map(|phase| {
                let seconds = phase.duration.as_secs_f64();
                match phase.rate_per_second {
                    0.0 => format!("{} {seconds:.0} s", phase.name),
                    rate => format!("{} {seconds:.0} s at {rate:.0}/s", phase.name),
                }
            })
            .collect();
        phases.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phases_fill_the_time_and_end_in_silence() {
        let script = Script::new(Duration::from_secs(60), 80.0, Arrivals::Poisson);
        assert_eq!(script.duration().as_secs_f64().round(), 60.0);
        assert_eq!(script.phase_at(Duration::ZERO), "steady");
        assert_eq!(script.phase_at(Duration::from_secs(14)), "spike");
        assert_eq!(script.phase_at(Duration::from_secs(59)), "silence");
        assert_eq!(script.phase_at(Duration::from_secs(61)), "to zero");
        assert_eq!(script.plan().phases.last().map(|phase| phase.rate_per_second), Some(0.0));
    }
}
