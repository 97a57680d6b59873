//! What is wrong with a ksvc.

use super::{
    defaults::written::changes_service,
    fault::Faults,
    hosts::{self, Named},
    metadata, template, traffic, warnings,
};
use crate::{api::Service, config::Config};

/// Examines a ksvc that has its defaults; `old` is what it was.
pub fn faults(new: &Service, old: Option<&Service>, config: &Config) -> Faults {
    let of_metadata = metadata::name_faults(&new.metadata)
        .and(metadata::misplaced_annotations(&new.metadata))
        .and(metadata::rollout_faults(&new.metadata));
    let of_template = new.spec.template.as_ref();
    let mut faults = of_metadata
        .via_field("metadata")
        .and(template::faults(of_template, &new.metadata, config))
        .and(traffic::service_faults(&new.spec.traffic).via_field("spec.traffic"))
        .and(hosts::faults(named(new), old.map(named), config));
    let template_before = old.and_then(|old| old.spec.template.as_ref());
    let warnings = warnings::of_template(of_template, template_before, &new.metadata, config);
    faults.add(warnings.via_field("spec.template"));
    if let Some(old) = old {
        let is_changed = changes_service(new, old, config);
        let authors = metadata::author_faults(&new.metadata, &old.metadata, is_changed);
        faults.add(authors.via_field("metadata"));
        faults.add(template::change_faults(of_template, template_before, &new.metadata, config));
    }
    faults
}

fn named(service: &Service) -> Named<'_> {
    let (metadata, spec) = (&service.metadata, &service.spec);
    Named { metadata, targets: &spec.traffic, template: spec.template.as_ref() }
}
