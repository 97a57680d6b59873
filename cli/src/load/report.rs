//! The result of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Why a request has no complete answer with a 2xx status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loss {
    /// No connection could be opened.
    Connect,
    /// The answer was complete, but its status not 2xx.
    Status(u16),
    /// The connection ended before the answer did.
    Reset,
    /// The answer was not complete in time.
    TimedOut,
    /// Not sent, because the most requests allowed were in flight. A fault of the generator's limits.
    Saturated,
    /// The run was stopped while the request was in flight.
    Abandoned,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect error"),
            Self::Status(code) => write!(f, "status {code}"),
            Self::Reset => f.write_str("reset midway"),
            Self::TimedOut => f.write_str("timeout"),
            Self::Saturated => f.write_str("generator saturated"),
            Self::Abandoned => f.write_str("abandoned"),
        }
    }
}

/// Lost requests by cause.
pub(crate) type Losses = BTreeMap<Loss, u64>;

/// Quantiles of latencies; all zero if there are none. Exact to three digits, the maximum completely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quantiles {
    /// The median.
    pub(crate) p50: Duration,
    /// The 95th percentile.
    pub(crate) p95: Duration,
    /// The 99th percentile.
    pub(crate) p99: Duration,
    /// The maximum.
    pub(crate) max: Duration,
}

impl Quantiles {
    /// Reads them from a histogram of microseconds.
    pub(super) fn of(micros: &Histogram<u64>) -> Self {
        let at = |quantile| Duration::from_micros(micros.value_at_quantile(quantile));
        Self { p50: at(0.50), p95: at(0.95), p99: at(0.99), max: Duration::from_micros(micros.max()) }
    }
}

/// The requests of one phase, or of all. `sent` is the sum of `answered`, all `lost`, and those in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Planned requests whose time has come, including those lost before any byte was written.
    pub(crate) sent: u64,
    /// Complete answers with a 2xx status.
    pub(crate) answered: u64,
    /// Lost requests, by cause.
    pub(crate) lost: Losses,
    /// Latencies of answered requests, from the *planned* time to the end of the answer.
    pub(crate) latency: Quantiles,
    /// The services that answered, as far as they identify themselves.
    pub(crate) answered_by: BTreeMap<String, u64>,
}

impl Tally {
    /// Returns the number of lost requests of all causes.
    pub(crate) fn lost_total(&self) -> u64 {
        self.lost.values().sum()
    }

    /// Returns the requests that have been neither answered nor lost yet.
    pub(crate) fn in_flight(&self) -> u64 {
        self.sent.saturating_sub(self.answered).saturating_sub(self.lost_total())
    }
}

/// The result of a run so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The phases of the plan in order, with their names.
    pub(crate) phases: Vec<(String, Tally)>,
    /// All phases together.
    pub(crate) total: Tally,
    /// The generator's own delay, from the planned time to the start of the request. It is part of every
    /// latency; if it is not small compared to them, the machine is too busy to measure on.
    pub(crate) send_lag: Quantiles,
}
