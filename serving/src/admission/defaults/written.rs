//! Defaults of an object that somebody writes: `old` is what it was, nothing if it is new.
//!
//! A template that keeps its name keeps its revision. It is left as it is: otherwise a change of the defaults would
//! change a template that nobody may change.

use kube::core::ObjectMeta;

use super::{signature, spec::default_service_links, traffic::default_service_traffic};
use crate::{
    api::{Configuration, DomainMapping, Revision, RevisionTemplate, Route, Service},
    config::Config,
};

/// Fills in and signs a ksvc.
pub fn service(new: &mut Service, old: Option<&Service>, user: &str, config: &Config) {
    let Some(old) = old else {
        new.spec.template.iter_mut().for_each(|template| default_service_links(template, config));
        super::service(new, config);
        signature::created(&mut new.metadata, user);
        return;
    };
    fill_service(new, old, config);
    let modifier = changes_service(new, old, config).then_some(user);
    signature::updated(&mut new.metadata, &old.metadata, modifier);
}

/// Fills in and signs a Configuration. One of a ksvc has the signatures of its ksvc.
pub fn configuration(new: &mut Configuration, old: Option<&Configuration>, user: &str, config: &Config) {
    let Some(old) = old else {
        new.spec.template.iter_mut().for_each(|template| default_service_links(template, config));
        super::configuration(new, config);
        if !is_owned(&new.metadata) {
            signature::created(&mut new.metadata, user);
        }
        return;
    };
    fill_configuration(new, old, config);
    if !is_owned(&new.metadata) {
        let modifier = changes_configuration(new, old, config).then_some(user);
        signature::updated(&mut new.metadata, &old.metadata, modifier);
    }
}

/// Fills in and signs a Route. One of a ksvc has the signatures of its ksvc.
pub fn route(new: &mut Route, old: Option<&Route>, user: &str) {
    super::route(new);
    if is_owned(&new.metadata) {
        return;
    }
    match old {
        None => signature::created(&mut new.metadata, user),
        Some(old) => {
            let modifier = changes_route(new, old).then_some(user);
            signature::updated(&mut new.metadata, &old.metadata, modifier);
        }
    }
}

/// Fills in a Revision if it is new; afterwards it does not change.
pub fn revision(new: &mut Revision, old: Option<&Revision>, config: &Config) {
    if old.is_none() {
        let links = new.spec.enable_service_links.or(config.defaults.enable_service_links);
        new.spec.enable_service_links = links;
        super::revision(new, config);
    }
}

/// Fills in and signs a `DomainMapping`.
pub fn domain_mapping(new: &mut DomainMapping, old: Option<&DomainMapping>, user: &str) {
    super::domain_mapping(new);
    match old {
        None => signature::created(&mut new.metadata, user),
        Some(old) => {
            let modifier = changes_domain_mapping(new, old).then_some(user);
            signature::updated(&mut new.metadata, &old.metadata, modifier);
        }
    }
}

/// Returns whether a ksvc with its defaults has another spec than before.
pub(in crate::admission) fn changes_service(new: &Service, old: &Service, config: &Config) -> bool {
    let mut before = old.clone();
    fill_service(&mut before, old, config);
    before.spec != new.spec
}

/// Returns whether a Configuration with its defaults has another spec than before.
pub(in crate::admission) fn changes_configuration(
    new: &Configuration,
    old: &Configuration,
    config: &Config,
) -> bool {
    let mut before = old.clone();
    fill_configuration(&mut before, old, config);
    before.spec != new.spec
}

/// Returns whether a Route with its defaults has another spec than before.
pub(in crate::admission) fn changes_route(new: &Route, old: &Route) -> bool {
    let mut before = old.clone();
    super::route(&mut before);
    before.spec != new.spec
}

/// Returns whether a `DomainMapping` with its defaults has another spec than before.
pub(in crate::admission) fn changes_domain_mapping(new: &DomainMapping, old: &DomainMapping) -> bool {
    let mut before = old.clone();
    super::domain_mapping(&mut before);
    before.spec != new.spec
}

/// Returns whether a template has a name, and the same as before.
pub(in crate::admission) fn keeps_name(new: &RevisionTemplate, old: Option<&RevisionTemplate>) -> bool {
    let name = name(new);
    !name.is_empty() && old.is_some_and(|old| self::name(old) == name)
}

/// Returns whether the object belongs to another, which signs it.
pub(in crate::admission) fn is_owned(metadata: &ObjectMeta) -> bool {
    metadata.owner_references.as_ref().is_some_and(|owners| !owners.is_empty())
}

fn name(template: &RevisionTemplate) -> &str {
    template.metadata.as_ref().and_then(|metadata| metadata.name.as_deref()).unwrap_or_default()
}

fn fill_service(service: &mut Service, old: &Service, config: &Config) {
    fill_template(&mut service.spec.template, old.spec.template.as_ref(), &service.metadata, config);
    default_service_traffic(&mut service.spec.traffic);
}

fn fill_configuration(configuration: &mut Configuration, old: &Configuration, config: &Config) {
    let old = old.spec.template.as_ref();
    fill_template(&mut configuration.spec.template, old, &configuration.metadata, config);
}

fn fill_template(
    template: &mut Option<RevisionTemplate>,
    old: Option<&RevisionTemplate>,
    parent: &ObjectMeta,
    config: &Config,
) {
    if let Some(template) = template
        && !keeps_name(template, old)
    {
        super::default_template(template, parent, config);
    }
}
