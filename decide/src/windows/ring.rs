//! The buckets of every average (`spec/autoscaler.md`, sections 5.1, 5.2 and 5.4).

use std::time::Duration;

use ebb_annotations::Rules;
use ebb_core::Tick;

/// Maximum number of buckets in a ring. Windows are at most 1 h long, so this only prevents an absurd length from
/// using all memory.
const MAX_SLOTS: u128 = 24 * 60 * 60;

/// The number of a bucket since the epoch. It is signed, because a resize counts back from the newest record.
pub(super) type Slot = i64;

/// The values of the last slots, one sum per slot. A slot between two records without a record counts as zero.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    buckets: Box<[f64]>,
    /// Slot of the oldest record that still counts; unknown after a resize of a silent window.
    first: Option<Slot>,
    /// Slot of the newest record.
    last: Option<Slot>,
    length: Duration,
    granularity: Duration,
    rules: Rules,
}

/// What happened to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// It was a window too late.
    Dropped,
    /// It was added to this slot, which is the newest or an older one.
    Into(Slot),
    /// It started a newer slot, this many after the previous newest one.
    Advanced(i64),
    /// It started a newer slot, and everything before was older than a window.
    Restarted,
}

impl Ring {
    pub(super) fn new(length: Duration, granularity: Duration, rules: Rules) -> Self {
        let granularity = Duration::from_secs(granularity.as_secs().max(1));
        Self {
            buckets: empty_buckets(length, granularity),
            first: None,
            last: None,
            length,
            granularity,
            rules,
        }
    }

    /// Adds `value` to the slot of `at`. Calls `expired` with each value that this removed from the window, the
    /// oldest first.
    pub(super) fn record(&mut self, at: Tick, value: f64, expired: impl FnMut(f64)) -> Recorded {
        let slot = self.slot(at);
        if self.last.is_some_and(|last| last - slot >= self.slots()) {
            return Recorded::Dropped;
        }
        let recorded = match self.last {
            Some(last) if slot <= last => {
                // A late record that is older than all others moves the start of the window back. A record for the
                // newest slot does not, even if a resize left the start unknown.
                if slot < last {
                    self.first = Some(self.first.map_or(slot, |first| first.min(slot)));
                }
                Recorded::Into(slot)
            }
            Some(last) if slot - last < self.slots() => {
                self.first = Some(self.first.map_or(slot, |first| first.min(slot)));
                self.advance(last, slot, expired);
                Recorded::Advanced(slot - last)
            }
            _ => {
                self.buckets.fill(0.0);
                (self.first, self.last) = (Some(slot), Some(slot));
                Recorded::Restarted
            }
        };
        let index = self.index(slot);
        self.buckets[index] += value;
        recorded
    }

    /// Makes `slot` the newest, and clears all buckets in between.
    fn advance(&mut self, last: Slot, slot: Slot, mut expired: impl FnMut(f64)) {
        for passed in last + 1..=slot {
            let index = self.index(passed);
            expired(self.buckets[index]);
            self.buckets[index] = 0.0;
        }
        self.last = Some(slot);
    }

    /// Changes the length at `now`. Keeps the newest buckets that fit into both lengths.
    pub(super) fn resize(&mut self, now: Tick, length: Duration) {
        if length == self.length {
            return;
        }
        let old_slots = self.slots();
        let mut resized = Self::new(length, self.granularity, self.rules);
        if self.rules == Rules::Mended && self.is_empty(now) {
            // Buckets that a longer window would contain are already forgotten: it has no data either.
            *self = resized;
            return;
        }
        resized.last = self.last;
        if let Some(last) =
            self.last.filter(|_| self.silence(now).is_some_and(|silent| silent <= self.whole_slots()))
        {
            for slot in (last - old_slots.min(resized.slots()) + 1..=last).rev() {
                let value = self.value(slot);
                let index = resized.index(slot);
                resized.buckets[index] = value;
            }
            let as_if_full = last - (old_slots - 1);
            resized.first = Some(match self.rules {
                Rules::Reference => as_if_full,
                Rules::Mended => self.first.map_or(as_if_full, |first| first.max(as_if_full)),
            });
        }
        *self = resized;
    }

    /// Returns the number of slots since the newest record, which is negative if it is in the future; `None` if there
    /// is no record.
    pub(super) fn silence(&self, now: Tick) -> Option<i64> {
        self.last.map(|last| self.slot(now) - last)
    }

    pub(super) fn is_empty(&self, now: Tick) -> bool {
        self.silence(now).is_none_or(|silent| match self.rules {
            Rules::Reference => silent > self.whole_slots(),
            Rules::Mended => silent >= self.slots(),
        })
    }

    /// Returns the number of slots from the oldest record to the newest, at most the ring's length.
    pub(super) fn filled(&self) -> i64 {
        match (self.first, self.last) {
            (Some(first), Some(last)) => (last - first + 1).min(self.slots()),
            _ => self.slots(),
        }
    }

    /// Returns the values of the newest `count` slots, the newest first; none without a record.
    pub(super) fn newest(&self, count: i64) -> impl Iterator<Item = f64> {
        let newest_first = self.last.map(|last| (last - count + 1..=last).rev().map(|slot| self.value(slot)));
        newest_first.into_iter().flatten()
    }

    /// Returns the values of the slots that left the window in `silent` slots since the newest record, the oldest
    /// first.
    pub(super) fn expired(&self, silent: i64) -> impl Iterator<Item = f64> {
        let oldest_first = self.last.map(|last| (last + 1..=last + silent).map(|slot| self.value(slot)));
        oldest_first.into_iter().flatten()
    }

    /// Returns the slot of the newest record.
    pub(super) fn last(&self) -> Option<Slot> {
        self.last
    }

    pub(super) fn rules(&self) -> Rules {
        self.rules
    }

    pub(super) fn length(&self) -> Duration {
        self.length
    }

    /// Returns how many slots the window spans, at least 1.
    pub(super) fn slots(&self) -> i64 {
        i64::try_from(self.buckets.len()).unwrap_or(i64::MAX)
    }

    /// Returns how many whole slots the window spans: one less than [`Self::slots`] if the length is not whole.
    fn whole_slots(&self) -> i64 {
        i64::try_from(self.length.as_nanos() / self.granularity.as_nanos()).unwrap_or(i64::MAX)
    }

    fn slot(&self, at: Tick) -> Slot {
        // Halved, so that a slot plus a window still fits.
        i64::try_from(at.as_secs() / self.granularity.as_secs()).unwrap_or(i64::MAX).min(i64::MAX / 2)
    }

    pub(super) fn index(&self, slot: Slot) -> usize {
        usize::try_from(slot.rem_euclid(self.slots())).unwrap_or(0)
    }

    pub(super) fn value(&self, slot: Slot) -> f64 {
        self.buckets[self.index(slot)]
    }
}

fn empty_buckets(length: Duration, granularity: Duration) -> Box<[f64]> {
    let slots = length.as_nanos().div_ceil(granularity.as_nanos()).clamp(1, MAX_SLOTS);
    vec![0.0; usize::try_from(slots).unwrap_or(1)].into_boxed_slice()
}
