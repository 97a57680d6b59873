//! The state of the cluster, and what follows from it.
//!
//! [`World`] is a plain value without clock, task or client. It takes facts, returns events for the autoscaler
//! ([`World::take_events`]), and [`World::step`] returns what to write next for each service that changed. Every
//! autoscaler has the same state; only the leader writes.

mod hosts;
mod http_routes;
mod in_effect;
mod ledger;
mod plan;
#[cfg(test)]
mod properties;
mod record;
mod rollout;
mod routes;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::Hash,
    mem,
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    sync::Arc,
};

use ebb_annotations::{ClusterDefaults, ScaleTarget};
use ebb_cluster::Notice;
use ebb_core::{ServiceKey, Tick};
use k8s_openapi::api::core::v1::Service;

use super::{
    allocation::Allocation,
    claim::{self, Claim, Verdict, selects},
    facts::{PodFacts, SliceFacts, TargetFacts, TargetKey},
    hosts::Hosts,
    http_routes::{Trouble, Wanted},
};
use ebb_decide::endpoints::Endpoints;
use ebb_decide::platform::{Exposed, FleetEvent};

pub(crate) use hosts::ALLOWED_HOSTS;
pub(crate) use in_effect::Showing;
#[cfg(test)]
use plan::NETWORK;
pub(crate) use plan::{Plan, Step};
use record::{Record, Seen};

/// A kind of object that must be listed before all services are known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Listing {
    Services,
    Pods,
    Slices,
    Namespaces,
    /// The cluster's settings.
    Settings,
    /// Scale targets of one kind.
    Targets(String),
}

impl Listing {
    /// Returns the kind's name in the API.
    pub(crate) fn kind(&self) -> &str {
        match self {
            Self::Services => "Service",
            Self::Pods => "Pod",
            Self::Slices => "EndpointSlice",
            Self::Namespaces => "Namespace",
            Self::Settings => "ConfigMap",
            Self::Targets(kind) => kind,
        }
    }
}

/// The state of the cluster, as far as it matters.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and none a state")]
pub(crate) struct World {
    defaults: Arc<ClusterDefaults>,
    /// Whether every service is given back, because Ebb is about to be removed.
    releases: bool,
    services: HashMap<ServiceKey, Record>,
    /// The claimed services of each namespace.
    claimed: HashMap<String, BTreeSet<String>>,
    pods: HashMap<String, BTreeMap<String, Arc<PodFacts>>>,
    by_ip: HashMap<IpAddr, (String, String)>,
    targets: HashMap<TargetKey, TargetFacts>,
    by_target: HashMap<TargetKey, BTreeSet<ServiceKey>>,
    /// The routes that send requests to each service, whether it exists or not.
    by_split: HashMap<ServiceKey, BTreeSet<ServiceKey>>,
    slices: HashMap<ServiceKey, BTreeMap<String, SliceFacts>>,
    /// Who has which host.
    hosts: Hosts,
    /// How each Service is reached through the gateway, as the autoscaler was told.
    exposed: HashMap<ServiceKey, Exposed>,
    /// Whether the autoscaler was told about hosts at all.
    told_of_hosts: bool,
    /// The Services that name each Secret for their certificate.
    by_secret: HashMap<ServiceKey, BTreeSet<ServiceKey>>,
    /// The HTTPRoutes that should exist.
    http_routes: Wanted,
    /// Why Services lack HTTPRoutes.
    http_route_troubles: HashMap<ServiceKey, Trouble>,
    /// A number for each Secret, in the order in which they were first named. A Secret that is named again gets a new
    /// one.
    secrets_named: HashMap<ServiceKey, u64>,
    last_named: u64,
    /// What is wrong with each Secret.
    secret_troubles: HashMap<ServiceKey, String>,
    /// The Secrets whose certificates the autoscaler was told.
    secrets_read: HashSet<ServiceKey>,
    /// What was told about Namespaces.
    told_namespaces: HashMap<String, String>,
    ports: Allocation,
    listed: HashSet<Listing>,
    /// Whether all services are being read in turn.
    reads_all: bool,
    /// Kinds that cannot be watched, and why. Only services that name one of them wait for it.
    unknowable: HashMap<String, String>,
    complete: bool,
    events: Vec<FleetEvent>,
    notices: Vec<Notice>,
    /// Services that changed.
    touched: BTreeSet<ServiceKey>,
    /// When this autoscaler began to lead.
    leads_since: Tick,
    /// The number of the last question to activators.
    last_ask: u64,
}

impl World {
    pub(crate) fn new(defaults: Arc<ClusterDefaults>) -> Self {
        Self {
            defaults,
            releases: false,
            services: HashMap::new(),
            claimed: HashMap::new(),
            pods: HashMap::new(),
            by_ip: HashMap::new(),
            targets: HashMap::new(),
            by_target: HashMap::new(),
            by_split: HashMap::new(),
            slices: HashMap::new(),
            hosts: Hosts::default(),
            exposed: HashMap::new(),
            told_of_hosts: false,
            by_secret: HashMap::new(),
            http_routes: Wanted::default(),
            http_route_troubles: HashMap::new(),
            secrets_named: HashMap::new(),
            last_named: 0,
            secret_troubles: HashMap::new(),
            secrets_read: HashSet::new(),
            told_namespaces: HashMap::new(),
            ports: Allocation::default(),
            listed: HashSet::new(),
            reads_all: false,
            unknowable: HashMap::new(),
            complete: false,
            events: Vec::new(),
            notices: Vec::new(),
            touched: BTreeSet::new(),
            leads_since: Tick::ZERO,
            last_ask: 0,
        }
    }

    /// Takes the events for the autoscaler.
    pub(crate) fn take_events(&mut self) -> Vec<FleetEvent> {
        let news = self.host_news();
        self.events.extend(news);
        // Activators have applied what they are asked about once they have applied all that comes before.
        let questions = self.questions();
        self.events.extend(questions);
        mem::take(&mut self.events)
    }

    /// Takes the notices for users.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        mem::take(&mut self.notices)
    }

    /// Takes the services that changed since the last call.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<ServiceKey> {
        mem::take(&mut self.touched)
    }

    /// Begins to lead at `now`: this autoscaler writes what others wrote so far, or did not write.
    pub(crate) fn lead(&mut self, now: Tick) {
        self.leads_since = now;
        self.services.values_mut().for_each(Record::forget_kept);
        self.touched.extend(self.services.keys().cloned());
    }

    /// Sets the cluster's settings, and whether services are given back.
    pub(crate) fn set_defaults(&mut self, defaults: Arc<ClusterDefaults>, releases: bool) {
        (self.defaults, self.releases) = (defaults, releases);
        let keys: Vec<ServiceKey> = self.services.keys().cloned().collect();
        for key in keys {
            self.read(&key);
        }
    }

    /// Returns the kinds of the scale targets that claims name.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &str> {
        self.by_target.keys().map(|target| target.kind.as_str())
    }

    /// Returns the claim of the service, if Ebb scales it and it is not being given back.
    pub(crate) fn claim_of(&self, service: &ServiceKey) -> Option<&Arc<Claim>> {
        let record = self.services.get(service)?;
        record.claim.as_ref().filter(|_| record.releasing.is_none())
    }

    /// Returns the scale target of `service`.
    pub(crate) fn target(&self, service: &ServiceKey) -> Option<TargetKey> {
        let claim = self.services.get(service)?.claim.as_ref()?;
        Some(TargetKey::new(service, &claim.target))
    }

    /// Returns how many pods a scale target wants, if it exists, and the services that scale it.
    pub(crate) fn shared(&self, target: &TargetKey) -> (Option<u32>, Vec<ServiceKey>) {
        let replicas = self.targets.get(target).map(|facts| facts.replicas);
        (replicas, self.by_target.get(target).into_iter().flatten().cloned().collect())
    }

    /// Returns the service's pods that were marked earlier as the first to remove.
    pub(crate) fn marked_pods(&self, service: &ServiceKey) -> Vec<String> {
        let pods = self.services.get(service).map(|record| &record.pods);
        pods.into_iter().flatten().filter(|(_, pod)| pod.marked).map(|(name, _)| name.clone()).collect()
    }

    /// Records that a service exists or changed.
    pub(crate) fn service(&mut self, mut service: Service) {
        let key = claim::key(&service);
        claim::strip(&mut service);
        let record = self.services.entry(key.clone()).or_insert_with(|| Record::new(service.clone()));
        record.object = service;
        self.read(&key);
    }

    /// Records the result of Ebb's write to a service before the watch shows it. Ignores it if the watch has already
    /// shown a later version, or the deletion, because it would not do so again.
    pub(crate) fn written(&mut self, service: Service) {
        let known = self.services.get(&claim::key(&service)).map(|record| version(&record.object));
        if known.is_some_and(|known| known < version(&service)) {
            self.service(service);
        }
    }

    /// Records that a service was deleted, and its slices with it.
    pub(crate) fn service_gone(&mut self, key: &ServiceKey) {
        self.unclaim(key);
        self.unroute(key);
        self.services.remove(key);
        self.read_hosts(key);
        self.touched.insert(key.clone());
        self.tell_routes_to(key);
    }

    /// Records that a pod exists or changed; `None` if it is terminating.
    pub(crate) fn pod(&mut self, namespace: &str, name: &str, facts: Option<PodFacts>) {
        let facts = facts.map(Arc::new);
        let before = match &facts {
            Some(facts) => {
                self.pods.entry(namespace.to_owned()).or_default().insert(name.to_owned(), facts.clone())
            }
            None => self.pods.get_mut(namespace).and_then(|pods| pods.remove(name)),
        };
        if before == facts {
            return;
        }
        for ip in before.iter().flat_map(|before| &before.ips) {
            if self.by_ip.get(ip).is_some_and(|holder| (&*holder.0, &*holder.1) == (namespace, name)) {
                self.by_ip.remove(ip);
            }
        }
        for ip in facts.iter().flat_map(|facts| &facts.ips) {
            self.by_ip.insert(*ip, (namespace.to_owned(), name.to_owned()));
        }
        let names: Vec<String> = self.claimed.get(namespace).into_iter().flatten().cloned().collect();
        for service in names {
            let key = ServiceKey::new(namespace, service);
            let Some(record) = self.services.get_mut(&key) else { continue };
            let Some(claim) = &record.claim else { continue };
            let own = facts.as_ref().filter(|facts| selects(&claim.selector, &facts.labels));
            let changed = match own {
                Some(facts) => record.pods.insert(name.to_owned(), facts.clone()).as_ref() != Some(facts),
                None => record.pods.remove(name).is_some(),
            };
            if changed {
                self.tell(&key);
            }
        }
    }

    /// Records that a slice exists or changed.
    pub(crate) fn slice(&mut self, service: &ServiceKey, name: &str, facts: SliceFacts) {
        self.told_of_slice(service, name);
        self.set_slice(service, name, Some(facts));
    }

    /// Records the result of Ebb's write to the service's slices before the watch shows it. Ignores slices that the
    /// watch has reported since the write was decided, because it has shown this write or a later one, or will.
    pub(crate) fn slices_written(&mut self, service: &ServiceKey, slices: Vec<(String, Option<SliceFacts>)>) {
        let told = self.services.get_mut(service).and_then(|record| record.told_slices.take());
        let Some(told) = told else { return };
        for (name, facts) in slices.into_iter().filter(|(name, _)| !told.contains(name)) {
            self.set_slice(service, &name, facts);
        }
    }

    /// Records that a slice no longer names its Service, which loses it.
    pub(crate) fn slice_lost(&mut self, namespace: &str, name: &str) {
        let had = |(service, slices): &(&ServiceKey, &BTreeMap<String, SliceFacts>)| {
            service.namespace == namespace && slices.contains_key(name)
        };
        let service = self.slices.iter().find(had).map(|(service, _)| service.clone());
        if let Some(service) = service {
            self.slice_gone(&service, name);
        }
    }

    /// Records that a slice was deleted.
    pub(crate) fn slice_gone(&mut self, service: &ServiceKey, name: &str) {
        self.told_of_slice(service, name);
        self.set_slice(service, name, None);
    }

    fn told_of_slice(&mut self, service: &ServiceKey, name: &str) {
        let record = self.services.get_mut(service);
        if let Some(told) = record.and_then(|record| record.told_slices.as_mut()) {
            told.insert(name.to_owned());
        }
    }

    fn set_slice(&mut self, service: &ServiceKey, name: &str, facts: Option<SliceFacts>) {
        if let Some(facts) = facts {
            self.slices.entry(service.clone()).or_default().insert(name.to_owned(), facts);
        } else if let Some(slices) = self.slices.get_mut(service) {
            slices.remove(name);
            if slices.is_empty() {
                self.slices.remove(service);
            }
        }
        self.touch(service);
    }

    /// Records that a scale target exists or changed; `None` if it was deleted.
    pub(crate) fn target_seen(&mut self, target: &TargetKey, facts: Option<&TargetFacts>) {
        let before = match facts {
            Some(facts) => self.targets.insert(target.clone(), facts.clone()),
            None => self.targets.remove(target),
        };
        if before.as_ref() == facts {
            return;
        }
        let services: Vec<ServiceKey> = self.by_target.get(target).into_iter().flatten().cloned().collect();
        for key in services {
            if let (Some(record), Some(facts)) = (self.services.get_mut(&key), facts) {
                self.notices.extend(record.replicas_seen(facts));
            }
            self.tell(&key);
        }
    }

    /// Records that all objects of a kind are known. Those that no longer exist were reported as deleted before.
    pub(crate) fn listed(&mut self, listing: &Listing) {
        if let Listing::Targets(kind) = listing {
            self.unknowable.remove(kind);
        }
        if self.listed.insert(listing.clone()) && *listing == Listing::Services {
            let keys: Vec<ServiceKey> = self.services.keys().cloned().collect();
            self.reads_all = true;
            for key in keys {
                self.read(&key);
            }
            self.reads_all = false;
            self.tell_all_routes();
        }
        if let Listing::Targets(kind) = listing {
            let keys: Vec<ServiceKey> = self
                .by_target
                .iter()
                .filter(|(target, _)| target.kind == *kind)
                .flat_map(|(_, services)| services.iter().cloned())
                .collect();
            for key in keys {
                self.tell(&key);
            }
        }
        self.complete_if_so();
    }

    /// Records that objects of a kind cannot be watched, because of `why`.
    pub(crate) fn unknowable(&mut self, kind: &str, why: String) {
        if self.listed.iter().any(|listing| listing.kind() == kind) {
            return; // They were known before: the last known state remains valid.
        }
        self.unknowable.insert(kind.to_owned(), why);
        let named = self.by_target.iter().filter(|(target, _)| target.kind == kind);
        let keys: Vec<ServiceKey> = named.flat_map(|(_, services)| services.iter().cloned()).collect();
        for key in keys {
            self.tell(&key);
        }
        self.complete_if_so();
    }

    /// Returns the names of the known pods, to find out which were deleted.
    pub(crate) fn known_pods(&self) -> Vec<(String, String)> {
        let each = |(namespace, pods): (&String, &BTreeMap<String, _>)| {
            pods.keys().map(|name| (namespace.clone(), name.clone())).collect::<Vec<_>>()
        };
        self.pods.iter().flat_map(each).collect()
    }

    pub(crate) fn known_services(&self) -> Vec<ServiceKey> {
        self.services.keys().cloned().collect()
    }

    pub(crate) fn known_slices(&self) -> Vec<(ServiceKey, String)> {
        let each = |(service, slices): (&ServiceKey, &BTreeMap<String, _>)| {
            slices.keys().map(|name| (service.clone(), name.clone())).collect::<Vec<_>>()
        };
        self.slices.iter().flat_map(each).collect()
    }

    pub(crate) fn known_targets(&self, kind: &str) -> Vec<TargetKey> {
        self.targets.keys().filter(|target| target.kind == kind).cloned().collect()
    }

    /// Records that writes for a service keep failing.
    pub(crate) fn cannot_write(&mut self, service: &ServiceKey, why: &str) {
        if let Some(record) = self.services.get(service) {
            self.notices.push(record.notice(true, "CannotWrite", why.to_owned()));
        }
    }

    /// Sets the endpoints that the service's traffic should go to. Returns whether the service is Ebb's.
    pub(crate) fn want(&mut self, service: &ServiceKey, endpoints: Endpoints) -> bool {
        let record = self.services.get_mut(service).filter(|record| record.front().is_some());
        let Some(record) = record else { return false };
        record.wanted = Some(endpoints);
        self.touch(service);
        true
    }

    /// Records that `pods` were written to the scale target of `service`.
    pub(crate) fn scaled(&mut self, service: &ServiceKey, pods: u32) {
        if let Some(record) = self.services.get_mut(service) {
            record.scaled(pods);
        }
    }

    /// Records that requests for `service` gave up, because no pod answered any activator.
    pub(crate) fn unanswered(&mut self, service: &ServiceKey, now: Tick) {
        let record = self.services.get_mut(service);
        self.notices.extend(record.and_then(|record| record.unanswered(now)));
    }

    fn complete_if_so(&mut self) {
        if self.complete {
            return;
        }
        let kinds = self.kinds().filter(|kind| !self.unknowable.contains_key(*kind));
        let kinds = kinds.map(|kind| Listing::Targets(kind.to_owned()));
        let is_known = |listing: &Listing| {
            self.listed.contains(listing)
                // Without Namespaces no host is granted, and everything else works.
                || *listing == Listing::Namespaces && self.unknowable.contains_key(listing.kind())
        };
        let always =
            [Listing::Services, Listing::Pods, Listing::Slices, Listing::Namespaces, Listing::Settings];
        // Check these first: until they are known, not all services need to be examined.
        if always.into_iter().chain(kinds).all(|listing| is_known(&listing)) {
            self.complete = true;
            // Nothing was written so far, whatever was wanted.
            self.touched.extend(self.services.keys().cloned());
            // On the event that everything is known, its receiver forgets what it was not told before.
            let news = self.host_news();
            self.events.extend(news);
            self.events.push(FleetEvent::Complete);
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    fn touch(&mut self, service: &ServiceKey) {
        if self.services.contains_key(service) {
            self.touched.insert(service.clone());
        }
    }

    /// Reads what the service requests.
    fn read(&mut self, key: &ServiceKey) {
        let Some(record) = self.services.get(key) else { return };
        let verdict = claim::read(&record.object, &self.defaults);
        let told = self.events.len();
        if let Some(verdict) = self.read_route(key, verdict) {
            self.read_scaled(key, verdict);
        }
        // A service that changes its kind continues to exist for the autoscaler.
        if self.services.get(key).is_some_and(|record| record.front().is_some()) {
            let news = self.events.split_off(told);
            let is_gone = |event: &FleetEvent| matches!(event, FleetEvent::Gone(gone) if gone == key);
            self.events.extend(news.into_iter().filter(|event| !is_gone(event)));
        }
        self.read_hosts(key);
        self.tell_routes_to(key);
        self.touch(key);
    }

    /// Reads what a Service requests that is not a route.
    fn read_scaled(&mut self, key: &ServiceKey, verdict: Verdict) {
        let Some(record) = self.services.get(key) else { return };
        let (claim, releasing, reasons) = match verdict {
            Verdict::Ours(claim) => (Some(claim), None, Vec::new()),
            Verdict::NotOurs | Verdict::Route(_) => (None, None, Vec::new()),
            Verdict::Released(selector) => (None, Some(selector), Vec::new()),
            Verdict::Refused(refused) => (refused.rest, None, refused.reasons),
        };
        let is_ours = claim.is_some();
        // It is served as before until the fault is corrected, or until Kubernetes' own controllers have taken over.
        let has_slices = self.has_own_slices(key) || record.left_at.is_some();
        let kept = record.claim.clone().filter(|_| has_slices || !reasons.is_empty() && record.is_held());
        let is_left = self.releases && !has_slices && !record.is_held();
        let claim = match (claim, kept) {
            // It was given back, and is not taken again.
            (Some(_), _) if is_left => None,
            (Some(_), Some(kept)) if !reasons.is_empty() => Some(kept),
            (Some(claim), _) => Some(Arc::from(claim)),
            (None, kept) => kept,
        };
        let releasing = match (releasing, is_ours && self.releases, &claim) {
            (Some(selector), ..) => Some(selector),
            (None, true, Some(claim)) => Some(claim.selector.clone()),
            // It was given back; its last slices remain to be deleted.
            (None, _, Some(claim)) if !is_ours && reasons.is_empty() => Some(claim.selector.clone()),
            // It cannot be served and never was: if Ebb keeps its selector, it is restored.
            (None, _, None) if !reasons.is_empty() => record.kept_selector(),
            (None, ..) => None,
        };
        self.set_reasons(key, reasons);
        let Some(record) = self.services.get_mut(key) else { return };
        record.releasing = releasing;
        match claim {
            Some(claim) => self.claim(key, &claim),
            None => self.unclaim(key),
        }
    }

    fn has_own_slices(&self, key: &ServiceKey) -> bool {
        let slices = self.slices.get(key).into_iter().flatten();
        slices.into_iter().any(|(_, slice)| slice.manager == super::facts::Manager::Ebb)
    }

    fn claim(&mut self, key: &ServiceKey, claim: &Arc<Claim>) {
        let Some(record) = self.services.get_mut(key) else { return };
        let before = record.claim.replace(claim.clone());
        if record.releasing.is_none() {
            record.left_at = None;
        }
        let target = |target: &ScaleTarget| TargetKey::new(key, target);
        if let Some(before) = before.as_ref().filter(|before| before.target != claim.target) {
            forget(&mut self.by_target, &target(&before.target), key);
        }
        let sharing = self.by_target.entry(target(&claim.target)).or_default();
        if sharing.insert(key.clone()) {
            self.touched.extend(sharing.iter().cloned());
        }
        self.claimed.entry(key.namespace.clone()).or_default().insert(key.name.clone());
        if before.is_none_or(|before| before.selector != claim.selector) {
            let pods = self.pods.get(&key.namespace).into_iter().flatten();
            let own = pods.filter(|(_, pod)| selects(&claim.selector, &pod.labels));
            record.pods = own.map(|(name, pod)| (name.clone(), pod.clone())).collect();
        }
        self.allocate(key, claim.activator_port);
        self.tell(key);
        self.complete_if_so();
    }

    /// Ensures that activators have a port for the service, whose annotation is `written`.
    fn allocate(&mut self, key: &ServiceKey, written: Option<NonZeroU16>) {
        let Some(record) = self.services.get_mut(key) else { return };
        let port = match written.map(u16::from).or(record.port) {
            // Ports written on other services come first: they may be in use.
            None if !self.listed.contains(&Listing::Services) => None,
            known => {
                let port = self.ports.port(key, known);
                if port.is_none() {
                    self.notices.extend(record.no_port());
                }
                port
            }
        };
        if let Some(before) = record.port.filter(|before| Some(*before) != port) {
            self.ports.free(key, before);
        }
        record.port = port;
    }

    /// Removes Ebb's claim to the service.
    fn unclaim(&mut self, key: &ServiceKey) {
        let Some(record) = self.services.get_mut(key) else { return };
        let Some(claim) = record.claim.take() else { return };
        let target = TargetKey::new(key, &claim.target);
        forget(&mut self.by_target, &target, key);
        self.touched.extend(self.by_target.get(&target).into_iter().flatten().cloned());
        if let Some(names) = self.claimed.get_mut(&key.namespace) {
            names.remove(&key.name);
            if names.is_empty() {
                self.claimed.remove(&key.namespace);
            }
        }
        self.let_go(key);
        self.complete_if_so();
    }

    /// Forgets a service and tells the autoscaler that it is gone.
    fn let_go(&mut self, key: &ServiceKey) {
        let Some(record) = self.services.get_mut(key) else { return };
        if let Some(port) = record.port.take() {
            self.ports.free(key, port);
        }
        record.forget();
        self.read_hosts(key);
        self.events.push(FleetEvent::Gone(key.clone()));
        self.tell_routes_to(key);
    }

    /// Sets what is wrong with a service now.
    fn set_reasons(&mut self, key: &ServiceKey, reasons: Vec<String>) {
        if let Some(record) = self.services.get_mut(key) {
            self.notices.extend(record.set_reasons(reasons));
        }
    }

    /// Sends the autoscaler what it does not know yet of a service.
    fn tell(&mut self, key: &ServiceKey) {
        let Some(record) = self.services.get_mut(key) else { return };
        let Some(claim) = &record.claim else { return };
        let target = TargetKey::new(key, &claim.target);
        let facts = self.targets.get(&target);
        let seen = match facts {
            Some(facts) => Seen::There(facts),
            None if self.listed.contains(&Listing::Targets(target.kind.clone())) => Seen::Missing(&target),
            None if self.unknowable.contains_key(&target.kind) => Seen::Unknowable,
            None => Seen::NotYet,
        };
        self.events.extend(record.news(key, &seen));
        self.notices.extend(record.pods_notices(facts));
        self.touch(key);
    }

    /// Returns the pod with an address.
    fn whose(&self, ip: IpAddr) -> Option<(&str, &PodFacts)> {
        let (namespace, name) = self.by_ip.get(&ip)?;
        let (name, pod) = self.pods.get(namespace)?.get_key_value(name)?;
        Some((name, pod))
    }

    /// Returns the addresses of other autoscalers: the pods of `namespace` with that label.
    pub(crate) fn addresses(&self, namespace: &str, label: (&str, &str), port: u16) -> Vec<SocketAddr> {
        let own = self.labelled(namespace, label);
        own.filter_map(|pod| Some(SocketAddr::new(*pod.ips.first()?, port))).collect()
    }

    /// Returns the addresses of the pods of `namespace` with that label, and whether each is ready.
    pub(crate) fn readiness(&self, namespace: &str, label: (&str, &str)) -> Vec<(IpAddr, bool)> {
        let own = self.labelled(namespace, label);
        own.flat_map(|pod| pod.ips.iter().map(|ip| (*ip, pod.ready))).collect()
    }

    fn labelled(&self, namespace: &str, label: (&str, &str)) -> impl Iterator<Item = &Arc<PodFacts>> {
        let pods = self.pods.get(namespace).into_iter().flat_map(BTreeMap::values);
        pods.filter(move |pod| pod.labels.get(label.0).is_some_and(|value| value == label.1))
    }
}

/// Returns the resource version, which the API server increases with each change.
fn version(service: &Service) -> u64 {
    service.metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Removes `key` from the entry that an index has for `target`.
fn forget<T: Eq + Hash>(index: &mut HashMap<T, BTreeSet<ServiceKey>>, target: &T, key: &ServiceKey) {
    if let Some(services) = index.get_mut(target) {
        services.remove(key);
        if services.is_empty() {
            index.remove(target);
        }
    }
}
