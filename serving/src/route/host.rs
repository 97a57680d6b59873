//! The names of a Route: of its Services, of its hosts, and its URLs.

use std::collections::BTreeMap;

use ebb_core::{Host, ServiceKey};

use super::certificate;
use crate::{
    api::Route,
    config::{Config, Scheme, Values},
    keys,
    seen::Seen,
};

/// The value of [`keys::VISIBILITY`] that keeps a Route within the cluster.
const CLUSTER_LOCAL: &str = "cluster-local";

/// How a Route, or one of its tags, is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The name of its Service.
    pub service: String,
    /// The host at the gateway; `None` if it is reached only within the cluster.
    pub public: Option<String>,
    /// Its URL.
    pub url: String,
    /// Its URL within the cluster.
    pub local_url: String,
}

/// Returns the address of a Route's tag; the empty tag is the Route itself.
///
/// # Errors
///
/// Returns why there is none: a template fails, or what it makes is no name.
pub fn address(route: &Route, tag: &str, seen: &Seen, config: &Config) -> Result<Address, String> {
    let none = BTreeMap::new();
    let (name, namespace) = (route.metadata.name.as_deref().unwrap_or_default(), super::namespace(route));
    let labels = route.metadata.labels.as_ref().unwrap_or(&none);
    let annotations = route.metadata.annotations.as_ref().unwrap_or(&none);
    let domain = config.domains.of(labels);
    let values = Values { name, namespace, domain: &domain, tag, labels, annotations };
    let render = |text: Result<String, String>| text.map_err(|why| format!("domain name error: {why}"));
    let service = if tag.is_empty() { name.to_owned() } else { render(config.network.tag.render(&values))? };
    if !is_service(&service) {
        let why =
            "a Service has no such name: at most 63 of a-z, 0-9 and '-', from a letter to a letter or digit";
        return Err(invalid(&service, why));
    }
    let cluster = format!("svc.{}", config.domains.cluster);
    let local = format!("{service}.{namespace}.{cluster}");
    let local_url = format!("http://{local}");
    let own = seen.fronts.get(namespace, &service).and_then(|front| front.labels.get(keys::VISIBILITY));
    if labels.get(keys::VISIBILITY).is_some_and(|visibility| visibility == CLUSTER_LOCAL)
        || own.is_some_and(|visibility| !visibility.is_empty())
        || domain == cluster
    {
        return Ok(Address { service, public: None, url: local_url.clone(), local_url });
    }
    let public = render(config.network.domain.render(&Values { name: &service, ..values }))?;
    match public.parse::<Host>() {
        Ok(host) if host.parent().is_none() => {}
        Ok(_) => return Err(invalid(&public, "it is a wildcard")),
        Err(why) => return Err(invalid(&public, &format!("it {why}"))),
    }
    let is_secure = certificate::secret(route).is_some() || config.network.external_scheme == Scheme::Https;
    let scheme = if is_secure { "https" } else { "http" };
    let url = format!("{scheme}://{public}");
    Ok(Address { service, public: Some(public), url, local_url })
}

/// Returns whether a Service of Kubernetes may have this name (RFC 1035).
fn is_service(name: &str) -> bool {
    ServiceKey::is_valid_name(name) && name.starts_with(|first: char| first.is_ascii_lowercase())
}

fn invalid(name: &str, why: &str) -> String {
    format!("domain name error: invalid domain name {name:?}: {why}")
}
