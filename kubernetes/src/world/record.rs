use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use ebb_annotations::{ScalingSpec, Sidecar};
use ebb_cluster::Notice;
use ebb_core::{ServiceKey, Tick};
use k8s_openapi::api::core::v1::Service;

use super::{
    http_routes::TLS_AT_GATEWAY,
    in_effect::InEffect,
    ledger::{Ledger, MISSING_FOR, Warning},
    rollout,
};
use crate::{
    claim::{self, Change, Claim, Frontend, Labels, RouteClaim},
    facts::{PodFacts, SidecarFacts, TargetFacts, TargetKey},
    slices::resolve,
};
use ebb_decide::platform::FleetEvent;
use ebb_decide::{
    Pod, PodAddress,
    endpoints::Endpoints,
    route::{Keep, Split, rollout::Progress},
};

/// How long an app must have run before it is reported as not listening: reports of requests that gave up are up to a
/// second old, and Kubernetes' times are whole seconds.
const RUNS_FOR: Duration = Duration::from_secs(3);

/// What is known of a Service's scale target.
#[derive(Debug)]
pub(super) enum Seen<'a> {
    There(&'a TargetFacts),
    Missing(&'a TargetKey),
    /// Objects of its kind cannot be watched.
    Unknowable,
    NotYet,
}

/// The state of one Service.
#[derive(Debug)]
pub(super) struct Record {
    /// The object, reduced to what identifies it if it is not Ebb's.
    pub(super) object: Service,
    /// The claim by which it is served; `None` if it is not Ebb's.
    pub(super) claim: Option<Arc<Claim>>,
    /// The route, if it is one and is not served by pods of its own.
    pub(super) route: Option<Arc<RouteClaim>>,
    /// Whether it is no longer a route, but remains one until no client is sent to activators on its port.
    pub(super) route_ends: bool,
    /// What is wrong with the services of its split, and since when anything is.
    troubles: Vec<String>,
    troubled_since: Option<Tick>,
    /// The troubles that its owner was told.
    told_troubles: Vec<String>,
    /// The hosts that it requests and does not have, each with the reason of its Event.
    refused_hosts: Vec<Warning>,
    /// The progress of its rollout to write on it, since this autoscaler leads; `None` keeps what is written there.
    kept: Option<Keep>,
    /// The selector to restore, while it is given back to Kubernetes' own controllers.
    pub(super) releasing: Option<Labels>,
    pub(super) releasing_since: Option<Tick>,
    /// What is wrong with it.
    pub(super) reasons: Vec<String>,
    pub(super) pods: BTreeMap<String, Arc<PodFacts>>,
    /// The port on which activators take its requests.
    pub(super) port: Option<u16>,
    /// The endpoints that its traffic should go to.
    pub(super) wanted: Option<Endpoints>,
    /// While a write is under way: the slices that the watch has reported since it began.
    pub(super) told_slices: Option<BTreeSet<String>>,
    /// Since when its slices exist, whatever their content.
    pub(super) placed_at: Option<Tick>,
    /// Since when no slices of others exist.
    pub(super) cleared_at: Option<Tick>,
    /// Since when none of Ebb's slices exist, while it is given back.
    pub(super) left_at: Option<Tick>,
    /// Since when the cluster's own slices take traffic.
    pub(super) cluster_ready_since: Option<Tick>,
    /// Whether its pods were restarted.
    pub(super) restarted: bool,
    told_service: Option<(Arc<ScalingSpec>, u16)>,
    told_route: Option<(Arc<Split>, u16)>,
    /// The digest of what was told about its pods.
    told_pods: Option<u64>,
    /// Whether activators have applied what it asks for.
    pub(super) in_effect: InEffect,
    /// What its owner was told.
    ledger: Ledger,
}

impl Record {
    pub(super) fn new(object: Service) -> Self {
        Self {
            object,
            claim: None,
            route: None,
            route_ends: false,
            troubles: Vec::new(),
            troubled_since: None,
            told_troubles: Vec::new(),
            refused_hosts: Vec::new(),
            kept: None,
            releasing: None,
            releasing_since: None,
            reasons: Vec::new(),
            pods: BTreeMap::new(),
            port: None,
            wanted: None,
            told_slices: None,
            placed_at: None,
            cleared_at: None,
            left_at: None,
            cluster_ready_since: None,
            restarted: false,
            told_service: None,
            told_route: None,
            told_pods: None,
            in_effect: InEffect::default(),
            ledger: Ledger::default(),
        }
    }

    /// Forgets everything, because it is no longer Ebb's.
    pub(super) fn forget(&mut self) {
        let object = std::mem::take(&mut self.object);
        let reasons = std::mem::take(&mut self.reasons);
        *self = Self { reasons, ..Self::new(object) };
    }

    /// Returns its frontend, if it is Ebb's.
    pub(super) fn front(&self) -> Option<&Frontend> {
        let of_route = || self.route.as_ref().map(|route| &route.front);
        self.claim.as_ref().map(|claim| &claim.front).or_else(of_route)
    }

    /// Returns whether Ebb keeps its selector.
    pub(super) fn is_held(&self) -> bool {
        self.kept_selector().is_some()
    }

    /// Returns whether it has a selector, by which Kubernetes' own controllers find its pods.
    pub(super) fn has_selector(&self) -> bool {
        claim::own_selector(&self.object).is_some()
    }

    /// Returns the selector that Ebb keeps for it; `None` if its own is in place.
    pub(super) fn kept_selector(&self) -> Option<Labels> {
        claim::kept_selector(&self.object)
    }

    pub(super) fn notice(&self, is_warning: bool, reason: &'static str, text: String) -> Notice {
        let ServiceKey { namespace, name } = claim::key(&self.object);
        let uid = self.object.metadata.uid.clone().unwrap_or_default();
        Notice { api_version: "v1", kind: "Service", namespace, name, uid, is_warning, reason, text }
    }

    /// Sets what is wrong with it now.
    pub(super) fn set_reasons(&mut self, reasons: Vec<String>) -> Option<Notice> {
        if self.reasons == reasons {
            return None;
        }
        self.reasons = reasons;
        let text = self.reasons.join("\n");
        (!self.reasons.is_empty()).then(|| self.notice(true, "InvalidService", text))
    }

    /// Records that no port is left for it.
    pub(super) fn no_port(&mut self) -> Option<Notice> {
        let warning = self.ledger.no_port()?;
        Some(self.warning(warning))
    }

    fn warning(&self, (reason, text): Warning) -> Notice {
        self.notice(true, reason, text)
    }

    /// Returns the value of its status annotation.
    pub(super) fn status(&self) -> Option<String> {
        let stopped = self.progress().as_ref().and_then(rollout::stopped);
        let hosts = self.refused_hosts.iter().map(|(_, text)| text);
        let of_others = self.reasons.iter().chain(&self.told_troubles).chain(hosts);
        let all = of_others.chain(self.ledger.missing()).chain(&stopped);
        let all: Vec<&str> = all.map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Returns why what it asks for is not in effect, with the reason of the first cause, in the words of its status
    /// annotation.
    pub(super) fn wrong(&self) -> Option<Warning> {
        let no_port = (self.port.is_none() && self.ledger.is_told_of_no_port()).then(Ledger::no_port_is_left);
        let refused = self.reasons.iter().map(|text| ("Refused", text));
        let troubles = self.told_troubles.iter().map(|text| ("SplitTarget", text));
        // The Gateway, which has the hosts, has their certificate.
        let hosts = self.refused_hosts.iter().filter(|(reason, _)| *reason != TLS_AT_GATEWAY);
        let hosts = hosts.map(|(reason, text)| (*reason, text));
        let no_ports = no_port.iter().map(|(reason, text)| (*reason, text));
        let (reasons, texts): (Vec<&str>, Vec<&str>) = refused
            .chain(no_ports)
            .chain(troubles)
            .chain(hosts)
            .map(|(reason, text)| (reason, &**text))
            .unzip();
        Some((*reasons.first()?, texts.join("; ")))
    }

    /// Returns what is wrong with the services of its split, whether told or not.
    pub(super) fn troubles(&self) -> Option<String> {
        (!self.troubles.is_empty()).then(|| self.troubles.join("; "))
    }

    /// Returns the progress of its rollout; `None` if it is not a route, or none is known.
    fn progress(&self) -> Option<Progress> {
        self.route.as_ref().filter(|_| !self.route_ends)?;
        match &self.kept {
            Some(Keep(progress)) => progress.clone(),
            None => claim::progress(&self.object),
        }
    }

    /// Sets the progress of its rollout to write on it. Returns what to tell its owner.
    pub(super) fn keep(&mut self, progress: Option<Progress>) -> Vec<Notice> {
        let before = self.progress();
        self.kept = Some(Keep(progress));
        let over = self.route.as_ref().and_then(|route| route.spec.split_duration);
        let told = rollout::news(before.as_ref(), self.progress().as_ref(), over);
        told.into_iter().map(|(is_warning, reason, text)| self.notice(is_warning, reason, text)).collect()
    }

    /// Adds the progress of its rollout to `change`. Until that is known, the annotation stays as it is.
    pub(super) fn write_rollout(&self, change: &mut Change) {
        if let Some(Keep(progress)) = &self.kept {
            change.set_rollout(&self.object, progress.as_ref().map(Progress::text));
        }
    }

    /// Forgets the progress to write, because another autoscaler leads.
    pub(super) fn forget_kept(&mut self) {
        self.kept = None;
    }

    /// Records that `pods` were written to its scale target.
    pub(super) fn scaled(&mut self, pods: u32) {
        self.ledger.scaled(pods);
    }

    /// Records the state of its scale target.
    pub(super) fn replicas_seen(&mut self, facts: &TargetFacts) -> Option<Notice> {
        let warning = self.ledger.replicas_seen(facts)?;
        Some(self.warning(warning))
    }

    /// Returns the events that the autoscaler has not received yet.
    pub(super) fn news(&mut self, key: &ServiceKey, seen: &Seen<'_>) -> Vec<FleetEvent> {
        let (Some(claim), Some(port)) = (&self.claim, self.port) else { return Vec::new() };
        let mut news = Vec::new();
        let spec = match &self.releasing {
            // Scale to one pod, so that Kubernetes' own controllers find an endpoint.
            Some(_) if claim.spec.min_scale == 0 => {
                Arc::new(ScalingSpec { min_scale: 1, ..(*claim.spec).clone() })
            }
            _ => claim.spec.clone(),
        };
        if self.told_service.as_ref().is_none_or(|told| *told != (spec.clone(), port)) {
            self.told_service = Some((spec.clone(), port));
            news.push(FleetEvent::Service { key: key.clone(), spec, port });
        }
        let replicas = match seen {
            Seen::There(facts) => facts.replicas,
            Seen::Missing(_) => 0,
            // Assume the pods that exist.
            Seen::Unknowable => u32::try_from(self.pods.len()).unwrap_or(u32::MAX),
            Seen::NotYet => return news,
        };
        let pods: Vec<Pod> = self.pods.iter().filter_map(|(name, facts)| pod(name, facts, claim)).collect();
        let trouble = self.trouble_of(seen);
        let mut hasher = DefaultHasher::new();
        for pod in &pods {
            (&pod.name, pod.serving(), &pod.nonce, pod.direct, pod.ready).hash(&mut hasher);
        }
        (replicas, &trouble).hash(&mut hasher);
        let digest = hasher.finish();
        if self.told_pods.replace(digest) != Some(digest) {
            news.push(FleetEvent::Pods { key: key.clone(), pods, replicas, trouble });
        }
        news
    }

    /// Returns the event about it as a route, if the autoscaler has not received it yet.
    pub(super) fn route_news(&mut self, key: &ServiceKey, split: Arc<Split>) -> Option<FleetEvent> {
        let port = self.port?;
        if self.told_route.as_ref().is_some_and(|told| *told == (split.clone(), port)) {
            return None;
        }
        self.told_route = Some((split.clone(), port));
        Some(FleetEvent::Route { key: key.clone(), split, port })
    }

    /// Sets the hosts that it does not have, and why. Returns what to tell.
    pub(super) fn set_refused_hosts(&mut self, refused: Vec<Warning>) -> Vec<Notice> {
        let before = std::mem::replace(&mut self.refused_hosts, refused);
        let news = self.refused_hosts.iter().filter(|warning| !before.contains(warning));
        news.map(|warning| self.warning(warning.clone())).collect()
    }

    /// Sets what is wrong with the services of its split.
    pub(super) fn set_troubles(&mut self, troubles: Vec<String>) {
        if troubles.is_empty() {
            (self.troubled_since, self.told_troubles) = (None, Vec::new());
        }
        self.troubles = troubles;
    }

    /// Returns what to tell about those services, once, or how long to wait until then: they may be created after the
    /// route.
    pub(super) fn troubled(&mut self, now: Tick) -> Result<Option<Notice>, Duration> {
        if self.troubles == self.told_troubles {
            return Ok(None);
        }
        let since = *self.troubled_since.get_or_insert(now);
        let rest = MISSING_FOR.saturating_sub(now.since(since));
        if !rest.is_zero() {
            return Err(rest);
        }
        self.told_troubles.clone_from(&self.troubles);
        Ok(Some(self.notice(true, "SplitTarget", self.troubles.join("\n"))))
    }

    /// Returns why there are fewer pods than wanted, in words for users.
    fn trouble_of(&self, seen: &Seen<'_>) -> String {
        let pods = self.pods.iter().filter(|(_, pod)| !pod.ready);
        let of_pods = pods.filter_map(|(name, pod)| Some(format!("pod {name}: {}", pod.trouble.as_ref()?)));
        let of_target = match seen {
            Seen::There(facts) => facts.trouble.clone(),
            Seen::Missing(target) => Some(format!("ebb.dev/scale-target: {target} does not exist")),
            Seen::Unknowable | Seen::NotYet => None,
        };
        of_pods.chain(of_target).next().unwrap_or_default()
    }

    /// Records that its scale target is missing, for the reason in `text`, or exists. Returns what to tell, or how
    /// long to wait until then.
    pub(super) fn missing(&mut self, text: Option<String>, now: Tick) -> Result<Option<Notice>, Duration> {
        let warning = self.ledger.missing_target(text, now)?;
        Ok(warning.map(|warning| self.warning(warning)))
    }

    /// Returns what to tell if its app runs and takes no requests, once for each start, or how long to wait until
    /// then. If one pod is ready, the app is known to listen.
    pub(super) fn not_listening(&mut self, now: Tick) -> Result<Option<Notice>, Duration> {
        let Some(claim) = &self.claim else { return Ok(None) };
        if self.pods.values().any(|pod| pod.ready) {
            return Ok(None);
        }
        let Some((since, name, pod)) = self.longest_running() else { return Ok(None) };
        let passed = now.since(since);
        let rest = claim.spec.progress_deadline.saturating_sub(passed);
        if !rest.is_zero() {
            return Err(rest);
        }
        if self.ledger.deaf().is_some_and(|told| *told == (name.to_owned(), since)) {
            return Ok(None);
        }
        let text = format!(
            "{}; or raise serving.knative.dev/progress-deadline if it takes longer to start",
            deaf(name, pod, passed, claim)
        );
        let name = name.to_owned();
        let warning = self.ledger.not_listening(&name, since, text);
        Ok(Some(self.warning(warning)))
    }

    /// Records that requests gave up because no pod answered any activator. Returns what to tell, once for the same
    /// pods. Kubernetes calls a pod without a readiness probe ready even if its app never listens.
    pub(super) fn unanswered(&mut self, now: Tick) -> Option<Notice> {
        let claim = self.claim.as_ref().filter(|_| self.releasing.is_none())?;
        // A later pod of the same name is another one.
        let is_told = self
            .ledger
            .deaf()
            .is_some_and(|(name, since)| self.pods.get(name).is_some_and(|pod| pod.started_at <= *since));
        // The owner was already told what keeps pods from starting.
        if is_told || !self.ledger.trouble().is_empty() {
            return None;
        }
        let (since, name, pod) = self.longest_running()?;
        let passed = now.since(since);
        // A pod that is not ready may need long to start.
        let enough = if pod.ready { RUNS_FOR } else { claim.spec.serving.activation_deadline / 2 };
        if passed < enough {
            return None;
        }
        let text = format!(
            "no pod answered requests before their deadline: {}; or raise ebb.dev/activation-deadline if it takes longer \
             to start",
            deaf(name, pod, passed, claim)
        );
        let name = name.to_owned();
        let warning = self.ledger.not_listening(&name, since, text);
        Some(self.warning(warning))
    }

    /// Returns the scale target's pod that has run longest, and since when.
    fn longest_running(&self) -> Option<(Tick, &str, &PodFacts)> {
        let target = &self.claim.as_ref()?.target;
        let own = self.pods.iter().filter(|(_, pod)| pod.is_of(target));
        let running = own.filter_map(|(name, pod)| Some((pod.runs_since?, &**name, &**pod)));
        running.min_by_key(|(since, ..)| *since)
    }

    /// Returns its pods that a rollout would give a sidecar.
    pub(super) fn bare_pods(&self) -> impl Iterator<Item = &PodFacts> {
        let target = self.claim.as_ref().map(|claim| &claim.target);
        let of_target = move |pod: &&Arc<PodFacts>| target.is_some_and(|target| pod.is_of(target));
        self.pods.values().filter(|pod| pod.sidecar.is_none()).filter(of_target).map(|pod| &**pod)
    }

    /// Returns what to tell about its pods, each problem once each time it arises.
    pub(super) fn pods_notices(&mut self, facts: Option<&TargetFacts>) -> Vec<Notice> {
        let Some(claim) = self.claim.clone() else { return Vec::new() };
        let trouble = self.trouble_of(&facts.map_or(Seen::NotYet, Seen::There));
        let bare = self.bare_pods().filter(|pod| pod.ready).count();
        let is_bare = bare > 0 && claim.sidecar != Sidecar::None && self.releasing.is_none();
        let of_bare = || {
            format!(
                "{bare} pods have no queue-proxy: they serve, and only activators count their requests; a rollout \
                 of {} gives them one (ebb.dev/restart: \"true\" has Ebb do it)",
                claim.target
            )
        };
        let warnings = [self.ledger.pods_cannot_start(trouble), self.ledger.bare_pods(is_bare, of_bare)];
        warnings.into_iter().flatten().map(|warning| self.warning(warning)).collect()
    }
}

/// Describes that an app runs and takes no requests, possible causes, and what to do.
fn deaf(name: &str, pod: &PodFacts, passed: Duration, claim: &Claim) -> String {
    let port =
        pod.sidecar.as_ref().and_then(|sidecar| sidecar.app).or(resolve(&claim.front.port.target, pod));
    let port = port.map_or("its port".to_owned(), |port| format!("port {port}"));
    // If a pod is called ready, only activators know that it does not answer.
    let (is, or) = if pod.ready {
        (
            "is marked ready, but did not answer an activator",
            "ebb.dev/readiness-path fails, or the network blocks activators",
        )
    } else {
        ("is not ready", "its readiness probe fails")
    };
    format!(
        "pod {name} has run for {} s and {is}: its app does not listen on {port}, or {or}; make it listen on {port} \
         of 0.0.0.0, or correct the Service's targetPort (ebb.dev/port says which of several ports counts)",
        passed.as_secs()
    )
}

/// Returns a pod as the autoscaler knows it; `None` if it has no address for requests, now or later.
fn pod(name: &str, facts: &PodFacts, claim: &Claim) -> Option<Pod> {
    let ip = facts.ips.first().copied();
    let at = |port| ip.map(|ip| SocketAddr::new(ip, port));
    let app = resolve(&claim.front.port.target, facts);
    // A pod may belong to several Services with different target ports, but its sidecar forwards to only one port.
    let leads_elsewhere = |sidecar: &SidecarFacts| sidecar.app.is_some_and(|port| app != Some(port));
    let (address, nonce, direct) = match facts.sidecar.as_ref().filter(|sidecar| !leads_elsewhere(sidecar)) {
        // The sidecar would report that the app listens, not that it is ready.
        Some(sidecar) if sidecar.ready_by_kubelet && !facts.ready => return None,
        // The sidecar looked until the app was ready, and then no more.
        Some(_) if facts.has_lost_readiness => return None,
        Some(sidecar) => {
            let address = at(sidecar.serving).zip(at(sidecar.stats));
            (address.map(|(serving, stats)| PodAddress { serving, stats }), sidecar.nonce.clone(), false)
        }
        None => {
            // Without a sidecar, only the cluster knows when it is ready.
            let port = app.filter(|_| facts.ready)?;
            let serving = at(port)?;
            (Some(PodAddress { serving, stats: serving }), String::new(), true)
        }
    };
    Some(Pod {
        name: name.to_owned(),
        ready: facts.ready && address.is_some(),
        address,
        nonce,
        direct,
        started_at: facts.started_at,
    })
}
