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

/// The way of a request to the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// None of Ebb's programs in between.
    Direct,
    /// A queue-proxy.
    Sidecar,
    /// An activator, which knows that the pod is ready, and the pod's queue-proxy.
    Both,
    /// The same; the pod becomes ready when the activator holds the request.
    Held,
}

impl Path {
    /// How many of Ebb's programs a request passes.
    pub const fn hops(self) -> usize {
        match self {
            Self::Direct => 0,
            Self::Sidecar => 1,
            Self::Both | Self::Held => 2,
        }
    }
}

/// The programs on a path, running until they are dropped.
#[derive(Debug)]
pub struct Hops {
    /// Where clients go.
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
    /// Starts what is on `path`, with a pod for each of `apps`; a path without an activator leads to the first of them.
    pub async fn start(path: Path, apps: &[SocketAddr]) -> Self {
        Self::starting(path, apps, &|_| None).await
    }

    /// The same, with queue-proxies that try whether their app takes connections, as most do.
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

    /// An activator that listens at `here`, and knows that the sidecars at `pods`, which are others', are ready.
    pub async fn before(here: IpAddr, pods: &[SocketAddr]) -> Self {
        let entries = pods.iter().enumerate().map(|(index, address)| pod(index, *address)).collect();
        let (activation, entry) = Activation::start(here, entries).await;
        let hops = Self { entry, activation: Some(activation), sidecars: Vec::new() };
        hops.release().await;
        hops.has_ready_pods(pods.len()).await;
        hops
    }

    /// The pods become ready.
    pub async fn release(&self) {
        if let Some(Activation { autoscaler, pods, .. }) = &self.activation {
            autoscaler.tell(ServiceEntry { pods: pods.clone(), ..service() }).await;
        }
    }

    /// Requests that the activator holds.
    pub fn held(&self) -> usize {
        self.load().held
    }

    /// Pods that take requests.
    pub fn ready_pods(&self) -> usize {
        self.load().ready_pods
    }

    /// Waits until so many pods take requests.
    pub async fn has_ready_pods(&self, pods: usize) {
        until("ready pods", || self.ready_pods() == pods).await;
    }

    /// Waits until the sidecar of the pod of that index has found its app ready, or gone.
    pub async fn app_is_ready(&self, pod: usize, ready: bool) {
        let is = || self.sidecars[pod].ready_at().is_some();
        until("what the sidecar knows of its app", || is() == ready).await;
    }

    /// Waits until the request that was sent is known where it waits: at the activator where there is one, else at the
    /// sidecar of the pod of that index.
    pub async fn has_in_flight(&self, pod: usize, path: Path) {
        let at_sidecar = || path == Path::Sidecar && self.sidecars[pod].in_flight() > 0.0;
        until("the request is in flight", || self.held() > 0 || at_sidecar()).await;
    }

    /// Waits until the sidecar of the pod of that index has so many requests in flight.
    pub async fn has_in_flight_at(&self, pod: usize, count: u32) {
        until("requests in flight", || self.sidecars[pod].in_flight() == f64::from(count)).await;
    }

    /// Drains the sidecar of the pod of that index.
    ///
    /// # Errors
    ///
    /// If it had to cut connections.
    pub async fn drain(&mut self, pod: usize) -> Result<(), Cut> {
        self.drain_within(pod, PATIENCE).await
    }

    /// The same, within `limit`.
    ///
    /// # Errors
    ///
    /// If it had to cut connections.
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

/// Where programs listen that nobody else asks.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The sidecar of a pod that others than [`Hops`] ask, at `here`.
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

/// A service without pods, on a port that the activator picks.
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
