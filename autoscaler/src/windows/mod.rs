//! Averages over the last seconds: what a service carried, seen through its stable and panic windows.
//!
//! Formulas: `spec/autoscaler.md`, section 5. Every window is a ring of buckets that is allocated once;
//! recording is O(1), and silence (no record at all) is told apart from zero.
//!
//! Read first: [`MetricWindows`], the four series of one service, and [`Window`], one of the four.
//! [`MaxWindow`] is the maximum that delays a scale-down.

mod linear;
mod max;
mod metric;
mod ring;
mod weighted;

use std::time::Duration;

use ebb_core::{Tick, scaling::Aggregation};

pub use max::MaxWindow;
pub use metric::{Averages, MetricWindows, NoData};
use ring::Ring;
pub use weighted::Smoothing;

/// Which of the reference's window semantics hold.
///
/// The numbers are those of the list "Known complaints" in `spec/autoscaler.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowRules {
    /// Exactly what the reference computes.
    Reference,
    /// The reference with four mends: a window without a record in it has no data instead of the
    /// value 0 (4), a resize invents no history (10), the weighted average is the mean of what was seen
    /// even before the window is full (11), and a rounding error does not outlive what caused it.
    Mended,
}

/// The average of what was recorded in the last so many seconds.
#[derive(Clone, Debug)]
pub struct Window {
    ring: Ring,
    averaging: Averaging,
}

/// How a window weighs its buckets. The smoothing is kept because it costs a root to compute.
#[derive(Clone, Copy, Debug)]
enum Averaging {
    Linear,
    Weighted(Smoothing),
}

impl Window {
    /// An empty window over the last `length`, in buckets of `granularity`.
    ///
    /// `granularity` counts in whole seconds, at least one; `length` is rounded up to whole buckets,
    /// at least one and at most as many as a day has seconds.
    pub fn new(
        aggregation: Aggregation,
        length: Duration,
        granularity: Duration,
        rules: WindowRules,
    ) -> Self {
        let ring = Ring::new(length, granularity, rules);
        let averaging = Averaging::of(aggregation, &ring);
        Self { ring, averaging }
    }

    /// Adds `value` to the bucket of `at`, in O(1). Times may go backwards; what is a window older than
    /// the newest record is dropped, and so is a value that is not finite: it could never leave the
    /// running total again.
    pub fn record(&mut self, at: Tick, value: f64) {
        self.ring.record(at, value);
    }

    /// The average at `now` per bucket, in units of what was recorded; 0 where nothing was.
    ///
    /// Linear: O(1) plus the seconds of silence. Weighted: one pass over the buckets.
    pub fn average(&self, now: Tick) -> f64 {
        match self.averaging {
            Averaging::Linear => linear::average(&self.ring, now),
            Averaging::Weighted(smoothing) => weighted::average(&self.ring, smoothing, now),
        }
    }

    /// Whether the last record is so old that the window says nothing any more.
    pub fn is_empty(&self, now: Tick) -> bool {
        self.ring.is_empty(now)
    }

    /// Changes length and aggregation; what was recorded stays as far as both lengths reach.
    pub fn reshape(&mut self, now: Tick, aggregation: Aggregation, length: Duration) {
        self.ring.resize(now, length);
        self.averaging = Averaging::of(aggregation, &self.ring);
    }
}

impl Averaging {
    fn of(aggregation: Aggregation, ring: &Ring) -> Self {
        match aggregation {
            Aggregation::Linear => Self::Linear,
            Aggregation::WeightedExponential => Self::Weighted(Smoothing::over(ring.slots())),
        }
    }
}
