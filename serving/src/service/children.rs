//! The Configuration and the Route of a ksvc, as they should be.

use std::collections::{BTreeMap, BTreeSet};

use kube::{ResourceExt, core::ObjectMeta};

use crate::{
    api::{Configuration, ConfigurationSpec, Route, RouteSpec, Service, TrafficTarget},
    keys, owned,
};

/// Returns the Configuration. Of the `existing` one it keeps what is not the ksvc's, and the names of the Routes that
/// send requests to it.
pub(super) fn configuration(service: &Service, existing: Option<&Configuration>) -> Configuration {
    let name = service.name_any();
    let mut labels = service.labels().clone();
    labels.insert(keys::SERVICE.to_owned(), name.clone());
    labels.insert(keys::SERVICE_UID.to_owned(), service.uid().unwrap_or_default());
    let mut annotations = annotations(service);
    annotations.remove(keys::ROLLOUT_DURATION);
    annotations.remove(keys::ROLLOUT_DURATION_OLD);
    let routes = existing.and_then(|existing| existing.annotations().get(keys::ROUTES));
    let routes = routes.map(String::as_str).unwrap_or_default().split(',').map(str::trim);
    let routes: BTreeSet<&str> = routes.chain([name.as_str()]).filter(|route| !route.is_empty()).collect();
    annotations.insert(keys::ROUTES.to_owned(), Vec::from_iter(routes).join(","));

    let spec = ConfigurationSpec { template: service.spec.template.clone() };
    let mut wanted =
        existing.cloned().unwrap_or_else(|| Configuration::new(&name, ConfigurationSpec::default()));
    wanted.spec = spec;
    wanted.metadata = metadata(service, existing.map(|existing| &existing.metadata), labels, annotations);
    wanted
}

/// Returns the Route. Its targets that name no revision mean the ksvc's Configuration.
pub(super) fn route(service: &Service, existing: Option<&Route>) -> Route {
    let name = service.name_any();
    let mut labels = service.labels().clone();
    labels.insert(keys::SERVICE.to_owned(), name.clone());
    let traffic = service.spec.traffic.iter().map(|target| {
        let is_named = target.revision_name.as_ref().is_some_and(|revision| !revision.is_empty());
        let configuration_name =
            if is_named { target.configuration_name.clone() } else { Some(name.clone()) };
        TrafficTarget { configuration_name, ..target.clone() }
    });
    let spec = RouteSpec { traffic: traffic.collect() };
    let mut wanted = existing.cloned().unwrap_or_else(|| Route::new(&name, RouteSpec::default()));
    wanted.spec = spec;
    wanted.metadata =
        metadata(service, existing.map(|existing| &existing.metadata), labels, annotations(service));
    wanted
}

fn annotations(service: &Service) -> BTreeMap<String, String> {
    let mut annotations = service.annotations().clone();
    annotations.remove(keys::LAST_APPLIED);
    annotations
}

fn metadata(
    service: &Service,
    existing: Option<&ObjectMeta>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
) -> ObjectMeta {
    let Some(existing) = existing else {
        return owned::metadata(service, &service.name_any(), labels, annotations);
    };
    let mut wanted = existing.clone();
    wanted.labels = Some(labels);
    // The API server does not store an empty map: it must not look like a difference.
    wanted.annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
    if !owned::is_controlled_by(existing, service) {
        wanted.owner_references = Some(owned::adopted(existing, service));
    }
    wanted
}
