//! The gateway: one port for all services and routes, which are told apart by the host that a request names.

mod certificates;
mod edge;
mod hosts;
mod trusted;

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use ebb_core::{
    AppProtocol, Host, ServiceKey,
    link::{Down, HostsEntry},
};
use ebb_proxy::{ConnectionLimits, Drain, RequestBody, target};
use http::{HeaderValue, Request, StatusCode, header, uri::Authority};
use parking_lot::Mutex;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tracing::warn;

use crate::{
    errors::Refused,
    handler::{Answer, Entrance, SUCCESSOR_WITHIN},
    kind::Kind,
    metrics::Metrics,
    route::{self, Route},
    service::Service,
};

use certificates::Certificates;
pub(crate) use edge::Scheme;
pub use hosts::HostTable;
pub use trusted::Trusted;

/// The gateway of one activator.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) drain: Drain,
    trusted: Trusted,
    metrics: Arc<Metrics>,
    /// The destination of each name.
    table: ArcSwap<HostTable<Arc<Destination>>>,
    certificates: Certificates,
    destinations: Mutex<HashMap<ServiceKey, Arc<Destination>>>,
    /// Whether the leader has sent all names at least once.
    is_complete: watch::Sender<bool>,
    /// Notified when a destination changes.
    changed: Notify,
}

/// The destination of a name.
#[derive(Debug)]
struct Destination {
    key: ServiceKey,
    hosts: Vec<Host>,
    /// The Secret with the certificate; `None` if the name has no TLS.
    tls_secret: Option<ServiceKey>,
    https_redirect: bool,
    /// `None` if it is not known here.
    kind: ArcSwapOption<Kind>,
}

impl Gateway {
    /// Creates a gateway that believes the forwarding headers of `trusted` proxies.
    pub(crate) fn new(trusted: Trusted, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            drain: Drain::default(),
            trusted,
            metrics,
            table: ArcSwap::default(),
            certificates: Certificates::default(),
            destinations: Mutex::default(),
            is_complete: watch::Sender::new(false),
            changed: Notify::new(),
        })
    }

    /// Returns whether the gateway knows all hosts.
    pub(crate) fn is_complete(&self) -> bool {
        *self.is_complete.borrow()
    }

    /// Resolves once the gateway knows all hosts.
    pub(crate) async fn completed(&self) {
        // The sender lives as long as `self`.
        let _ = self.is_complete.subscribe().wait_for(|is_complete| *is_complete).await;
    }

    /// Applies the leader's hosts, all at once. `find` looks up a service or route by its key.
    pub(crate) fn obey(&self, down: &Down, find: &impl Fn(&ServiceKey) -> Option<Arc<Kind>>) {
        self.certificates.take(down);
        let mut destinations = self.destinations.lock();
        let before = destinations.len();
        let is_complete = down.complete && !down.hosts_unknown;
        if is_complete {
            let named: HashSet<ServiceKey> = down.hosts.iter().map(HostsEntry::service).collect();
            destinations.retain(|key, _| named.contains(key));
        }
        if !down.hosts.is_empty() || destinations.len() != before {
            for entry in &down.hosts {
                let key = entry.service();
                if entry.hosts.is_empty() {
                    destinations.remove(&key);
                } else {
                    destinations.insert(key.clone(), Arc::new(destination(entry, key, find)));
                }
            }
            let mut table = HostTable::default();
            for destination in destinations.values() {
                for host in &destination.hosts {
                    table.insert(host, destination.clone());
                }
            }
            self.metrics.gateway_hosts.set(i64::try_from(table.count()).unwrap_or(i64::MAX));
            self.table.store(Arc::new(table));
            self.changed.notify_waiters();
        }
        if is_complete {
            self.is_complete.send_replace(true);
        }
    }

    /// Looks up all destinations again, after services or routes were added or removed.
    pub(crate) fn find_again(&self, find: &impl Fn(&ServiceKey) -> Option<Arc<Kind>>) {
        for destination in self.destinations.lock().values() {
            destination.kind.store(find(&destination.key));
        }
        self.changed.notify_waiters();
    }

    /// Returns whether a plain HTTP request for `authority` must use TLS.
    fn wants_https(&self, authority: &[u8]) -> bool {
        self.table.load().find(authority).is_some_and(|destination| destination.https_redirect)
    }

    /// Returns the destination of `authority`; `None` if the name or its destination is not known here.
    fn find(&self, authority: &[u8]) -> Option<Arc<Kind>> {
        self.table.load().find(authority)?.kind.load_full()
    }

    /// Returns why a request for `authority` is refused.
    fn refusal(&self, authority: &[u8]) -> Refused {
        if self.table.load().find(authority).is_some() {
            Refused::ServiceGone
        } else if self.is_complete() {
            self.metrics.gateway_no_route.inc();
            Refused::NoRoute(String::from_utf8_lossy(authority).into_owned())
        } else {
            Refused::NoTable
        }
    }
}

/// Chooses the certificate by the name that the client asks for (SNI).
impl ResolvesServerCert for Gateway {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.table.load();
        let found = hello.server_name().and_then(|name| {
            let destination = table.find(name.as_bytes())?;
            self.certificates.find(destination.tls_secret.as_ref()?)
        });
        if found.is_none() {
            self.metrics.gateway_no_certificate.inc();
        }
        found
    }
}

fn destination(
    entry: &HostsEntry,
    key: ServiceKey,
    find: &impl Fn(&ServiceKey) -> Option<Arc<Kind>>,
) -> Destination {
    let parsed = |text: &String| match text.parse() {
        Ok(host) => Some(host),
        Err(why) => {
            warn!(service = %key, host = text, %why, "the autoscaler told of a name that is none");
            None
        }
    };
    let hosts = entry.hosts.iter().filter_map(parsed).collect();
    let tls_secret = (!entry.tls_secret.is_empty())
        .then(|| ServiceKey::new(entry.namespace.clone(), entry.tls_secret.clone()));
    let (kind, https_redirect) = (ArcSwapOption::new(find(&key)), entry.https_redirect);
    Destination { key, hosts, tls_secret, https_redirect, kind }
}

/// One of the gateway's ports.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) scheme: Scheme,
}

/// What is known of a request before a service is chosen for it.
#[derive(Debug)]
pub(crate) struct Asked {
    host: Named,
    /// The destination of the host when the request came.
    kind: Option<Arc<Kind>>,
    /// As its route tells users apart.
    user: Option<Box<[u8]>>,
}

/// The host of a request, as its client wrote it.
#[derive(Debug)]
enum Named {
    Authority(Authority),
    Host(HeaderValue),
    Nobody,
}

impl Named {
    /// Over HTTP/1 the server has already put the host of the request target into `Host`.
    fn by(request: &Request<RequestBody>) -> Self {
        if let Some(authority) = request.uri().authority() {
            return Self::Authority(authority.clone());
        }
        request.headers().get(header::HOST).map_or(Self::Nobody, |host| Self::Host(host.clone()))
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Authority(authority) => authority.as_str().as_bytes(),
            Self::Host(host) => host.as_bytes(),
            Self::Nobody => &[],
        }
    }
}

/// What was chosen to take a request.
#[derive(Debug)]
pub(crate) enum Chosen {
    /// The service that owns the host.
    Service(Arc<Service>),
    /// A service chosen by the route that owns the host.
    Target(Arc<Route>, route::Chosen),
}

impl Borrow<Arc<Service>> for Chosen {
    fn borrow(&self) -> &Arc<Service> {
        match self {
            Self::Service(service) => service,
            Self::Target(_, chosen) => chosen.borrow(),
        }
    }
}

impl Asked {
    fn choose(&self, kind: &Kind) -> Result<Chosen, Refused> {
        match kind {
            Kind::Service(service) => Ok(Chosen::Service(service.clone())),
            Kind::Route(route) => Ok(Chosen::Target(route.clone(), route.choose(&self.user)?)),
        }
    }
}

impl Entrance for Door {
    type Asked = Asked;
    type Chosen = Chosen;
    /// Browsers speak HTTP/2 to the gateway whatever the app speaks; every app except gRPC apps speaks
    /// HTTP/1.1.
    const UNDECLARED: Option<AppProtocol> = Some(AppProtocol::Http1);

    fn receive(&self, request: &mut Request<RequestBody>, peer: SocketAddr) -> Result<Asked, Answer> {
        let host = Named::by(request);
        let trusted = &self.gateway.trusted;
        if self.scheme == Scheme::Http
            && self.gateway.wants_https(host.as_bytes())
            && !edge::came_over_tls(request.headers(), peer, trusted)
        {
            return Err(Box::new(edge::redirect(host.as_bytes(), &target(request))));
        }
        let kind = self.gateway.find(host.as_bytes());
        edge::enter(request.headers_mut(), peer, self.scheme, host.as_bytes(), trusted);
        // Read after headers that clients must not set were removed, so that they cannot change the user.
        let user = kind.as_ref().and_then(|kind| kind.route()?.user(request.headers()));
        Ok(Asked { host, kind, user })
    }

    fn choose(&self, asked: &Asked) -> Result<Chosen, Refused> {
        match &asked.kind {
            Some(kind) => asked.choose(kind),
            None => Err(self.gateway.refusal(asked.host.as_bytes())),
        }
    }

    async fn withdrawn(&self, chosen: &Chosen) {
        match chosen {
            Chosen::Service(_) => std::future::pending().await,
            Chosen::Target(route, chosen) => route.withdrawn(chosen).await,
        }
    }

    /// Chooses among the current owners of the host.
    async fn instead(&self, chosen: &Chosen, asked: &Asked) -> Option<Result<Chosen, Refused>> {
        let before = match chosen {
            Chosen::Target(route, chosen) => {
                if let Some(instead) = route.instead(chosen, &asked.user).await {
                    return Some(instead.map(|chosen| Chosen::Target(route.clone(), chosen)));
                }
                // The route may be gone, or the host may have another owner.
                let kind = self.gateway.find(asked.host.as_bytes())?;
                let is_same = kind.route().is_some_and(|other| Arc::ptr_eq(other, route));
                return (!is_same).then(|| asked.choose(&kind));
            }
            Chosen::Service(service) => service,
        };
        let follow = async {
            loop {
                let changed = self.gateway.changed.notified();
                match self.gateway.find(asked.host.as_bytes()) {
                    Some(kind) if !kind.service().is_some_and(|service| Arc::ptr_eq(service, before)) => {
                        return asked.choose(&kind);
                    }
                    _ => changed.await,
                }
            }
        };
        timeout(SUCCESSOR_WITHIN, follow).await.ok()
    }

    fn answered(&self, chosen: &Chosen, status: StatusCode, after: Duration) {
        if let Chosen::Target(route, chosen) = chosen {
            route.answered(chosen, status, after);
        }
    }

    /// A connection carries requests for many services, so no service's limits apply.
    fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits::default()
    }
}
