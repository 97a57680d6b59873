//! When clients were last asked to connect anew.
//!
//! Who is connected to a pod stays, wherever new connections are sent meanwhile. Where a route that led to this pod's
//! service alone leads elsewhere, the autoscaler has the pod ask all its clients to come again: those who came by the
//! service's own name come back here, the others go where the route leads now.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// The moment; there is none at first.
#[derive(Debug)]
pub(crate) struct Renewal {
    began: Instant,
    /// In microseconds since then, one added; 0: never.
    at: AtomicU64,
}

impl Default for Renewal {
    fn default() -> Self {
        Self { began: Instant::now(), at: AtomicU64::new(0) }
    }
}

impl Renewal {
    /// Connections that there are now are to go.
    pub(crate) fn renew(&self) {
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX - 1);
        self.at.store(micros + 1, Ordering::Relaxed);
    }

    /// Those from before are to go.
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
