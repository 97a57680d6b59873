//! Counts requests while they happen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::plan::{Plan, PlannedSend};
use super::recent::{Recent, RecentView};
use super::report::{Loss, Losses, Outcome, Quantiles, Tally};

/// Longer latencies count as this one, which is above every sensible timeout.
const LONGEST_LATENCY: Duration = Duration::from_mins(5);

const REPORT_DIGITS: u8 = 3;

/// A shared view of a run: the generator writes, and a display reads at the same time.
///
/// It uses a mutex, which is held for less than a microsecond when a request starts and when it ends, and for
/// up to 100 µs (measured) by [`recent`](Self::recent): call that some ten times a second, not a thousand.
#[derive(Clone, Debug)]
pub(crate) struct LoadMeter(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// `None` before the run.
    started: Option<Instant>,
    phases: Vec<PhaseState>,
    send_lag: Histogram<u64>,
    recent: Recent,
}

#[derive(Debug)]
struct PhaseState {
    name: String,
    sent: u64,
    lost: Losses,
    /// In microseconds; one entry per answer.
    latency: Histogram<u64>,
    answered_by: BTreeMap<String, u64>,
}

impl LoadMeter {
    pub(super) fn new(plan: &Plan) -> Self {
        let phase = |name: &String| PhaseState {
            name: name.clone(),
            sent: 0,
            lost: Losses::new(),
            latency: saturating_histogram(REPORT_DIGITS),
            answered_by: BTreeMap::new(),
        };
        Self(Arc::new(Mutex::new(State {
            started: None,
            phases: plan.phases.iter().map(|planned| phase(&planned.name)).collect(),
            send_lag: saturating_histogram(REPORT_DIGITS),
            recent: Recent::new(),
        })))
    }

    pub(super) fn begin(&self, started: Instant) {
        self.0.lock().started = Some(started);
    }

    /// Counts a request whose time has come; the guard records how it ended.
    pub(super) fn send(&self, planned: PlannedSend) -> InFlight {
        let mut state = self.0.lock();
        let now = state.elapsed();
        if let Some(phase) = state.phases.get_mut(planned.phase) {
            phase.sent += 1;
        }
        state.send_lag.saturating_record(micros(now.saturating_sub(planned.at)));
        state.recent.sent(now);
        InFlight { meter: self.clone(), planned, ended: false }
    }

    /// Returns the time since the run began; zero before.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.lock().elapsed()
    }

    /// Returns the last two seconds.
    pub(crate) fn recent(&self) -> RecentView {
        let mut state = self.0.lock();
        let now = state.elapsed();
        state.recent.view(now)
    }

    /// Returns everything until now; requests in flight are neither answered nor lost.
    pub(crate) fn outcome(&self) -> Outcome {
        let state = self.0.lock();
        let mut total = Tally::default();
        let mut latency = saturating_histogram(REPORT_DIGITS);
        for phase in &state.phases {
            total.sent += phase.sent;
            total.answered += phase.latency.len();
            for (loss, count) in &phase.lost {
                *total.lost.entry(*loss).or_default() += count;
            }
            for (service, count) in &phase.answered_by {
                *total.answered_by.entry(service.clone()).or_default() += count;
            }
            latency.add(&phase.latency).expect("all phases have the same bounds");
        }
        total.latency = Quantiles::of(&latency);
        let phases = state.phases.iter().map(|phase| (phase.name.clone(), phase.tally())).collect();
        Outcome { phases, total, send_lag: Quantiles::of(&state.send_lag) }
    }
}

impl State {
    fn elapsed(&self) -> Duration {
        self.started.map_or(Duration::ZERO, |started| started.elapsed())
    }
}

impl PhaseState {
    fn tally(&self) -> Tally {
        Tally {
            sent: self.sent,
            answered: self.latency.len(),
            lost: self.lost.clone(),
            latency: Quantiles::of(&self.latency),
            answered_by: self.answered_by.clone(),
        }
    }
}

/// A request that was sent and has not ended. Dropping it counts the request as abandoned.
#[derive(Debug)]
pub(super) struct InFlight {
    meter: LoadMeter,
    planned: PlannedSend,
    ended: bool,
}

impl InFlight {
    /// Records a complete answer with a 2xx status, and the service that gave it, if known.
    pub(super) fn answered(mut self, by: Option<&str>) {
        self.ended = true;
        let mut state = self.meter.0.lock();
        let now = state.elapsed();
        let latency = now.saturating_sub(self.planned.at);
        if let Some(phase) = state.phases.get_mut(self.planned.phase) {
            phase.latency.saturating_record(micros(latency));
            if let Some(service) = by {
                match phase.answered_by.get_mut(service) {
                    Some(count) => *count += 1,
                    None => drop(phase.answered_by.insert(service.to_owned(), 1)),
                }
            }
        }
        state.recent.answered(now, latency);
    }

    /// Records any other end.
    pub(super) fn lost(mut self, loss: Loss) {
        self.record_loss(loss);
    }

    fn record_loss(&mut self, loss: Loss) {
        self.ended = true;
        let mut state = self.meter.0.lock();
        let now = state.elapsed();
        if let Some(phase) = state.phases.get_mut(self.planned.phase) {
            *phase.lost.entry(loss).or_default() += 1;
        }
        state.recent.lost(now);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.ended {
            self.record_loss(Loss::Abandoned);
        }
    }
}

/// Creates a histogram of microseconds up to [`LONGEST_LATENCY`], to be filled with `saturating_record`.
pub(super) fn saturating_histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, micros(LONGEST_LATENCY), digits).expect("the bounds and digits are valid")
}

/// Returns whole microseconds, saturating.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
