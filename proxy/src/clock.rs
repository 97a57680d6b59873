use std::time::{Duration, SystemTime};

use ebb_core::Tick;
use tokio::time::Instant;

/// The only place that reads the time of day: once, at start. From then on it follows the monotonic clock, so that
/// ticks never run backwards, and stop in tests that pause tokio's time.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    anchor: Instant,
    unix_at_anchor: Duration,
}

impl WallClock {
    /// Starts a clock with the current time. Later changes of the system's clock do not affect it.
    #[expect(clippy::disallowed_methods, reason = "this is the place that the ban points to")]
    pub fn start() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        // On a machine set to before 1970, count from 1970: windows need some epoch, not the correct one.
        Self { anchor: Instant::now(), unix_at_anchor: unix.unwrap_or_default() }
    }

    /// Returns the time since the Unix epoch.
    pub fn now(&self) -> Tick {
        self.tick(Instant::now())
    }

    /// Converts an instant of the runtime to a tick.
    pub fn tick(&self, instant: Instant) -> Tick {
        Tick::from_epoch(self.unix_at_anchor + instant.saturating_duration_since(self.anchor))
    }

    /// Converts a tick to an instant of the runtime.
    pub fn instant(&self, tick: Tick) -> Instant {
        self.anchor + tick.since(Tick::from_epoch(self.unix_at_anchor))
    }
}
