//! The activators' streams: reports come up, tables go down.
//!
//! Whether an activator is sent connections follows from what is heard of it ([`hearing`]), from what the platform says of
//! its pod ([`pods`]), and from whether anybody else is there ([`answering`](ebb_decide::endpoints::answering)): what looks like
//! the loss of all of them is more likely our own, and changes nothing.

mod departed;
mod handler;
mod hearing;
mod pods;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use ebb_annotations::{Rules, SplitBy};
use ebb_core::{
    AppProtocol, ServiceKey, Tick,
    announce::Announced,
    link::{
        AnnouncedPod, Down, Hello, Listening, PodEntry, RouteEntry, ServiceEntry, SplitKey, SplitTarget,
        activator_index, frame,
    },
};
use tokio::sync::mpsc;
use tracing::{info, warn};

use departed::Departed;
use ebb_decide::{
    Pod,
    endpoints::{Answering, Standing, answering},
    route::{Route, Target},
    table::Service,
};
use hearing::{Hearing, SILENT_AFTER};
use pods::ActivatorPods;

pub(crate) use handler::{Heard, LinkEnd, LinkEvent, LinkHandler};

/// Activators are told of no more autoscalers than this.
const MOST_REPLICAS: usize = 16;

/// Names a stream for as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId(pub(crate) u64);

/// The activators that are connected.
#[derive(Debug, Default)]
pub(crate) struct Activators {
    links: HashMap<LinkId, Activator>,
    hearing: Hearing,
    departed: Departed,
    pods: ActivatorPods,
    /// Whether this autoscaler leads: its tables count.
    leads: bool,
    /// Where all autoscalers are; empty if that is not known.
    replicas: Vec<String>,
}

#[derive(Debug)]
struct Activator {
    name: String,
    address: Option<IpAddr>,
    /// Closed once it did not keep up: it comes again, and gets everything anew.
    down: Option<mpsc::Sender<Bytes>>,
    /// The port on which it answers for a service.
    ports: HashMap<Arc<ServiceKey>, u16>,
}

impl Activators {
    /// How many there are, each counted once.
    pub(crate) fn len(&self) -> usize {
        self.links.keys().filter(|id| !self.is_superseded(**id)).count()
    }

    /// Whether the same activator has opened a later stream: while it moves from one address of ours to another it
    /// has two, and says everything on both.
    pub(crate) fn is_superseded(&self, id: LinkId) -> bool {
        self.links.get(&id).is_some_and(|one| {
            let is_later = |(other, link): (&LinkId, &Activator)| *other > id && link.name == one.name;
            !one.name.is_empty() && self.links.iter().any(is_later)
        })
    }

    /// A stream was opened: it gets `tables`, or what pods announced lately.
    pub(crate) fn join(&mut self, id: LinkId, down: mpsc::Sender<Bytes>, first: Down) {
        let activator =
            Activator { name: String::new(), address: None, down: Some(down), ports: HashMap::new() };
        self.links.insert(id, activator);
        let first = self.signed(Down { replicas: self.replicas.clone(), ..first });
        for piece in first.pieces() {
            self.send_to(id, frame(&piece));
        }
    }

    /// From now on tables count, or no longer.
    pub(crate) fn lead(&mut self, leads: bool) {
        self.leads = leads;
    }

    /// Tells all of them where all autoscalers are.
    pub(crate) fn tell_replicas(&mut self, replicas: &[SocketAddr]) {
        self.replicas = replicas.iter().take(MOST_REPLICAS).map(ToString::to_string).collect();
        self.send(Down { replicas: self.replicas.clone(), ..Down::default() });
    }

    /// Tells all of them what a pod of `service` said of itself.
    pub(crate) fn tell_announced(&mut self, announced: AnnouncedPod) {
        self.send(Down { announced: vec![announced], ..Down::default() });
    }

    fn signed(&self, message: Down) -> Down {
        Down { leads: Some(self.leads), ..message }
    }

    pub(crate) fn hello(&mut self, id: LinkId, hello: &Hello, now: Tick) {
        if let Some(activator) = self.links.get_mut(&id) {
            if hello.heartbeats {
                self.hearing.expect(id, now);
            }
            info!(activator = hello.name, address = hello.address, "activator joined");
            activator.name.clone_from(&hello.name);
            activator.address = hello.address.parse().ok();
        }
    }

    /// Something came from it at `now`. Answers for which services it counts again.
    pub(crate) fn heard(&mut self, id: LinkId, now: Tick) -> Vec<Arc<ServiceKey>> {
        if !self.hearing.heard(id, now) {
            return Vec::new();
        }
        if let Some(activator) = self.links.get(&id) {
            info!(activator = activator.name, "activator sends heartbeats again");
        }
        self.services_of(id).cloned().collect()
    }

    /// When silence is to be looked for; `None` if nobody's silence would mean anything.
    pub(crate) fn next_look(&self) -> Option<Tick> {
        self.hearing.next_look()
    }

    /// Looks for silence at `now`. Answers for which services others count from now on.
    pub(crate) fn look(&mut self, now: Tick) -> HashSet<Arc<ServiceKey>> {
        let mut changed = HashSet::new();
        for id in self.hearing.look(now) {
            if let Some(activator) = self.links.get(&id) {
                warn!(activator = activator.name, silent = ?SILENT_AFTER, "activator is silent");
                changed.extend(activator.ports.keys().cloned());
            }
        }
        if self.links.keys().any(|id| self.standing(*id) == Standing::Heard) {
            changed.extend(self.departed.others_are_heard(now));
        }
        changed
    }

    /// The platform told of the activators' own pods. Answers for which services others count from now on.
    pub(crate) fn set_pods(&mut self, pods: &[(IpAddr, bool)]) -> HashSet<Arc<ServiceKey>> {
        let addresses = self.pods.set(pods.iter().copied());
        let mut changed = HashSet::new();
        for activator in self.links.values() {
            let Some(address) = activator.address.filter(|address| addresses.contains(address)) else {
                continue;
            };
            info!(
                activator = activator.name,
                well = self.pods.is_well(address),
                "activator's pod has changed"
            );
            changed.extend(activator.ports.keys().cloned());
        }
        for address in addresses.into_iter().filter(|address| self.pods.has_left(*address)) {
            changed.extend(self.departed.forget_address(address));
        }
        let links = &self.links;
        self.pods.forget_others(|address| links.values().any(|link| link.address == Some(address)));
        changed
    }

    /// How many of them get no connections as long as others do.
    pub(crate) fn doubtful(&self) -> usize {
        let counts = |id: &&LinkId| !self.is_superseded(**id) && self.standing(**id) != Standing::Heard;
        self.links.keys().filter(counts).count()
    }

    fn standing(&self, id: LinkId) -> Standing {
        let address = self.links.get(&id).and_then(|activator| activator.address);
        if self.hearing.is_silent(id) || address.is_some_and(|address| !self.pods.is_well(address)) {
            Standing::Doubtful
        } else {
            Standing::Heard
        }
    }

    /// The services that the activator answers for.
    pub(crate) fn services_of(&self, id: LinkId) -> impl Iterator<Item = &Arc<ServiceKey>> {
        self.links.get(&id).into_iter().flat_map(|activator| activator.ports.keys())
    }

    pub(crate) fn listening(&mut self, id: LinkId, service: Arc<ServiceKey>, news: &Listening) {
        let Some(activator) = self.links.get_mut(&id) else { return };
        match u16::try_from(news.port) {
            Ok(port) if news.error.is_empty() => {
                activator.ports.insert(service, port);
            }
            _ => {
                warn!(
                    activator = activator.name, %service, port = news.port, error = news.error,
                    "activator failed to bind a service's port"
                );
                activator.ports.remove(&service);
                self.departed.forget_service(&service, activator.address);
            }
        }
    }

    /// A stream has ended at `now`. Answers what it was there for.
    pub(crate) fn leave(&mut self, id: LinkId, end: LinkEnd, now: Tick) -> Vec<Arc<ServiceKey>> {
        self.hearing.forget(id);
        let Some(activator) = self.links.remove(&id) else { return Vec::new() };
        info!(activator = activator.name, ?end, "activator left");
        let services = activator.ports.keys().cloned().collect();
        if let (LinkEnd::BrokeOff, Some(address)) = (end, activator.address)
            && !self.pods.has_left(address)
        {
            self.departed.remember(address, activator.ports, now);
        }
        services
    }

    /// Where activators answer for `service`; each once, however many streams it has.
    pub(crate) fn answering(&self, service: &ServiceKey) -> Answering {
        let connected =
            self.links.keys().filter_map(|id| Some((self.address_of(*id, service)?, self.standing(*id))));
        let departed = self.departed.addresses(service).map(|address| (address, Standing::Gone));
        answering(connected.chain(departed))
    }

    /// Tells all of them about a service, and each of those that share it which part is its own.
    pub(crate) fn tell(&mut self, service: &Service) {
        let alone = entry(service);
        let sharing: Vec<String> = service.state.sharing().iter().map(ToString::to_string).collect();
        let of_all = frame(&self.signed(Down { services: vec![alone.clone()], ..Down::default() }));
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            let index = self
                .address_of(id, &service.key)
                .and_then(|own| activator_index(sharing.iter().map(String::as_str), &own.to_string()));
            let message = match index {
                Some(activator_index) if sharing.len() > 1 => {
                    let activators = u32::try_from(sharing.len()).unwrap_or(u32::MAX);
                    let part = ServiceEntry { activators, activator_index, ..alone.clone() };
                    frame(&self.signed(Down { services: vec![part], ..Down::default() }))
                }
                _ => of_all.clone(),
            };
            self.send_to(id, message);
        }
    }

    /// Tells all of them about a route.
    pub(crate) fn tell_route(&mut self, route: &Route) {
        self.send(Down { routes: vec![route_entry(route)], ..Down::default() });
    }

    /// Where an activator answers for `service`.
    fn address_of(&self, id: LinkId, service: &ServiceKey) -> Option<SocketAddr> {
        let activator = self.links.get(&id)?;
        Some(SocketAddr::new(activator.address?, *activator.ports.get(service)?))
    }

    /// Tells all of them that a service or a route is gone.
    pub(crate) fn tell_gone(&mut self, service: &ServiceKey) {
        for activator in self.links.values_mut() {
            activator.ports.remove(service);
        }
        self.departed.forget_service(service, None);
        if self.leads {
            self.send(Down { gone: vec![service.to_string()], ..Down::default() });
        }
    }

    /// Tells all of them the same.
    pub(crate) fn send(&mut self, message: Down) {
        let pieces: Vec<Bytes> = self.signed(message).pieces().iter().map(frame).collect();
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            for piece in &pieces {
                self.send_to(id, piece.clone());
            }
        }
    }

    /// One that cannot keep up is let go of. What it answers for stays until its stream has ended.
    fn send_to(&mut self, id: LinkId, message: Bytes) {
        let Some(activator) = self.links.get_mut(&id) else { return };
        if activator.down.as_ref().is_some_and(|down| down.try_send(message).is_err()) {
            warn!(activator = activator.name, "activator does not keep up; closing its stream");
            activator.down = None;
        }
    }
}

/// What an activator must know of a service.
pub(crate) fn entry(service: &Service) -> ServiceEntry {
    let (key, spec) = (&service.key, service.state.spec());
    let serving = &spec.serving;
    ServiceEntry {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        port: u32::from(service.port),
        container_concurrency: serving.container_concurrency.map_or(0, std::num::NonZeroU32::get),
        queue_depth: serving.queue_depth.get(),
        activation_deadline_ms: millis(serving.activation_deadline),
        request_timeout_ms: millis(serving.request_timeout),
        trouble: service.trouble.clone(),
        pods: service.state.pods().iter().filter_map(pod_entry).collect(),
        // Alone, until it is told which part is its own.
        activators: 0,
        activator_index: 0,
        reference_placement: spec.rules == Rules::Reference,
        max_connection_age_ms: serving.max_connection_age.map_or(0, millis),
        tunnel_idle_timeout_ms: serving.tunnel_idle_timeout.map_or(0, millis),
        app_protocol: serving.app_protocol.map_or("", AppProtocol::word).to_owned(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What an activator must know of a route.
pub(crate) fn route_entry(route: &Route) -> RouteEntry {
    let split = route.state.split();
    let target = |target: &Target| SplitTarget {
        service: target.service.clone(),
        weight: target.weight,
        trouble: target.trouble.clone(),
    };
    RouteEntry {
        namespace: route.key.namespace.clone(),
        name: route.key.name.clone(),
        port: u32::from(route.port),
        targets: split.targets.iter().map(target).collect(),
        by: match &split.by {
            SplitBy::Request => None,
            SplitBy::Cookie(name) => Some(SplitKey { cookie: name.clone(), ..SplitKey::default() }),
            SplitBy::Header(name) => {
                Some(SplitKey { header: name.as_str().to_owned(), ..SplitKey::default() })
            }
        },
        max_connection_age_ms: split.max_connection_age.map_or(0, millis),
        tunnel_idle_timeout_ms: split.tunnel_idle_timeout.map_or(0, millis),
    }
}

/// A pod of `service` as it said itself.
pub(crate) fn announced_entry(service: &ServiceKey, said: &Announced) -> AnnouncedPod {
    let (name, nonce) = (said.pod.clone(), said.nonce.clone());
    let pod = PodEntry { name, address: said.serving.to_string(), nonce, direct: false };
    announced_pod(service, pod, said.draining)
}

/// The same of a pod that said so before; `None` if nobody could send it anything.
pub(crate) fn known_entry(service: &ServiceKey, pod: &Pod, draining: bool) -> Option<AnnouncedPod> {
    Some(announced_pod(service, pod_entry(pod)?, draining))
}

fn announced_pod(service: &ServiceKey, pod: PodEntry, draining: bool) -> AnnouncedPod {
    let (namespace, name) = (service.namespace.clone(), service.name.clone());
    AnnouncedPod { namespace, name, pod: Some(pod), draining }
}

/// `None` if nobody could send it anything yet.
fn pod_entry(pod: &Pod) -> Option<PodEntry> {
    let serving = pod.serving().filter(|_| pod.ready || !pod.direct)?;
    Some(PodEntry {
        name: pod.name.clone(),
        address: serving.to_string(),
        nonce: pod.nonce.clone(),
        direct: pod.direct,
    })
}

/// A handler's way to the one task that decides.
pub(crate) type Events = Arc<mpsc::Sender<LinkEvent>>;
