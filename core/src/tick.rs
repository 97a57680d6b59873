use std::time::Duration;

/// Time since an epoch that the caller chooses; this crate never reads a clock.
///
/// The programs count from the Unix epoch, because the windows of the reference are aligned to whole Unix seconds.
/// Tests and simulations may count from any other time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(Duration);

impl Tick {
    /// The epoch.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// Returns the time `since_epoch` after the epoch.
    pub const fn from_epoch(since_epoch: Duration) -> Self {
        Self(since_epoch)
    }

    /// Returns the time `secs` seconds after the epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// Returns the time `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// Returns the time `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(Duration::from_nanos(nanos))
    }

    /// Returns the time since the epoch.
    pub const fn since_epoch(self) -> Duration {
        self.0
    }

    /// Returns whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0.as_secs()
    }

    /// Returns the time since `earlier`; zero if `earlier` is later than this.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns this time plus `duration`, saturating at the largest representable time.
    #[must_use]
    pub const fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// Returns this time minus `duration`, saturating at the epoch.
    #[must_use]
    pub const fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_now_counts_as_no_time_passed() {
        assert_eq!(Tick::from_secs(3).since(Tick::from_secs(5)), Duration::ZERO);
        assert_eq!(Tick::from_secs(5).since(Tick::from_secs(3)), Duration::from_secs(2));
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Tick::from_secs(1).before(Duration::from_secs(2)), Tick::ZERO);
        let far = Tick::from_epoch(Duration::MAX);
        assert_eq!(far.after(Duration::from_secs(1)), far);
    }
}
