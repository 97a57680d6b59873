//! The pretended work: time that passes, for a limited number of requests at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::Options;

/// Lets the service time pass, once per request.
#[derive(Debug)]
pub(super) struct Work {
    service_time: Duration,
    jitter: Duration,
    slots: Option<Semaphore>,
    present: AtomicUsize,
}

/// A request that is in here, until it is dropped.
struct Present<'a>(&'a AtomicUsize);

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Work {
    pub(super) fn new(options: &Options) -> Self {
        // A limit above what a semaphore can count is no limit in practice.
        let slots = |limit: usize| Semaphore::new(limit.min(Semaphore::MAX_PERMITS));
        Self {
            service_time: options.service_time,
            jitter: options.jitter,
            slots: options.concurrency.map(|limit| slots(limit.get())),
            present: AtomicUsize::new(0),
        }
    }

    /// Waits for a slot, in order of arrival, and then for the work: `exactly` so long if given, otherwise the
    /// configured service time with its jitter. Answers how many requests were in here when it came, itself and
    /// those that wait for a slot among them.
    pub(super) async fn perform(&self, exactly: Option<Duration>) -> usize {
        let present = self.present.fetch_add(1, Ordering::Relaxed) + 1;
        let _present = Present(&self.present);
        let _slot = match &self.slots {
            Some(slots) => Some(slots.acquire().await.expect("the semaphore is never closed")),
            None => None,
        };
        let time = exactly
            .unwrap_or_else(|| with_jitter(self.service_time, self.jitter, rand::random_range(-1.0..=1.0)));
        // The timer would round "no time" up to a millisecond.
        if !time.is_zero() {
            sleep(time).await;
        }
        present
    }
}

/// `time + share × jitter`, never below zero. `share` is between −1 and 1.
fn with_jitter(time: Duration, jitter: Duration, share: f64) -> Duration {
    let offset = jitter.mul_f64(share.abs().min(1.0));
    if share < 0.0 { time.saturating_sub(offset) } else { time.saturating_add(offset) }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use tokio::time::Instant;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn jitter_goes_both_ways_and_stops_at_zero() {
        assert_eq!(with_jitter(10 * MS, 4 * MS, -1.0), 6 * MS);
        assert_eq!(with_jitter(10 * MS, 4 * MS, 0.5), 12 * MS);
        assert_eq!(with_jitter(10 * MS, 40 * MS, -1.0), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_above_the_concurrency_wait_for_those_before_them() {
        let concurrency = NonZeroUsize::new(2);
        let work = Work::new(&Options { service_time: 100 * MS, concurrency, ..Options::default() });
        let start = Instant::now();
        let first_two = async {
            tokio::join!(work.perform(None), work.perform(None));
            start.elapsed()
        };
        let third = async {
            work.perform(None).await;
            start.elapsed()
        };
        assert_eq!(tokio::join!(biased; first_two, third), (100 * MS, 200 * MS));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_left_is_not_present() {
        let work = Work::new(&Options { service_time: 100 * MS, ..Options::default() });
        assert_eq!(tokio::join!(biased; work.perform(None), work.perform(None)), (1, 2));
        assert_eq!(work.perform(None).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_exact_time_overrides_service_time_and_jitter() {
        let work = Work::new(&Options { service_time: 100 * MS, jitter: 50 * MS, ..Options::default() });
        let start = Instant::now();
        work.perform(Some(7 * MS)).await;
        assert_eq!(start.elapsed(), 7 * MS);
    }
}
