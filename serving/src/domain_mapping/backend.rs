//! What takes the requests of a mapping: the Service of a Route or of a tag, or a Revision's.

use std::collections::BTreeMap;

use ebb_annotations::keys as ebb;

use crate::{
    api::{DomainMapping, Reference},
    conditions::Truth,
    config::Config,
    keys,
    outcome::{self, Kind},
    route::front::CHOSEN,
    seen::{Front, Seen},
};

/// The group of the kinds here.
const GROUP: &str = "serving.knative.dev/";

/// What takes the requests of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backend {
    /// The Route that it belongs to; empty if it is a Revision's.
    pub(super) route: String,
    /// How requests are divided, as annotations.
    pub(super) routing: BTreeMap<&'static str, String>,
}

/// Why nothing takes the requests of a mapping: in words, and whether it may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unresolved(pub(super) Truth, pub(super) String);

/// Returns the object that a mapping refers to; `None` if its kind takes no requests.
pub(super) fn referred(mapping: &DomainMapping) -> Option<outcome::Reference> {
    let Reference { kind, name, api_version, .. } = &mapping.spec.reference;
    let version = api_version.as_deref().unwrap_or_default();
    let kind = match kind.as_str() {
        "Service" if version.starts_with(GROUP) => Kind::Service,
        "Route" if version.starts_with(GROUP) => Kind::Route,
        "Service" if version == "v1" => Kind::Front,
        _ => return None,
    };
    let namespace = mapping.metadata.namespace.clone().unwrap_or_default();
    Some(outcome::Reference { kind, namespace, name: name.clone() })
}

/// Returns what takes the requests of a mapping.
///
/// # Errors
///
/// Returns an error if there is no such object, or if it takes no requests (yet).
pub(super) fn backend(mapping: &DomainMapping, seen: &Seen, config: &Config) -> Result<Backend, Unresolved> {
    let never = |message: String| Err(Unresolved(Truth::False, message));
    let reference = &mapping.spec.reference;
    let own = mapping.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(other) = reference.namespace.as_deref().filter(|other| !other.is_empty() && *other != own) {
        let url = format!("http://{}.{other}.svc.{}", reference.name, config.domains.cluster);
        return never(format!("resolved URI {url:?} must be in same namespace as DomainMapping"));
    }
    let Some(outcome::Reference { kind, name, .. }) = referred(mapping) else {
        return never(format!(
            "the kind {:?} of {:?} takes no requests: refer to a Service or a Route of serving.knative.dev/v1, or to \
             the v1 Service of a tag or a Revision",
            reference.kind,
            reference.api_version.as_deref().unwrap_or_default()
        ));
    };
    let front = seen.fronts.get(own, &name).map(AsRef::as_ref);
    let found = match kind {
        Kind::Service => seen.services.get(own, &name).is_some(),
        Kind::Route => seen.routes.get(own, &name).is_some(),
        _ => front.is_some(),
    };
    if !found {
        return never(match kind {
            Kind::Service => format!("services.serving.knative.dev {name:?} not found"),
            Kind::Route => format!("routes.serving.knative.dev {name:?} not found"),
            _ => format!("services {name:?} not found"),
        });
    }
    let takes = match kind {
        // A Service of another's that has the Route's name is not the Route's.
        Kind::Service | Kind::Route => {
            let of = seen.routes.get(own, &name).and_then(|route| route.metadata.uid.as_ref());
            front.filter(|front| of.is_some() && front.owner.as_ref() == of)
        }
        _ => front,
    };
    match takes.and_then(|front| read(&name, front)) {
        Some(backend) => Ok(backend),
        None if kind == Kind::Front => never(format!(
            "the Service {name:?} is neither a Route's nor a Revision's: refer to one of these, or annotate the Service \
             itself with ebb.dev/hosts"
        )),
        None => Err(Unresolved(Truth::Unknown, format!("{name:?} has no address yet"))),
    }
}

/// Reads how a Service takes requests; `None` if it does not.
fn read(name: &str, front: &Front) -> Option<Backend> {
    let route = front.labels.get(keys::ROUTE).cloned().unwrap_or_default();
    if front.annotations.contains_key(ebb::SCALE_TARGET.name) {
        return Some(Backend { route, routing: BTreeMap::from([(ebb::SPLIT.name, format!("{name}=100"))]) });
    }
    // The domain follows a new Revision in the same steps as the Route does.
    let copied = [ebb::SPLIT.name, ebb::SPLIT_DURATION.name].into_iter().chain(CHOSEN);
    let routing: BTreeMap<_, _> =
        copied.filter_map(|key| Some((key, front.annotations.get(key)?.clone()))).collect();
    routing.contains_key(ebb::SPLIT.name).then_some(Backend { route, routing })
}
