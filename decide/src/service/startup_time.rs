//! The start-up time of pods, learned from those that started.

use std::time::Duration;

use ebb_core::Tick;

/// How long a starting pod counts as capacity while no start-up time is known: an image may be pulled, or a
/// virtual machine may warm up.
const UNKNOWN: Duration = Duration::from_secs(60);

/// The shortest time for which a starting pod counts.
const SHORTEST: Duration = Duration::from_secs(10);

/// ... and the multiple of the learned time.
const PATIENCE: u32 = 3;

/// The newest start weighs one part in this many.
const NEWEST: u32 = 4;

/// The start-up time of a service's pods.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StartupTime {
    learned: Option<Duration>,
}

impl StartupTime {
    /// A pod that was older when it was first seen may have taken traffic before.
    pub(super) const SEEN_FROM_ITS_START: Duration = Duration::from_secs(10);

    /// Records how long a pod took from its start to its first traffic.
    pub(super) fn learn(&mut self, took: Duration) {
        self.learned = Some(match self.learned {
            Some(before) => (before * (NEWEST - 1) + took) / NEWEST,
            None => took,
        });
    }

    /// Returns the learned time; `None` if no pod was seen to start.
    pub(super) fn learned(&self) -> Option<Duration> {
        self.learned
    }

    /// Returns whether a pod that was requested at `since` still counts.
    pub(super) fn expects(&self, since: Tick, now: Tick) -> bool {
        let patience = self.learned.map_or(UNKNOWN, |learned| (learned * PATIENCE).max(SHORTEST));
        now.since(since) <= patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_learned_and_waited_for() {
        let mut startup = StartupTime::default();
        let from = Tick::from_secs(100);
        let expects =
            |startup: &StartupTime, secs| startup.expects(from, from.after(Duration::from_secs(secs)));
        assert_eq!((expects(&startup, 60), expects(&startup, 61)), (true, false));
        startup.learn(Duration::from_secs(24));
        assert_eq!((expects(&startup, 72), expects(&startup, 73)), (true, false));
        startup.learn(Duration::from_secs(16));
        assert_eq!(startup.learned(), Some(Duration::from_secs(22)));
        (0..40).for_each(|_| startup.learn(Duration::from_secs(1)));
        assert_eq!((expects(&startup, 10), expects(&startup, 11)), (true, false));
    }
}
