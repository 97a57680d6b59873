//! The maximum over the last minutes (`spec/autoscaler.md`, section 6.2).

use std::{collections::VecDeque, time::Duration};

use ebb_core::Tick;

/// The largest value that was recorded within a duration.
///
/// Only values that can still become the maximum are kept. They decrease from the oldest to the newest, with at most
/// one per step. Memory is therefore bounded by the number of steps, and every operation is O(1) on average.
#[derive(Clone, Debug)]
pub struct MaxWindow {
    falling: VecDeque<Peak>,
    steps: u64,
    granularity: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Peak {
    step: u64,
    value: u32,
}

impl MaxWindow {
    /// Returns an empty window over the last `length`, in steps of `granularity`.
    ///
    /// `granularity` is used in whole seconds, at least one; `length` is rounded up to whole steps.
    pub fn new(length: Duration, granularity: Duration) -> Self {
        let granularity = Duration::from_secs(granularity.as_secs().max(1));
        let mut window = Self { falling: VecDeque::new(), steps: 1, granularity };
        window.resize(length);
        window
    }

    /// Records `value` at `now`; an earlier `now` than before counts as the step of the latest record.
    pub fn record(&mut self, now: Tick, value: u32) {
        let latest = self.falling.back().map_or(0, |peak| peak.step);
        let step = (now.as_secs() / self.granularity.as_secs()).max(latest);
        while self.falling.back().is_some_and(|peak| peak.value <= value) {
            self.falling.pop_back();
        }
        while self.falling.front().is_some_and(|peak| step - peak.step >= self.steps) {
            self.falling.pop_front();
        }
        // The last entry is larger; within the same step it also stands for this value.
        if self.falling.back().is_none_or(|peak| peak.step < step) {
            self.falling.push_back(Peak { step, value });
        }
    }

    /// Returns the largest value in the window as of the last record; 0 before the first.
    ///
    /// Time alone does not change it: the window delays decisions, and without a new decision the old one stays.
    pub fn current(&self) -> u32 {
        self.falling.front().map_or(0, |peak| peak.value)
    }

    /// Changes the length. Values that a longer window would contain, but that were forgotten, stay forgotten.
    pub fn resize(&mut self, length: Duration) {
        let steps = length.as_nanos().div_ceil(self.granularity.as_nanos()).max(1);
        self.steps = u64::try_from(steps).unwrap_or(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decrease_shows_after_the_whole_length() {
        let mut window = MaxWindow::new(Duration::from_secs(10), Duration::from_secs(2));
        assert_eq!(window.current(), 0);
        let wanted = [4, 4, 2, 1, 1, 0, 0, 0, 0, 0];
        let shown: Vec<u32> = (0_u64..)
            .zip(wanted)
            .map(|(step, pods)| {
                window.record(Tick::from_secs(2 * step), pods);
                window.current()
            })
            .collect();
        assert_eq!(shown, [4, 4, 4, 4, 4, 4, 2, 1, 1, 0]);
    }

    #[test]
    fn never_holds_more_than_one_value_per_step() {
        let mut window = MaxWindow::new(Duration::from_secs(10), Duration::from_secs(2));
        for (millis, pods) in (0_u64..).step_by(100).zip((0..500).rev()) {
            window.record(Tick::from_millis(millis), pods);
            assert!(window.falling.len() <= 5, "{:?}", window.falling);
        }
    }
}
