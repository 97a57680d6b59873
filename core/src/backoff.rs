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
