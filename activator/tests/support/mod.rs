//! An activator between a scripted autoscaler and scripted pods, on real sockets.
//!
//! Nothing here sleeps for luck: every wait is for an event, and gives up after [`PATIENCE`], so that a
//! bug fails and does not hang.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod autoscaler;
pub(crate) mod client;
pub(crate) mod pod;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use activator::{Activator, Config, HeldDispatch, Load};
use ebb_core::{
    ServiceKey,
    link::{Down, Listening, PodEntry, ServiceEntry},
};
use ebb_proxy::{Quiet, WallClock};
use tokio::{sync::mpsc, time::timeout};

use autoscaler::Autoscaler;
use pod::Pod;

/// So long a test waits for anything. Far beyond what it takes, so that only a bug reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The name by which the activator signs its reports.
pub(crate) const NAME: &str = "activator-1";
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What `what` becomes, or a failure that names it.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let value = timeout(PATIENCE, future).await;
    value.unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain for: {what}"))
}

/// Waits for a state that nobody announces.
pub(crate) async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    soon(what, async {
        let mut looks = tokio::time::interval(Duration::from_millis(2));
        while !reached() {
            looks.tick().await;
        }
    })
    .await;
}

/// An activator and its autoscaler.
pub(crate) struct World {
    pub(crate) autoscaler: Autoscaler,
    pub(crate) activator: Activator,
    pub(crate) dispatches: mpsc::Receiver<HeldDispatch>,
}

impl World {
    /// An activator whose link is open and that knows of no service.
    pub(crate) async fn new() -> Self {
        Self::with_metrics(None).await
    }

    pub(crate) async fn with_metrics(metrics: Option<SocketAddr>) -> Self {
        Self::with(|config| config.metrics = metrics).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut autoscaler = Autoscaler::start().await;
        let (observer, dispatches) = mpsc::channel(64);
        let mut config = Config {
            name: NAME.into(),
            advertised: LOCALHOST,
            listen: LOCALHOST,
            autoscaler: autoscaler.address,
            token_file: None,
            request_memory: None,
            metrics: None,
            gateway: None,
            drain: Quiet { quiet: Duration::from_millis(50), limit: PATIENCE },
        };
        change(&mut config);
        let activator =
            Activator::start(&config, WallClock::start(), Some(observer)).await.expect("activator starts");
        let hello = autoscaler.session().await;
        assert_eq!((hello.name.as_str(), hello.address.as_str()), (NAME, "127.0.0.1"));
        Self { autoscaler, activator, dispatches }
    }

    /// Tells of `entry` and answers where the activator takes its requests.
    pub(crate) async fn serve(&mut self, entry: &ServiceEntry) -> SocketAddr {
        self.tell(entry).await;
        let listening = self.listening().await;
        assert_eq!((listening.name.as_str(), listening.error.as_str()), (entry.name.as_str(), ""));
        let port = u16::try_from(listening.port).expect("a port");
        assert_ne!(port, 0, "the activator tells which port it picked");
        SocketAddr::new(LOCALHOST, port)
    }

    /// Tells of one service that is new or changed.
    pub(crate) async fn tell(&self, entry: &ServiceEntry) {
        self.autoscaler.tell(Down { services: vec![entry.clone()], ..Down::default() }).await;
    }

    pub(crate) async fn listening(&mut self) -> Listening {
        self.autoscaler.listening().await
    }

    pub(crate) fn load(&self) -> Load {
        self.activator.load(&key()).unwrap_or_default()
    }

    /// Waits until exactly so many requests are held.
    pub(crate) async fn holds(&self, held: usize) {
        until(&format!("{held} held requests"), || self.load().held == held).await;
    }

    /// Waits until exactly so many pods take requests.
    pub(crate) async fn has_ready_pods(&self, pods: usize) {
        until(&format!("{pods} ready pods"), || self.load().ready_pods == pods).await;
    }

    /// Waits until nothing is in flight.
    pub(crate) async fn is_idle(&self) {
        until("nothing in flight", || {
            self.load() == Load { ready_pods: self.load().ready_pods, ..Load::default() }
        })
        .await;
    }
}

/// The service of most tests.
pub(crate) fn service() -> ServiceEntry {
    named("hello")
}

/// A service without pods, on a port that the activator picks.
pub(crate) fn named(name: &str) -> ServiceEntry {
    ServiceEntry {
        namespace: "default".into(),
        name: name.into(),
        queue_depth: 100,
        activation_deadline_ms: 60_000,
        request_timeout_ms: 60_000,
        ..ServiceEntry::default()
    }
}

/// The service of most tests, with `pods`.
pub(crate) fn service_with(pods: &[&Pod]) -> ServiceEntry {
    ServiceEntry { pods: entries(pods), ..service() }
}

pub(crate) fn entries(pods: &[&Pod]) -> Vec<PodEntry> {
    pods.iter().map(|pod| pod.entry()).collect()
}

pub(crate) fn key() -> ServiceKey {
    ServiceKey::new("default", "hello")
}
