use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// The time within which everything happens in a cluster with two busy cores.
pub const SOON: Duration = Duration::from_secs(120);

/// The time within which Kubernetes recovers from a fault: its own clients retry after up to half a minute,
/// one after the other.
pub const LATE: Duration = Duration::from_secs(240);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Calls `look` repeatedly until it returns a value.
///
/// # Panics
///
/// Panics if there is none by the deadline: `what` was awaited in vain.
pub async fn eventually<T>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    let seen = timeout_at(deadline, async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            sleep(PAUSE).await;
        }
    });
    let Ok(seen) = seen.await else { panic!("within {within:?} it did not come to be that {what}") };
    seen
}
