//! What stands between the decisions and a platform: who the pods are, how to have more of them, and how
//! to say where a service's traffic goes.

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

/// What a platform tells. Each event says all there is to know about its subject, so that a repeated one
/// does no harm.
#[derive(Clone, Debug)]
pub enum FleetEvent {
    /// A service is there, or its annotations changed.
    Service {
        /// Which.
        key: ServiceKey,
        /// How it is scaled.
        spec: Arc<ScalingSpec>,
        /// The port on which activators answer for it; 0 lets each choose one.
        port: u16,
    },
    /// A route is there, or how it divides its requests changed.
    Route {
        /// Which.
        key: ServiceKey,
        /// How it divides them.
        split: Arc<Split>,
        /// The port on which activators answer for it; 0 lets each choose one.
        port: u16,
    },
    /// The names by which services and routes are reached through the gateway changed: all that changed at once, so that a name
    /// that moves is nobody's at no time. Each name is that of one service or route.
    Hosts(Vec<Exposed>),
    /// A certificate is there, or changed; one without a chain is not to be shown any more.
    Certificate(CertificateEntry),
    /// A service or a route is no longer ours.
    Gone(ServiceKey),
    /// The pods of a service changed.
    Pods {
        /// Which service.
        key: ServiceKey,
        /// Those that serve or start; not those that drain.
        pods: Vec<Pod>,
        /// How many its scale target wants now.
        replicas: u32,
        /// Why there are fewer pods than wanted, for those who wait; empty if nothing is wrong.
        trouble: String,
    },
    /// All services and routes that there are were told, each service with its pods. Until then, one that is not among them may
    /// still come: activators keep what they have.
    Complete,
    /// Whether this autoscaler leads. One that was not told follows: it listens, and changes nothing.
    Leadership {
        /// Whether it does from now on.
        leads: bool,
    },
    /// Where all autoscalers take activators' streams, this one among them.
    Replicas(Vec<SocketAddr>),
    /// The addresses of all activators' own pods that are not on their way out, and whether each is ready. Activators
    /// that have no pod are never named.
    ActivatorPods(Vec<(IpAddr, bool)>),
}

/// How a service or a route is reached through the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// Which.
    pub key: ServiceKey,
    /// Its names; without any, the gateway does not know it.
    pub hosts: Vec<Host>,
    /// The Secret in its namespace that has their certificate; `None`: the gateway speaks no TLS for them.
    pub tls_secret: Option<String>,
    /// Whether requests that come without TLS are sent to the same address with it.
    pub https_redirect: bool,
}

impl Exposed {
    /// The Secret that has the certificate of its names; `None`: the gateway speaks no TLS for them.
    pub fn secret(&self) -> Option<ServiceKey> {
        Some(ServiceKey::new(self.key.namespace.clone(), self.tls_secret.clone()?))
    }
}

/// Tells which services and pods there are.
pub trait PodSource: Send + Sync + 'static {
    /// What is told, as it happens.
    type Events: Stream<Item = FleetEvent> + Send + Unpin + 'static;

    /// From now on: first all there is, then what changes.
    fn watch(&self) -> Self::Events;

    /// Whether it could be asked to do its part: `GET /readyz`.
    fn is_ready(&self) -> bool {
        true
    }
}

/// Has more pods, or fewer.
pub trait ScaleTarget: Send + Sync + 'static {
    /// Wants `pods` pods of `service`; resolves when that was written, not when they run. Where pods must
    /// go, those named in `first_to_go` go first, in that order; it may name none.
    fn scale(
        &self,
        service: &ServiceKey,
        pods: u32,
        first_to_go: &[String],
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Requests for `service` gave up, because no pod answered any activator. Whoever has the pods may know why, and tell
    /// their owner.
    fn unanswered(&self, _service: &ServiceKey) {}
}

/// Publishes where a service's traffic goes.
pub trait EndpointSink: Send + Sync + 'static {
    /// Replaces what was published for `service`.
    fn publish(
        &self,
        service: &ServiceKey,
        endpoints: &Endpoints,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Writes down how far the rollout of `route` is, so that whoever leads next hears of it with the route
    /// ([`Pace::kept`](crate::route::rollout::Pace::kept)); `None`: nothing is to stand there. A platform with one autoscaler,
    /// with which its routes end, has nothing to do.
    fn keep(
        &self,
        _route: &ServiceKey,
        _progress: Option<&Progress>,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send {
        async { Ok(()) }
    }
}

/// Says who may open an activator's stream: what comes up it is believed, and what goes down it has the pods'
/// secrets.
pub trait Gate: Send + Sync + 'static {
    /// Whether whoever brings `token` may; else why not, in words for the log and for who asked.
    fn admit(&self, token: Option<&str>) -> impl Future<Output = Result<(), String>> + Send;
}

/// What a platform could not do. It is tried again at the next decision.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct PlatformError(pub String);
