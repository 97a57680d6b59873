use std::time::Duration;

/// If an app takes longer than this to start, a warning is logged.
pub(super) const WORTH_A_WARNING: Duration = Duration::from_secs(30);

/// Returns the pause between two attempts when the app has been starting for `waited`.
///
/// A refused connection on loopback costs some 20 µs, so one attempt per millisecond uses 2 % of a core. The longer
/// an app has been starting, the less a few additional milliseconds matter: the pause is less than half a percent of
/// the time.
pub(super) fn pause_after(waited: Duration) -> Duration {
    (waited / 256).clamp(Duration::from_millis(1), Duration::from_millis(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_with_the_time_waited_within_its_bounds() {
        let cases = [(0, 1), (100, 1), (512, 2), (1_280, 5), (2_560, 10), (600_000, 10)];
        for (waited, pause) in cases {
            assert_eq!(
                pause_after(Duration::from_millis(waited)),
                Duration::from_millis(pause),
                "{waited} ms"
            );
        }
    }
}
