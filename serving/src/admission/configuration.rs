//! What is wrong with a Configuration.

use super::{
    defaults::written::{changes_configuration, is_owned},
    fault::Faults,
    metadata, template, warnings,
};
use crate::{api::Configuration, config::Config, keys};

/// Examines a Configuration that has its defaults; `old` is what it was.
pub fn faults(new: &Configuration, old: Option<&Configuration>, config: &Config) -> Faults {
    let of_metadata = metadata::name_faults(&new.metadata)
        .and(metadata::misplaced_annotations(&new.metadata))
        .and(metadata::parent_faults(&new.metadata, keys::SERVICE, "Service", |name, parent| name == parent));
    let of_template = new.spec.template.as_ref();
    let mut faults =
        of_metadata.via_field("metadata").and(template::faults(of_template, &new.metadata, config));
    let template_before = old.and_then(|old| old.spec.template.as_ref());
    let warnings = warnings::of_template(of_template, template_before, &new.metadata, config);
    faults.add(warnings.via_field("spec.template"));
    let Some(old) = old else { return faults };
    if !is_owned(&new.metadata) {
        let is_changed = changes_configuration(new, old, config);
        let authors = metadata::author_faults(&new.metadata, &old.metadata, is_changed);
        faults.add(authors.via_field("metadata"));
    }
    faults.and(template::change_faults(of_template, template_before, &new.metadata, config))
}
