//! The activators' streams: reports come up, tables go down.

mod intake;

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use ebb_core::{
    ServiceKey,
    link::{Down, Hello, Listening, PodEntry, ServiceEntry, frame},
};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::{platform::Pod, service::ServiceState};

pub(crate) use intake::{Intake, LinkEvent};

/// Names a stream for as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId(pub(crate) u64);

/// The activators that are connected.
#[derive(Debug, Default)]
pub(crate) struct Activators {
    links: HashMap<LinkId, Activator>,
}

#[derive(Debug)]
struct Activator {
    name: String,
    address: Option<std::net::IpAddr>,
    down: mpsc::Sender<Bytes>,
    /// The port on which it answers for a service.
    ports: HashMap<ServiceKey, u16>,
}

impl Activators {
    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// A stream was opened: it gets all tables.
    pub(crate) fn join(&mut self, id: LinkId, down: mpsc::Sender<Bytes>, services: Vec<ServiceEntry>) {
        let activator = Activator { name: String::new(), address: None, down, ports: HashMap::new() };
        let all = Down { services, complete: true, ..Down::default() };
        self.links.insert(id, activator);
        self.send_to(id, frame(&all));
    }

    pub(crate) fn hello(&mut self, id: LinkId, hello: &Hello) {
        if let Some(activator) = self.links.get_mut(&id) {
            info!(activator = hello.name, address = hello.address, "activator joined");
            activator.name.clone_from(&hello.name);
            activator.address = hello.address.parse().ok();
        }
    }

    pub(crate) fn listening(&mut self, id: LinkId, news: &Listening) {
        let Some(activator) = self.links.get_mut(&id) else { return };
        match u16::try_from(news.port) {
            Ok(port) if news.error.is_empty() => {
                activator.ports.insert(news.service(), port);
            }
            _ => {
                warn!(
                    activator = activator.name, service = %news.service(), port = news.port, error = news.error,
                    "activator cannot answer for a service"
                );
                activator.ports.remove(&news.service());
            }
        }
    }

    /// The services that it answers for.
    pub(crate) fn services_of(&self, id: LinkId) -> impl Iterator<Item = &ServiceKey> {
        self.links.get(&id).into_iter().flat_map(|activator| activator.ports.keys())
    }

    pub(crate) fn leave(&mut self, id: LinkId) {
        if let Some(activator) = self.links.remove(&id) {
            info!(activator = activator.name, "activator left");
        }
    }

    /// Where activators answer for `service`.
    pub(crate) fn answering(&self, service: &ServiceKey) -> Vec<SocketAddr> {
        self.links
            .values()
            .filter_map(|activator| Some(SocketAddr::new(activator.address?, *activator.ports.get(service)?)))
            .collect()
    }

    /// Tells all of them about a service.
    pub(crate) fn tell(&mut self, entry: ServiceEntry) {
        self.send(&Down { services: vec![entry], ..Down::default() });
    }

    /// Tells all of them that a service is gone.
    pub(crate) fn tell_gone(&mut self, service: &ServiceKey) {
        for activator in self.links.values_mut() {
            activator.ports.remove(service);
        }
        self.send(&Down { gone: vec![service.to_string()], ..Down::default() });
    }

    fn send(&mut self, message: &Down) {
        let message = frame(message);
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            self.send_to(id, message.clone());
        }
    }

    /// One that cannot keep up is let go of: it comes again and gets everything anew.
    fn send_to(&mut self, id: LinkId, message: Bytes) {
        let Some(activator) = self.links.get(&id) else { return };
        if activator.down.try_send(message).is_err() {
            warn!(activator = activator.name, "activator does not keep up; closing its stream");
            self.leave(id);
        }
    }
}

/// What an activator must know of a service.
pub(crate) fn entry(key: &ServiceKey, service: &ServiceState, port: u16, trouble: &str) -> ServiceEntry {
    let serving = &service.spec().serving;
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    ServiceEntry {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        port: u32::from(port),
        container_concurrency: serving.container_concurrency.map_or(0, std::num::NonZeroU32::get),
        queue_depth: serving.queue_depth.get(),
        activation_deadline_ms: millis(serving.activation_deadline),
        request_timeout_ms: millis(serving.request_timeout),
        trouble: trouble.to_owned(),
        pods: service.pods().iter().map(pod_entry).collect(),
    }
}

fn pod_entry(pod: &Pod) -> PodEntry {
    PodEntry { name: pod.name.clone(), address: pod.serving.to_string(), nonce: pod.nonce.clone() }
}

/// A handler's way to the one task that decides.
pub(crate) type Events = Arc<mpsc::Sender<LinkEvent>>;
