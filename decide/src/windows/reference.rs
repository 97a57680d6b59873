//! The averages as the reference computes them, including rounding errors (`spec/autoscaler.md`, sections 5.2 and
//! 5.3).

use ebb_core::Tick;

use super::{
    Smoothing,
    ring::{Recorded, Ring},
};

/// What the reference keeps in addition to its buckets.
#[derive(Clone, Debug)]
pub(super) enum Reference {
    /// The sum of all buckets. Each one is added when it is recorded and subtracted when it expires.
    Linear { total: f64 },
    /// The smoothing. The weighted sum is computed again each time.
    Weighted(Smoothing),
}

impl Reference {
    pub(super) fn over(ring: &Ring, smoothing: Option<Smoothing>) -> Self {
        match smoothing {
            None => Self::Linear { total: ring.newest(ring.slots()).sum() },
            Some(smoothing) => Self::Weighted(smoothing),
        }
    }

    pub(super) fn record(&mut self, ring: &mut Ring, at: Tick, value: f64) {
        let mut left = 0.0;
        let total = match self {
            Self::Linear { total } => total,
            Self::Weighted(_) => &mut left,
        };
        match ring.record(at, value, |expired| *total -= expired) {
            Recorded::Dropped => {}
            Recorded::Restarted => *total = value,
            Recorded::Into(_) | Recorded::Advanced(_) => *total += value,
        }
    }

    pub(super) fn average(&self, ring: &Ring, now: Tick) -> f64 {
        match self {
            Self::Linear { total } => linear(ring, *total, now),
            Self::Weighted(smoothing) => weighted(ring, *smoothing, now),
        }
    }
}

/// Returns the sum of the slots inside the window divided by the number of slots seen, rounded to six decimals.
///
/// Before the window is full, the divisor is the time since the first record. Silence at the end is ignored instead
/// of averaged: the value stays until a whole window is silent, and is 0 from then on.
fn linear(ring: &Ring, total: f64, now: Tick) -> f64 {
    let slots = ring.slots();
    match ring.silence(now) {
        Some(silent) if silent < slots => {
            let silent = silent.max(0);
            let inside = ring.expired(silent).fold(total, |total, value| total - value);
            six_decimals(inside / ring.filled().min(slots - silent) as f64)
        }
        _ => 0.0,
    }
}

/// Rounds `value` to six decimals, halves away from zero. The rest of a sum after its parts were subtracted then
/// becomes exactly 0; otherwise, nothing would ever scale to zero.
fn six_decimals(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// Returns the weighted sum of all slots inside the window; it decays during silence at the end. Slots before the
/// first record count as zeros, so a young window reports too little.
fn weighted(ring: &Ring, smoothing: Smoothing, now: Tick) -> f64 {
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
    sum
}
