//! The exact averages: the mean of what was seen, without accumulated rounding errors, in O(1).

use ebb_annotations::Aggregation;
use ebb_core::Tick;

use super::{
    Smoothing,
    ring::{Recorded, Ring, Slot},
};

/// A record that is late by up to this many slots does not require all sums to be computed again. Pods have three
/// seconds to answer, and their answers count for the second in which they were scraped.
const LATE: i64 = 4;

/// Weighted sums of any number of the newest slots.
///
/// The slots are split at a pivot. For each slot up to the pivot, the sum from it to the pivot is kept; after the
/// pivot, a single sum grows. The sum from a slot before the pivot to the newest slot is then the first of these,
/// aged, plus the second. When the window has left the pivot behind, a new slot becomes the pivot. It is some slots
/// older than the newest, so that slightly late records still go into the growing sum. This visits each slot of a
/// window once per window, so a second costs O(1) on average. Nothing is ever subtracted, so there is no
/// cancellation: sums of zeros are exactly zero.
#[derive(Clone, Debug)]
pub(super) struct Exact {
    /// The factor from one slot to the next older one; 1 if all have the same weight.
    decay: f64,
    /// For each slot up to the pivot, at its index in the ring: the sum from it to the pivot.
    up_to_pivot: Box<[f64]>,
    pivot: Option<Slot>,
    /// The sum after the pivot.
    after_pivot: f64,
    /// `decay` to the power of the number of slots after the pivot.
    aging: f64,
}

impl Exact {
    pub(super) fn over(ring: &Ring, smoothing: Option<Smoothing>) -> Self {
        let slots = usize::try_from(ring.slots()).unwrap_or(1);
        Self {
            decay: smoothing.map_or(1.0, Smoothing::decay),
            up_to_pivot: vec![0.0; slots].into_boxed_slice(),
            pivot: None,
            after_pivot: 0.0,
            aging: 1.0,
        }
    }

    pub(super) fn aggregation(&self) -> Aggregation {
        if self.decay == 1.0 { Aggregation::Linear } else { Aggregation::WeightedExponential }
    }

    pub(super) fn record(&mut self, ring: &mut Ring, at: Tick, value: f64) {
        match ring.record(at, value, |_| {}) {
            Recorded::Dropped => {}
            Recorded::Restarted => self.pivot = None,
            Recorded::Advanced(slots) => {
                let aging = self.aged(slots);
                self.after_pivot = self.after_pivot * aging + value;
                self.aging *= aging;
            }
            Recorded::Into(slot) => match (self.pivot, ring.last()) {
                (Some(pivot), Some(last)) if slot > pivot => {
                    self.after_pivot += value * self.aged(last - slot);
                }
                // Too late for the stored sums: compute them again.
                _ => self.pivot = None,
            },
        }
    }

    /// Returns the mean of the slots seen inside the window. Silence at the end counts neither as load nor as its
    /// absence: a linear mean stays the same, a weighted one keeps its weights. To count a second as zero, record a
    /// zero.
    pub(super) fn average(&mut self, ring: &Ring, now: Tick) -> f64 {
        let slots = ring.slots();
        let Some(silent) = ring.silence(now).map(|silent| silent.max(0)).filter(|silent| *silent < slots)
        else {
            return 0.0;
        };
        let inside = slots - silent;
        let seen = ring.filled().min(inside);
        self.newest(ring, inside) / self.weight(seen)
    }

    /// Returns the sum of the newest `count` slots.
    fn newest(&mut self, ring: &Ring, count: i64) -> f64 {
        let Some(last) = ring.last() else { return 0.0 };
        if count <= LATE {
            return self.sum(ring, last, count);
        }
        let start = last - count + 1;
        if self.pivot.is_none_or(|pivot| pivot < start) {
            self.turn(ring, last);
        }
        self.up_to_pivot[ring.index(start)] * self.aging + self.after_pivot
    }

    /// Returns the sum of `count` slots, the newest of which is `last`.
    fn sum(&self, ring: &Ring, last: Slot, count: i64) -> f64 {
        (last - count + 1..=last).fold(0.0, |sum, slot| sum * self.decay + ring.value(slot))
    }

    /// Makes the slot before the last [`LATE`] ones the pivot.
    fn turn(&mut self, ring: &Ring, last: Slot) {
        let pivot = last - LATE;
        let mut sum = 0.0;
        let mut weight = 1.0;
        for slot in (last - ring.slots() + 1..=pivot).rev() {
            sum += ring.value(slot) * weight;
            weight *= self.decay;
            self.up_to_pivot[ring.index(slot)] = sum;
        }
        self.pivot = Some(pivot);
        self.after_pivot = self.sum(ring, last, LATE);
        self.aging = self.aged(LATE);
    }

    /// Returns the total weight of `slots` slots; the newest one has weight 1.
    fn weight(&self, slots: i64) -> f64 {
        if self.decay == 1.0 { slots as f64 } else { (1.0 - self.aged(slots)) / (1.0 - self.decay) }
    }

    fn aged(&self, slots: i64) -> f64 {
        match slots {
            _ if self.decay == 1.0 => 1.0,
            1 => self.decay,
            // No window has enough slots to saturate this.
            _ => self.decay.powi(i32::try_from(slots).unwrap_or(i32::MAX)),
        }
    }
}
