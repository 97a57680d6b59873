//! Keeps the plan's time on a separate thread.
//!
//! tokio's timer ticks in milliseconds and rounds up, which is more than a warm request takes; spinning would
//! take a core from the pods under test. A sleeping thread is 0.1 ms late: the median at 3,000 requests per
//! second on two cores, including the handover to the runtime.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::plan::PlannedSend;

/// The number of due requests that may wait for the runtime. If it is reached, the pacer waits, and later
/// requests are late, which their latency shows. Sized for a runtime that is busy for 50 ms at 20,000
/// requests per second.
const DUE_CAPACITY: usize = 1_000;

/// The longest single sleep, after which the thread checks whether the receiver still exists.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);

/// Sends each item of `schedule`, which is sorted by time, when its time since `started` has come. The thread
/// ends after the last one, or soon after the receiver is dropped.
pub(super) fn start(
    schedule: impl Iterator<Item = PlannedSend> + Send + 'static,
    started: Instant,
) -> (mpsc::Receiver<PlannedSend>, JoinHandle<()>) {
    let (due, receiver) = mpsc::channel(DUE_CAPACITY);
    let thread = tokio::task::spawn_blocking(move || {
        for send in schedule {
            if !sleep_until(started, send.at, &due) || due.blocking_send(send).is_err() {
                return;
            }
        }
    });
    (receiver, thread)
}

/// Returns whether the time came before the receiver was dropped.
fn sleep_until(started: Instant, at: Duration, due: &mpsc::Sender<PlannedSend>) -> bool {
    loop {
        let remaining = at.saturating_sub(started.elapsed());
        if remaining.is_zero() {
            return true;
        }
        if due.is_closed() {
            return false;
        }
        std::thread::sleep(remaining.min(LONGEST_SLEEP));
    }
}
