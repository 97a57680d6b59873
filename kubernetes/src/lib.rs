//! Kubernetes as a platform, and the admission webhooks that change its objects ([`injector`]).
//!
//! Observed objects become facts (`facts`, `claim`). `world` decides what follows from them, without a clock and
//! without I/O, and one task (`shell`) carries it out. Scales are written outside that task, so that they never wait
//! in its queue.

mod allocation;
mod claim;
mod condition;
mod confirmed;
mod demands;
mod directory;
mod facts;
mod hosts;
mod http_routes;
pub mod injector;
mod kinds;
mod rival;
mod secrets;
mod settings;
mod shell;
mod slices;
mod watch;
mod world;
mod write;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use ebb_annotations::ClusterDefaults;
use ebb_cluster::{ApiMetrics, Calls, TokenGate, Wanted};
use ebb_core::ServiceKey;
use ebb_decide::{
    endpoints::Endpoints,
    platform::{Applied, EndpointSink, FleetEvent, Gate, PlatformError, PodSource, ScaleTarget},
    route::rollout::Progress,
};
use ebb_proxy::WallClock;
use kube::Client;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::{
    sync::{mpsc, oneshot, watch as observed},
    task::JoinSet,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tracing::warn;

pub use claim::Claims;
use confirmed::Confirmed;
use directory::{Directory, Known, Scale};
use shell::{Command, Outlets, Shell};
use write::Writer;

/// The field manager of Ebb's writes.
pub(crate) const FIELD_MANAGER: &str = "ebb-autoscaler";

/// Maximum number of pending events.
const FLEET_CAPACITY: usize = 1024;
/// Maximum number of pending commands.
const COMMAND_CAPACITY: usize = 1024;
/// Time limit for writing a slice; after it, the caller tries again.
const PUBLISH_WITHIN: Duration = Duration::from_secs(15);

/// The identity of this autoscaler in the cluster.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The namespace of Ebb.
    pub namespace: String,
    /// The name of this pod, as Leases hold it.
    pub pod: String,
    /// The address on which activators' streams are accepted.
    pub link: SocketAddr,
}

/// A Kubernetes cluster.
#[derive(Debug)]
pub struct Kubernetes {
    writer: Writer,
    gate: TokenGate,
    directory: Arc<Directory>,
    clock: WallClock,
    commands: mpsc::Sender<Command>,
    confirmed: Arc<Confirmed>,
    fleet: Mutex<Option<mpsc::Receiver<FleetEvent>>>,
    metrics: Arc<ApiMetrics>,
    /// Whether everything was listed.
    synced: observed::Receiver<bool>,
    others: Mutex<Vec<observed::Receiver<bool>>>,
    defaults: Arc<ArcSwap<ClusterDefaults>>,
    #[expect(dead_code, reason = "held for its drop alone")]
    tasks: JoinSet<()>,
}

impl Kubernetes {
    /// Follows the cluster that `client` speaks to. `leads` tells whether this autoscaler writes its decisions;
    /// `claims` is kept up to date for those who need to know which Services are Ebb's.
    pub fn start(
        client: &Client,
        identity: &Identity,
        clock: WallClock,
        leads: observed::Receiver<bool>,
        claims: Claims,
    ) -> Arc<Self> {
        let metrics = Arc::new(ApiMetrics::default());
        let calls = Calls { client: client.clone(), metrics: metrics.clone() };
        let writer = Writer { calls: calls.clone() };
        let directory = Arc::new(Directory::default());
        let (commands, commanded) = mpsc::channel(COMMAND_CAPACITY);
        let (fleet, told) = mpsc::channel(FLEET_CAPACITY);
        let (syncing, synced) = observed::channel(false);
        let defaults = Arc::new(ArcSwap::from_pointee(ClusterDefaults::default()));
        let confirmed = Arc::new(Confirmed::default());
        let mut tasks = JoinSet::new();
        let outlets =
            Outlets { directory: directory.clone(), claims, fleet, syncing, defaults: defaults.clone() };
        let shell = Shell::new(writer.clone(), clock, identity.clone(), outlets);
        tasks.spawn(shell.run(commanded, confirmed.clone(), leads));
        Arc::new(Self {
            gate: TokenGate::new(calls, activators(&identity.namespace)),
            writer,
            directory,
            clock,
            commands,
            confirmed,
            fleet: Mutex::new(Some(told)),
            metrics,
            synced,
            others: Mutex::default(),
            defaults,
            tasks,
        })
    }

    /// Makes the platform ready only once `ready` is true: for something else that must be served beside it.
    pub fn wait_for(&self, ready: observed::Receiver<bool>) {
        self.others.lock().push(ready);
    }

    /// Registers its metrics in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Returns the cluster's settings, as they were last valid.
    pub fn defaults(&self) -> Arc<ArcSwap<ClusterDefaults>> {
        self.defaults.clone()
    }
}

impl PodSource for Kubernetes {
    type Events = ReceiverStream<FleetEvent>;

    /// Returns the events on the first call, and an empty stream afterwards.
    fn watch(&self) -> Self::Events {
        self.fleet.lock().take().unwrap_or_else(|| mpsc::channel(1).1).into()
    }

    fn is_ready(&self) -> bool {
        *self.synced.borrow() && self.others.lock().iter().all(|ready| *ready.borrow())
    }
}

impl ScaleTarget for Kubernetes {
    async fn scale(
        &self,
        service: &ServiceKey,
        pods: u32,
        first_to_go: &[String],
    ) -> Result<(), PlatformError> {
        let demanded = self.directory.demand(service, pods, self.clock.now())?;
        let Some(Scale { target, resource, pods, marked }) = demanded else { return Ok(()) };
        if !first_to_go.is_empty() {
            // If marking fails, another pod is removed, which drains as well.
            if let Err(error) = self.writer.mark(&target.namespace, first_to_go, marked).await {
                warn!(%service, %error, "cannot mark the pods to remove first");
            }
        }
        let scaled = self.writer.scale(&resource, &target.namespace, &target.name, pods).await;
        self.directory.written(service, scaled.is_ok(), self.clock.now());
        scaled.map_err(|error| PlatformError(format!("{target}: {error}")))?;
        // This fails only if the task has ended.
        let _ = self.commands.send(Command::Scaled(service.clone(), pods)).await;
        Ok(())
    }

    fn unanswered(&self, service: &ServiceKey) {
        // Nobody waits for this. If it is lost, the next request that gives up reports again.
        let _ = self.commands.try_send(Command::Unanswered(service.clone()));
    }
}

impl EndpointSink for Kubernetes {
    async fn publish(&self, service: &ServiceKey, endpoints: &Endpoints) -> Result<(), PlatformError> {
        let (done, published) = oneshot::channel();
        let command = Command::Publish(service.clone(), endpoints.clone(), done);
        self.commands.send(command).await.map_err(|_| PlatformError("ending".to_owned()))?;
        match timeout(PUBLISH_WITHIN, published).await {
            Ok(Ok(result)) => result.map_err(PlatformError),
            // A newer request replaced it.
            Ok(Err(_)) => Ok(()),
            Err(_) => Err(PlatformError(format!("not published within {PUBLISH_WITHIN:?}"))),
        }
    }

    /// Resolves when the progress is queued. The task writes it as soon as it can, and retries if that fails.
    async fn keep(&self, route: &ServiceKey, progress: Option<&Progress>) -> Result<(), PlatformError> {
        let command = Command::Keep(route.clone(), progress.cloned());
        self.commands.send(command).await.map_err(|_| PlatformError("ending".to_owned()))
    }

    fn confirmed(&self, service: &ServiceKey, ask: u64, applied: Applied) {
        self.confirmed.put(service, ask, applied);
    }
}

impl Gate for Kubernetes {
    async fn admit(&self, token: Option<&str>) -> Result<(), String> {
        if token.is_none() {
            return Err(
                "no token; an activator must send that of its ServiceAccount (EBB_TOKEN_FILE)".to_owned()
            );
        }
        self.gate.admit(token).await
    }
}

/// Returns the filter for pods that may open an activator's stream.
fn activators(namespace: &str) -> Wanted {
    Wanted { audience: "ebb-autoscaler", account: "ebb-activator", namespace: namespace.to_owned() }
}
