//! Whether the app is ready, known as soon as it is.
//!
//! While the app starts it is tried every few milliseconds ([`pace`]), and whoever asks with a held probe is
//! answered at the moment the first attempt succeeds: nobody else has to poll.

mod attempt;
mod pace;
mod probe;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ebb_proxy::{Upstream, UpstreamLimits};
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep, timeout},
};
use tracing::{debug, info, warn};

pub use probe::{Probe, ProbeKind, decode};

/// What is known of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not ready yet, or not any more.
    Starting,
    /// Answers its probes.
    Ready {
        /// Since when.
        since: Instant,
    },
}

impl Phase {
    /// Whether the app answers.
    pub const fn is_ready(self) -> bool {
        matches!(self, Self::Ready { .. })
    }
}

/// Tries the app and tells who wants to know.
#[derive(Debug)]
pub struct Readiness {
    probes: Vec<Probe>,
    app: Arc<Upstream>,
    phase: watch::Sender<Phase>,
    /// When the check that was last finished was finished, and how it ended. Held while one runs, so that
    /// those who ask at the same time share its answer.
    last_check: Mutex<Option<(Instant, bool)>>,
}

impl Readiness {
    /// Readiness of the app at `app`: all `probes` must succeed; without any the app counts as ready.
    pub fn new(app: SocketAddr, probes: Vec<Probe>) -> Arc<Self> {
        let phase = if probes.is_empty() { Phase::Ready { since: Instant::now() } } else { Phase::Starting };
        // No connection is kept: a probe must find out whether a new one can be made.
        let limits = UpstreamLimits { max_idle: 0, ..UpstreamLimits::default() };
        Arc::new(Self {
            probes,
            app: Upstream::new(app, limits),
            phase: watch::Sender::new(phase),
            last_check: Mutex::new(None),
        })
    }

    /// What is known now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Follows what is known.
    pub fn subscribe(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Tries the app whenever it is not known to be ready. Never ends.
    pub async fn run(&self) {
        let mut phase = self.phase.subscribe();
        loop {
            // The sender is our own.
            let _ = phase.wait_for(|phase| !phase.is_ready()).await;
            let began = Instant::now();
            let mut late = false;
            while let Err(why) = self.attempt().await {
                let waited = began.elapsed();
                if waited > pace::WORTH_A_WARNING && !late {
                    late = true;
                    warn!(waited_s = waited.as_secs(), %why, "app is still not ready");
                }
                sleep(pace::pause_after(waited)).await;
            }
            let since = Instant::now();
            info!(took_ms = (since - began).as_secs_f64() * 1e3, "app is ready");
            self.phase.send_replace(Phase::Ready { since });
        }
    }

    /// The app refused a connection: it is not ready, whatever was known.
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

    /// Waits up to `hold` until the app is ready; answers whether it is.
    pub async fn wait(&self, hold: Duration) -> bool {
        let mut phase = self.phase.subscribe();
        timeout(hold, phase.wait_for(|phase| phase.is_ready())).await.is_ok()
    }

    /// Tries the app now, or takes the answer of a try that ends while we wait for our turn.
    pub async fn check(&self) -> bool {
        if !self.phase().is_ready() {
            // `run` tries it all the time: it would know.
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
            attempt::attempt(probe, &self.app).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
