use std::time::Duration;

use ebb_annotations::Rules;
use ebb_core::Tick;

use super::DELAY_GRANULARITY;
use crate::windows::MaxWindow;

/// Which average sets the number of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The stable average.
    Stable,
    /// The larger one of both, and not less than was wanted before.
    Panic,
}

/// Since when a service panics, and the most pods that it wanted during the panic.
#[derive(Clone, Debug)]
pub struct Panic {
    last_cause: Option<Tick>,
    peak: Peak,
}

/// The most pods wanted.
#[derive(Clone, Debug)]
enum Peak {
    /// Since the panic started, as in the reference. Before the first panic, the number of pods that were ready at
    /// the start.
    Ever(u32),
    /// Within the last stable window, so that a spike does not outlive it during a long panic. Only kept during a
    /// panic.
    Lately(Option<Box<MaxWindow>>),
}

impl Panic {
    /// Returns the state of a new decider; more than one ready pod causes a panic (section 6, "Creation").
    pub(super) fn at_start(now: Tick, ready_pods: u32, rules: Rules, stable_window: Duration) -> Self {
        let last_cause = (ready_pods > 1).then_some(now);
        let peak = match rules {
            Rules::Reference => Peak::Ever(ready_pods),
            Rules::Mended => Peak::Lately(None),
        };
        let mut panic = Self { last_cause, peak };
        if last_cause.is_some() {
            panic.peak.raise(now, ready_pods, stable_window);
        }
        panic
    }

    /// Advances to `now` and returns the mode (step 7).
    pub(super) fn observe(&mut self, now: Tick, over_threshold: bool, stable_window: Duration) -> Mode {
        if over_threshold {
            self.last_cause = Some(now); // a burst that goes on keeps extending the panic
        } else if self.last_cause.is_some_and(|cause| now.since(cause) > stable_window) {
            self.last_cause = None;
            self.peak.clear();
        }
        self.mode()
    }

    /// Takes `pods` into account at `now`, and returns the most pods wanted in this panic (step 8).
    pub(super) fn raise_peak(&mut self, now: Tick, pods: u32, stable_window: Duration) -> u32 {
        self.peak.raise(now, pods, stable_window);
        self.peak()
    }

    /// Returns the mode, which says whether the service panics.
    pub const fn mode(&self) -> Mode {
        match self.last_cause {
            Some(_) => Mode::Panic,
            None => Mode::Stable,
        }
    }

    /// Returns when the panic was last caused; it ends one stable window later. Returns `None` without a panic.
    pub const fn last_cause(&self) -> Option<Tick> {
        self.last_cause
    }

    /// Returns the most pods wanted in this panic, or in its last stable window.
    pub fn peak(&self) -> u32 {
        match &self.peak {
            Peak::Ever(pods) => *pods,
            Peak::Lately(window) => window.as_ref().map_or(0, |window| window.current()),
        }
    }
}

impl Peak {
    fn raise(&mut self, now: Tick, pods: u32, stable_window: Duration) {
        match self {
            Self::Ever(peak) => *peak = pods.max(*peak),
            Self::Lately(window) => {
                // One step longer, so that it does not end before a panic with a single cause.
                let length = stable_window.saturating_add(DELAY_GRANULARITY);
                let window =
                    window.get_or_insert_with(|| Box::new(MaxWindow::new(length, DELAY_GRANULARITY)));
                window.resize(length);
                window.record(now, pods);
            }
        }
    }

    fn clear(&mut self) {
        match self {
            Self::Ever(peak) => *peak = 0,
            Self::Lately(window) => *window = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn panic(rules: Rules, ready_pods: u32) -> Panic {
        Panic::at_start(Tick::ZERO, ready_pods, rules, WINDOW)
    }

    #[test]
    fn panic_outlives_its_last_cause_by_one_stable_window() {
        for rules in [Rules::Reference, Rules::Mended] {
            let mut panic = panic(rules, 1);
            assert_eq!(panic.observe(Tick::from_secs(1), false, WINDOW), Mode::Stable);
            assert_eq!(panic.observe(Tick::from_secs(2), true, WINDOW), Mode::Panic);
            assert_eq!(panic.observe(Tick::from_secs(4), true, WINDOW), Mode::Panic);
            assert_eq!(panic.observe(Tick::from_secs(64), false, WINDOW), Mode::Panic);
            assert_eq!(panic.observe(Tick::from_secs(65), false, WINDOW), Mode::Stable);
            assert_eq!((panic.last_cause(), panic.peak()), (None, 0));
        }
    }

    #[test]
    fn several_pods_at_the_start_are_a_cause() {
        for rules in [Rules::Reference, Rules::Mended] {
            assert_eq!(panic(rules, 1).mode(), Mode::Stable);
            assert_eq!((panic(rules, 2).mode(), panic(rules, 2).peak()), (Mode::Panic, 2));
        }
    }

    #[test]
    fn a_spike_pins_a_panic_that_goes_on_for_one_window_only() {
        let peak = |rules, second| {
            let mut panic = panic(rules, 1);
            for at in (0..=second).step_by(2) {
                panic.observe(Tick::from_secs(at), true, WINDOW);
                panic.raise_peak(Tick::from_secs(at), if at == 0 { 300 } else { 10 }, WINDOW);
            }
            panic.peak()
        };
        assert_eq!([peak(Rules::Mended, 60), peak(Rules::Mended, 62)], [300, 10]);
        assert_eq!(peak(Rules::Reference, 600), 300);
    }
}
