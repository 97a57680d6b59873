//! The averages as they are meant: the mean of what was seen, without a rounding error that outlives its
//! cause, and in O(1).

use ebb_annotations::Aggregation;
use ebb_core::Tick;

use super::{
    Smoothing,
    ring::{Recorded, Ring, Slot},
};

/// Slots by which a record may be late without all sums being taken anew. Pods have three seconds to answer, and
/// what they say counts for the second in which they were asked.
const LATE: i64 = 4;

/// Weighted sums of the newest slots, for any number of them.
///
/// The slots are split at a pivot. Up to it, the sum from each slot to the pivot is kept; after it, one sum
/// grows. Any sum from a slot before the pivot to the newest is then one of the first, aged, plus the second.
/// Once the window has left the pivot behind, a new slot becomes the pivot, some slots before the newest, so that
/// a record which is late by less goes into the growing sum: that walks the window once each time that it has
/// passed, so a second costs O(1) on average. Nothing is ever subtracted, so nothing cancels: sums of zeros are
/// exactly zero.
#[derive(Clone, Debug)]
pub(super) struct Exact {
    /// The factor from one slot to the next older one; 1 where all weigh alike.
    decay: f64,
    /// For each slot up to the pivot, at its index in the ring: the sum from it to the pivot.
    up_to_pivot: Box<[f64]>,
    pivot: Option<Slot>,
    /// The sum after the pivot.
    after_pivot: f64,
    /// `decay` to the power of the slots after the pivot.
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
                // Too late for a sum that is kept: they are taken anew.
                _ => self.pivot = None,
            },
        }
    }

    /// The mean of the slots seen inside the window. Silence at the end is neither load nor its absence: a
    /// linear mean holds, a weighted one keeps its weights. Whoever knows that a second saw nothing records a
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

    /// The sum of the newest `count` slots.
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

    /// The sum of `count` slots, the newest of which is `last`.
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

    /// What `slots` slots weigh together, the newest weighing 1.
    fn weight(&self, slots: i64) -> f64 {
        if self.decay == 1.0 { slots as f64 } else { (1.0 - self.aged(slots)) / (1.0 - self.decay) }
    }

    fn aged(&self, slots: i64) -> f64 {
        match slots {
            _ if self.decay == 1.0 => 1.0,
            1 => self.decay,
            // No window has so many slots that this would saturate.
            _ => self.decay.powi(i32::try_from(slots).unwrap_or(i32::MAX)),
        }
    }
}
