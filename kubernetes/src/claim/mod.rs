//! What a Service asks of Ebb: read from the object alone, and refused with a reason where that cannot be.

mod change;
#[cfg(test)]
pub(crate) mod fixtures;
mod ports;
mod route;
mod selector;
mod table;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, num::NonZeroU16, sync::Arc};

use ebb_annotations::{
    ClusterDefaults, Exposure, Fault, Parsed, Reachability, ScaleTarget, ScalingSpec, Sidecar, is_route,
    keys, parse, usable_hosts,
};
use ebb_core::{ServiceKey, Tick};
use k8s_openapi::{
    api::core::v1::{Service, ServiceSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::facts;

pub(crate) use change::Change;
pub(crate) use ports::{Port, Target};
pub(crate) use route::{RouteClaim, progress};
pub(crate) use selector::{Labels, selects};
pub use table::Claims;

/// What a Service asks of Ebb.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Nothing, and there is nothing of ours on it.
    NotOurs,
    /// No more: it is to have its selector back.
    Released(Labels),
    /// It asks, and cannot be served as it is.
    Refused(Refused),
    /// To be scaled.
    Ours(Box<Claim>),
    /// To divide its requests between others.
    Route(Box<RouteClaim>),
}

/// What clients see of a Service, whatever is behind it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frontend {
    pub(crate) key: ServiceKey,
    pub(crate) uid: String,
    /// The port whose requests are counted.
    pub(crate) port: Port,
    /// The others, which lead straight to the pods.
    pub(crate) others: Vec<Port>,
    /// Address families, `IPv4` or `IPv6`, the first one first.
    pub(crate) families: Vec<String>,
    /// When the Service was created.
    pub(crate) created: Tick,
    /// How it is reached through the gateway.
    pub(crate) exposure: Exposure,
}

/// Why a Service cannot be served as it asks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refused {
    /// Everything that is wrong, each with what would be right.
    pub(crate) reasons: Vec<String>,
    /// What is left to serve by, where Ebb publishes its endpoints already: without the annotations at fault.
    pub(crate) rest: Option<Box<Claim>>,
    /// What is left to divide requests by: the last valid split.
    pub(crate) route: Option<Box<RouteClaim>>,
}

/// A Service that is Ebb's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claim {
    pub(crate) front: Frontend,
    pub(crate) spec: Arc<ScalingSpec>,
    pub(crate) target: ScaleTarget,
    /// Which pods are its own.
    pub(crate) selector: Labels,
    /// Whether the selector stands where Kubernetes' own controllers read it.
    pub(crate) selector_in_place: bool,
    pub(crate) activator_port: Option<NonZeroU16>,
    pub(crate) sidecar: Sidecar,
    pub(crate) mount_token: Option<bool>,
    pub(crate) restart: bool,
    /// What the status annotation says now.
    pub(crate) status: Option<String>,
    /// Annotations that have no effect.
    pub(crate) warnings: Vec<String>,
}

/// What `service` asks of Ebb, where the cluster says `defaults`.
pub(crate) fn read(service: &Service, defaults: &ClusterDefaults) -> Verdict {
    let empty = BTreeMap::new();
    let annotations = service.metadata.annotations.as_ref().unwrap_or(&empty);
    let kept = annotations.get(keys::SELECTOR.name).and_then(|text| selector::from_text(text));
    if is_route(annotations) {
        return route::read(service, annotations);
    }
    if !annotations.contains_key(keys::SCALE_TARGET.name) {
        return match kept {
            Some(selector) => Verdict::Released(own_selector(service).unwrap_or(selector)),
            None => Verdict::NotOurs,
        };
    }
    let parsed = parse(annotations, defaults, Reachability::Reachable);
    let texts = |faults: Vec<Fault>| faults.iter().map(Fault::to_string).collect();
    let claimed = parsed
        .map_err(texts)
        .and_then(|parsed: Parsed| claim(service, parsed, kept.clone()).map_err(|reason| vec![reason]));
    match claimed {
        Ok(claim) => Verdict::Ours(Box::new(claim)),
        Err(mut reasons) => {
            // All faults at once: those of the object beside those of its annotations.
            let rest = without_faults(annotations, defaults).map(|rest| claim(service, rest, kept.clone()));
            if let Some(Err(reason)) = &rest
                && !reasons.contains(reason)
            {
                reasons.push(reason.clone());
            }
            let is_held = own_selector(service).is_none() && kept.is_some();
            let rest = rest.and_then(Result::ok).filter(|_| is_held).map(Box::new);
            Verdict::Refused(Refused { reasons, rest, route: None })
        }
    }
}

/// What the annotations say that are not at fault; `None` if the scale target is.
fn without_faults(annotations: &BTreeMap<String, String>, defaults: &ClusterDefaults) -> Option<Parsed> {
    let mut rest = annotations.clone();
    loop {
        match parse(&rest, defaults, Reachability::Reachable) {
            Ok(parsed) => return Some(parsed),
            Err(faults) => {
                let before = rest.clone();
                drop_faults(&mut rest, &faults);
                if rest == before || !rest.contains_key(keys::SCALE_TARGET.name) {
                    return None;
                }
            }
        }
    }
}

/// Takes away what is at fault. Of a list of hosts only those names go that cannot be used: one slip is to cost no other.
fn drop_faults(annotations: &mut BTreeMap<String, String>, faults: &[Fault]) {
    let hosts = annotations.get(keys::HOSTS.name).map(|text| usable_hosts(text));
    let is_at_fault = |key: &str| faults.iter().any(|fault| fault.key == key);
    let usable = hosts.filter(|hosts| is_at_fault(keys::HOSTS.name) && !hosts.is_empty());
    let usable = usable.filter(|hosts| annotations.get(keys::HOSTS.name) != Some(hosts));
    annotations.retain(|key, _| !is_at_fault(key));
    annotations.extend(usable.map(|hosts| (keys::HOSTS.name.to_owned(), hosts)));
}

fn claim(service: &Service, parsed: Parsed, kept: Option<Labels>) -> Result<Claim, String> {
    let spec = service.spec.as_ref().ok_or("the Service has no spec")?;
    suits(spec)?;
    let in_place = own_selector(service);
    let selector_in_place = in_place.is_some();
    let selector = in_place.or(kept).ok_or(
        "the Service has no selector, so Ebb cannot know its pods; give it one, or remove ebb.dev/scale-target",
    )?;
    let binding = parsed.binding;
    let target = binding.scale_target.ok_or("ebb.dev/scale-target is missing")?;
    let front = Frontend::read(service, spec, binding.port.as_deref(), parsed.exposure)?;
    let mut spec = parsed.spec;
    spec.serving.app_protocol = spec.serving.app_protocol.or_else(|| front.port.http_version());
    let annotations = service.metadata.annotations.as_ref();
    Ok(Claim {
        front,
        spec: Arc::new(spec),
        target,
        selector,
        selector_in_place,
        activator_port: binding.activator_port,
        sidecar: binding.sidecar,
        mount_token: binding.mount_token,
        restart: binding.restart,
        status: annotations.and_then(|all| all.get(keys::STATUS.name)).cloned(),
        warnings: parsed.warnings.iter().map(ToString::to_string).collect(),
    })
}

impl Frontend {
    /// What clients see of `service`, whose port `chosen` is Ebb's, by name or number; `None`: its first HTTP port.
    fn read(
        service: &Service,
        spec: &ServiceSpec,
        chosen: Option<&str>,
        exposure: Exposure,
    ) -> Result<Self, String> {
        let (port, others) = ports::split(spec.ports.as_deref().unwrap_or_default(), chosen)?;
        Ok(Self {
            key: key(service),
            uid: service.metadata.uid.clone().unwrap_or_default(),
            port,
            others,
            created: service.metadata.creation_timestamp.as_ref().map(facts::tick).unwrap_or_default(),
            exposure,
            families: spec.ip_families.clone().unwrap_or_else(|| vec!["IPv4".to_owned()]),
        })
    }
}

/// Leaves of a Service what matters here; there may be many, most of them none of ours.
pub(crate) fn strip(service: &mut Service) {
    let annotations = service.metadata.annotations.take().unwrap_or_default();
    let kept: Labels = annotations.into_iter().filter(|(key, _)| is_of_interest(key)).collect();
    let spec = service.spec.take();
    service.status = None;
    service.metadata = ObjectMeta {
        name: service.metadata.name.take(),
        namespace: service.metadata.namespace.take(),
        uid: service.metadata.uid.take(),
        resource_version: service.metadata.resource_version.take(),
        creation_timestamp: service.metadata.creation_timestamp.take(),
        ..ObjectMeta::default()
    };
    service.spec = if kept.is_empty() {
        // Its address is all that anybody may ask for; by its selector one that is being given back is known.
        spec.map(|spec| ServiceSpec {
            cluster_ip: spec.cluster_ip,
            selector: spec.selector,
            ..ServiceSpec::default()
        })
    } else {
        spec
    };
    service.metadata.annotations = (!kept.is_empty()).then_some(kept);
}

/// Whether an annotation of that key could matter.
fn is_of_interest(key: &str) -> bool {
    [keys::SCALING_PREFIX, keys::EBB_PREFIX].iter().any(|prefix| key.starts_with(prefix))
        || keys::KNOWN.iter().any(|known| known.spellings().any(|name| name == key))
}

/// The Service's name and namespace.
pub(crate) fn key(service: &Service) -> ServiceKey {
    ServiceKey::new(
        service.metadata.namespace.clone().unwrap_or_default(),
        service.metadata.name.clone().unwrap_or_default(),
    )
}

/// The selector that Ebb keeps for the Service; `None` if the Service has its own.
pub(crate) fn kept_selector(service: &Service) -> Option<Labels> {
    let kept = service.metadata.annotations.as_ref()?.get(keys::SELECTOR.name)?;
    if own_selector(service).is_some() { None } else { selector::from_text(kept) }
}

/// The selector that stands in the Service's spec; `None` if there is none.
pub(crate) fn own_selector(service: &Service) -> Option<Labels> {
    service.spec.as_ref()?.selector.clone().filter(|selector| !selector.is_empty())
}

/// Services whose clients do not come by endpoints that Ebb could publish.
fn suits(spec: &ServiceSpec) -> Result<(), &'static str> {
    if spec.type_.as_deref() == Some("ExternalName") {
        return Err(
            "an ExternalName Service has no endpoints: its clients are sent elsewhere by DNS; use a ClusterIP Service",
        );
    }
    if spec.cluster_ip.as_deref() == Some("None") {
        return Err(
            "a headless Service hands its clients the pods' own addresses, so nobody could hold their requests; \
             use a ClusterIP Service (a second one, if the headless one is a StatefulSet's)",
        );
    }
    if spec.internal_traffic_policy.as_deref() == Some("Local") {
        return Err(
            "internalTrafficPolicy: Local would drop requests on nodes without an activator; use Cluster",
        );
    }
    Ok(())
}
