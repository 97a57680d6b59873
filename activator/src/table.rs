//! The table of services and routes: what the autoscaler says there is, made so.

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

/// A service that is gone leaves like any server; its clients are elsewhere already.
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

/// What is gone and finishes what it has.
#[derive(Debug, Default)]
struct Departing {
    all: Vec<Weak<Kind>>,
    drains: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Table {
    served: HashMap<ServiceKey, Served>,
    /// Who leaves goes on hearing of the pods that its held requests wait for, and takes no new service.
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

    /// Makes the table what `down` says, if its sender leads, and answers which services are answered for. What pods
    /// announced counts whoever heard it.
    pub(crate) async fn apply(&self, down: Down) -> Vec<Listening> {
        let listening = if down.is_of_the_leader() { self.obey(&down).await } else { Vec::new() };
        for announced in &down.announced {
            // Of a service that is not known here the leader will tell.
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
        // After the services between which they choose.
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

    /// The service or the route of that key; `None` if neither is known here.
    fn kind(&self, key: &ServiceKey) -> Option<Arc<Kind>> {
        self.table.lock().served.get(key).map(|served| served.kind.clone())
    }

    /// The service of that key; `None` if it is not known here.
    fn find(&self, key: &ServiceKey) -> Option<Arc<Service>> {
        self.kind(key)?.service().cloned()
    }

    /// Services have come or gone: routes look for their own.
    fn find_again(&self) {
        let routes: Vec<Arc<Route>> = {
            let table = self.table.lock();
            table.served.values().filter_map(|served| served.kind.route()).cloned().collect()
        };
        for route in routes {
            route.find_again(&|key: &ServiceKey| self.find(key));
        }
    }

    /// Tries again the ports that could not be had, and answers those that now could. Whoever applies tables calls
    /// this, so that no table changes meanwhile.
    pub(crate) async fn retry(&self) -> Vec<Listening> {
        let unbound: Vec<(Arc<Kind>, u32)> = {
            let table = self.table.lock();
            let unbound = table.served.values().filter(|served| served.accepting.is_err());
            unbound.map(|served| (served.kind.clone(), served.listening.port)).collect()
        };
        let mut listening = Vec::new();
        for (kind, port) in unbound {
            // Why not was told when it was first tried.
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

    /// Whether there is a port that could not be had.
    pub(crate) fn lacks_ports(&self) -> bool {
        let table = self.table.lock();
        !table.leaving && table.served.values().any(|served| served.accepting.is_err())
    }

    /// What is answered for now.
    pub(crate) fn listening(&self) -> Vec<Listening> {
        self.table.lock().served.values().map(|served| served.listening.clone()).collect()
    }

    /// How busy `key` is here.
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

    /// What is there under `key`, if `port` asks for no other port than it has.
    fn kept(&self, key: &ServiceKey, port: u32) -> Option<Arc<Kind>> {
        let table = self.table.lock();
        let Served { kind, listening, accepting } = table.served.get(key)?;
        // One that is asked for by its number and could not be had is tried again by itself.
        let same_port = if port == 0 { accepting.is_ok() } else { port == listening.port };
        (same_port || table.leaving).then(|| kind.clone())
    }

    /// Answers for what `new` makes on `port`, in the place of whatever was there under `key`. Who leaves takes nothing
    /// new.
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

    /// Takes requests for `kind` on `port`; answers on which, if that is 0.
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

    /// Resolves when the port is free for another. What is in flight is finished beside.
    async fn remove(&self, key: &ServiceKey) {
        let removed = self.table.lock().served.remove(key);
        let Some(Served { kind, accepting, .. }) = removed else { return };
        info!(service = %key, "no longer answering");
        kind.leave();
        if let Ok(accepting) = accepting {
            accepting.abort();
            // It was told to end, and says so.
            let _ = accepting.await;
        }
        let mut departing = self.departing.lock();
        // Those that have ended are let go of here, so that neither grows.
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

    /// Finishes what is in flight on all ports, the gateway's and those of services that are gone among them, within `plan`;
    /// answers how many connections were cut.
    pub(crate) async fn drain(&self, plan: Quiet) -> usize {
        self.table.lock().leaving = true;
        let all = self.all();
        let gateway = self.gateway.iter().map(|gateway| gateway.drain.clone());
        let mut drains = JoinSet::new();
        for drain in all.iter().map(|kind| kind.drain().clone()).chain(gateway) {
            drains.spawn(async move { drain.run(plan).await.err().unwrap_or_default().connections });
        }
        let cut = drains.join_all().await.into_iter().sum();
        // Not before: what comes in by a route or by the gateway waits for the pods of a service that is quiet itself.
        for kind in all {
            kind.close();
        }
        cut
    }

    /// Ends at once; connections are cut.
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
