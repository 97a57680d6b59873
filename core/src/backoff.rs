//! The pauses between attempts.

use std::time::Duration;

/// Number of doublings after which any limit is reached.
const MOST_DOUBLINGS: u32 = 16;

/// Returns the pause after `failures` failures in a row: `first` after the first, then twice the previous one each
/// time, up to `longest`.
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

/// Counts failures in a row, and computes their pauses ([`pause`]).
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    bounds: [Duration; 2],
    failures: u32,
}

impl Backoff {
    /// Creates a counter without failures. The first pause is `bounds[0]`, and the longest `bounds[1]`.
    pub const fn new(bounds: [Duration; 2]) -> Self {
        Self { bounds, failures: 0 }
    }

    /// Records a failure, and returns the pause after it.
    pub fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        pause(self.bounds, self.failures)
    }

    /// Returns the number of failures since the last success.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Records a success: the next pause is the first again.
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
