//! The interface between decisions and a platform: which pods there are, how to scale them, and how to
//! publish a service's endpoints.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ebb_annotations::ScalingSpec;
use ebb_core::{Host, ServiceKey, link::CertificateEntry};
use futures_core::Stream;
use thiserror::Error;

use crate::{
    Pod,
    endpoints::Endpoints,
    route::{Split, rollout::Progress},
};

/// An event of a platform. Each event describes its subject completely, so that a repeated one does no harm.
#[derive(Clone, Debug)]
pub enum FleetEvent {
    /// A service was added, or its annotations changed.
    Service {
        /// Its key.
        key: ServiceKey,
        /// How it is scaled.
        spec: Arc<ScalingSpec>,
        /// The port on which activators serve it; 0 lets each choose one.
        port: u16,
    },
    /// A route was added, or its split changed.
    Route {
        /// Its key.
        key: ServiceKey,
        /// Its split.
        split: Arc<Split>,
        /// The port on which activators serve it; 0 lets each choose one.
        port: u16,
    },
    /// The hosts of services and routes at the gateway changed. All changes come at once, so that a host that
    /// moves always has an owner. Each host belongs to one service or route.
    Hosts(Vec<Exposed>),
    /// A certificate was added or changed; one without a chain must no longer be used.
    Certificate(CertificateEntry),
    /// A service or a route is no longer managed by Ebb.
    Gone(ServiceKey),
    /// The pods of a service changed.
    Pods {
        /// The service.
        key: ServiceKey,
        /// Pods that serve or start, without those that drain.
        pods: Vec<Pod>,
        /// The replicas that its scale target wants now.
        replicas: u32,
        /// Why there are fewer pods than wanted, phrased for waiting clients; empty if nothing is wrong.
        trouble: String,
    },
    /// Whether activators have applied everything that was reported of a service or a route so far is to be reported
    /// from now on ([`EndpointSink::confirmed`]).
    Confirm {
        /// The service or the route.
        key: ServiceKey,
        /// A number that the reports repeat; it replaces an earlier one. `None` wants no more reports.
        ask: Option<u64>,
    },
    /// All services and routes are known, with the pods of each. Before this event more may follow, so
    /// activators keep what they have.
    Complete,
    /// Whether this autoscaler leads. Until the first such event it follows: it listens, and changes nothing.
    Leadership {
        /// Whether it leads from now on.
        leads: bool,
    },
    /// The addresses at which all autoscalers, including this one, take activators' streams.
    Replicas(Vec<SocketAddr>),
    /// The addresses of the activators' own pods, without those that are ending, and whether each is ready.
    /// Activators without a pod are never named.
    ActivatorPods(Vec<(IpAddr, bool)>),
}

/// How the gateway exposes a service or a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// Its key.
    pub key: ServiceKey,
    /// Its hosts; if there are none, the gateway does not serve it.
    pub hosts: Vec<Host>,
    /// The Secret in its namespace with the certificate; `None` means that the gateway speaks no TLS for its
    /// hosts.
    pub tls_secret: Option<String>,
    /// Whether plain HTTP requests are redirected to TLS.
    pub https_redirect: bool,
}

impl Exposed {
    /// Returns the Secret with the certificate; `None` means that the gateway speaks no TLS for its hosts.
    pub fn secret(&self) -> Option<ServiceKey> {
        Some(ServiceKey::new(self.key.namespace.clone(), self.tls_secret.clone()?))
    }
}

/// Reports which services and pods there are.
pub trait PodSource: Send + Sync + 'static {
    /// The stream of events.
    type Events: Stream<Item = FleetEvent> + Send + Unpin + 'static;

    /// Starts watching: first everything there is, then changes.
    fn watch(&self) -> Self::Events;

    /// Returns whether it is able to do its part, for `GET /readyz`.
    fn is_ready(&self) -> bool {
        true
    }
}

/// Scales services.
pub trait ScaleTarget: Send + Sync + 'static {
    /// Requests `pods` pods of `service`; resolves when that is written, not when they run. A scale-down
    /// removes the pods in `first_to_go` first, in that order; it may be empty.
    fn scale(
        &self,
        service: &ServiceKey,
        pods: u32,
        first_to_go: &[String],
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Called when requests for `service` gave up because no pod answered any activator. The platform may
    /// know why, and tell the owner.
    fn unanswered(&self, _service: &ServiceKey) {}
}

/// Publishes the endpoints of services.
pub trait EndpointSink: Send + Sync + 'static {
    /// Replaces the endpoints of `service`.
    fn publish(
        &self,
        service: &ServiceKey,
        endpoints: &Endpoints,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Writes down the progress of the rollout of `route`, so that the next leader gets it with the route
    /// ([`Pace::kept`](crate::route::rollout::Pace::kept)); `None` removes it. A platform with a single
    /// autoscaler, whose routes end with it, does nothing.
    fn keep(
        &self,
        _route: &ServiceKey,
        _progress: Option<&Progress>,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send {
        async { Ok(()) }
    }

    /// Called when it is known, or changes, how far activators have applied what [`FleetEvent::Confirm`] with
    /// the number `ask` asked for; after [`Applied::Everywhere`] no more. Must not block. A platform that never
    /// asks does nothing.
    fn confirmed(&self, _service: &ServiceKey, _ask: u64, _applied: Applied) {}
}

/// How far activators have applied what they were told about a service or a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Every connected activator has applied it, and at least one takes its requests.
    Everywhere,
    /// This activator has not applied it yet.
    Pending(String),
    /// This activator is of an older version and does not tell what it has applied.
    Untold(String),
    /// Every activator has applied it, but none could bind the port.
    Unbound,
    /// No activator is connected.
    Nowhere,
}

/// Decides who may open an activator's stream: what comes up is trusted, and what goes down contains the
/// pods' secrets.
pub trait Gate: Send + Sync + 'static {
    /// Resolves to `Ok` if the bearer of `token` is admitted; otherwise to the reason, for the log and for
    /// the bearer.
    fn admit(&self, token: Option<&str>) -> impl Future<Output = Result<(), String>> + Send;
}

/// An operation that the platform could not do. It is tried again at the next decision.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct PlatformError(pub String);
