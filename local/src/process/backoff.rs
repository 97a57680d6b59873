use std::time::Duration;

/// How long a pod waits before its process is started again, as the kubelet does: longer after each end,
/// from the beginning once one has run for a while.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

/// The first pause; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(250);
/// The longest pause: a laptop's user is waiting.
const LONGEST: Duration = Duration::from_secs(10);
/// A process that ran for so long was not broken from the start.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

impl Backoff {
    /// The pause after a process that ran for `ran`.
    #[must_use]
    pub(crate) fn pause_after(&mut self, ran: Duration) -> Duration {
        if ran >= HEALTHY_AFTER {
            self.failures = 0;
        }
        let pause = FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures += 1;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_anew_after_a_healthy_run() {
        let mut backoff = Backoff::default();
        let mut pauses = |ran| backoff.pause_after(Duration::from_secs(ran)).as_millis();
        assert_eq!([pauses(0), pauses(1), pauses(0)], [250, 500, 1_000]);
        for _ in 0..100 {
            pauses(0);
        }
        assert_eq!(pauses(0), 10_000);
        assert_eq!(pauses(10), 250);
    }
}
