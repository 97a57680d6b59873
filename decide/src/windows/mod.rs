//! Averages over the last seconds: the load of a service over its stable and panic windows.
//!
//! For formulas, see `spec/autoscaler.md`, section 5. Every window is a ring of buckets that is allocated once.
//! Recording and reading are O(1). Silence (no record at all) is distinguished from zero.
//!
//! With [`Rules::Mended`], a window without a record has no data instead of the value 0, a resize invents no history,
//! the weighted average is the mean of what was seen even before the window is full, the smallest load is not rounded
//! away, and rounding errors do not accumulate (complaints 4, 10, 11 and 25).
//!
//! Read first: [`MetricWindows`], the four series of one service, and [`Window`], one of the four. [`MaxWindow`] is
//! the maximum that delays scaling down.

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

/// Values below this, in requests in flight or per second, count as no load: they are rounding errors. A request that
/// takes a microsecond results in more.
const NO_LOAD: f64 = 1e-9;

/// The average of what was recorded over a number of seconds.
#[derive(Clone, Debug)]
pub struct Window {
    ring: Ring,
    sums: Sums,
}

/// How buckets are averaged.
#[derive(Clone, Debug)]
enum Sums {
    Reference(Reference),
    Exact(Exact),
}

impl Window {
    /// Returns an empty window over the last `length`, in buckets of `granularity`.
    ///
    /// `granularity` is used in whole seconds, at least one; `length` is rounded up to whole buckets, at least one
    /// and at most as many as a day has seconds.
    pub fn new(aggregation: Aggregation, length: Duration, granularity: Duration, rules: Rules) -> Self {
        let ring = Ring::new(length, granularity, rules);
        Self { sums: Sums::over(&ring, aggregation), ring }
    }

    /// Adds `value` to the bucket of `at`, in O(1). Times may go backwards. A record that is a window older than the
    /// newest one is dropped. So is a value that is not finite, because it would stay in the sum forever.
    ///
    /// With the mended rules, a negative value (from a pod that counted more requests through activators than in
    /// total) counts as zero.
    pub fn record(&mut self, at: Tick, value: f64) {
        match &mut self.sums {
            _ if !value.is_finite() => {}
            Sums::Reference(sums) => sums.record(&mut self.ring, at, value),
            Sums::Exact(sums) => {
                sums.record(&mut self.ring, at, if value < NO_LOAD { 0.0 } else { value });
            }
        }
    }

    /// Returns the average per bucket at `now`, in the unit of the records; 0 without records. It is O(1) on average
    /// over the seconds; the reference's average takes longer after silence, and always if it is weighted.
    pub fn average(&mut self, now: Tick) -> f64 {
        match &mut self.sums {
            Sums::Reference(sums) => sums.average(&self.ring, now),
            Sums::Exact(sums) => sums.average(&self.ring, now),
        }
    }

    /// Returns whether the last record is so old that the window has no data.
    pub fn is_empty(&self, now: Tick) -> bool {
        self.ring.is_empty(now)
    }

    /// Changes length and aggregation. Records are kept as far as both lengths reach.
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
