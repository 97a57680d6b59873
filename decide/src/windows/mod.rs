//! Averages over the last seconds: what a service carried, seen through its stable and panic windows.
//!
//! Formulas: `spec/autoscaler.md`, section 5. Every window is a ring of buckets that is allocated once;
//! recording and reading are O(1), and silence (no record at all) is told apart from zero.
//!
//! By [`Rules::Mended`] a window without a record in it has no data instead of the value 0, a resize invents no
//! history, the weighted average is the mean of what was seen even before the window is full, the smallest load
//! is not rounded away, and a rounding error does not outlive what caused it (complaints 4, 10, 11 and 25).
//!
//! Read first: [`MetricWindows`], the four series of one service, and [`Window`], one of the four.
//! [`MaxWindow`] is the maximum that delays a scale-down.

mod exact;
mod max;
mod metric;
mod reference;
mod ring;
mod smoothing;

use std::time::Duration;

use ebb_annotations::{Aggregation, Rules};
use ebb_core::Tick;

use exact::Exact;
pub use max::MaxWindow;
pub use metric::{Averages, MetricWindows, NoData};
use reference::Reference;
use ring::Ring;
pub use smoothing::Smoothing;

/// Less than this, in requests in flight or per second, is no load: what is left of a number by arithmetic, not
/// by a request. A request that takes a microsecond makes more.
const NO_LOAD: f64 = 1e-9;

/// The average of what was recorded in the last so many seconds.
#[derive(Clone, Debug)]
pub struct Window {
    ring: Ring,
    sums: Sums,
}

/// How the buckets become an average.
#[derive(Clone, Debug)]
enum Sums {
    Reference(Reference),
    Exact(Exact),
}

impl Window {
    /// An empty window over the last `length`, in buckets of `granularity`.
    ///
    /// `granularity` counts in whole seconds, at least one; `length` is rounded up to whole buckets,
    /// at least one and at most as many as a day has seconds.
    pub fn new(aggregation: Aggregation, length: Duration, granularity: Duration, rules: Rules) -> Self {
        let ring = Ring::new(length, granularity, rules);
        Self { sums: Sums::over(&ring, aggregation), ring }
    }

    /// Adds `value` to the bucket of `at`, in O(1). Times may go backwards; what is a window older than
    /// the newest record is dropped, and so is a value that is not finite: it could never leave a sum again.
    ///
    /// Mended, less than nothing (a pod that counted more at its activator's than at all) is nothing.
    pub fn record(&mut self, at: Tick, value: f64) {
        match &mut self.sums {
            _ if !value.is_finite() => {}
            Sums::Reference(sums) => sums.record(&mut self.ring, at, value),
            Sums::Exact(sums) => {
                sums.record(&mut self.ring, at, if value < NO_LOAD { 0.0 } else { value });
            }
        }
    }

    /// The average at `now` per bucket, in units of what was recorded; 0 where nothing was. O(1) on average
    /// over the seconds; the reference's takes longer after a silence, and for a weighted one always.
    pub fn average(&mut self, now: Tick) -> f64 {
        match &mut self.sums {
            Sums::Reference(sums) => sums.average(&self.ring, now),
            Sums::Exact(sums) => sums.average(&self.ring, now),
        }
    }

    /// Whether the last record is so old that the window says nothing any more.
    pub fn is_empty(&self, now: Tick) -> bool {
        self.ring.is_empty(now)
    }

    /// Changes length and aggregation; what was recorded stays as far as both lengths reach.
    pub fn reshape(&mut self, now: Tick, aggregation: Aggregation, length: Duration) {
        if (aggregation, length) == (self.sums.aggregation(), self.ring.length()) {
            return;
        }
        self.ring.resize(now, length);
        self.sums = Sums::over(&self.ring, aggregation);
    }
}

impl Sums {
    fn aggregation(&self) -> Aggregation {
        match self {
            Self::Reference(Reference::Linear { .. }) => Aggregation::Linear,
            Self::Reference(Reference::Weighted(_)) => Aggregation::WeightedExponential,
            Self::Exact(sums) => sums.aggregation(),
        }
    }

    fn over(ring: &Ring, aggregation: Aggregation) -> Self {
        let smoothing = match aggregation {
            Aggregation::Linear => None,
            Aggregation::WeightedExponential => Some(Smoothing::over(ring.slots())),
        };
        match ring.rules() {
            Rules::Mended => Self::Exact(Exact::over(ring, smoothing)),
            Rules::Reference => Self::Reference(Reference::over(ring, smoothing)),
        }
    }
}
