//! Volumes of several sources.

use k8s_openapi::api::core::v1::{ObjectFieldSelector, ResourceFieldSelector};
use serde_json::Value;

use super::{super::fault::Faults, shape, volume::items};
use crate::api::{DownwardItem, ObjectProjection, ProjectedSource};

/// The kinds of sources.
const KINDS: [&str; 4] = ["configMap", "downwardAPI", "secret", "serviceAccountToken"];
/// What an item of the pod itself refers to.
const REFERENCES: [&str; 2] = ["fieldRef", "resourceFieldRef"];

/// Returns what is wrong with the sources of a projected volume.
pub(super) fn faults(sources: &[ProjectedSource]) -> Faults {
    let source = |(index, source): (usize, &ProjectedSource)| {
        let given = [
            source.config_map.as_ref().map(object),
            source.downward_api.as_ref().map(|downward| downward.items.as_slice()).map(downward),
            source.secret.as_ref().map(object),
            source.service_account_token.as_ref().map(|token| needed("path", &token.path)),
        ];
        let kinds = KINDS.iter().zip(&given).filter(|(_, faults)| faults.is_some()).map(|(kind, _)| *kind);
        let count = match kinds.collect::<Vec<_>>().as_slice() {
            [] => Faults::one_of_neither(&KINDS),
            [_] => Faults::default(),
            several => Faults::one_of_both(several),
        };
        let faults = KINDS.iter().zip(given).filter_map(|(kind, faults)| Some(faults?.via_field(kind)));
        count.and(faults.collect()).via_index("projected", index)
    };
    sources.iter().enumerate().map(source).collect()
}

fn object(object: &ObjectProjection) -> Faults {
    needed("name", &object.name).and(items(&object.keys.items))
}

fn needed(field: &str, text: &str) -> Faults {
    if text.is_empty() { Faults::missing(field) } else { Faults::default() }
}

fn downward(items: &[DownwardItem]) -> Faults {
    let is_given = |value: &Option<Value>| value.as_ref().is_some_and(|value| !value.is_null());
    let item = |(index, item): (usize, &DownwardItem)| {
        let references = match (is_given(&item.field_ref), is_given(&item.resource_field_ref)) {
            (false, false) => Faults::one_of_neither(&REFERENCES),
            (true, true) => Faults::at("Within a single item, cannot set both", &REFERENCES),
            _ => Faults::default(),
        };
        needed("path", &item.path)
            .and(references)
            .and(shape::faults_of::<ObjectFieldSelector>(item.field_ref.as_ref(), "fieldRef"))
            .and(shape::faults_of::<ResourceFieldSelector>(
                item.resource_field_ref.as_ref(),
                "resourceFieldRef",
            ))
            .via_index("items", index)
    };
    items.iter().enumerate().map(item).collect()
}
