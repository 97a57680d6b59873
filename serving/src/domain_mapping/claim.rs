//! Which namespace a domain belongs to.
//!
//! A claim has no namespace, so no mapping can own it, and a finalizer on the mapping would keep it while this program is
//! away. Instead, a claim that was made for a mapping is marked, and is released once that mapping is gone: by
//! [`release`], or by the next mapping of the domain.

use std::collections::BTreeMap;

use kube::ResourceExt;

use crate::{
    api::{ClusterDomainClaim, ClusterDomainClaimSpec, DomainMapping},
    config::Config,
    outcome::{Kind, Object, Reference, Write},
    seen::Seen,
};

/// The label of a claim that was made for a mapping. One without it was made by somebody who reserves a domain.
const AUTOMATIC: &str = "networking.knative.dev/made-for-mapping";

/// Whether a mapping may have its domain.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Claim {
    /// Its namespace has it.
    Held,
    /// Nobody has it; this claims it.
    Free(Write),
    /// It has not: reason and message, and what frees the domain.
    Refused(&'static str, String, Option<Write>),
}

/// Returns whether a mapping may have its domain.
pub(super) fn claim(mapping: &DomainMapping, seen: &Seen, config: &Config) -> Claim {
    let domain = mapping.metadata.name.as_deref().unwrap_or_default();
    let namespace = mapping.metadata.namespace.as_deref().unwrap_or_default();
    let Some(claim) = seen.claims.get("", domain) else {
        if config.network.autocreate_claims {
            return Claim::Free(Write::Create(Object::Claim(Box::new(new(domain, namespace)))));
        }
        let message = format!(
            "There is no ClusterDomainClaim {domain:?} that gives the domain name to the namespace {namespace:?}. \
             Ask an administrator of the cluster to create it."
        );
        return Claim::Refused("ClaimMissing", message, None);
    };
    let holder = &claim.spec.namespace;
    if holder == namespace {
        return Claim::Held;
    }
    let mut message = "The domain name is already in use by another DomainMapping".to_owned();
    if seen.mappings.get(holder, domain).is_none() {
        message =
            format!("The domain name is reserved for the namespace {holder:?} by a ClusterDomainClaim.");
    }
    Claim::Refused("DomainAlreadyClaimed", message, release(claim, seen, config))
}

/// Returns the deletion of a claim that was made for a mapping which is gone; `None` if the claim stays.
pub fn release(claim: &ClusterDomainClaim, seen: &Seen, config: &Config) -> Option<Write> {
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let is_ours = config.network.autocreate_claims && claim.labels().contains_key(AUTOMATIC);
    if !is_ours || seen.mappings.get(&claim.spec.namespace, name).is_some() {
        return None;
    }
    let reference = Reference { kind: Kind::Claim, namespace: String::new(), name: name.to_owned() };
    Some(Write::Delete(reference, claim.metadata.uid.clone()?))
}

fn new(domain: &str, namespace: &str) -> ClusterDomainClaim {
    let spec = ClusterDomainClaimSpec { namespace: namespace.to_owned() };
    let mut claim = ClusterDomainClaim::new(domain, spec);
    claim.metadata.labels = Some(BTreeMap::from([(AUTOMATIC.to_owned(), "true".to_owned())]));
    claim
}
