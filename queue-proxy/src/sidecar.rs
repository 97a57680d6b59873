use std::{
    io,
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Duration,
};

use ebb_core::Tick;
use ebb_proxy::{
    Cut, Drain, Limits, Quiet, Upstream, UpstreamLimits, WallClock, listen, net::Liveness, serve,
};
use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::{
    announce::Announcer,
    breaker::{Bounds, Breaker},
    config::Config,
    handler::{MOST_EARLY, RequestHandler, Sidecar},
    hooks::AdminHandler,
    metrics::Metrics,
    observe::StatsHandler,
    readiness::{Phase, Readiness},
    renewal::Renewal,
    stats::PeriodStats,
};

/// The bound ports.
#[derive(Debug)]
pub struct Listeners {
    /// For requests.
    pub serving: TcpListener,
    /// For scrapes.
    pub stats: TcpListener,
    /// For `/wait-for-drain` and `/drain`; `None` if the caller of the drain also stops the app.
    pub admin: Option<TcpListener>,
}

impl Listeners {
    /// Binds the ports of `config`.
    ///
    /// # Errors
    ///
    /// Returns which address failed to bind, and why.
    pub async fn bind(config: &Config) -> io::Result<Self> {
        Ok(Self {
            serving: listen(config.serving).await?,
            stats: listen(config.stats).await?,
            admin: Some(listen(config.admin).await?),
        })
    }
}

/// An app that does not listen refuses at once. If an app accepts slowly, its backlog overflows, and the kernel
/// retries after 1, 3, 7 and 15 s: it is busy, not gone. The reference waits as long.
const APP_CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Time limit for scrapes that run, and hooks that wait, when the sidecar stops.
const LAST_ANSWERS: Quiet = Quiet { quiet: Duration::ZERO, limit: Duration::from_secs(1) };

/// The sidecar of one pod. It runs until it is drained or dropped.
#[derive(Debug)]
pub struct QueueProxy {
    sidecar: Arc<Sidecar>,
    beside: Drain,
    tasks: JoinSet<()>,
}

impl QueueProxy {
    /// Starts to serve on `listeners`.
    pub fn start(config: Config, listeners: Listeners, clock: WallClock) -> Self {
        let sidecar = Sidecar::new(config, clock);
        let beside = Drain::default();
        let mut tasks = JoinSet::new();
        // Announce first, because others wait for this pod. The kernel accepts connections from now on, and they are
        // answered when everything has started.
        if let Some(announcing) = &sidecar.config.announce {
            let announcer = Announcer::new(announcing, sidecar.metrics.clone());
            let drain = sidecar.drain.clone();
            tasks.spawn(async move { announcer.run(drain.leaving()).await });
        }
        let readiness = sidecar.readiness.clone();
        tasks.spawn(async move { readiness.run().await });
        let requests = Arc::new(RequestHandler { sidecar: sidecar.clone() });
        tasks.spawn(serve(listeners.serving, requests, sidecar.drain.clone(), Limits::default()));
        let stats = Arc::new(StatsHandler { sidecar: sidecar.clone() });
        tasks.spawn(serve(listeners.stats, stats, beside.clone(), few()));
        if let Some(listener) = listeners.admin {
            let admin = Arc::new(AdminHandler { sidecar: sidecar.clone() });
            tasks.spawn(serve(listener, admin, beside.clone(), few()));
        }
        Self { sidecar, beside, tasks }
    }

    /// Returns a receiver of the app's readiness.
    pub fn readiness(&self) -> watch::Receiver<Phase> {
        self.sidecar.readiness.subscribe()
    }

    /// Returns since when the app has been ready, or `None` while it is not.
    pub fn ready_at(&self) -> Option<Tick> {
        match self.sidecar.readiness.phase() {
            Phase::Ready { since } => Some(self.sidecar.clock.tick(since)),
            Phase::Starting => None,
        }
    }

    /// Records that the app's process has ended: it is not ready until it answers again.
    pub fn app_gone(&self) {
        self.sidecar.readiness.lost();
    }

    /// Returns the number of requests in flight.
    pub fn in_flight(&self) -> f64 {
        self.sidecar.stats.lock().in_flight()
    }

    /// Returns when the first request was sent to the app.
    pub fn first_request_at(&self) -> Option<Tick> {
        self.sidecar.first_request.get().copied()
    }

    /// Resolves when the sidecar's own `preStop` hook has told it to leave. From then on, probes report that it is
    /// leaving, and the caller must call [`Self::drain`].
    pub async fn told_to_leave(&self) {
        self.sidecar.drain.leaving().await;
    }

    /// Shuts down without losing a request, within `plan`'s limit.
    ///
    /// # Errors
    ///
    /// Returns [`Cut`] if requests were still in flight when the limit passed.
    pub async fn drain(mut self, plan: Quiet) -> Result<(), Cut> {
        let drained = self.sidecar.drain.run(plan).await;
        if let Err(cut) = self.beside.run(LAST_ANSWERS).await {
            tracing::debug!(connections = cut.connections, "scrapes or hooks were cut");
        }
        self.tasks.shutdown().await;
        drained
    }
}

impl Drop for QueueProxy {
    /// Connections have their own tasks, which would continue.
    fn drop(&mut self) {
        self.sidecar.drain.abort();
        self.beside.abort();
    }
}

impl Sidecar {
    fn new(config: Config, clock: WallClock) -> Arc<Self> {
        let now = clock.now();
        let breaker = config.container_concurrency.and_then(|slots| {
            let capacity = slots.get();
            let bounds = Bounds {
                queue_depth: Config::queue_depth(slots),
                max_concurrency: capacity,
                initial_capacity: capacity,
            };
            // These bounds are always valid: at least one slot and at least ten places.
            Breaker::new(bounds).ok()
        });
        // On loopback, no peer vanishes silently; but an app may be too busy to read.
        let limits = UpstreamLimits {
            connect_timeout: APP_CONNECT_TIMEOUT,
            liveness: Liveness::CLIENT.may_stall(),
            ping: None,
            ..UpstreamLimits::default()
        };
        Arc::new(Self {
            clock,
            started: now,
            stats: Mutex::new(PeriodStats::new(now)),
            readiness: Readiness::new(config.app, config.probes.clone()),
            metrics: Metrics::new(),
            drain: Drain::default(),
            renewal: Renewal::default(),
            first_request: OnceLock::new(),
            early: Semaphore::new(MOST_EARLY),
            breaker,
            app: Upstream::new(config.app, limits),
            speaks_http2: AtomicBool::new(false),
            config,
        })
    }
}

/// Scrapers and hooks need few connections. Idle connections of others make room for them.
fn few() -> Limits {
    let seconds = Duration::from_secs;
    Limits {
        max_connections: 64,
        first_byte_timeout: seconds(10),
        head_timeout: seconds(10),
        idle_timeout: seconds(60),
        max_streams: 16,
        ..Limits::default()
    }
}
