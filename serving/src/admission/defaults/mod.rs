//! What objects get that they do not say themselves.
//!
//! The functions for kinds ([`service`], [`configuration`], …) fill in a whole object. They run in memory before each
//! decision, because an object may have been stored before a default existed. When an object is written, [`written`]
//! does more: it also signs the object with its authors, and leaves alone what must not change.

mod containers;
mod probe;
mod security;
mod signature;
mod spec;
mod traffic;
pub mod written;
mod zeros;

use crate::{
    api::{Configuration, DomainMapping, Revision, Route, Service, TemplateMetadata},
    config::Config,
};

pub use spec::{default_spec, default_template};
pub use traffic::default_targets;

/// Fills in a ksvc.
pub fn service(service: &mut Service, config: &Config) {
    if let Some(template) = &mut service.spec.template {
        default_template(template, &service.metadata, config);
    }
    traffic::default_service_traffic(&mut service.spec.traffic);
}

/// Fills in a ksvc as it is stored. A template with a name was filled in when it was written, and keeps its Revision:
/// other settings since then do not change it.
pub fn stored_service(service: &mut Service, config: &Config) {
    let named = |metadata: &TemplateMetadata| metadata.name.as_ref().is_some_and(|name| !name.is_empty());
    let template = service.spec.template.as_ref().and_then(|template| template.metadata.as_ref());
    if template.is_some_and(named) {
        traffic::default_service_traffic(&mut service.spec.traffic);
    } else {
        self::service(service, config);
    }
}

/// Fills in a Configuration.
pub fn configuration(configuration: &mut Configuration, config: &Config) {
    if let Some(template) = &mut configuration.spec.template {
        default_template(template, &configuration.metadata, config);
    }
}

/// Fills in a Route.
pub fn route(route: &mut Route) {
    default_targets(&mut route.spec.traffic);
}

/// Fills in a Revision.
pub fn revision(revision: &mut Revision, config: &Config) {
    default_spec(&mut revision.spec, &revision.metadata, config);
}

/// Fills in a `DomainMapping`.
pub fn domain_mapping(mapping: &mut DomainMapping) {
    let namespace = &mut mapping.spec.reference.namespace;
    if namespace.as_deref().unwrap_or_default().is_empty() {
        namespace.clone_from(&mapping.metadata.namespace);
    }
}

#[cfg(test)]
mod tests;
