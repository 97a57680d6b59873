//! What is wrong with the template of a ksvc or a Configuration. Paths begin at the parent, as
//! `spec.template.metadata.name`.

use kube::core::ObjectMeta;
use serde_json::Value;

use super::{
    defaults::{default_template, written::keeps_name},
    diff,
    fault::Faults,
    names, revision,
};
use crate::{
    api::{RevisionTemplate, TemplateMetadata},
    config::Config,
};

const TEMPLATE: &str = "spec.template";

/// Examines the template of `parent`. None is an empty one.
pub(super) fn faults(template: Option<&RevisionTemplate>, parent: &ObjectMeta, config: &Config) -> Faults {
    let empty = RevisionTemplate::default();
    let template = template.unwrap_or(&empty);
    let metadata = template.metadata.as_ref();
    let names = metadata.map(|metadata| name_faults(metadata, parent)).unwrap_or_default();
    names.via_field("metadata").and(revision::template_faults(template, config)).via_field(TEMPLATE)
}

fn name_faults(metadata: &TemplateMetadata, parent: &ObjectMeta) -> Faults {
    let mut faults = Faults::default();
    let wrong = names::dns_1035_prefix(prefix(metadata));
    if !prefix(metadata).is_empty() && !wrong.is_empty() {
        let value = format!("not a DNS 1035 label prefix: {}", names::list(&wrong));
        faults.add(Faults::invalid_value(value, "generateName"));
    }
    let name = metadata.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        return faults;
    }
    let wrong = names::dns_1035_label(name);
    if !wrong.is_empty() {
        faults.add(Faults::invalid_value(format!("not a DNS 1035 label: {}", names::list(&wrong)), "name"));
    }
    let begin = format!("{}-", parent.name.as_deref().unwrap_or_default());
    if begin == "-" {
        // The parent's name, with which the revision's must begin, does not exist yet.
        faults.add(Faults::disallowed("name"));
    } else if !name.starts_with(&begin) {
        faults.add(Faults::invalid_value(format!("{name:?} must have prefix {begin:?}"), "name"));
    }
    faults
}

fn prefix(metadata: &TemplateMetadata) -> &str {
    metadata.other.get("generateName").and_then(Value::as_str).unwrap_or_default()
}

/// Finds a change of a template that keeps its name, which is the name of a revision that cannot change.
pub(super) fn change_faults(
    new: Option<&RevisionTemplate>,
    old: Option<&RevisionTemplate>,
    parent: &ObjectMeta,
    config: &Config,
) -> Faults {
    let (Some(new), Some(old)) = (new, old) else { return Faults::default() };
    if !keeps_name(new, Some(old)) || new == old {
        return Faults::default();
    }
    // Either may have been stored before a default existed.
    let (mut new, mut old) = (new.clone(), old.clone());
    default_template(&mut new, parent, config);
    default_template(&mut old, parent, config);
    let change = diff::template(&old, &new);
    let fault = |change: String| {
        Faults::generic(
            "Saw the following changes without a name change (-old +new)",
            "spec.template.metadata.name",
        )
        .with_details(change)
    };
    change.map(fault).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(metadata: &Value, image: &str) -> RevisionTemplate {
        let spec = json!({"containers": [{"image": image}]});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    #[test]
    fn the_name_of_a_revision_begins_with_its_parents() {
        let label = names::list(&names::dns_1035_label("A"));
        let long = "a".repeat(64);
        for (parent, metadata, wanted) in [
            (json!({"name": "hello"}), json!({}), String::new()),
            (json!({"name": "hello"}), json!({"name": ""}), String::new()),
            (json!({"name": "hello"}), json!({"name": "hello-one", "generateName": "hello-"}), String::new()),
            (
                json!({"name": "hello"}),
                json!({"name": "one"}),
                "invalid value: \"one\" must have prefix \"hello-\": metadata.name".to_owned(),
            ),
            (
                json!({"name": "hello"}),
                json!({"name": "hello-A"}),
                format!("invalid value: not a DNS 1035 label: {label}: metadata.name"),
            ),
            (
                json!({"name": "hello"}),
                json!({"generateName": "a.b-"}),
                format!("invalid value: not a DNS 1035 label prefix: {label}: metadata.generateName"),
            ),
            (
                json!({"name": "a"}),
                json!({"name": format!("a-{long}")}),
                "invalid value: not a DNS 1035 label: [must be no more than 63 characters]: metadata.name"
                    .to_owned(),
            ),
            (
                json!({"generateName": "hello-"}),
                json!({"name": "hello-one"}),
                "must not set the field(s): metadata.name".to_owned(),
            ),
        ] {
            let parent: ObjectMeta = serde_json::from_value(parent).unwrap();
            let faults = name_faults(template(&metadata, "app").metadata.as_ref().unwrap(), &parent)
                .via_field("metadata");
            assert_eq!(faults.text().unwrap_or_default(), wanted, "{metadata}");
        }
    }

    #[test]
    fn a_template_that_keeps_its_name_does_not_change() {
        let (parent, config) = (ObjectMeta::default(), Config::default());
        let told = |new: &RevisionTemplate, old: &RevisionTemplate| {
            change_faults(Some(new), Some(old), &parent, &config).text().unwrap_or_default()
        };
        let named = template(&json!({"name": "hello-one"}), "a");
        assert_eq!(told(&named, &named), "");
        let changed = told(&template(&json!({"name": "hello-one"}), "b"), &named);
        let begin =
            "Saw the following changes without a name change (-old +new): spec.template.metadata.name\n";
        assert!(changed.starts_with(begin) && changed.contains("\"b\""), "{changed}");
        assert_eq!(told(&template(&json!({"name": "hello-two"}), "b"), &named), "");
        assert_eq!(told(&template(&json!({}), "b"), &template(&json!({}), "a")), "");
    }

    #[test]
    fn a_template_that_only_lacks_its_defaults_has_not_changed() {
        let (parent, config) = (ObjectMeta::default(), Config::default());
        let bare = template(&json!({"name": "hello-one"}), "a");
        let mut filled = bare.clone();
        default_template(&mut filled, &parent, &config);
        assert_ne!(bare, filled);
        for (new, old) in [(&bare, &filled), (&filled, &bare)] {
            assert_eq!(change_faults(Some(new), Some(old), &parent, &config), Faults::default());
        }
        assert_eq!(change_faults(Some(&bare), None, &parent, &config), Faults::default());
    }
}
