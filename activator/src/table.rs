//! The table of services and routes: applies what the autoscaler sends.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
    time::Duration,
};

use ebb_core::{
    ServiceKey,
    link::{Down, Listening, RouteEntry, ServiceEntry},
};
use ebb_proxy::{Quiet, listen, serve};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::{
    gateway::Gateway,
    handler::RequestHandler,
    kind::Kind,
    metrics::UnboundPort,
    route::Route,
    service::{Common, Load, Service},
};

/// How a removed service drains. Its clients have already moved elsewhere.
const GONE: Quiet = Quiet { quiet: Duration::from_secs(1), limit: Duration::from_secs(30) };

/// The services of one activator.
#[derive(Debug)]
pub(crate) struct ServiceTable {
    shared: Arc<Common>,
    address: IpAddr,
    gateway: Option<Arc<Gateway>>,
    table: Mutex<Table>,
    departing: Mutex<Departing>,
}

/// Removed services and routes that are still draining.
#[derive(Debug, Default)]
struct Departing {
    all: Vec<Weak<Kind>>,
    drains: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Table {
    served: HashMap<ServiceKey, Served>,
    /// A draining activator still follows the pods of its held requests, but takes no new services.
    leaving: bool,
}

#[derive(Debug)]
struct Served {
    kind: Arc<Kind>,
    listening: Listening,
    accepting: Result<AbortOnDropHandle<()>, UnboundPort>,
}

impl ServiceTable {
    pub(crate) fn new(shared: Arc<Common>, address: IpAddr, gateway: Option<Arc<Gateway>>) -> Arc<Self> {
        let (table, departing) = (Mutex::default(), Mutex::default());
        Arc::new(Self { shared, address, gateway, table, departing })
    }

    /// Applies `down`, if its sender leads, and returns the services that are served. Announcements of pods
    /// are applied from any sender.
    pub(crate) async fn apply(&self, down: Down) -> Vec<Listening> {
        let listening = if down.is_of_the_leader() { self.obey(&down).await } else { Vec::new() };
        for announced in &down.announced {
            // A service that is not known here will come with the leader's table.
            if let (Some(service), Some(pod)) = (self.find(&announced.service()), &announced.pod) {
                service.announced(pod, announced.draining);
            }
        }
        listening
    }

    async fn obey(&self, down: &Down) -> Vec<Listening> {
        let services = down.services.iter().map(ServiceEntry::service);
        let named: HashSet<ServiceKey> = services.chain(down.routes.iter().map(RouteEntry::route)).collect();
        let mut gone: Vec<ServiceKey> = down.gone.iter().filter_map(|key| key.parse().ok()).collect();
        if down.complete {
            gone.extend(self.table.lock().served.keys().filter(|key| !named.contains(key)).cloned());
        }
        for key in &gone {
            self.remove(key).await;
        }
        let mut listening = Vec::with_capacity(down.services.len() + down.routes.len());
        for entry in &down.services {
            listening.extend(self.put(entry).await);
        }
        if !gone.is_empty() || !listening.is_empty() {
            self.find_again();
        }
        // After the services that they choose between.
        for entry in &down.routes {
            listening.extend(self.put_route(entry).await);
        }
        if let Some(gateway) = &self.gateway {
            let find = |key: &ServiceKey| self.kind(key);
            if !gone.is_empty() || !listening.is_empty() {
                gateway.find_again(&find);
            }
            gateway.obey(down, &find);
        }
        listening
    }

    /// Returns the service or route with that key; `None` if it is not known here.
    fn kind(&self, key: &ServiceKey) -> Option<Arc<Kind>> {
        self.table.lock().served.get(key).map(|served| served.kind.clone())
    }

    /// Returns the service with that key; `None` if it is not known here.
    fn find(&self, key: &ServiceKey) -> Option<Arc<Service>> {
        self.kind(key)?.service().cloned()
    }

    /// Has all routes look up their targets again.
    fn find_again(&self) {
        let routes: Vec<Arc<Route>> = {
            let table = self.table.lock();
            table.served.values().filter_map(|served| served.kind.route()).cloned().collect()
        };
        for route in routes {
            route.find_again(&|key: &ServiceKey| self.find(key));
        }
    }

    /// Tries again to bind the ports that could not be bound, and returns those that now are. The caller also
    /// applies tables, so no table changes meanwhile.
    pub(crate) async fn retry(&self) -> Vec<Listening> {
        let unbound: Vec<(Arc<Kind>, u32)> = {
            let table = self.table.lock();
            let unbound = table.served.values().filter(|served| served.accepting.is_err());
            unbound.map(|served| (served.kind.clone(), served.listening.port)).collect()
        };
        let mut listening = Vec::new();
        for (kind, port) in unbound {
            // The error was logged at the first attempt.
            let Ok((port, accepting)) = self.accept(&kind, port).await else { continue };
            let mut table = self.table.lock();
            if table.leaving {
                break;
            }
            let Some(served) = table.served.get_mut(kind.key()) else { continue };
            served.accepting = Ok(accepting);
            served.listening.port = port;
            served.listening.error.clear();
            listening.push(served.listening.clone());
        }
        listening
    }

    /// Returns whether a port could not be bound.
    pub(crate) fn lacks_ports(&self) -> bool {
        let table = self.table.lock();
        !table.leaving && table.served.values().any(|served| served.accepting.is_err())
    }

    /// Returns whether the activator is draining, so that it takes no new services.
    pub(crate) fn is_leaving(&self) -> bool {
        self.table.lock().leaving
    }

    /// Returns all services that are served now.
    pub(crate) fn listening(&self) -> Vec<Listening> {
        self.table.lock().served.values().map(|served| served.listening.clone()).collect()
    }

    /// Returns the load of `key` here.
    pub(crate) fn load(&self, key: &ServiceKey) -> Option<Load> {
        self.find(key).map(|service| service.load())
    }

    async fn put(&self, entry: &ServiceEntry) -> Option<Listening> {
        let key = entry.service();
        if let Some(Kind::Service(service)) = self.kept(&key, entry.port).as_deref() {
            service.update(entry);
            return None;
        }
        let service = || Kind::Service(Service::new(entry, self.shared.clone()));
        self.replace(&key, entry.port, service).await
    }

    async fn put_route(&self, entry: &RouteEntry) -> Option<Listening> {
        let (key, find) = (entry.route(), |key: &ServiceKey| self.find(key));
        if let Some(Kind::Route(route)) = self.kept(&key, entry.port).as_deref() {
            route.update(entry, &find);
            return None;
        }
        let route = || Kind::Route(Route::new(entry, self.shared.metrics.clone(), &find));
        self.replace(&key, entry.port, route).await
    }

    /// Returns what is served under `key`, if `port` requires no other port.
    fn kept(&self, key: &ServiceKey, port: u32) -> Option<Arc<Kind>> {
        let table = self.table.lock();
        let Served { kind, listening, accepting } = table.served.get(key)?;
        // A fixed port that could not be bound is retried separately.
        let same_port = if port == 0 { accepting.is_ok() } else { port == listening.port };
        (same_port || table.leaving).then(|| kind.clone())
    }

    /// Serves what `new` creates on `port`, in place of whatever was under `key`. A draining activator takes
    /// nothing new.
    async fn replace(&self, key: &ServiceKey, port: u32, new: impl FnOnce() -> Kind) -> Option<Listening> {
        if self.table.lock().leaving {
            return None;
        }
        self.remove(key).await;
        let served = self.listen(Arc::new(new()), port).await;
        let listening = served.listening.clone();
        let mut table = self.table.lock();
        if table.leaving {
            return None;
        }
        table.served.insert(key.clone(), served);
        Some(listening)
    }

    async fn listen(&self, kind: Arc<Kind>, port: u32) -> Served {
        let ServiceKey { namespace, name } = kind.key().clone();
        let (port, error, accepting) = match self.accept(&kind, port).await {
            Ok((port, accepting)) => (port, String::new(), Ok(accepting)),
            Err(error) => {
                warn!(service = %kind.key(), port, %error, "cannot answer on the service's port");
                (port, error.to_string(), Err(self.shared.metrics.unbound_port()))
            }
        };
        Served { kind, listening: Listening { namespace, name, port, error }, accepting }
    }

    /// Serves `kind` on `port`, or on any port if that is 0. Returns the port.
    async fn accept(&self, kind: &Kind, port: u32) -> io::Result<(u32, AbortOnDropHandle<()>)> {
        let port = u16::try_from(port).map_err(|_| io::Error::other("no such port"))?;
        let listener = listen(SocketAddr::new(self.address, port)).await?;
        let port = listener.local_addr()?.port();
        info!(service = %kind.key(), port, "answering");
        let limits = self.shared.memory.limits();
        let drain = kind.drain().clone();
        let accepting = match kind {
            Kind::Service(service) => {
                tokio::spawn(serve(listener, Arc::new(RequestHandler(service.clone())), drain, limits))
            }
            Kind::Route(route) => {
                tokio::spawn(serve(listener, Arc::new(RequestHandler(route.clone())), drain, limits))
            }
        };
        Ok((u32::from(port), AbortOnDropHandle::new(accepting)))
    }

    /// Resolves when the port is free again. Requests in flight drain in the background.
    async fn remove(&self, key: &ServiceKey) {
        let removed = self.table.lock().served.remove(key);
        let Some(Served { kind, accepting, .. }) = removed else { return };
        info!(service = %key, "no longer answering");
        kind.leave();
        if let Ok(accepting) = accepting {
            accepting.abort();
            // The task was told to end.
            let _ = accepting.await;
        }
        let mut departing = self.departing.lock();
        // Entries that have ended are removed here, so that neither list grows.
        departing.all.retain(|gone| gone.strong_count() > 0);
        while departing.drains.try_join_next().is_some() {}
        departing.all.push(Arc::downgrade(&kind));
        departing.drains.spawn(async move {
            if let Err(cut) = kind.drain().run(GONE).await {
                warn!(service = %kind.key(), connections = cut.connections, "connections were cut");
            }
            kind.close();
        });
    }

    /// Drains all ports, including the gateway's and those of removed services, within `plan`. Returns the
    /// number of connections that were cut.
    pub(crate) async fn drain(&self, plan: Quiet) -> usize {
        self.table.lock().leaving = true;
        let all = self.all();
        let gateway = self.gateway.iter().map(|gateway| gateway.drain.clone());
        let mut drains = JoinSet::new();
        for drain in all.iter().map(|kind| kind.drain().clone()).chain(gateway) {
            drains.spawn(async move { drain.run(plan).await.err().unwrap_or_default().connections });
        }
        let cut = drains.join_all().await.into_iter().sum();
        // Not before: a request through a route or the gateway may wait for pods of a service whose own port
        // is quiet.
        for kind in all {
            kind.close();
        }
        cut
    }

    /// Ends at once, and cuts all connections.
    pub(crate) fn abort(&self) {
        self.table.lock().leaving = true;
        if let Some(gateway) = &self.gateway {
            gateway.drain.abort();
        }
        for kind in self.all() {
            kind.drain().abort();
            kind.close();
        }
    }

    fn all(&self) -> Vec<Arc<Kind>> {
        let mut all: Vec<_> = self.table.lock().served.values().map(|served| served.kind.clone()).collect();
        all.extend(self.departing.lock().all.iter().filter_map(Weak::upgrade));
        all
    }
}
