use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use activator::Activator;
use ebb_core::{
    ServiceKey,
    link::{PodEntry, ServiceEntry},
};
use ebb_proxy::{Cut, Quiet, WallClock};
use queue_proxy::{Listeners, QueueProxy};

use crate::{PATIENCE, autoscaler::Autoscaler, until};

/// The path of a request to the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Directly, without any of Ebb's programs.
    Direct,
    /// Through a queue-proxy.
    Sidecar,
    /// Through an activator, which knows that the pod is ready, and the pod's queue-proxy.
    Both,
    /// The same, but the pod becomes ready only after the activator holds the request.
    Held,
}

impl Path {
    /// Returns how many of Ebb's programs a request passes.
    pub const fn hops(self) -> usize {
        match self {
            Self::Direct => 0,
            Self::Sidecar => 1,
            Self::Both | Self::Held => 2,
        }
    }
}

/// The programs on a path. They run until they are dropped.
#[derive(Debug)]
pub struct Hops {
    /// The address for clients.
    pub entry: SocketAddr,
    activation: Option<Activation>,
    sidecars: Vec<QueueProxy>,
}

#[derive(Debug)]
struct Activation {
    activator: Activator,
    autoscaler: Autoscaler,
    pods: Vec<PodEntry>,
}

impl Hops {
    /// Starts the programs on `path`, with a pod for each of `apps`. A path without an activator leads to the first
    /// of them.
    pub async fn start(path: Path, apps: &[SocketAddr]) -> Self {
        Self::starting(path, apps, &|_| None).await
    }

    /// The same, with queue-proxies that check whether their app accepts connections, as most do.
    pub async fn start_probing(path: Path, apps: &[SocketAddr]) -> Self {
        let probe = r#"{"tcpSocket":{"host":"127.0.0.1"}}"#;
        Self::starting(path, apps, &|name| (name == "SERVING_READINESS_PROBE").then(|| probe.to_owned()))
            .await
    }

    async fn starting(
        path: Path,
        apps: &[SocketAddr],
        environment: &(dyn Fn(&str) -> Option<String> + Sync),
    ) -> Self {
        if path == Path::Direct {
            return Self { entry: apps[0], activation: None, sidecars: Vec::new() };
        }
        let (mut sidecars, mut pods) = (Vec::new(), Vec::new());
        for (index, app) in apps.iter().enumerate() {
            let (sidecar, address) = sidecar(HERE, *app, environment).await;
            pods.push(pod(index, address));
            sidecars.push(sidecar);
        }
        if path == Path::Sidecar {
            let entry = pods[0].address.parse().expect("an address");
            return Self { entry, activation: None, sidecars };
        }
        let (activation, entry) = Activation::start(HERE, pods).await;
        let hops = Self { entry, activation: Some(activation), sidecars };
        if path == Path::Both {
            hops.release().await;
            hops.has_ready_pods(apps.len()).await;
        }
        hops
    }

    /// Starts an activator that listens at `here`, and knows that the sidecars at `pods`, which the caller has
    /// started, are ready.
    pub async fn before(here: IpAddr, pods: &[SocketAddr]) -> Self {
        let entries = pods.iter().enumerate().map(|(index, address)| pod(index, *address)).collect();
        let (activation, entry) = Activation::start(here, entries).await;
        let hops = Self { entry, activation: Some(activation), sidecars: Vec::new() };
        hops.release().await;
        hops.has_ready_pods(pods.len()).await;
        hops
    }

    /// Makes the pods ready.
    pub async fn release(&self) {
        if let Some(Activation { autoscaler, pods, .. }) = &self.activation {
            autoscaler.tell(ServiceEntry { pods: pods.clone(), ..service() }).await;
        }
    }

    /// Returns the number of requests that the activator holds.
    pub fn held(&self) -> usize {
        self.load().held
    }

    /// Returns the number of pods that take requests.
    pub fn ready_pods(&self) -> usize {
        self.load().ready_pods
    }

    /// Waits until this many pods take requests.
    pub async fn has_ready_pods(&self, pods: usize) {
        until("ready pods", || self.ready_pods() == pods).await;
    }

    /// Waits until the sidecar of the pod with that index has found its app ready, or not ready.
    pub async fn app_is_ready(&self, pod: usize, ready: bool) {
        let is = || self.sidecars[pod].ready_at().is_some();
        until("what the sidecar knows of its app", || is() == ready).await;
    }

    /// Waits until the request that was sent is in flight: at the activator if there is one, otherwise at the sidecar
    /// of the pod with that index.
    pub async fn has_in_flight(&self, pod: usize, path: Path) {
        let at_sidecar = || path == Path::Sidecar && self.sidecars[pod].in_flight() > 0.0;
        until("the request is in flight", || self.held() > 0 || at_sidecar()).await;
    }

    /// Waits until the sidecar of the pod with that index has this many requests in flight.
    pub async fn has_in_flight_at(&self, pod: usize, count: u32) {
        until("requests in flight", || self.sidecars[pod].in_flight() == f64::from(count)).await;
    }

    /// Drains the sidecar of the pod with that index.
    ///
    /// # Errors
    ///
    /// Returns an error if it had to cut connections.
    pub async fn drain(&mut self, pod: usize) -> Result<(), Cut> {
        self.drain_within(pod, PATIENCE).await
    }

    /// The same, within `limit`.
    ///
    /// # Errors
    ///
    /// Returns an error if it had to cut connections.
    pub async fn drain_within(&mut self, pod: usize, limit: Duration) -> Result<(), Cut> {
        self.sidecars.remove(pod).drain(Quiet { limit, ..quick() }).await
    }

    fn load(&self) -> activator::Load {
        let activation = self.activation.as_ref();
        activation.and_then(|of| of.activator.load(&ServiceKey::new("default", "hello"))).unwrap_or_default()
    }
}

impl Activation {
    async fn start(here: IpAddr, pods: Vec<PodEntry>) -> (Self, SocketAddr) {
        let mut autoscaler = Autoscaler::start().await;
        let mut config = activator::Config::from_env(|name| match name {
            "POD_NAME" => Some("activator-1".into()),
            "POD_IP" => Some("127.0.0.1".into()),
            "EBB_AUTOSCALER" => Some(autoscaler.address.to_string()),
            _ => None,
        })
        .expect("a configuration");
        config.listen = here;
        config.metrics = None;
        config.drain = quick();
        let activator =
            Activator::start(&config, WallClock::start(), None).await.expect("the activator starts");
        autoscaler.session().await;
        autoscaler.tell(service()).await;
        let entry = SocketAddr::from((here, autoscaler.listening().await));
        (Self { activator, autoscaler, pods }, entry)
    }
}

/// The secret of every pod here.
const NONCE: &str = "nonce-of-the-pod";

/// The address for programs that only the tests use.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Starts the sidecar of a pod at `here` that is not used by [`Hops`].
pub async fn pod_at(here: IpAddr, app: SocketAddr) -> (QueueProxy, SocketAddr) {
    sidecar(here, app, &|_| None).await
}

async fn sidecar(
    here: IpAddr,
    app: SocketAddr,
    environment: &(dyn Fn(&str) -> Option<String> + Sync),
) -> (QueueProxy, SocketAddr) {
    let mut config = queue_proxy::Config::from_env(|name| match name {
        "SERVING_POD" => Some("pod-1".into()),
        "USER_PORT" => Some(app.port().to_string()),
        "EBB_POD_NONCE" => Some(NONCE.into()),
        "REVISION_TIMEOUT_SECONDS" => Some("60".into()),
        other => environment(other),
    })
    .expect("a configuration");
    let anywhere = SocketAddr::from((here, 0));
    (config.serving, config.stats, config.admin) = (anywhere, anywhere, anywhere);
    config.drain = quick();
    let listeners = Listeners::bind(&config).await.expect("ports");
    let serving = listeners.serving.local_addr().expect("an address");
    (QueueProxy::start(config, listeners, WallClock::start()), serving)
}

fn pod(index: usize, address: SocketAddr) -> PodEntry {
    let (name, nonce) = (format!("pod-{index}"), NONCE.to_owned());
    PodEntry { name, address: address.to_string(), nonce, direct: false }
}

/// Returns a service without pods, on a port that the activator chooses.
fn service() -> ServiceEntry {
    ServiceEntry {
        namespace: "default".into(),
        name: "hello".into(),
        queue_depth: 100,
        activation_deadline_ms: 10_000,
        request_timeout_ms: 60_000,
        ..ServiceEntry::default()
    }
}

fn quick() -> Quiet {
    Quiet { quiet: Duration::from_millis(50), limit: PATIENCE }
}
