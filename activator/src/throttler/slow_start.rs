//! How much a newborn pod gets where nobody said how much it can take.
//!
//! Like TCP's slow start: a few at first, one more with each that ends, so that the share doubles with each
//! round of answers. It doubles with time as well: streams and sockets do not end, and must not keep those
//! behind them waiting for ever.

use std::time::Duration;

use ebb_core::Tick;

/// Requests that a newborn pod gets at once (as many as TCP sends segments, RFC 6928).
const FIRST: u32 = 10;
/// In this time the share doubles without anything ending.
const DOUBLES_IN: Duration = Duration::from_millis(100);
/// After so many doublings nothing is held back any more: ten million at once are no limit.
const DOUBLINGS: u32 = 20;

/// The share of one pod without a declared limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlowStart {
    began: Tick,
    completed: u32,
}

impl SlowStart {
    pub(super) const fn new(now: Tick) -> Self {
        Self { began: now, completed: 0 }
    }

    pub(super) const fn completed(&mut self) {
        self.completed = self.completed.saturating_add(1);
    }

    /// Requests that the pod may have at `now`.
    pub(super) fn allowance(self, now: Tick) -> u32 {
        let doublings = self.doublings(now);
        if doublings >= DOUBLINGS {
            return u32::MAX;
        }
        FIRST.saturating_add(self.completed).saturating_mul(1 << doublings)
    }

    /// How long until the share grows by itself; `None` once it is unlimited.
    pub(super) fn grows_in(self, now: Tick) -> Option<Duration> {
        let doublings = self.doublings(now);
        (doublings < DOUBLINGS).then(|| self.began.after(DOUBLES_IN * (doublings + 1)).since(now))
    }

    fn doublings(self, now: Tick) -> u32 {
        let elapsed = now.since(self.began).as_millis() / DOUBLES_IN.as_millis();
        u32::try_from(elapsed).unwrap_or(DOUBLINGS).min(DOUBLINGS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_with_answers_and_with_time() {
        let at = Tick::from_millis;
        let mut share = SlowStart::new(at(1_000));
        assert_eq!(share.allowance(at(1_000)), 10);
        (0..10).for_each(|_| share.completed());
        assert_eq!(share.allowance(at(1_099)), 20);
        assert_eq!(share.grows_in(at(1_099)), Some(Duration::from_millis(1)));
        assert_eq!(share.allowance(at(1_100)), 40);
        assert_eq!(share.allowance(at(1_500)), 640);
        assert_eq!(share.allowance(at(3_000)), u32::MAX);
        assert_eq!(share.grows_in(at(3_000)), None);
    }

    #[test]
    fn a_clock_that_runs_back_grows_nothing() {
        let share = SlowStart::new(Tick::from_secs(5));
        assert_eq!(share.allowance(Tick::ZERO), FIRST);
    }
}
