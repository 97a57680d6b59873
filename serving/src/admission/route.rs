//! What is wrong with a Route.

use super::{
    defaults::written::{changes_route, is_owned},
    fault::Faults,
    hosts::{self, Named},
    metadata, traffic,
};
use crate::{api::Route, config::Config, keys};

/// Examines a Route that has its defaults; `old` is what it was.
pub fn faults(new: &Route, old: Option<&Route>, config: &Config) -> Faults {
    let of_metadata = metadata::name_faults(&new.metadata)
        .and(metadata::misplaced_annotations(&new.metadata))
        .and(metadata::rollout_faults(&new.metadata))
        .and(metadata::parent_faults(&new.metadata, keys::SERVICE, "Service", |name, parent| name == parent));
    let mut faults = of_metadata
        .via_field("metadata")
        .and(traffic::route_faults(&new.spec.traffic).via_field("spec.traffic"));
    if is_owned(&new.metadata) {
        // Its ksvc was examined, and has its authors.
        return faults;
    }
    faults.add(hosts::faults(named(new), old.map(named), config));
    if let Some(old) = old {
        let authors = metadata::author_faults(&new.metadata, &old.metadata, changes_route(new, old));
        faults.add(authors.via_field("metadata"));
    }
    faults
}

fn named(route: &Route) -> Named<'_> {
    Named { metadata: &route.metadata, targets: &route.spec.traffic, template: None }
}
