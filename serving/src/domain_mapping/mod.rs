//! From a `DomainMapping` to the host of a Route.
//!
//! Each mapping has a plain Service of its own, with the domain as its host and with the split of what it refers to. The
//! domain could be a further host of the Route's Service instead; but then a domain that the gateway refuses, because
//! another Service has it or the namespace may not use it, would make the Route fail, each new mapping would make the
//! Route wait, and there would be one certificate for all.

mod backend;
mod claim;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ebb_annotations::keys as ebb;
use ebb_core::Host;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::{
    api::{Addressable, DomainMapping, DomainMappingStatus},
    conditions::{Conditions, Truth},
    config::{Config, Scheme},
    keys, names,
    outcome::{Event, Kind, Outcome, Write},
    route::{INGRESS, certificate, created, front, release as release_finalizer, report},
    seen::Seen,
};
use backend::{Backend, Unresolved};
use claim::Claim;

pub use claim::release;

const CLAIMED: &str = "DomainClaimed";
const RESOLVED: &str = "ReferenceResolved";
const DEPENDENTS: &[&str] = &[certificate::PROVISIONED, CLAIMED, INGRESS, RESOLVED];
/// What the reference adds to each mapping, and nobody else removes.
const FINALIZER: &str = "domainmappings.serving.knative.dev";
/// The label with the uid of the mapping that a Service was made for.
const UID: &str = "serving.knative.dev/domainMappingUID";
/// The label with the namespace of that mapping.
const NAMESPACE: &str = "serving.knative.dev/domainMappingNamespace";
/// How soon a mapping without its domain is examined again: whoever has the domain may be gone.
const AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// Returns what follows from a `DomainMapping`. What its domain serves stays while what it refers to cannot be found, but
/// not if the domain belongs to another namespace.
pub fn examine(
    mapping: &DomainMapping,
    seen: &Seen,
    config: &Config,
    now: Timestamp,
) -> Outcome<DomainMappingStatus> {
    let mut status = mapping.status.clone().unwrap_or_default();
    let mut outcome = Outcome { status: status.clone(), writes: Vec::new(), events: Vec::new(), again: None };
    if mapping.metadata.deletion_timestamp.is_some() {
        outcome.writes.extend(release_finalizer(Kind::DomainMapping, mapping, FINALIZER));
        return outcome;
    }
    let mut conditions = Conditions::new(DEPENDENTS, &status.observed.conditions, now);
    status.observed.observed_generation = mapping.metadata.generation;
    let secret = secret(mapping);
    let is_secure = secret.is_some() || config.network.external_scheme == Scheme::Https;
    let url = format!("{}://{}", if is_secure { "https" } else { "http" }, mapping.name_any());
    status.addresses.url = Some(url.clone());
    status.addresses.address = Some(Addressable { url: Some(url), ..Addressable::default() });
    certificate::provisioned(&mut conditions, secret, mapping.annotations(), config);
    let found = backend::backend(mapping, seen, config);
    match &found {
        Ok(_) => conditions.mark_true(RESOLVED),
        Err(Unresolved(truth, message)) => conditions.set(RESOLVED, *truth, "ResolveFailed", message),
    }
    match claim::claim(mapping, seen, config) {
        Claim::Held => {
            conditions.mark_true(CLAIMED);
            match found {
                Ok(backend) => serve(mapping, &backend, seen, config, &mut conditions, &mut outcome),
                Err(_) => not_configured(&mut conditions),
            }
        }
        Claim::Free(write) => {
            let message =
                format!("The domain name is being claimed for the namespace {:?}.", namespace(mapping));
            conditions.set(CLAIMED, Truth::Unknown, "ClaimPending", &message);
            not_configured(&mut conditions);
            let text = format!("Created ClusterDomainClaim {:?}", mapping.name_any());
            outcome.events.push(Event { is_warning: false, reason: "Created", text });
            outcome.writes.push(write);
        }
        Claim::Refused(reason, message, write) => {
            conditions.set(CLAIMED, Truth::False, reason, &message);
            not_configured(&mut conditions);
            let name = service_name(&mapping.name_any());
            let own = seen.fronts.get(namespace(mapping), &name).filter(|one| front::is_of(one, mapping));
            outcome.writes.extend(own.map(|own| front::deletion(namespace(mapping), &name, own)));
            outcome.writes.extend(write);
            outcome.again = now.checked_add(AGAIN).ok();
        }
    }
    status.observed.conditions = conditions.finish();
    outcome.status = status;
    outcome
}

fn serve(
    mapping: &DomainMapping,
    backend: &Backend,
    seen: &Seen,
    config: &Config,
    conditions: &mut Conditions,
    outcome: &mut Outcome<DomainMappingStatus>,
) {
    let wanted = match wanted(mapping, backend, config) {
        Ok(wanted) => wanted,
        Err(message) => return conditions.set(INGRESS, Truth::False, "ErrorConfig", &message),
    };
    let (write, state) = front::settle(mapping, &wanted, seen);
    if matches!(write, Some(Write::Create(_))) {
        outcome.events.push(created(&wanted.name));
    }
    outcome.writes.extend(write);
    report(conditions, &wanted.name, &state);
}

/// Returns the Service that serves the domain.
fn wanted(mapping: &DomainMapping, backend: &Backend, config: &Config) -> Result<front::Wanted, String> {
    let domain = mapping.name_any();
    domain
        .parse::<Host>()
        .map_err(|why| format!("domain name error: invalid domain name {domain:?}: it {why}"))?;
    let mut labels: BTreeMap<String, String> = mapping.labels().clone();
    labels.insert(keys::ROUTE.to_owned(), backend.route.clone());
    labels.insert(UID.to_owned(), mapping.uid().unwrap_or_default());
    labels.insert(NAMESPACE.to_owned(), namespace(mapping).to_owned());
    let mut routing = backend.routing.clone();
    if let Some(secret) = secret(mapping) {
        routing.insert(ebb::TLS_SECRET.name, secret.to_owned());
        let redirects = certificate::redirects(mapping.annotations(), config)?;
        routing.insert(ebb::HTTPS_REDIRECT.name, redirects.to_string());
    }
    let name = service_name(&domain);
    routing.insert(ebb::HOSTS.name, domain);
    Ok(front::Wanted { name, labels, annotations: front::handed_on(mapping.annotations()), routing })
}

/// Returns the name of the Service for a domain. A dot never stands beside a dash, so no two domains have the same.
pub(crate) fn service_name(domain: &str) -> String {
    names::child(&format!("domain-{}", domain.replace('-', "--").replace('.', "-")), "")
}

fn secret(mapping: &DomainMapping) -> Option<&str> {
    let tls = mapping.spec.tls.as_ref()?;
    Some(tls.secret_name.as_str()).filter(|name| !name.is_empty())
}

fn not_configured(conditions: &mut Conditions) {
    let message = "Ingress has not yet been reconciled.";
    conditions.set(INGRESS, Truth::Unknown, "IngressNotConfigured", message);
}

fn namespace(mapping: &DomainMapping) -> &str {
    mapping.metadata.namespace.as_deref().unwrap_or_default()
}
