//! The table of services: what the autoscaler says there is, made so.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ebb_core::{
    ServiceKey,
    link::{Down, Listening, ServiceEntry},
};
use ebb_proxy::{Limits, Quiet, serve};
use parking_lot::Mutex;
use tokio::{net::TcpListener, task::JoinSet};
use tracing::{info, warn};

use crate::{
    handler::ServiceHandler,
    service::{Load, Service, Shared},
};

/// A service that is gone leaves like any server; its clients are elsewhere already.
const GONE: Quiet = Quiet { quiet: Duration::from_secs(1), limit: Duration::from_secs(30) };

/// The services of one activator.
#[derive(Debug)]
pub(crate) struct Services {
    shared: Arc<Shared>,
    address: IpAddr,
    table: Mutex<HashMap<ServiceKey, Served>>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug, Clone)]
struct Served {
    service: Arc<Service>,
    listening: Listening,
}

impl Services {
    pub(crate) fn new(shared: Arc<Shared>, address: IpAddr) -> Arc<Self> {
        Arc::new(Self { shared, address, table: Mutex::default(), tasks: Mutex::default() })
    }

    /// Makes the table what `down` says, and answers which services are answered for.
    pub(crate) async fn apply(&self, down: Down) -> Vec<Listening> {
        let named: HashSet<ServiceKey> = down.services.iter().map(ServiceEntry::service).collect();
        let mut gone: Vec<ServiceKey> = down.gone.iter().filter_map(|key| key.parse().ok()).collect();
        if down.complete {
            gone.extend(self.table.lock().keys().filter(|key| !named.contains(key)).cloned());
        }
        for key in gone {
            self.remove(&key);
        }
        let mut listening = Vec::with_capacity(down.services.len());
        for entry in &down.services {
            if let Some(news) = self.put(entry).await {
                listening.push(news);
            }
        }
        listening
    }

    /// What is answered for now.
    pub(crate) fn listening(&self) -> Vec<Listening> {
        self.table.lock().values().map(|served| served.listening.clone()).collect()
    }

    /// How busy `key` is here.
    pub(crate) fn load(&self, key: &ServiceKey) -> Option<Load> {
        self.table.lock().get(key).map(|served| served.service.load())
    }

    async fn put(&self, entry: &ServiceEntry) -> Option<Listening> {
        let key = entry.service();
        let known = self.table.lock().get(&key).cloned();
        if let Some(Served { service, listening }) = known {
            let same_port = entry.port == 0 || entry.port == listening.port;
            if same_port && listening.error.is_empty() {
                service.update(entry);
                return None;
            }
            self.remove(&key);
        }
        let service = Service::new(entry, self.shared.clone());
        let listening = self.listen(&service, entry).await;
        self.table.lock().insert(key, Served { service, listening: listening.clone() });
        Some(listening)
    }

    async fn listen(&self, service: &Arc<Service>, entry: &ServiceEntry) -> Listening {
        let bound = match u16::try_from(entry.port) {
            Ok(port) => TcpListener::bind(SocketAddr::new(self.address, port)).await,
            Err(_) => Err(std::io::Error::other("no such port")),
        };
        let bound = bound.and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
        let (port, error) = match bound {
            Ok((port, listener)) => {
                let handler = Arc::new(ServiceHandler { service: service.clone() });
                let serving = serve(listener, handler, service.drain.clone(), Limits::default());
                let key = service.key.clone();
                self.spawn(async move {
                    if let Err(error) = serving.await {
                        tracing::error!(service = %key, %error, "listener failed");
                    }
                });
                info!(service = %service.key, port, "answering");
                (u32::from(port), String::new())
            }
            Err(error) => {
                warn!(service = %service.key, port = entry.port, %error, "cannot answer on the service's port");
                (entry.port, error.to_string())
            }
        };
        Listening { namespace: entry.namespace.clone(), name: entry.name.clone(), port, error }
    }

    fn remove(&self, key: &ServiceKey) {
        let Some(Served { service, .. }) = self.table.lock().remove(key) else { return };
        info!(service = %key, "no longer answering");
        service.close();
        self.spawn(async move {
            if let Err(cut) = service.drain.run(GONE).await {
                warn!(service = %service.key, connections = cut.connections, "connections were cut");
            }
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        // Those that have ended are let go of here, so that the set does not grow.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Finishes what is in flight on all ports, within `plan`.
    pub(crate) async fn drain(&self, plan: Quiet) -> usize {
        let services: Vec<Arc<Service>> =
            self.table.lock().drain().map(|(_, served)| served.service).collect();
        let mut drains = JoinSet::new();
        for service in services {
            drains.spawn(async move {
                let cut = service.drain.run(plan).await.err().unwrap_or_default();
                service.close();
                cut.connections
            });
        }
        let cut = drains.join_all().await.into_iter().sum();
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
        cut
    }
}
