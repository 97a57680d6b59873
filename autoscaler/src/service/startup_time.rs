//! How long pods take to start: learned from those that did.

use std::time::Duration;

use ebb_core::Tick;

use crate::platform::Pod;

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
    /// Learns from the pods of `after` that were not ready in `before`.
    pub(super) fn learn(&mut self, before: &[Pod], after: &[Pod], now: Tick) {
        for pod in after.iter().filter(|pod| pod.ready) {
            if before.iter().any(|known| known.name == pod.name && !known.ready) {
                let took = now.since(pod.started_at);
                self.learned = Some(match self.learned {
                    Some(before) => (before * (NEWEST - 1) + took) / NEWEST,
                    None => took,
                });
            }
        }
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

    fn pod(name: &str, ready: bool) -> Pod {
        let address = "10.0.0.1:80".parse().expect("an address");
        let started_at = Tick::from_secs(100);
        Pod {
            name: name.to_owned(),
            serving: address,
            stats: address,
            nonce: String::new(),
            ready,
            started_at,
        }
    }

    #[test]
    fn starts_are_learned_and_waited_for() {
        let mut startup = StartupTime::default();
        let from = Tick::from_secs(100);
        let expects =
            |startup: &StartupTime, secs| startup.expects(from, from.after(Duration::from_secs(secs)));
        assert_eq!((expects(&startup, 60), expects(&startup, 61)), (true, false));

        startup.learn(&[], &[pod("old", true)], Tick::from_secs(900));
        assert_eq!(startup.learned(), None, "it was ready when we came");
        startup.learn(&[pod("a", false)], &[pod("a", true)], Tick::from_secs(120));
        assert_eq!(startup.learned(), Some(Duration::from_secs(20)));
        assert_eq!((expects(&startup, 60), expects(&startup, 61)), (true, false));
        startup.learn(&[pod("b", false)], &[pod("b", true)], Tick::from_secs(112));
        assert_eq!(startup.learned(), Some(Duration::from_secs(18)));
        startup.learn(&[pod("b", true)], &[pod("b", true)], Tick::from_secs(400));
        assert_eq!(startup.learned(), Some(Duration::from_secs(18)), "a pod starts once");
    }
}
