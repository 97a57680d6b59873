//! One pod: a process, its queue-proxy, and the life of both.
//!
//! ```text
//!  Starting ── listens ──▶ Ready ──▶ Draining ──▶ (gone)
//!     ▲  │                   │          ▲
//!     │  └── ends ──▶ Waiting ◀┘ ends   │ no longer wanted, from any phase
//!     └──── back-off passed ──┘
//! ```

mod app;
mod life;
mod restarts;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ebb_annotations::ServingSpec;
use ebb_core::{ServiceKey, Tick};
use ebb_proxy::{ConnectionLimits, Quiet, WallClock, listen};
use parking_lot::Mutex;
use queue_proxy::{Listeners, QueueProxy, readiness::Probe};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use app::App;

use crate::process::{AppPort, Line, Ports, Spawner};

/// The phase of a pod's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodPhase {
    /// Its process runs, but does not answer yet.
    Starting,
    /// It takes requests.
    Ready,
    /// Its process has ended, and will be restarted soon.
    Waiting {
        /// How it ended.
        why: String,
    },
    /// It finishes the requests that it has.
    Draining,
}

impl fmt::Display for PodPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Ready => f.write_str("ready"),
            Self::Waiting { why } => write!(f, "waiting to start again: {why}"),
            Self::Draining => f.write_str("draining"),
        }
    }
}

/// The visible state of a pod.
#[derive(Clone, Debug)]
pub struct PodStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Its phase.
    pub phase: PodPhase,
    /// Requests in flight at the pod.
    pub in_flight: f64,
    /// How often its process was restarted.
    pub restarts: u32,
    /// Whether it was ever ready.
    pub was_ready: bool,
}

/// The times of a pod's steps, of which a cold start consists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "all of them are times, and say so")]
pub(crate) struct Timeline {
    /// When it was decided to have the pod, if the service had none before.
    pub(crate) woken_at: Option<Tick>,
    /// When its process was started.
    pub(crate) spawned_at: Option<Tick>,
    /// When its app was found to answer.
    pub(crate) ready_at: Option<Tick>,
    /// When its first request was sent to the app.
    pub(crate) first_request_at: Option<Tick>,
}

impl Timeline {
    /// Returns whether the pod has sent its first request to the app.
    pub(crate) const fn is_complete(&self) -> bool {
        self.spawned_at.is_some() && self.ready_at.is_some() && self.first_request_at.is_some()
    }
}

/// The template of a service's pods.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) key: ServiceKey,
    pub(crate) app: App,
    pub(crate) serving: ServingSpec,
    pub(crate) drain: Quiet,
    pub(crate) stop_grace: Duration,
}

/// What pods need of their machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) clock: WallClock,
    pub(crate) spawner: Spawner,
    pub(crate) ports: Arc<Ports>,
    pub(crate) lines: mpsc::Sender<Line>,
}

/// A pod.
#[derive(Debug)]
pub(crate) struct LocalPod {
    pub(crate) name: Arc<str>,
    /// The queue-proxy's addresses.
    pub(crate) addresses: Addresses,
    /// The app's port.
    port: AppPort,
    pub(crate) nonce: String,
    state: Mutex<State>,
    sidecar: Mutex<Option<QueueProxy>>,
    leave: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) serving: SocketAddr,
    pub(crate) stats: SocketAddr,
}

#[derive(Debug)]
struct State {
    phase: PodPhase,
    restarts: u32,
    created_at: Tick,
    timeline: Timeline,
    /// Why it is not ready, phrased for waiting clients.
    trouble: String,
}

impl LocalPod {
    /// Creates a pod with its queue-proxy running, but no process yet.
    ///
    /// `woken_at` is the time of the decision, if the service had no pod before.
    pub(crate) async fn create(
        name: Arc<str>,
        woken_at: Option<Tick>,
        template: &Template,
        machine: &Machine,
    ) -> io::Result<Arc<Self>> {
        let loopback = (Ipv4Addr::LOCALHOST, 0).into();
        let serving = listen(loopback).await?;
        let scrapes = listen(loopback).await?;
        let port = machine.ports.take()?;
        let addresses = Addresses { serving: serving.local_addr()?, stats: scrapes.local_addr()? };
        let nonce = format!("{:032x}", rand::random::<u128>());
        let app = (Ipv4Addr::LOCALHOST, port.number()).into();
        let config = sidecar_config(&name, &nonce, addresses, app, template);
        let sidecar =
            QueueProxy::start(config, Listeners { serving, stats: scrapes, admin: None }, machine.clock);
        let state = State {
            phase: PodPhase::Starting,
            restarts: 0,
            created_at: machine.clock.now(),
            timeline: Timeline { woken_at, ..Timeline::default() },
            trouble: String::new(),
        };
        Ok(Arc::new(Self {
            name,
            addresses,
            port,
            nonce,
            state: Mutex::new(state),
            sidecar: Mutex::new(Some(sidecar)),
            leave: CancellationToken::new(),
        }))
    }

    /// Begins to drain. The pod's task ends when it is gone.
    pub(crate) fn leave(&self) {
        self.state.lock().phase = PodPhase::Draining;
        self.leave.cancel();
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leave.is_cancelled()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state.lock().phase == PodPhase::Ready
    }

    pub(crate) fn created_at(&self) -> Tick {
        self.state.lock().created_at
    }

    pub(crate) fn trouble(&self) -> String {
        self.state.lock().trouble.clone()
    }

    pub(crate) fn in_flight(&self) -> f64 {
        self.sidecar.lock().as_ref().map_or(0.0, QueueProxy::in_flight)
    }

    pub(crate) fn timeline(&self) -> Timeline {
        let mut timeline = self.state.lock().timeline;
        if let Some(sidecar) = &*self.sidecar.lock() {
            timeline.first_request_at = sidecar.first_request_at();
        }
        timeline
    }

    pub(crate) fn status(&self) -> PodStatus {
        let in_flight = self.in_flight();
        let state = self.state.lock();
        PodStatus {
            name: self.name.clone(),
            phase: state.phase.clone(),
            in_flight,
            restarts: state.restarts,
            was_ready: state.timeline.ready_at.is_some(),
        }
    }
}

impl State {
    /// Changes to `phase`, unless the pod drains already.
    fn enter(&mut self, phase: PodPhase) {
        if self.phase != PodPhase::Draining {
            self.phase = phase;
        }
    }
}

fn sidecar_config(
    name: &str,
    nonce: &str,
    addresses: Addresses,
    app: SocketAddr,
    template: &Template,
) -> queue_proxy::Config {
    let serving = &template.serving;
    let slots = serving.container_concurrency.and_then(|slots| usize::try_from(slots.get()).ok());
    queue_proxy::Config {
        serving: addresses.serving,
        stats: addresses.stats,
        admin: addresses.stats,
        app,
        pod: name.to_owned(),
        container_concurrency: slots.and_then(std::num::NonZeroUsize::new),
        request_timeout: serving.request_timeout,
        response_start_timeout: serving.response_start_timeout,
        app_protocol: serving.app_protocol,
        idle_timeout: serving.idle_timeout,
        late_response: serving.late_response,
        connections: ConnectionLimits {
            max_age: serving.max_connection_age,
            tunnel_idle: serving.tunnel_idle_timeout,
            renewed_at: None,
        },
        probes: vec![serving.readiness_path.as_ref().map_or_else(Probe::tcp, Probe::http)],
        nonce: Some(nonce.to_owned()),
        announce: None,
        drain: template.drain,
    }
}
