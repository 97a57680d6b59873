//! The activators' streams: reports come in, tables go out.
//!
//! Whether an activator gets connections depends on its messages ([`hearing`]), on the platform's report about its
//! pod ([`pods`]), and on whether others are available ([`answering`](ebb_decide::endpoints::answering)): an apparent
//! loss of all activators is more likely this autoscaler's own, and changes nothing.

mod applied;
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

/// Maximum number of autoscalers that activators are told of.
const MOST_REPLICAS: usize = 16;

/// Identifies an open stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId(pub(crate) u64);

/// The connected activators.
#[derive(Debug, Default)]
pub(crate) struct Activators {
    links: HashMap<LinkId, Activator>,
    hearing: Hearing,
    departed: Departed,
    pods: ActivatorPods,
    /// Whether this autoscaler leads, so that its tables are valid.
    leads: bool,
    /// The addresses of all autoscalers; empty if unknown.
    replicas: Vec<String>,
    /// The number of the last message whose application is to be confirmed; 0 before the first.
    number: u64,
}

#[derive(Debug)]
struct Activator {
    name: String,
    address: Option<IpAddr>,
    /// `None` if it did not keep up: it reconnects and gets everything again.
    down: Option<mpsc::Sender<Bytes>>,
    /// The port on which it answers for each service.
    ports: HashMap<Arc<ServiceKey>, u16>,
    confirms: Confirms,
}

/// What an activator tells of the messages that it has applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Confirms {
    /// It has not introduced itself.
    Unknown,
    /// Nothing: it is of an older version.
    Nothing,
    /// Everything up to this number.
    UpTo(u64),
}

impl Activators {
    /// Returns the number of activators, each counted once.
    pub(crate) fn len(&self) -> usize {
        self.links.keys().filter(|id| !self.is_superseded(**id)).count()
    }

    /// Returns whether the same activator has opened a later stream: while it moves to another address of the
    /// autoscaler it has two, and sends everything on both.
    pub(crate) fn is_superseded(&self, id: LinkId) -> bool {
        self.links.get(&id).is_some_and(|one| {
            let is_later = |(other, link): (&LinkId, &Activator)| *other > id && link.name == one.name;
            !one.name.is_empty() && self.links.iter().any(is_later)
        })
    }

    /// Adds a stream, whose first message is `first`: the tables, or recent announcements.
    pub(crate) fn join(&mut self, id: LinkId, down: mpsc::Sender<Bytes>, first: Down) {
        let (name, ports, confirms) = (String::new(), HashMap::new(), Confirms::Unknown);
        self.links.insert(id, Activator { name, address: None, down: Some(down), ports, confirms });
        // Once it has applied the tables, it has applied all that others were told before.
        let number = if self.leads { self.number } else { 0 };
        let first = self.signed(Down { replicas: self.replicas.clone(), number, ..first });
        for piece in first.pieces() {
            self.send_to(id, frame(&piece));
        }
    }

    /// Sets whether this autoscaler leads, so that its tables are valid.
    pub(crate) fn lead(&mut self, leads: bool) {
        self.leads = leads;
    }

    /// Tells all activators the addresses of all autoscalers.
    pub(crate) fn tell_replicas(&mut self, replicas: &[SocketAddr]) {
        self.replicas = replicas.iter().take(MOST_REPLICAS).map(ToString::to_string).collect();
        self.send(Down { replicas: self.replicas.clone(), ..Down::default() });
    }

    /// Tells all activators what a pod of `service` announced.
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
            activator.confirms = if hello.confirms { Confirms::UpTo(0) } else { Confirms::Nothing };
        }
    }

    /// Records a message of a stream at `now`. Returns the services for which its activator counts again.
    pub(crate) fn heard(&mut self, id: LinkId, now: Tick) -> Vec<Arc<ServiceKey>> {
        if !self.hearing.heard(id, now) {
            return Vec::new();
        }
        if let Some(activator) = self.links.get(&id) {
            info!(activator = activator.name, "activator sends heartbeats again");
        }
        self.services_of(id).cloned().collect()
    }

    /// Returns when to look for silent streams; `None` if none promised heartbeats.
    pub(crate) fn next_look(&self) -> Option<Tick> {
        self.hearing.next_look()
    }

    /// Looks for silent streams at `now`. Returns the services whose activators change.
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

    /// Sets the activators' own pods, as the platform reports them. Returns the services whose activators change.
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

    /// Returns how many activators get no connections while others are available.
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

    /// Returns the services that the activator answers for.
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

    /// Removes a stream that ended at `now`. Returns its services.
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

    /// Returns the endpoints of `service` at activators; each once, however many streams it has.
    pub(crate) fn answering(&self, service: &ServiceKey) -> Answering {
        let connected =
            self.links.keys().filter_map(|id| Some((self.address_of(*id, service)?, self.standing(*id))));
        let departed = self.departed.addresses(service).map(|address| (address, Standing::Gone));
        answering(connected.chain(departed))
    }

    /// Tells all activators about a service, and each that shares it which part is its own.
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

    /// Tells all activators about a route.
    pub(crate) fn tell_route(&mut self, route: &Route) {
        self.send(Down { routes: vec![route_entry(route)], ..Down::default() });
    }

    /// Returns the endpoint of `service` at an activator.
    fn address_of(&self, id: LinkId, service: &ServiceKey) -> Option<SocketAddr> {
        let activator = self.links.get(&id)?;
        Some(SocketAddr::new(activator.address?, *activator.ports.get(service)?))
    }

    /// Tells all activators that a service or a route is gone.
    pub(crate) fn tell_gone(&mut self, service: &ServiceKey) {
        for activator in self.links.values_mut() {
            activator.ports.remove(service);
        }
        self.departed.forget_service(service, None);
        if self.leads {
            self.send(Down { gone: vec![service.to_string()], ..Down::default() });
        }
    }

    /// Sends a message to all activators.
    pub(crate) fn send(&mut self, message: Down) {
        let pieces: Vec<Bytes> = self.signed(message).pieces().iter().map(frame).collect();
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            for piece in &pieces {
                self.send_to(id, piece.clone());
            }
        }
    }

    /// Sends a message to one activator. One that does not keep up gets no more, but its services stay until its
    /// stream ends.
    fn send_to(&mut self, id: LinkId, message: Bytes) {
        let Some(activator) = self.links.get_mut(&id) else { return };
        if activator.down.as_ref().is_some_and(|down| down.try_send(message).is_err()) {
            warn!(activator = activator.name, "activator does not keep up; closing its stream");
            activator.down = None;
        }
    }
}

/// Returns the table entry of a service.
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
        // Replaced in the message for each activator that shares it.
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

/// Returns the table entry of a route.
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

/// Returns the entry of a pod of `service`, as it announced itself.
pub(crate) fn announced_entry(service: &ServiceKey, said: &Announced) -> AnnouncedPod {
    let (name, nonce) = (said.pod.clone(), said.nonce.clone());
    let pod = PodEntry { name, address: said.serving.to_string(), nonce, direct: false };
    announced_pod(service, pod, said.draining)
}

/// Returns the same for a pod that announced itself earlier; `None` if it has no address for requests.
pub(crate) fn known_entry(service: &ServiceKey, pod: &Pod, draining: bool) -> Option<AnnouncedPod> {
    Some(announced_pod(service, pod_entry(pod)?, draining))
}

fn announced_pod(service: &ServiceKey, pod: PodEntry, draining: bool) -> AnnouncedPod {
    let (namespace, name) = (service.namespace.clone(), service.name.clone());
    AnnouncedPod { namespace, name, pod: Some(pod), draining }
}

/// Returns the entry of a pod; `None` if it has no address for requests yet.
fn pod_entry(pod: &Pod) -> Option<PodEntry> {
    let serving = pod.serving().filter(|_| pod.ready || !pod.direct)?;
    Some(PodEntry {
        name: pod.name.clone(),
        address: serving.to_string(),
        nonce: pod.nonce.clone(),
        direct: pod.direct,
    })
}

/// Sends a handler's events to the main task.
pub(crate) type Events = Arc<mpsc::Sender<LinkEvent>>;
