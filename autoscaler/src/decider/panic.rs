use std::time::Duration;

use ebb_core::Tick;

/// Which average rules a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The stable one.
    Stable,
    /// The larger of both, and never less than before in the same panic.
    Panic,
}

/// Since when a service panics, and the most pods it wanted meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panic {
    last_cause: Option<Tick>,
    peak: u32,
}

impl Panic {
    /// The state of a new decider; more than one ready pod counts as a cause (section 6, "Creation").
    pub(super) fn at_start(now: Tick, ready_pods: u32) -> Self {
        Self { last_cause: (ready_pods > 1).then_some(now), peak: ready_pods }
    }

    /// Advances to `now` and returns the mode to scale by (step 7).
    pub(super) fn observe(&mut self, now: Tick, over_threshold: bool, stable_window: Duration) -> Mode {
        if over_threshold {
            self.last_cause = Some(now); // a burst that goes on keeps extending the panic
        } else if self.last_cause.is_some_and(|cause| now.since(cause) > stable_window) {
            *self = Self { last_cause: None, peak: 0 };
        }
        self.mode()
    }

    /// Counts `pods` in and returns the most pods wanted in this panic (step 8).
    pub(super) fn raise_peak(&mut self, pods: u32) -> u32 {
        self.peak = self.peak.max(pods);
        self.peak
    }

    /// Whether the service panics.
    pub const fn mode(&self) -> Mode {
        match self.last_cause {
            Some(_) => Mode::Panic,
            None => Mode::Stable,
        }
    }

    /// When the panic was last caused; it ends one stable window later. `None` outside of a panic.
    pub const fn last_cause(&self) -> Option<Tick> {
        self.last_cause
    }

    /// The most pods wanted in this panic. Before the first panic, the pods ready at the start.
    pub const fn peak(&self) -> u32 {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    #[test]
    fn panic_outlives_its_last_cause_by_one_stable_window() {
        let mut panic = Panic::at_start(Tick::ZERO, 1);
        assert_eq!(panic.observe(Tick::from_secs(1), false, WINDOW), Mode::Stable);
        assert_eq!(panic.observe(Tick::from_secs(2), true, WINDOW), Mode::Panic);
        assert_eq!(panic.observe(Tick::from_secs(4), true, WINDOW), Mode::Panic);
        assert_eq!(panic.observe(Tick::from_secs(64), false, WINDOW), Mode::Panic);
        assert_eq!(panic.observe(Tick::from_secs(65), false, WINDOW), Mode::Stable);
        assert_eq!((panic.last_cause(), panic.peak()), (None, 0));
    }

    #[test]
    fn several_pods_at_the_start_are_a_cause() {
        assert_eq!(Panic::at_start(Tick::ZERO, 1).mode(), Mode::Stable);
        assert_eq!(Panic::at_start(Tick::ZERO, 2).mode(), Mode::Panic);
    }
}
