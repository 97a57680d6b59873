//! How long pods take to start: learned from those that did.

use std::time::Duration;

use ebb_core::Tick;

/// As long as no pod was seen to start, one may take this long before it is not counted on any more: an image
/// is pulled, a virtual machine warms up.
const UNKNOWN: Duration = Duration::from_secs(60);

/// A pod is counted on for at least this long.
const SHORTEST: Duration = Duration::from_secs(10);

/// ... and for this many times what others took.
const PATIENCE: u32 = 3;

/// How much the newest start weighs against all before it, as one part of so many.
const NEWEST: u32 = 4;

/// The start-up time of a service's pods.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StartupTime {
    learned: Option<Duration>,
}

impl StartupTime {
    /// Of a pod that was older when it was first seen nobody knows whether it took traffic before.
    pub(super) const SEEN_FROM_ITS_START: Duration = Duration::from_secs(10);

    /// A pod took so long from its start to its first traffic.
    pub(super) fn learn(&mut self, took: Duration) {
        self.learned = Some(match self.learned {
            Some(before) => (before * (NEWEST - 1) + took) / NEWEST,
            None => took,
        });
    }

    /// What pods take; `None` if none was seen to start.
    pub(super) fn learned(&self) -> Option<Duration> {
        self.learned
    }

    /// Whether a pod that was asked for at `since` can still be counted on.
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
