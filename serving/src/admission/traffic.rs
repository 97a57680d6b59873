//! What is wrong with traffic. Paths begin at the list, as `[0].tag`; the list itself is [`HERE`].

use std::collections::BTreeMap;

use super::{
    fault::{Faults, HERE},
    names,
};
use crate::api::TrafficTarget;

/// The shares of all targets together, in percent.
const WHOLE: i128 = 100;

/// Examines the traffic of a ksvc, which has one Configuration, its own.
pub(super) fn service_faults(targets: &[TrafficTarget]) -> Faults {
    let of = |target: &TrafficTarget| match text(target.configuration_name.as_ref()) {
        "" => Faults::default(),
        _ => Faults::disallowed("configurationName"),
    };
    faults(targets).and(each(targets, of))
}

/// Examines the traffic of a Route.
pub(super) fn route_faults(targets: &[TrafficTarget]) -> Faults {
    let of = |target: &TrafficTarget| {
        let paths = ["configurationName", "revisionName"];
        match (text(target.configuration_name.as_ref()), text(target.revision_name.as_ref())) {
            ("", "") => Faults::one_of_neither(&paths),
            ("", _) | (_, "") => Faults::default(),
            _ => Faults::one_of_both(&paths),
        }
    };
    faults(targets).and(each(targets, of))
}

fn faults(targets: &[TrafficTarget]) -> Faults {
    let mut faults = each(targets, target_faults);
    let sum: i128 = targets.iter().filter_map(|target| target.percent).map(i128::from).sum();
    if sum != WHOLE {
        faults.add(Faults::generic(format!("Traffic targets sum to {sum}, want {WHOLE}"), HERE));
    }
    let mut tags: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (index, target) in targets.iter().enumerate() {
        tags.entry(text(target.tag.as_ref())).or_default().push(format!("[{index}].tag"));
    }
    for (tag, paths) in tags.iter().filter(|(tag, paths)| !tag.is_empty() && paths.len() > 1) {
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        faults.add(Faults::at(format!("Multiple definitions for {tag:?}"), &paths));
    }
    faults
}

fn target_faults(target: &TrafficTarget) -> Faults {
    let mut faults = Faults::default();
    if let Some(percent) = target.percent.filter(|percent| !(0..=100).contains(percent)) {
        faults.add(Faults::out_of_bounds(percent, 0, WHOLE, "percent"));
    }
    let revision = text(target.revision_name.as_ref());
    if let Some(is_latest) = target.latest_revision.filter(|is_latest| *is_latest != revision.is_empty()) {
        let message = format!("may not set revisionName {revision:?} when latestRevision is {is_latest}");
        faults.add(Faults::generic(message, "latestRevision"));
    }
    let tag = text(target.tag.as_ref());
    let wrong = names::dns_1035_label(tag);
    if !tag.is_empty() && !wrong.is_empty() {
        let value = format!("not a DNS 1035 label: {}", names::list(&wrong));
        faults.add(Faults::invalid_value(value, "tag"));
    }
    let configuration = text(target.configuration_name.as_ref());
    for (field, name) in [("revisionName", revision), ("configurationName", configuration)] {
        let wrong = names::qualified_name(name);
        if !name.is_empty() && !wrong.is_empty() {
            faults.add(Faults::invalid_key(name, field).with_details(wrong.join(", ")));
        }
    }
    if !text(target.url.as_ref()).is_empty() {
        faults.add(Faults::disallowed("url"));
    }
    faults
}

fn each(targets: &[TrafficTarget], of: impl Fn(&TrafficTarget) -> Faults) -> Faults {
    targets.iter().enumerate().map(|(index, target)| of(target).via_index(HERE, index)).collect()
}

fn text(text: Option<&String>) -> &str {
    text.map(String::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(examine: fn(&[TrafficTarget]) -> Faults, targets: &Value) -> String {
        let targets: Vec<TrafficTarget> = serde_json::from_value(targets.clone()).unwrap();
        examine(&targets).via_field("spec.traffic").text().unwrap_or_default()
    }

    #[test]
    fn the_traffic_of_a_ksvc_is_wrong_in_the_words_of_the_reference() {
        let label = names::list(&names::dns_1035_label("A"));
        let name = names::qualified_name("a b").join(", ");
        for (targets, wanted) in [
            (json!([{"percent": 100, "latestRevision": true}]), String::new()),
            (
                json!([{"revisionName": "r", "percent": 100, "latestRevision": false, "tag": "a"}, {"tag": "b"}]),
                String::new(),
            ),
            (json!([]), "Traffic targets sum to 0, want 100: spec.traffic".to_owned()),
            (
                json!([{"percent": i64::MAX}, {"percent": i64::MAX}]),
                "Traffic targets sum to 18446744073709551614, want 100: spec.traffic\n\
                 expected 0 <= 9223372036854775807 <= 100: spec.traffic[0].percent, spec.traffic[1].percent"
                    .to_owned(),
            ),
            (json!([{"percent": 101}, {"percent": -1}]), {
                "expected 0 <= -1 <= 100: spec.traffic[1].percent\n\
                 expected 0 <= 101 <= 100: spec.traffic[0].percent"
                    .to_owned()
            }),
            (
                json!([{"percent": 100, "latestRevision": true, "revisionName": "r"}, {"latestRevision": false}]),
                "may not set revisionName \"\" when latestRevision is false: spec.traffic[1].latestRevision\n\
                 may not set revisionName \"r\" when latestRevision is true: spec.traffic[0].latestRevision"
                    .to_owned(),
            ),
            (
                json!([{"percent": 100, "tag": "t"}, {"tag": "B"}, {"tag": "t"}]),
                format!(
                    "Multiple definitions for \"t\": spec.traffic[0].tag, spec.traffic[2].tag\n\
                     invalid value: not a DNS 1035 label: {label}: spec.traffic[1].tag"
                ),
            ),
            (
                json!([{"percent": 100, "configurationName": "c", "url": "http://a"}]),
                "must not set the field(s): spec.traffic[0].configurationName, spec.traffic[0].url".to_owned(),
            ),
            (
                json!([{"percent": 100, "revisionName": "a b"}]),
                format!("invalid key name \"a b\": spec.traffic[0].revisionName\n{name}"),
            ),
        ] {
            assert_eq!(told(service_faults, &targets), wanted, "{targets}");
        }
    }

    #[test]
    fn a_target_of_a_route_names_one_thing() {
        let paths = "spec.traffic[0].configurationName, spec.traffic[0].revisionName";
        for (target, wanted) in [
            (json!({"configurationName": "c", "latestRevision": true}), String::new()),
            (json!({"revisionName": "r", "latestRevision": false}), String::new()),
            (json!({"latestRevision": true}), format!("expected exactly one, got neither: {paths}")),
            (
                json!({"configurationName": "c", "revisionName": "r"}),
                format!("expected exactly one, got both: {paths}"),
            ),
        ] {
            let mut whole = target.clone();
            whole["percent"] = json!(100);
            assert_eq!(told(route_faults, &json!([whole])), wanted, "{target}");
        }
    }
}
