use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// By then everything that is to happen in a cluster of two busy cores has happened.
pub const SOON: Duration = Duration::from_secs(120);

/// By then Kubernetes has found back from a fault: its own clients try again after up to half a minute, one after the
/// other.
pub const LATE: Duration = Duration::from_secs(240);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks again and again, until there is something to see.
///
/// # Panics
///
/// When there is nothing by the deadline: `what` was awaited in vain.
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
