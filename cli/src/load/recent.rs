//! The last two seconds, for a display that is redrawn several times a second.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::meter::{micros, saturating_histogram};
use super::report::Quantiles;

/// The length of a slot, by which the view advances.
const SLOT: Duration = Duration::from_millis(250);

/// Two seconds in all; the youngest slot is still being filled.
const SLOTS: usize = 8;

/// Two digits suffice for a display, and make a slot four times smaller than three.
const DIGITS: u8 = 2;

/// The last two seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RecentView {
    /// Requests per second whose planned time came.
    pub(crate) sent_per_second: f64,
    /// Requests per second whose answer was complete.
    pub(crate) answered_per_second: f64,
    /// Requests per second that were found lost.
    pub(crate) lost_per_second: f64,
    /// Latencies of these answers; `None` without any.
    pub(crate) latency: Option<Quantiles>,
}

/// A ring of slots; times count from the start of the run.
#[derive(Debug)]
pub(super) struct Recent {
    slots: [Slot; SLOTS],
    /// The number of the youngest slot, counted from the start of the run.
    youngest: u64,
}

#[derive(Clone, Debug)]
struct Slot {
    sent: u64,
    answered: u64,
    lost: u64,
    latency: Histogram<u64>,
}

impl Slot {
    fn clear(&mut self) {
        self.sent = 0;
        self.answered = 0;
        self.lost = 0;
        self.latency.reset();
    }
}

impl Recent {
    pub(super) fn new() -> Self {
        let slot = Slot { sent: 0, answered: 0, lost: 0, latency: saturating_histogram(DIGITS) };
        Self { slots: std::array::from_fn(|_| slot.clone()), youngest: 0 }
    }

    pub(super) fn sent(&mut self, now: Duration) {
        self.slot(now).sent += 1;
    }

    pub(super) fn answered(&mut self, now: Duration, latency: Duration) {
        let slot = self.slot(now);
        slot.answered += 1;
        slot.latency.saturating_record(micros(latency));
    }

    pub(super) fn lost(&mut self, now: Duration) {
        self.slot(now).lost += 1;
    }

    /// Sums up the slots of the last two seconds.
    pub(super) fn view(&mut self, now: Duration) -> RecentView {
        self.advance(now);
        let mut latency = saturating_histogram(DIGITS);
        let (mut sent, mut answered, mut lost) = (0, 0, 0);
        for slot in &self.slots {
            sent += slot.sent;
            answered += slot.answered;
            lost += slot.lost;
            latency.add(&slot.latency).expect("all slots have the same bounds");
        }
        let covered = self.covered(now).as_secs_f64();
        let per_second = |count: u64| if covered > 0.0 { count as f64 / covered } else { 0.0 };
        RecentView {
            sent_per_second: per_second(sent),
            answered_per_second: per_second(answered),
            lost_per_second: per_second(lost),
            latency: (answered > 0).then(|| Quantiles::of(&latency)),
        }
    }

    /// Returns the time that the slots cover: since the start of the run or of the oldest slot.
    fn covered(&self, now: Duration) -> Duration {
        let oldest = self.youngest.saturating_sub(SLOTS as u64 - 1);
        now.saturating_sub(SLOT.saturating_mul(u32::try_from(oldest).unwrap_or(u32::MAX)))
    }

    fn slot(&mut self, now: Duration) -> &mut Slot {
        self.advance(now);
        &mut self.slots[ring_index(self.youngest)]
    }

    /// Empties the slots that are out of date. An earlier `now` counts into the youngest slot.
    fn advance(&mut self, now: Duration) {
        let current = slot_number(now);
        // After a long silence every slot is emptied once, not once per step.
        let passed = current.saturating_sub(self.youngest).min(SLOTS as u64);
        for number in (0..passed).map(|back| current - back) {
            self.slots[ring_index(number)].clear();
        }
        self.youngest = self.youngest.max(current);
    }
}

fn slot_number(now: Duration) -> u64 {
    u64::try_from(now.as_millis() / SLOT.as_millis()).unwrap_or(u64::MAX)
}

fn ring_index(number: u64) -> usize {
    usize::try_from(number % SLOTS as u64).expect("below the number of slots")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn rates_are_of_the_time_since_the_start_at_first() {
        let mut recent = Recent::new();
        for _ in 0..10 {
            recent.sent(10 * MS);
        }
        recent.lost(20 * MS);
        let view = recent.view(100 * MS);
        assert_eq!((view.sent_per_second.round(), view.lost_per_second.round()), (100.0, 10.0));
        assert_eq!(view.latency, None);
    }

    #[test]
    fn latencies_are_those_of_the_view() {
        let mut recent = Recent::new();
        recent.answered(10 * MS, 1000 * MS);
        recent.answered(1900 * MS, 5 * MS);
        assert_eq!(recent.view(1900 * MS).latency.unwrap().max.as_secs(), 1);
        let later = recent.view(2100 * MS);
        assert!(later.latency.unwrap().max < 6 * MS, "{later:?}");
        assert_eq!(recent.view(10_000 * MS), RecentView::default());
    }

    #[test]
    fn a_steady_rate_is_seen_as_what_it_is() {
        let mut recent = Recent::new();
        for request in 0..5_000 {
            recent.sent(request * 2 * MS);
        }
        let rate = recent.view(9_999 * MS).sent_per_second;
        assert!((rate - 500.0).abs() < 2.0, "{rate}");
    }
}
