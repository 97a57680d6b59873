//! What a run came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Why a request has no complete answer with a 2xx status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loss {
    /// No connection could be opened.
    Connect,
    /// The answer was complete, and its status not 2xx.
    Status(u16),
    /// The connection ended before the answer did.
    Reset,
    /// The answer was not complete in time.
    TimedOut,
    /// Not sent: as many requests as allowed were already in flight. A fault of the generator's limits.
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

/// Where the latencies lie; all zero when there are none. Exact to three digits, the maximum fully.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quantiles {
    /// Half of all are at most this.
    pub(crate) p50: Duration,
    /// 95 of 100 are at most this.
    pub(crate) p95: Duration,
    /// 99 of 100 are at most this.
    pub(crate) p99: Duration,
    /// The longest.
    pub(crate) max: Duration,
}

impl Quantiles {
    /// Reads them from a histogram of microseconds.
    pub(super) fn of(micros: &Histogram<u64>) -> Self {
        let at = |quantile| Duration::from_micros(micros.value_at_quantile(quantile));
        Self { p50: at(0.50), p95: at(0.95), p99: at(0.99), max: Duration::from_micros(micros.max()) }
    }
}

/// The requests of one phase, or of all. `sent` is `answered` plus everything `lost` plus what is in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Planned requests whose time has come, including those lost before a byte of them was written.
    pub(crate) sent: u64,
    /// Complete answers with a 2xx status.
    pub(crate) answered: u64,
    /// The others, by cause.
    pub(crate) lost: Losses,
    /// From the *planned* time to the end of the answer, of what was answered.
    pub(crate) latency: Quantiles,
    /// Which services answered, of those that say so.
    pub(crate) answered_by: BTreeMap<String, u64>,
}

impl Tally {
    /// The number of lost requests, whatever the cause.
    pub(crate) fn lost_total(&self) -> u64 {
        self.lost.values().sum()
    }

    /// Requests that have neither been answered nor been lost yet.
    pub(crate) fn in_flight(&self) -> u64 {
        self.sent.saturating_sub(self.answered).saturating_sub(self.lost_total())
    }
}

/// The result of a run, or of its part until now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The phases of the plan in their order, with their names.
    pub(crate) phases: Vec<(String, Tally)>,
    /// All phases together.
    pub(crate) total: Tally,
    /// How late the generator itself was, from the planned time to the start of the request. It is part of every
    /// latency; where it is not small against them, the machine is too busy to measure on.
    pub(crate) send_lag: Quantiles,
}
