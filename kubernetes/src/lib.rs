//! A Kubernetes cluster as a platform, and what Ebb puts into its objects ([`injector`]).
//!
//! What is seen becomes facts (`facts`, `claim`); what follows from them is decided in `world`, which reads no
//! clock and calls nobody; one task (`shell`) carries it out. Scales are written beside that task: whoever waits
//! for a pod waits for no queue of ours.

mod allocation;
mod claim;
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
    platform::{EndpointSink, FleetEvent, Gate, PlatformError, PodSource, ScaleTarget},
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
use directory::{Directory, Known, Scale};
use shell::{Command, Outlets, Shell};
use write::Writer;

/// What writes of ours are signed with.
pub(crate) const FIELD_MANAGER: &str = "ebb-autoscaler";

/// Events that may wait for those who decide.
const FLEET_CAPACITY: usize = 1024;
/// Commands that may wait for the one task.
const COMMAND_CAPACITY: usize = 1024;
/// A slice that is not written by then is tried again by whoever wants it published.
const PUBLISH_WITHIN: Duration = Duration::from_secs(15);

/// Who we are in the cluster.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The namespace that Ebb runs in.
    pub namespace: String,
    /// Our pod's name: what a Lease says of us.
    pub pod: String,
    /// Where we take activators' streams.
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
    fleet: Mutex<Option<mpsc::Receiver<FleetEvent>>>,
    metrics: Arc<ApiMetrics>,
    /// Whether all there is was seen.
    synced: observed::Receiver<bool>,
    others: Mutex<Vec<observed::Receiver<bool>>>,
    defaults: Arc<ArcSwap<ClusterDefaults>>,
    #[expect(dead_code, reason = "held for its drop alone")]
    tasks: JoinSet<()>,
}

impl Kubernetes {
    /// Follows the cluster that `client` speaks to. `leads` says whether what is decided is to be written; `claims`
    /// is kept for those who must know which Services are ours.
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
        let mut tasks = JoinSet::new();
        let outlets =
            Outlets { directory: directory.clone(), claims, fleet, syncing, defaults: defaults.clone() };
        let shell = Shell::new(writer.clone(), clock, identity.clone(), outlets);
        tasks.spawn(shell.run(commanded, leads));
        Arc::new(Self {
            gate: TokenGate::new(calls, activators(&identity.namespace)),
            writer,
            directory,
            clock,
            commands,
            fleet: Mutex::new(Some(told)),
            metrics,
            synced,
            others: Mutex::default(),
            defaults,
            tasks,
        })
    }

    /// It is not ready before that is: something else that must be served beside it.
    pub fn wait_for(&self, ready: observed::Receiver<bool>) {
        self.others.lock().push(ready);
    }

    /// Shows what is measured of it in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// The cluster's settings, as they were last good.
    pub fn defaults(&self) -> Arc<ArcSwap<ClusterDefaults>> {
        self.defaults.clone()
    }
}

impl PodSource for Kubernetes {
    type Events = ReceiverStream<FleetEvent>;

    /// Once; whoever asks again hears nothing.
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
            // Without a mark another pod goes, which drains as well.
            if let Err(error) = self.writer.mark(&target.namespace, first_to_go, marked).await {
                warn!(%service, %error, "cannot mark the pods to remove first");
            }
        }
        let scaled = self.writer.scale(&resource, &target.namespace, &target.name, pods).await;
        self.directory.written(service, scaled.is_ok(), self.clock.now());
        scaled.map_err(|error| PlatformError(format!("{target}: {error}")))?;
        // The one task has ended where nobody takes it.
        let _ = self.commands.send(Command::Scaled(service.clone(), pods)).await;
        Ok(())
    }

    fn unanswered(&self, service: &ServiceKey) {
        // Nobody waits for this. Where it is lost, the next request that gives up tells again.
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
            // Something newer took its place.
            Ok(Err(_)) => Ok(()),
            Err(_) => Err(PlatformError(format!("not published within {PUBLISH_WITHIN:?}"))),
        }
    }

    /// Resolves when it is known what is to be written: the one task writes it as soon as it can, and again where it cannot.
    async fn keep(&self, route: &ServiceKey, progress: Option<&Progress>) -> Result<(), PlatformError> {
        let command = Command::Keep(route.clone(), progress.cloned());
        self.commands.send(command).await.map_err(|_| PlatformError("ending".to_owned()))
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

/// Whoever may open an activator's stream.
fn activators(namespace: &str) -> Wanted {
    Wanted { audience: "ebb-autoscaler", account: "ebb-activator", namespace: namespace.to_owned() }
}
