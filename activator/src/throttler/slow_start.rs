//! The allowance of a new pod that declares no limit.
//!
//! As in TCP's slow start, the pod gets a few requests at first and one more for each that ends, so that the
//! allowance doubles with each round of answers. It also doubles with time: streams and sockets do not end,
//! and must not block those behind them forever.

use std::time::Duration;

use ebb_core::Tick;

/// The allowance of a new pod (as many as TCP sends segments, RFC 6928).
const FIRST: u32 = 10;
/// The time in which the allowance doubles even if nothing ends.
const DOUBLES_IN: Duration = Duration::from_millis(100);
/// The number of doublings after which there is no limit: ten million requests at once.
const DOUBLINGS: u32 = 20;

/// The allowance of one pod without a declared limit.
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

    /// Returns the requests that the pod may have at `now`.
    pub(super) fn allowance(self, now: Tick) -> u32 {
        let doublings = self.doublings(now);
        if doublings >= DOUBLINGS {
            return u32::MAX;
        }
        FIRST.saturating_add(self.completed).saturating_mul(1 << doublings)
    }

    /// Returns how long until the allowance grows by itself; `None` once it is unlimited.
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
