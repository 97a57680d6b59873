//! The exponentially weighted mean (`spec/autoscaler.md`, section 5.3).

use ebb_core::Tick;

use super::{WindowRules, ring::Ring};

/// The weight of the newest slot; each older one weighs `1 - smoothing` times its successor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Smoothing(f64);

impl Smoothing {
    /// Share of all weight that the window's own slots must carry: what lies before them is lost.
    const COVERAGE: f64 = 0.9999;
    /// Least weight of the newest slot, so that long windows follow their load at all.
    const LEAST: f64 = 0.2;

    /// The smoothing of a window of `slots` slots: `max(1 - (1 - 0.9999)^(1/slots), 0.2)`.
    pub fn over(slots: i64) -> Self {
        Self((1.0 - (1.0 - Self::COVERAGE).powf(1.0 / slots as f64)).max(Self::LEAST))
    }

    /// The weight of the newest slot, above 0 and below 1.
    pub const fn weight(self) -> f64 {
        self.0
    }

    /// The factor from one slot to the next older one.
    const fn decay(self) -> f64 {
        1.0 - self.0
    }
}

/// The weighted sum of all slots inside the window; silence at the end decays.
///
/// The reference lets the slots before the first record weigh in as zeros, so that a young window reads
/// low; [`WindowRules::Mended`] divides by the weight of the slots that exist.
pub(super) fn average(ring: &Ring, smoothing: Smoothing, now: Tick) -> f64 {
    let Some(silent) = ring.silence(now).filter(|_| !ring.is_empty(now)) else {
        return 0.0;
    };
    let silent = silent.max(0);
    let mut weight = smoothing.weight() * smoothing.decay().powf(silent as f64);
    let mut sum = 0.0;
    for value in ring.newest(ring.slots() - silent) {
        sum += value * weight;
        weight *= smoothing.decay();
    }
    match ring.rules() {
        WindowRules::Reference => sum,
        WindowRules::Mended => {
            let seen = (ring.filled() + silent).min(ring.slots());
            sum / (1.0 - smoothing.decay().powf(seen as f64))
        }
    }
}
