use std::time::{Duration, SystemTime};

use ebb_core::Tick;
use tokio::time::Instant;

/// The one place that reads the time of day: once, at start. From then on it follows the monotonic clock,
/// so that ticks never run backwards, and stand still where a test pauses tokio's time.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    anchor: Instant,
    unix_at_anchor: Duration,
}

impl WallClock {
    /// A clock that is right now, and keeps its pace whatever the system's clock does.
    #[expect(clippy::disallowed_methods, reason = "this is the place that the ban points to")]
    pub fn start() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        // A machine set to before 1970 counts from 1970: windows need an epoch, not the right one.
        Self { anchor: Instant::now(), unix_at_anchor: unix.unwrap_or_default() }
    }

    /// Time since the Unix epoch.
    pub fn now(&self) -> Tick {
        self.tick(Instant::now())
    }

    /// The tick of an instant of the runtime.
    pub fn tick(&self, instant: Instant) -> Tick {
        Tick::from_epoch(self.unix_at_anchor + instant.saturating_duration_since(self.anchor))
    }

    /// The instant of the runtime at which the clock shows `tick`.
    pub fn instant(&self, tick: Tick) -> Instant {
        self.anchor + tick.since(Tick::from_epoch(self.unix_at_anchor))
    }
}
