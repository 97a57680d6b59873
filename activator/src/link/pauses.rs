//! Pauses between tries.

use std::time::Duration;

use ebb_core::backoff::Backoff;
use rand::RngExt;

/// The pauses between tries, each twice the one before.
#[derive(Debug)]
pub(super) struct Pauses(Backoff);

impl Pauses {
    /// The first is `bounds[0]`, and none is longer than `bounds[1]`.
    pub(super) fn new(bounds: [Duration; 2]) -> Self {
        Self(Backoff::new(bounds))
    }

    /// The next is the first again.
    pub(super) fn reset(&mut self) {
        self.0.succeeded();
    }

    /// How long to wait now. Up to half of it is left out at random: not all activators at the same moment.
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
