use std::time::Duration;

use ebb_core::backoff::Backoff;

/// How long a pod waits before its process is restarted, as with the kubelet: longer after each end, and from
/// the beginning again after a process that ran for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restarts(Backoff);

/// The first and the longest pause: a laptop's user is waiting.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(10)];
/// A process that ran for this long was not broken from the start.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

impl Restarts {
    pub(crate) const fn new() -> Self {
        Self(Backoff::new(PAUSES))
    }

    /// Returns the pause after a process that ran for `ran`.
    #[must_use]
    pub(crate) fn pause_after(&mut self, ran: Duration) -> Duration {
        if ran >= HEALTHY_AFTER {
            self.0.succeeded();
        }
        self.0.failed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_anew_after_a_healthy_run() {
        let mut restarts = Restarts::new();
        let mut pauses = |ran| restarts.pause_after(Duration::from_secs(ran)).as_millis();
        assert_eq!([pauses(0), pauses(1), pauses(0)], [250, 500, 1_000]);
        for _ in 0..100 {
            pauses(0);
        }
        assert_eq!(pauses(0), 10_000);
        assert_eq!(pauses(10), 250);
    }
}
