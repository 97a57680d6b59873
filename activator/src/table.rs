//! The table of services: what the autoscaler says there is, made so.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
    time::Duration,
};

use ebb_core::{
    ServiceKey,
    link::{Down, Listening, ServiceEntry},
};
use ebb_proxy::{Limits, Quiet, listen, serve};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::{
    handler::ServiceHandler,
    metrics::UnboundPort,
    service::{Common, Load, Service},
};

/// A service that is gone leaves like any server; its clients are elsewhere already.
const GONE: Quiet = Quiet { quiet: Duration::from_secs(1), limit: Duration::from_secs(30) };

/// The services of one activator.
#[derive(Debug)]
pub(crate) struct ServiceTable {
    shared: Arc<Common>,
    address: IpAddr,
    table: Mutex<Table>,
    departing: Mutex<Departing>,
}

/// Services that are gone and finish what they have.
#[derive(Debug, Default)]
struct Departing {
    services: Vec<Weak<Service>>,
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
    service: Arc<Service>,
    listening: Listening,
    accepting: Result<AbortOnDropHandle<()>, UnboundPort>,
}

impl ServiceTable {
    pub(crate) fn new(shared: Arc<Common>, address: IpAddr) -> Arc<Self> {
        Arc::new(Self { shared, address, table: Mutex::default(), departing: Mutex::default() })
    }

    /// Makes the table what `down` says, if its sender leads, and answers which services are answered for. What pods
    /// announced counts whoever heard it.
    pub(crate) async fn apply(&self, down: Down) -> Vec<Listening> {
        let listening = if down.is_of_the_leader() { self.obey(&down).await } else { Vec::new() };
        for announced in &down.announced {
            let service =
                self.table.lock().served.get(&announced.service()).map(|served| served.service.clone());
            // Of a service that is not known here the leader will tell.
            if let (Some(service), Some(pod)) = (service, &announced.pod) {
                service.announced(pod, announced.draining);
            }
        }
        listening
    }

    async fn obey(&self, down: &Down) -> Vec<Listening> {
        let named: HashSet<ServiceKey> = down.services.iter().map(ServiceEntry::service).collect();
        let mut gone: Vec<ServiceKey> = down.gone.iter().filter_map(|key| key.parse().ok()).collect();
        if down.complete {
            gone.extend(self.table.lock().served.keys().filter(|key| !named.contains(key)).cloned());
        }
        for key in gone {
            self.remove(&key).await;
        }
        let mut listening = Vec::with_capacity(down.services.len());
        for entry in &down.services {
            if let Some(news) = self.put(entry).await {
                listening.push(news);
            }
        }
        listening
    }

    /// Tries again the ports that could not be had, and answers those that now could. Whoever applies tables calls
    /// this, so that no table changes meanwhile.
    pub(crate) async fn retry(&self) -> Vec<Listening> {
        let unbound: Vec<(Arc<Service>, u32)> = {
            let table = self.table.lock();
            let unbound = table.served.values().filter(|served| served.accepting.is_err());
            unbound.map(|served| (served.service.clone(), served.listening.port)).collect()
        };
        let mut listening = Vec::new();
        for (service, port) in unbound {
            // Why not was told when it was first tried.
            let Ok((port, accepting)) = self.accept(&service, port).await else { continue };
            let mut table = self.table.lock();
            if table.leaving {
                break;
            }
            let Some(served) = table.served.get_mut(&service.key) else { continue };
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
        self.table.lock().served.get(key).map(|served| served.service.load())
    }

    async fn put(&self, entry: &ServiceEntry) -> Option<Listening> {
        let key = entry.service();
        if self.update(&key, entry) {
            return None;
        }
        self.remove(&key).await;
        let served = self.listen(entry).await;
        let listening = served.listening.clone();
        let mut table = self.table.lock();
        if table.leaving {
            return None;
        }
        table.served.insert(key, served);
        Some(listening)
    }

    /// Whether `entry` asks for no other port than there is: then the service takes it over.
    fn update(&self, key: &ServiceKey, entry: &ServiceEntry) -> bool {
        let stays = {
            let table = self.table.lock();
            let Some(Served { service, listening, accepting }) = table.served.get(key) else {
                return table.leaving;
            };
            let same_port = accepting.is_ok() && (entry.port == 0 || entry.port == listening.port);
            (same_port || table.leaving).then(|| service.clone())
        };
        if let Some(service) = &stays {
            service.update(entry);
        }
        stays.is_some()
    }

    async fn listen(&self, entry: &ServiceEntry) -> Served {
        let service = Service::new(entry, self.shared.clone());
        let (port, error, accepting) = match self.accept(&service, entry.port).await {
            Ok((port, accepting)) => (port, String::new(), Ok(accepting)),
            Err(error) => {
                warn!(service = %service.key, port = entry.port, %error, "cannot answer on the service's port");
                (entry.port, error.to_string(), Err(self.shared.metrics.unbound_port()))
            }
        };
        let listening =
            Listening { namespace: entry.namespace.clone(), name: entry.name.clone(), port, error };
        Served { service, listening, accepting }
    }

    /// Takes requests for `service` on `port`; answers on which, if that is 0.
    async fn accept(&self, service: &Arc<Service>, port: u32) -> io::Result<(u32, AbortOnDropHandle<()>)> {
        let port = u16::try_from(port).map_err(|_| io::Error::other("no such port"))?;
        let listener = listen(SocketAddr::new(self.address, port)).await?;
        let port = listener.local_addr()?.port();
        info!(service = %service.key, port, "answering");
        let handler = Arc::new(ServiceHandler { service: service.clone() });
        let memory = &self.shared.memory;
        let limits = Limits { heads: memory.heads(), frames: memory.frames(), ..Limits::default() };
        let accepting = tokio::spawn(serve(listener, handler, service.drain.clone(), limits));
        Ok((u32::from(port), AbortOnDropHandle::new(accepting)))
    }

    /// Resolves when the service's port is free for another. What is in flight is finished beside.
    async fn remove(&self, key: &ServiceKey) {
        let removed = self.table.lock().served.remove(key);
        let Some(Served { service, accepting, .. }) = removed else { return };
        info!(service = %key, "no longer answering");
        service.leave();
        if let Ok(accepting) = accepting {
            accepting.abort();
            // It was told to end, and says so.
            let _ = accepting.await;
        }
        let mut departing = self.departing.lock();
        // Those that have ended are let go of here, so that neither grows.
        departing.services.retain(|service| service.strong_count() > 0);
        while departing.drains.try_join_next().is_some() {}
        departing.services.push(Arc::downgrade(&service));
        departing.drains.spawn(async move {
            if let Err(cut) = service.drain.run(GONE).await {
                warn!(service = %service.key, connections = cut.connections, "connections were cut");
            }
            service.close();
        });
    }

    /// Finishes what is in flight on all ports, those of services that are gone among them, within `plan`;
    /// answers how many connections were cut.
    pub(crate) async fn drain(&self, plan: Quiet) -> usize {
        self.table.lock().leaving = true;
        let mut drains = JoinSet::new();
        for service in self.all() {
            drains.spawn(async move {
                let cut = service.drain.run(plan).await.err().unwrap_or_default();
                service.close();
                cut.connections
            });
        }
        drains.join_all().await.into_iter().sum()
    }

    /// Ends at once; connections are cut.
    pub(crate) fn abort(&self) {
        self.table.lock().leaving = true;
        for service in self.all() {
            service.drain.abort();
            service.close();
        }
    }

    fn all(&self) -> Vec<Arc<Service>> {
        let mut services: Vec<_> =
            self.table.lock().served.values().map(|served| served.service.clone()).collect();
        services.extend(self.departing.lock().services.iter().filter_map(Weak::upgrade));
        services
    }
}
