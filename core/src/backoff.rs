//! How long to wait before another try.

use std::time::Duration;

/// Doublings beyond which any bound is reached.
const MOST_DOUBLINGS: u32 = 16;

/// The pause after so many `failures` in a row: `first` after the first, each twice the one before, and none longer than
/// `longest`.
///
/// ```
/// # use std::time::Duration;
/// let bounds = [Duration::from_secs(1), Duration::from_secs(5)];
/// let pauses: Vec<u64> = (1..=5).map(|failures| ebb_core::backoff::pause(bounds, failures).as_secs()).collect();
/// assert_eq!(pauses, [1, 2, 4, 5, 5]);
/// ```
pub fn pause([first, longest]: [Duration; 2], failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(MOST_DOUBLINGS);
    first.saturating_mul(1 << doublings).min(longest)
}

/// Failures in a row, and the pauses that they ask for ([`pause`]).
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    bounds: [Duration; 2],
    failures: u32,
}

impl Backoff {
    /// None yet. The first pause is `bounds[0]`, and none is longer than `bounds[1]`.
    pub const fn new(bounds: [Duration; 2]) -> Self {
        Self { bounds, failures: 0 }
    }

    /// One more failure: how long to wait now.
    pub fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        pause(self.bounds, self.failures)
    }

    /// How many there were since the last success.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// It succeeded: the next pause is the first again.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound_and_begin_anew() {
        let mut backoff = Backoff::new([Duration::from_millis(250), Duration::from_secs(1)]);
        let pauses: Vec<_> = (0..4).map(|_| backoff.failed().as_millis()).collect();
        assert_eq!((pauses, backoff.failures()), (vec![250, 500, 1000, 1000], 4));
        backoff.succeeded();
        assert_eq!((backoff.failures(), backoff.failed().as_millis()), (0, 250));
        for _ in 0..100 {
            assert!(backoff.failed().as_millis() <= 1000);
        }
    }
}
