//! A new Revision.

use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{Configuration, Revision},
    conditions::rfc3339,
    keys, owned,
};

/// Returns the Revision `name` of the present generation of `configuration`; `None` if the template says nothing of what
/// to run.
///
/// It has the template's labels and annotations, not the Configuration's own. A Configuration to which a Route sends
/// requests already makes Revisions that are `active`: the Route names them as soon as they are ready, and until then
/// they should start as if it did.
pub(super) fn revision(configuration: &Configuration, name: &str, now: Timestamp) -> Option<Revision> {
    let template = configuration.spec.template.as_ref()?;
    let spec = template.spec.clone()?;
    let metadata = template.metadata.as_ref();
    let mut labels = metadata.map(|metadata| metadata.labels.clone()).unwrap_or_default();
    let mut annotations = metadata.map(|metadata| metadata.annotations.clone()).unwrap_or_default();

    let routes = configuration.annotations().get(keys::ROUTES).filter(|routes| !routes.is_empty());
    let state = if routes.is_some() { "active" } else { "pending" };
    let generation = configuration.metadata.generation.unwrap_or_default();
    let mut label = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            labels.insert(key.to_owned(), value);
        }
    };
    label(keys::CONFIGURATION, Some(configuration.name_any()));
    label(keys::CONFIGURATION_GENERATION, Some(generation.to_string()));
    label(keys::CONFIGURATION_UID, configuration.uid());
    label(keys::SERVICE, configuration.labels().get(keys::SERVICE).cloned());
    label(keys::SERVICE_UID, configuration.labels().get(keys::SERVICE_UID).cloned());
    label(keys::ROUTING_STATE, Some(state.to_owned()));

    let mut annotate = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            annotations.insert(key.to_owned(), value);
        }
    };
    annotate(keys::CREATOR, configuration.annotations().get(keys::LAST_MODIFIER).cloned());
    annotate(keys::ROUTES, routes.cloned());
    annotate(keys::ROUTING_STATE_MODIFIED, Some(rfc3339(now)));

    let mut revision = Revision::new(name, spec);
    revision.metadata = owned::metadata(configuration, name, labels, annotations);
    Some(revision)
}
