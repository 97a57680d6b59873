//! What is wrong with a Revision. What it runs is examined like a template's, but only when it is new.

use super::{defaults, diff, fault::Faults, metadata, revision};
use crate::{
    api::{Revision, RevisionTemplate, TemplateMetadata},
    config::Config,
    keys,
};

/// Examines a Revision that has its defaults; `old` is what it was.
pub fn faults(new: &Revision, old: Option<&Revision>, config: &Config) -> Faults {
    let is_child =
        |name: &str, parent: &str| name.strip_prefix(parent).is_some_and(|rest| rest.starts_with('-'));
    let of_metadata = metadata::name_faults(&new.metadata)
        .and(metadata::parent_faults(&new.metadata, keys::CONFIGURATION, "Configuration", is_child))
        .via_field("metadata");
    let Some(old) = old else {
        return of_metadata.and(revision::template_faults(&as_template(new), config));
    };
    of_metadata.and(annotation_faults(new, old, config)).and(change_faults(new, old, config))
}

/// Examines annotations that changed. Those that did not may have been admitted by other rules, and nobody can be
/// asked to correct them when only the routing state changes.
fn annotation_faults(new: &Revision, old: &Revision, config: &Config) -> Faults {
    let told = |one: &Revision| {
        let template = RevisionTemplate { spec: None, ..as_template(one) };
        revision::template_faults(&template, config).within("metadata")
    };
    let (new, old) = (told(new), told(old));
    if new == old { Faults::default() } else { new }
}

fn change_faults(new: &Revision, old: &Revision, config: &Config) -> Faults {
    // The old one may have been stored before a default existed. Then the new one lacks it too.
    let (mut new, mut old) = (new.clone(), old.clone());
    defaults::revision(&mut new, config);
    defaults::revision(&mut old, config);
    let fault =
        |change: String| Faults::generic("Immutable fields changed (-old +new)", "spec").with_details(change);
    diff::spec(&old.spec, &new.spec).map(fault).unwrap_or_default()
}

fn as_template(revision: &Revision) -> RevisionTemplate {
    let annotations = revision.metadata.annotations.clone().unwrap_or_default();
    let metadata = TemplateMetadata { annotations, ..TemplateMetadata::default() };
    RevisionTemplate { metadata: Some(metadata), spec: Some(revision.spec.clone()) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn revision(metadata: Value, image: &str) -> Revision {
        let spec = serde_json::from_value(json!({"containers": [{"image": image}]})).unwrap();
        let mut revision =
            Revision { metadata: serde_json::from_value(metadata).unwrap(), spec, status: None };
        defaults::revision(&mut revision, &Config::default());
        revision
    }

    fn told(new: &Revision, old: Option<&Revision>) -> String {
        faults(new, old, &Config::default()).text().unwrap_or_default()
    }

    #[test]
    fn a_revision_belongs_to_its_configuration() {
        let labels = json!({keys::CONFIGURATION: "hello"});
        let missing = "missing field(s): metadata.labels.serving.knative.dev/configuration";
        for (name, wanted) in [("hello-00001", ""), ("other-00001", missing), ("hello", missing)] {
            assert_eq!(told(&revision(json!({"name": name, "labels": labels}), "app"), None), wanted);
        }
    }

    #[test]
    fn what_a_revision_runs_does_not_change() {
        let old = revision(json!({"name": "hello-00001"}), "app");
        let changed = told(&revision(json!({"name": "hello-00001"}), "app:2"), Some(&old));
        assert!(changed.starts_with("Immutable fields changed (-old +new): spec\n"), "{changed}");
        let labelled = revision(json!({"name": "hello-00001", "labels": {"a": "b"}}), "app");
        assert_eq!(told(&labelled, Some(&old)), "");
    }

    #[test]
    fn what_only_lacks_a_default_did_not_change() {
        let filled = revision(json!({"name": "hello-00001"}), "app");
        let mut bare = filled.clone();
        bare.spec.container_concurrency = None;
        for (new, old) in [(&bare, &filled), (&filled, &bare), (&bare, &bare)] {
            assert_eq!(told(new, Some(old)), "");
        }
    }

    #[test]
    fn annotations_are_examined_when_they_change() {
        let scale = |scale: &str| {
            revision(
                json!({"name": "a-1", "annotations": {"autoscaling.knative.dev/min-scale": scale}}),
                "app",
            )
        };
        let wrong = told(&scale("-1"), Some(&scale("1")));
        assert!(wrong.contains("metadata.annotations.autoscaling.knative.dev/min-scale"), "{wrong}");
        assert_eq!(told(&scale("-1"), Some(&scale("-1"))), "");
        assert_eq!(told(&scale("1"), Some(&scale("-1"))), "");
    }
}
