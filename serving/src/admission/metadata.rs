//! What is wrong with the metadata of an object. Paths begin in it.

use std::collections::BTreeMap;

use ebb_annotations::GoDuration;
use kube::core::ObjectMeta;

use super::{fault::Faults, names};
use crate::keys;

/// What annotations of autoscaling begin with.
const SCALING: &str = "autoscaling.knative.dev";

/// Examines the name, or the prefix from which one is made.
pub(super) fn name_faults(metadata: &ObjectMeta) -> Faults {
    let name = metadata.name.as_deref().unwrap_or_default();
    let prefix = metadata.generate_name.as_deref().unwrap_or_default();
    if name.is_empty() && prefix.is_empty() {
        return Faults::generic("name or generateName is required", "name");
    }
    let mut faults = Faults::default();
    let wrong = names::dns_1035_label(name);
    if !name.is_empty() && !wrong.is_empty() {
        faults.add(Faults::generic(format!("not a DNS 1035 label: {}", names::list(&wrong)), "name"));
    }
    let wrong = names::dns_1035_prefix(prefix);
    if !prefix.is_empty() && !wrong.is_empty() {
        let message = format!("not a DNS 1035 label prefix: {}", names::list(&wrong));
        faults.add(Faults::generic(message, "generateName"));
    }
    faults
}

/// Finds annotations of autoscaling, which belong to the template.
pub(super) fn misplaced_annotations(metadata: &ObjectMeta) -> Faults {
    let keys = metadata.annotations.iter().flatten().map(|(key, _)| key);
    let misplaced = |key: &String| {
        Faults::invalid_key(key, "annotations").with_details(
            "autoscaling annotations must be put under \"spec.template.metadata.annotations\" to work",
        )
    };
    keys.filter(|key| key.starts_with(SCALING)).map(misplaced).collect()
}

/// Examines how long a gradual rollout takes.
pub(super) fn rollout_faults(metadata: &ObjectMeta) -> Faults {
    let find = |key: &'static str| Some((key, metadata.annotations.as_ref()?.get(key)?));
    let Some((key, text)) = find(keys::ROLLOUT_DURATION).or_else(|| find(keys::ROLLOUT_DURATION_OLD)) else {
        return Faults::default();
    };
    let path = format!("annotations.{key}");
    match text.parse::<GoDuration>() {
        Err(_) => Faults::invalid_value(text, &path),
        Ok(duration) if !duration.is_whole_seconds() => {
            Faults::generic(format!("rollout-duration={text} is not at second precision"), &path)
        }
        Ok(duration) if duration < GoDuration::ZERO => {
            Faults::generic(format!("rollout-duration={text} must be positive"), &path)
        }
        Ok(_) => Faults::default(),
    }
}

/// Examines the label `label`, which names the object of the kind `kind` that this one belongs to: it must be its owner.
///
/// A restored object has lost its owners. It is admitted without any if it `is_child` of the named one by its own name,
/// so that the owner can take it back.
pub(super) fn parent_faults(
    metadata: &ObjectMeta,
    label: &str,
    kind: &str,
    is_child: impl FnOnce(&str, &str) -> bool,
) -> Faults {
    let Some(parent) = metadata.labels.as_ref().and_then(|labels| labels.get(label)) else {
        return Faults::default();
    };
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    let is_owned = owners.iter().any(|owner| owner.kind == kind && owner.name == *parent);
    let name = metadata.name.as_deref().unwrap_or_default();
    let is_orphan = owners.is_empty() && !name.is_empty() && is_child(name, parent);
    if is_owned || is_orphan { Faults::default() } else { Faults::missing(&format!("labels.{label}")) }
}

/// Examines who an object says that it was written by.
pub(super) fn author_faults(new: &ObjectMeta, old: &ObjectMeta, is_changed: bool) -> Faults {
    let empty = BTreeMap::new();
    let (new, old) = (new.annotations.as_ref().unwrap_or(&empty), old.annotations.as_ref().unwrap_or(&empty));
    let of = |all: &BTreeMap<String, String>, key: &str| all.get(key).cloned().unwrap_or_default();
    let path = |key: &str| format!("annotations.{key}");
    let mut faults = Faults::default();
    if of(new, keys::CREATOR) != of(old, keys::CREATOR) {
        faults.add(Faults::generic("annotation value is immutable", &path(keys::CREATOR)));
    }
    let modifier = of(new, keys::LAST_MODIFIER);
    if !is_changed && modifier != of(old, keys::LAST_MODIFIER) {
        faults.add(Faults::invalid_value(modifier, &path(keys::LAST_MODIFIER)));
    }
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn metadata(json: Value) -> ObjectMeta {
        serde_json::from_value(json).unwrap()
    }

    fn text(faults: &Faults) -> String {
        faults.text().unwrap_or_default()
    }

    #[test]
    fn an_object_has_a_name_or_a_prefix_of_one() {
        let label = names::list(&names::dns_1035_label("A"));
        for (json, wanted) in [
            (json!({"name": "hello"}), String::new()),
            (json!({"generateName": "hello-"}), String::new()),
            (json!({"name": "hello-abcde", "generateName": "hello-"}), String::new()),
            (json!({}), "name or generateName is required: name".to_owned()),
            (json!({"name": "", "generateName": ""}), "name or generateName is required: name".to_owned()),
            (json!({"name": "Hello"}), format!("not a DNS 1035 label: {label}: name")),
            (json!({"generateName": "a.b-"}), format!("not a DNS 1035 label prefix: {label}: generateName")),
            (
                json!({"name": "a".repeat(64)}),
                "not a DNS 1035 label: [must be no more than 63 characters]: name".to_owned(),
            ),
        ] {
            assert_eq!(text(&name_faults(&metadata(json.clone()))), wanted, "{json}");
        }
    }

    #[test]
    fn annotations_of_autoscaling_belong_to_the_template() {
        let faults = misplaced_annotations(&metadata(json!({"annotations": {
            "autoscaling.knative.dev/min-scale": "1", "other": "2", "serving.knative.dev/odd": "3",
        }})));
        let wanted = "invalid key name \"autoscaling.knative.dev/min-scale\": annotations\n\
             autoscaling annotations must be put under \"spec.template.metadata.annotations\" to work";
        assert_eq!(text(&faults), wanted);
    }

    #[test]
    fn a_rollout_takes_whole_seconds() {
        for (value, wanted) in [
            ("0s", ""),
            ("1m30s", ""),
            ("1s500ms", "rollout-duration=1s500ms is not at second precision: annotations.KEY"),
            ("-5s", "rollout-duration=-5s must be positive: annotations.KEY"),
            ("soon", "invalid value: soon: annotations.KEY"),
            ("", "invalid value: : annotations.KEY"),
        ] {
            for key in [keys::ROLLOUT_DURATION, keys::ROLLOUT_DURATION_OLD] {
                let faults = rollout_faults(&metadata(json!({"annotations": {key: value}})));
                assert_eq!(text(&faults), wanted.replace("KEY", key), "{value}");
            }
        }
        let both = json!({"annotations": {keys::ROLLOUT_DURATION: "1s", keys::ROLLOUT_DURATION_OLD: "x"}});
        assert_eq!(text(&rollout_faults(&metadata(both))), "");
    }

    #[test]
    fn who_is_labelled_as_a_child_has_that_owner_or_none_and_its_name() {
        let owner =
            |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": "u"});
        let missing = "missing field(s): labels.serving.knative.dev/service";
        for (name, owners, wanted) in [
            ("hello", json!([owner("Service", "hello")]), ""),
            ("hello", json!([owner("Other", "x"), owner("Service", "hello")]), ""),
            ("hello", json!([owner("Route", "hello")]), missing),
            ("hello", json!([owner("Service", "other")]), missing),
            ("hello", json!([]), ""),
            ("other", json!([]), missing),
            ("", json!([]), missing),
        ] {
            let all = json!({"name": name, "labels": {keys::SERVICE: "hello"}, "ownerReferences": owners});
            let faults = parent_faults(&metadata(all.clone()), keys::SERVICE, "Service", |name, parent| {
                name == parent
            });
            assert_eq!(text(&faults), wanted, "{all}");
        }
        let free = parent_faults(&metadata(json!({"name": "a"})), keys::SERVICE, "Service", |_, _| false);
        assert!(free.is_empty());
    }

    #[test]
    fn the_creator_stays_and_only_a_change_has_a_new_author() {
        let signed = |creator: &str, modifier: &str| {
            metadata(json!({"annotations": {keys::CREATOR: creator, keys::LAST_MODIFIER: modifier}}))
        };
        let creator = "annotation value is immutable: annotations.serving.knative.dev/creator";
        let modifier = "invalid value: bob: annotations.serving.knative.dev/lastModifier";
        for (new, is_changed, wanted) in [
            (signed("alice", "alice"), false, String::new()),
            (signed("alice", "bob"), true, String::new()),
            (signed("alice", "bob"), false, modifier.to_owned()),
            (signed("bob", "bob"), false, format!("{creator}\n{modifier}")),
            (metadata(json!({})), true, creator.to_owned()),
        ] {
            let faults = author_faults(&new, &signed("alice", "alice"), is_changed);
            assert_eq!(text(&faults), wanted, "{new:?}");
        }
    }
}
