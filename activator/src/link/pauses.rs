//! Pauses between retries.

use std::time::Duration;

use ebb_core::backoff::Backoff;
use rand::RngExt;

/// The pauses between retries, each twice as long as the last.
#[derive(Debug)]
pub(super) struct Pauses(Backoff);

impl Pauses {
    /// The first pause is `bounds[0]`; none is longer than `bounds[1]`.
    pub(super) fn new(bounds: [Duration; 2]) -> Self {
        Self(Backoff::new(bounds))
    }

    /// Starts again with the first pause.
    pub(super) fn reset(&mut self) {
        self.0.succeeded();
    }

    /// Returns the next pause, shortened at random by up to half, so that activators do not retry at the same
    /// moment.
    pub(super) fn pause(&mut self) -> Duration {
        self.0.failed().mul_f64(rand::rng().random_range(0.5..1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound_and_begin_anew() {
        let mut pauses = Pauses::new([Duration::from_secs(1), Duration::from_secs(5)]);
        let mut is_of = |seconds: f64| {
            let pause = pauses.pause().as_secs_f64();
            assert!((seconds / 2.0..seconds).contains(&pause), "{pause} of {seconds}");
        };
        [1.0, 2.0, 4.0, 5.0, 5.0].into_iter().for_each(&mut is_of);
        pauses.reset();
        assert!(pauses.pause() < Duration::from_secs(1));
    }
}
