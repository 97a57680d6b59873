//! Reads what a Service requests of Ebb, from the object alone, and refuses with a reason what is not possible.

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
    keys, parse, read_generation, usable_hosts,
};
use ebb_core::{ServiceKey, Tick};
use k8s_openapi::{
    api::core::v1::{Service, ServiceSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{condition, facts};

pub(crate) use change::Change;
pub(crate) use ports::{Port, Target};
pub(crate) use route::{RouteClaim, progress};
pub(crate) use selector::{Labels, selects};
pub use table::Claims;

/// What a Service requests of Ebb.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Nothing, and it has nothing of Ebb's.
    NotOurs,
    /// Nothing any more: its selector must be restored.
    Released(Labels),
    /// Something that Ebb cannot do.
    Refused(Refused),
    /// To be scaled.
    Ours(Box<Claim>),
    /// To divide its requests between other services.
    Route(Box<RouteClaim>),
}

/// The client's side of a Service, independent of what serves it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frontend {
    pub(crate) key: ServiceKey,
    pub(crate) uid: String,
    /// The port whose requests are counted.
    pub(crate) port: Port,
    /// The other ports, which lead straight to the pods.
    pub(crate) others: Vec<Port>,
    /// Address families, `IPv4` or `IPv6`, primary first.
    pub(crate) families: Vec<String>,
    /// When the Service was created.
    pub(crate) created: Tick,
    /// How it is reached through the gateway.
    pub(crate) exposure: Exposure,
}

/// Why a Service cannot be served as requested.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refused {
    /// Everything that is wrong, each with how to fix it.
    pub(crate) reasons: Vec<String>,
    /// The claim without the annotations at fault, by which it is served if Ebb already publishes its endpoints.
    pub(crate) rest: Option<Box<Claim>>,
    /// The last valid split, if it is a route.
    pub(crate) route: Option<Box<RouteClaim>>,
}

/// A Service that Ebb scales.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claim {
    pub(crate) front: Frontend,
    pub(crate) spec: Arc<ScalingSpec>,
    pub(crate) target: ScaleTarget,
    /// The selector of its pods.
    pub(crate) selector: Labels,
    /// Whether the selector is in the Service's spec, where Kubernetes' own controllers read it.
    pub(crate) selector_in_place: bool,
    pub(crate) activator_port: Option<NonZeroU16>,
    pub(crate) sidecar: Sidecar,
    pub(crate) mount_token: Option<bool>,
    pub(crate) restart: bool,
    /// The current value of the status annotation.
    pub(crate) status: Option<String>,
    /// Warnings about annotations that have no effect.
    pub(crate) warnings: Vec<String>,
}

/// Returns what `service` requests of Ebb with the cluster's `defaults`.
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
            // Report all faults at once: those of the object and those of its annotations.
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

/// Parses the annotations without those at fault; `None` if the scale target is at fault.
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

/// Removes the annotations at fault. From a list of hosts, only the invalid ones are removed.
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
    /// Reads the frontend of `service`. `chosen` is the name or number of Ebb's port; `None` means its first HTTP
    /// port.
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

/// Returns the owner's number for the state of a Service that asks to be a route or to be scaled; `None` if there is none.
pub(crate) fn generation(service: &Service) -> Option<i64> {
    let annotations = service.metadata.annotations.as_ref()?;
    let is_asked = is_route(annotations) || annotations.contains_key(keys::SCALE_TARGET.name);
    read_generation(annotations).filter(|_| is_asked)
}

/// Reduces a Service to what matters here; there may be many, most of them not Ebb's.
pub(crate) fn strip(service: &mut Service) {
    let annotations = service.metadata.annotations.take().unwrap_or_default();
    let kept: Labels = annotations.into_iter().filter(|(key, _)| is_of_interest(key)).collect();
    let spec = service.spec.take();
    service.status = service.status.take().and_then(condition::alone);
    service.metadata = ObjectMeta {
        name: service.metadata.name.take(),
        namespace: service.metadata.namespace.take(),
        uid: service.metadata.uid.take(),
        resource_version: service.metadata.resource_version.take(),
        creation_timestamp: service.metadata.creation_timestamp.take(),
        ..ObjectMeta::default()
    };
    service.spec = if kept.is_empty() {
        // Only its address may be asked for; the selector identifies a Service that is being given back.
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

/// Returns whether an annotation with that key may matter.
fn is_of_interest(key: &str) -> bool {
    [keys::SCALING_PREFIX, keys::EBB_PREFIX].iter().any(|prefix| key.starts_with(prefix))
        || keys::KNOWN.iter().any(|known| known.spellings().any(|name| name == key))
}

/// Returns the Service's name and namespace.
pub(crate) fn key(service: &Service) -> ServiceKey {
    ServiceKey::new(
        service.metadata.namespace.clone().unwrap_or_default(),
        service.metadata.name.clone().unwrap_or_default(),
    )
}

/// Returns the selector that Ebb keeps for the Service; `None` if its own is in place.
pub(crate) fn kept_selector(service: &Service) -> Option<Labels> {
    let kept = service.metadata.annotations.as_ref()?.get(keys::SELECTOR.name)?;
    if own_selector(service).is_some() { None } else { selector::from_text(kept) }
}

/// Returns the selector in the Service's spec; `None` if there is none.
pub(crate) fn own_selector(service: &Service) -> Option<Labels> {
    service.spec.as_ref()?.selector.clone().filter(|selector| !selector.is_empty())
}

/// Rejects Services whose clients do not use endpoints that Ebb could publish.
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
