use std::{io, sync::Arc};

use ebb_core::Tick;
use ebb_proxy::{Cut, Drain, Limits, Quiet, Upstream, UpstreamLimits, WallClock, serve};
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use crate::{
    breaker::{Bounds, Breaker},
    config::Config,
    handler::{Pod, RequestHandler},
    metrics::Metrics,
    observe::{AdminHandler, StatsHandler},
    readiness::{Phase, Readiness},
    stats::PeriodStats,
};

/// The ports, bound.
#[derive(Debug)]
pub struct Listeners {
    /// Takes the requests.
    pub serving: TcpListener,
    /// Answers scrapes.
    pub stats: TcpListener,
    /// Answers `/wait-for-drain`; `None` where nobody stops the app but who drains us.
    pub admin: Option<TcpListener>,
}

impl Listeners {
    /// Binds the ports of `config`.
    ///
    /// # Errors
    ///
    /// Which address could not be bound, and why.
    pub async fn bind(config: &Config) -> io::Result<Self> {
        let bind = async |address| {
            TcpListener::bind(address)
                .await
                .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
        };
        Ok(Self {
            serving: bind(config.serving).await?,
            stats: bind(config.stats).await?,
            admin: Some(bind(config.admin).await?),
        })
    }
}

/// The sidecar of one pod, running until it is drained or dropped.
#[derive(Debug)]
pub struct QueueProxy {
    pod: Arc<Pod>,
    beside: Drain,
    tasks: JoinSet<()>,
}

impl QueueProxy {
    /// Begins to serve on `listeners`.
    pub fn start(config: Config, listeners: Listeners, clock: WallClock) -> Self {
        let pod = Pod::new(config, clock);
        let beside = Drain::default();
        let mut tasks = JoinSet::new();
        let readiness = pod.readiness.clone();
        tasks.spawn(async move { readiness.run().await });
        let requests = Arc::new(RequestHandler { pod: pod.clone() });
        spawn(
            &mut tasks,
            "serving",
            serve(listeners.serving, requests, pod.drain.clone(), Limits::default()),
        );
        let stats = Arc::new(StatsHandler { pod: pod.clone() });
        spawn(&mut tasks, "stats", serve(listeners.stats, stats, beside.clone(), few()));
        if let Some(listener) = listeners.admin {
            let admin = Arc::new(AdminHandler { pod: pod.clone() });
            spawn(&mut tasks, "admin", serve(listener, admin, beside.clone(), few()));
        }
        Self { pod, beside, tasks }
    }

    /// Follows whether the app is ready.
    pub fn readiness(&self) -> watch::Receiver<Phase> {
        self.pod.readiness.subscribe()
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> f64 {
        self.pod.stats.lock().in_flight()
    }

    /// When the first request was sent to the app.
    pub fn first_request_at(&self) -> Option<Tick> {
        *self.pod.first_request.lock()
    }

    /// Leaves without losing a request, within `plan`'s limit; then everything has ended.
    ///
    /// # Errors
    ///
    /// [`Cut`] if requests were still in flight when the limit passed.
    pub async fn drain(mut self, plan: Quiet) -> Result<(), Cut> {
        let drained = self.pod.drain.run(plan).await;
        self.beside.abort();
        self.tasks.shutdown().await;
        drained
    }
}

impl Pod {
    fn new(config: Config, clock: WallClock) -> Arc<Self> {
        let now = clock.now();
        let breaker = config.container_concurrency.and_then(|slots| {
            let capacity = slots.get();
            let bounds = Bounds {
                queue_depth: Config::queue_depth(slots),
                max_concurrency: capacity,
                initial_capacity: capacity,
            };
            // At least one slot and at least ten places: such bounds are always accepted.
            Breaker::new(bounds).ok()
        });
        Arc::new(Self {
            clock,
            started: now,
            stats: Mutex::new(PeriodStats::new(now)),
            readiness: Readiness::new(config.app, config.probes.clone()),
            metrics: Metrics::new(),
            drain: Drain::default(),
            first_request: Mutex::new(None),
            breaker,
            app: Upstream::new(config.app, UpstreamLimits::default()),
            config,
        })
    }
}

/// Scrapers and hooks are few.
fn few() -> Limits {
    Limits { max_connections: 64, ..Limits::default() }
}

fn spawn(
    tasks: &mut JoinSet<()>,
    port: &'static str,
    serving: impl Future<Output = io::Result<()>> + Send + 'static,
) {
    tasks.spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(port, %error, "listener failed");
        }
    });
}
