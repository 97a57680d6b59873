//! Records when clients were last asked to reconnect.
//!
//! A client that is connected to a pod stays there, wherever new connections are sent meanwhile. When a route that
//! led to this pod's service alone changes, the autoscaler makes the pod ask all its clients to reconnect: clients
//! that use the service's own name come back here, the others follow the route.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// The time of the last renewal, if there was one.
#[derive(Debug)]
pub(crate) struct Renewal {
    began: Instant,
    /// Microseconds since then, plus one; 0 means never.
    at: AtomicU64,
}

impl Default for Renewal {
    fn default() -> Self {
        Self { began: Instant::now(), at: AtomicU64::new(0) }
    }
}

impl Renewal {
    /// Asks the clients of all current connections to reconnect.
    pub(crate) fn renew(&self) {
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX - 1);
        self.at.store(micros + 1, Ordering::Relaxed);
    }

    /// Returns the time of the last renewal. Connections from before it are asked to go.
    pub(crate) fn at(&self) -> Option<Instant> {
        let micros = self.at.load(Ordering::Relaxed).checked_sub(1)?;
        self.began.checked_add(Duration::from_micros(micros))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_moment_counts() {
        let renewal = Renewal::default();
        assert_eq!(renewal.at(), None);
        for _ in 0..2 {
            advance(Duration::from_secs(5)).await;
            renewal.renew();
            assert_eq!(renewal.at(), Some(Instant::now()));
        }
    }
}
