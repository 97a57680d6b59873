/// The weight of the newest slot in an exponentially weighted mean; each older one weighs `1 - smoothing`
/// times its successor (`spec/autoscaler.md`, section 5.3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Smoothing(f64);

impl Smoothing {
    /// Minimum share of all weight in the window's own slots; the weight before them is lost.
    const COVERAGE: f64 = 0.9999;
    /// Minimum weight of the newest slot, so that long windows still follow the load.
    const LEAST: f64 = 0.2;

    /// Returns the smoothing of a window of `slots` slots: `max(1 - (1 - 0.9999)^(1/slots), 0.2)`.
    pub fn over(slots: i64) -> Self {
        Self((1.0 - (1.0 - Self::COVERAGE).powf(1.0 / slots as f64)).max(Self::LEAST))
    }

    /// Returns the weight of the newest slot, above 0 and below 1.
    pub const fn weight(self) -> f64 {
        self.0
    }

    /// Returns the factor from one slot to the next older one.
    pub(super) const fn decay(self) -> f64 {
        1.0 - self.0
    }
}
