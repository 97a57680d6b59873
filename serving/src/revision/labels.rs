//! Which labels and annotations of a Revision its objects have.

use std::collections::BTreeMap;

use ebb_annotations::keys::{EBB_PREFIX, KNOWN, Key, SCALING_PREFIX};
use kube::ResourceExt;

use crate::{api::Revision, keys};

/// Labels and annotations by key.
pub(super) type Texts = BTreeMap<String, String>;

/// The label by which many tools group pods.
const APP: &str = "app";
/// Labels that change while the pods stay.
const OF_ROUTES: [&str; 2] = [keys::ROUTE, keys::ROUTING_STATE];
/// Annotations that change while the pods stay.
const OF_THE_REVISION: [&str; 4] =
    ["serving.knative.dev/lastPinned", keys::NO_GC, keys::ROUTING_STATE_MODIFIED, keys::ROUTES];

/// Returns the labels of a Revision's Service, its Deployment and its pods.
pub(super) fn labels(revision: &Revision) -> Texts {
    let mut labels = revision.labels().clone();
    labels.retain(|key, _| !OF_ROUTES.contains(&key.as_str()));
    labels.entry(APP.to_owned()).or_insert_with(|| revision.name_any());
    labels.insert(keys::REVISION.to_owned(), revision.name_any());
    labels.extend(selector(revision));
    labels
}

/// Returns the label that only the Revision's own pods have.
pub(super) fn selector(revision: &Revision) -> Texts {
    Texts::from([(keys::REVISION_UID.to_owned(), revision.uid().unwrap_or_default())])
}

/// Returns the annotations of a Revision's Deployment and its pods: the Revision's, except those that say how it is
/// scaled, and those that change while the pods stay.
pub(super) fn annotations(revision: &Revision) -> Texts {
    let mut annotations = revision.annotations().clone();
    annotations.retain(|key, _| {
        let is_setting = key.starts_with(SCALING_PREFIX) || (key.starts_with(EBB_PREFIX) && is_known(key));
        !is_setting && !OF_THE_REVISION.contains(&key.as_str()) && key != keys::LAST_APPLIED
    });
    annotations
}

/// Returns whether a key that an object has and should not have was written here. Everything else is others'.
pub(super) fn is_of_the_api(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    domain == "knative.dev" || domain.ends_with(".knative.dev")
}

fn is_known(key: &str) -> bool {
    KNOWN.iter().flat_map(Key::spellings).any(|known| known == key)
}
