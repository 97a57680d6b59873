//! Detects when the app is ready, without delay.
//!
//! While the app starts, it is tried every few milliseconds (see `pace`). Held probes are answered when the first
//! attempt succeeds, so nobody else has to poll.

mod attempt;
mod exchange;
mod grpc;
mod http_get;
mod pace;
mod probe;

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep, timeout},
};
use tracing::{debug, info, warn};

pub use probe::{Probe, ProbeKind, decode};

/// The state of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The app is not ready yet, or not any more.
    Starting,
    /// The app answers its probes.
    Ready {
        /// Since when.
        since: Instant,
    },
}

impl Phase {
    /// Returns whether the app is ready.
    pub const fn is_ready(self) -> bool {
        matches!(self, Self::Ready { .. })
    }
}

/// Tries the app and publishes its state.
#[derive(Debug)]
pub struct Readiness {
    probes: Vec<Probe>,
    app: SocketAddr,
    phase: watch::Sender<Phase>,
    /// Whether the app ever was ready.
    has_been_ready: AtomicBool,
    /// When the last check ended, and its result. It is locked while a check runs, so that concurrent callers share
    /// the result.
    last_check: Mutex<Option<(Instant, bool)>>,
}

impl Readiness {
    /// Returns the readiness of the app that takes requests at `app`. All `probes` must succeed; without probes, the
    /// app counts as ready.
    pub fn new(app: SocketAddr, mut probes: Vec<Probe>) -> Arc<Self> {
        // An app that refuses a request is not ready (`lost`). Its recovery must be observed at the same port;
        // otherwise, a probe of another port would report it ready at once.
        if !probes.is_empty() && probes.iter().all(|probe| probe.address(app) != app) {
            probes.insert(0, Probe::tcp());
        }
        let phase = if probes.is_empty() { Phase::Ready { since: Instant::now() } } else { Phase::Starting };
        let has_been_ready = AtomicBool::new(phase.is_ready());
        let (phase, last_check) = (watch::Sender::new(phase), Mutex::new(None));
        Arc::new(Self { probes, app, phase, has_been_ready, last_check })
    }

    /// Returns the current state.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Returns whether the app was ever ready.
    pub fn has_been_ready(&self) -> bool {
        self.has_been_ready.load(Ordering::Relaxed)
    }

    /// Returns a receiver of the state.
    pub fn subscribe(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Tries the app whenever it is not known to be ready. Never returns.
    pub async fn run(&self) {
        let mut phase = self.phase.subscribe();
        loop {
            // This cannot fail: `self` owns the sender.
            let _ = phase.wait_for(|phase| !phase.is_ready()).await;
            let began = Instant::now();
            self.until_ready(began).await;
            let since = Instant::now();
            info!(took_ms = (since - began).as_secs_f64() * 1e3, "app is ready");
            self.has_been_ready.store(true, Ordering::Relaxed);
            self.phase.send_replace(Phase::Ready { since });
        }
    }

    /// Tries all probes until all have succeeded as often in a row as the highest threshold requires.
    async fn until_ready(&self, began: Instant) {
        let threshold = self.probes.iter().map(|probe| probe.successes).max().unwrap_or(NonZeroU32::MIN);
        let (mut in_a_row, mut late) = (0, false);
        loop {
            let tried = self.attempt().await;
            in_a_row = if tried.is_ok() { in_a_row + 1 } else { 0 };
            if in_a_row >= threshold.get() {
                return;
            }
            let waited = began.elapsed();
            if let Err(why) = tried
                && waited > pace::WORTH_A_WARNING
                && !late
            {
                late = true;
                warn!(waited_s = waited.as_secs(), %why, "app is still not ready");
            }
            sleep(pace::pause_after(waited)).await;
        }
    }

    /// Records that the app refused a connection: it is not ready.
    pub fn lost(&self) {
        if self.probes.is_empty() {
            return;
        }
        self.phase.send_if_modified(|phase| {
            let was_ready = phase.is_ready();
            *phase = Phase::Starting;
            was_ready
        });
    }

    /// Waits up to `hold` until the app is ready. Returns whether it is.
    pub async fn wait(&self, hold: Duration) -> bool {
        let mut phase = self.phase.subscribe();
        timeout(hold, phase.wait_for(|phase| phase.is_ready())).await.is_ok()
    }

    /// Tries the app now, or returns the result of a check that ends while this call waits for its turn.
    pub async fn check(&self) -> bool {
        if !self.phase().is_ready() {
            // `run` tries the app all the time, and would have noticed.
            return false;
        }
        let asked = Instant::now();
        let mut last = self.last_check.lock().await;
        if let Some((finished, ready)) = *last
            && finished > asked
        {
            return ready;
        }
        let ready = match self.attempt().await {
            Ok(()) => true,
            Err(why) => {
                debug!(%why, "app is not ready");
                self.lost();
                false
            }
        };
        *last = Some((Instant::now(), ready));
        ready
    }

    async fn attempt(&self) -> Result<(), attempt::NotReady> {
        for probe in &self.probes {
            attempt::attempt(probe, probe.address(self.app)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
