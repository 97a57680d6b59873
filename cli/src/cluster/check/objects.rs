//! Checks that the installed objects exist and are as shipped.

use kube::core::DynamicObject;
use serde_json::Value;

use crate::cluster::{
    finding::Finding,
    manifests::{SIDECAR_IMAGE, kind, name},
};

const CHECK: &str = "objects";

/// Ends of paths that an installation may set itself: numbers of pods, their place, resources
/// and images, and how the gateway is reached.
const SETTINGS: [&str; 12] = [
    "spec.replicas",
    "resources",
    "affinity",
    "topologySpreadConstraints",
    "nodeSelector",
    "tolerations",
    "priorityClassName",
    "imagePullPolicy",
    "terminationGracePeriodSeconds",
    "spec.type",
    "externalTrafficPolicy",
    "env[EBB_DRAIN_LIMIT_SECONDS].value",
];
/// Kinds of objects that an installation may leave out.
const OPTIONAL: [&str; 2] = ["PodDisruptionBudget", "PriorityClass"];

/// A field that differs from the shipped one.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    path: String,
    shipped: String,
    found: String,
}

/// Returns the findings about one object.
pub(crate) fn judge(shipped: &DynamicObject, found: Option<&DynamicObject>) -> Vec<Finding> {
    let Some(found) = found else {
        if OPTIONAL.contains(&kind(shipped)) {
            return Vec::new();
        }
        let todo = "ebb install   # applies what is missing and leaves alone what is there";
        return vec![Finding::fault(CHECK, format!("{} is missing", name(shipped)), todo)];
    };
    let mut differences = Vec::new();
    compare(&shipped.data, &found.data, String::new(), &mut differences);
    differences.retain(|one| {
        !SETTINGS.iter().any(|setting| one.path.ends_with(setting) || within(&one.path, setting))
    });
    let (images, others): (Vec<_>, Vec<_>) = differences.into_iter().partition(|one| is_image(&one.path));
    let mut findings = Vec::new();
    for image in images {
        let tags = tag(&image.shipped).zip(tag(&image.found));
        if let Some((shipped_tag, _)) = tags.filter(|(shipped, found)| shipped != found) {
            findings.push(Finding::warning(
                "version",
                format!("{} runs {}; this ebb is {shipped_tag}", name(shipped), image.found),
                "ebb install   # installs its own version; or use the ebb of the cluster's version",
            ));
        }
    }
    if !others.is_empty() {
        let lines: Vec<String> = others
            .iter()
            .map(|one| format!("  {} is {}, shipped as {}", one.path, one.found, one.shipped))
            .collect();
        findings.push(Finding::warning(
            CHECK,
            format!("{} is not as shipped:\n{}", name(shipped), lines.join("\n")),
            "if that is not intended: ebb install   # resets it",
        ));
    }
    findings
}

fn within(path: &str, setting: &str) -> bool {
    path.split_once(setting).is_some_and(|(_, rest)| rest.starts_with(['.', '[']))
}

fn is_image(path: &str) -> bool {
    path.rsplit('.').next() == Some("image") || path.ends_with(&format!("env[{SIDECAR_IMAGE}].value"))
}

/// Returns the tag of an image; `None` if it is given by digest.
fn tag(image: &str) -> Option<&str> {
    let last = image.trim_matches('"').rsplit('/').next()?;
    if last.contains('@') { None } else { Some(last.split_once(':').map_or("latest", |(_, tag)| tag)) }
}

/// Collects where `found` differs from `shipped`. Additional fields are ignored: defaults, and those of
/// others.
fn compare(shipped: &Value, found: &Value, path: String, differences: &mut Vec<Difference>) {
    match (shipped, found) {
        (Value::Object(shipped), Value::Object(found)) => {
            for (key, value) in shipped {
                if key == "metadata" {
                    continue;
                }
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(value, found.get(key).unwrap_or(&Value::Null), path, differences);
            }
        }
        (Value::Array(shipped), Value::Array(found)) => {
            for (index, value) in shipped.iter().enumerate() {
                let own_name = value.get("name").and_then(Value::as_str);
                let (at, like) = match own_name {
                    Some(own) => (own.to_owned(), found.iter().find(|other| other["name"] == own)),
                    None => (index.to_string(), found.iter().find(|other| is_covered(value, other))),
                };
                compare(value, like.unwrap_or(&Value::Null), format!("{path}[{at}]"), differences);
            }
        }
        _ if shipped == found => {}
        _ => differences.push(Difference { path, shipped: in_short(shipped), found: in_short(found) }),
    }
}

fn is_covered(shipped: &Value, found: &Value) -> bool {
    let mut differences = Vec::new();
    compare(shipped, found, String::new(), &mut differences);
    differences.is_empty()
}

fn in_short(value: &Value) -> String {
    match value {
        Value::Null => "absent".to_owned(),
        Value::Object(_) | Value::Array(_) => {
            let text = value.to_string();
            if text.len() > 160 { format!("{}…", &text[..text.floor_char_boundary(160)]) } else { text }
        }
        scalar => scalar.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::{
        components::Components,
        finding::Level,
        manifests::{self, Images},
    };

    fn objects() -> Vec<DynamicObject> {
        manifests::objects(false, Components { gateway: true, serving: true }, &Images::default()).unwrap()
    }

    fn shipped(wanted: &str) -> DynamicObject {
        objects().into_iter().find(|object| name(object) == wanted).unwrap()
    }

    fn judged(name: &str, change: impl FnOnce(&mut Value)) -> Vec<(Level, String)> {
        let shipped = shipped(name);
        let mut found = shipped.clone();
        change(&mut found.data);
        judge(&shipped, Some(&found)).into_iter().map(|finding| (finding.level, finding.what)).collect()
    }

    const ACTIVATOR: &str = "Deployment ebb-system/ebb-activator";
    const AUTOSCALER: &str = "Deployment ebb-system/ebb-autoscaler";

    #[test]
    fn everything_is_as_shipped_in_its_own_image() {
        for object in objects() {
            assert_eq!(judge(&object, Some(&object)), [], "{}", name(&object));
        }
    }

    #[test]
    fn what_is_missing_is_a_fault_unless_one_can_do_without() {
        let missing = judge(&shipped(ACTIVATOR), None);
        assert_eq!(
            (missing[0].level, &*missing[0].what),
            (Level::Fault, "Deployment ebb-system/ebb-activator is missing")
        );
        assert_eq!(judge(&shipped("PodDisruptionBudget ebb-system/ebb-activator"), None), []);
    }

    #[test]
    fn what_an_installation_sets_for_itself_is_its_own() {
        let settings = judged(ACTIVATOR, |data| {
            data["spec"]["replicas"] = json!(5);
            let pod = &mut data["spec"]["template"]["spec"];
            pod["containers"][0]["resources"]["limits"]["memory"] = json!("1Gi");
            pod["containers"][0]["image"] = json!("r.example:5000/ebb/activator:0.1.0");
            pod["containers"][0]["env"][3]["value"] = json!("60");
            pod["affinity"] = Value::Null;
            pod["topologySpreadConstraints"] = Value::Null;
            pod["dnsPolicy"] = json!("ClusterFirst");
        });
        assert_eq!(settings, []);
        let gateway = judged("Service ebb-system/ebb-gateway", |data| {
            data["spec"]["type"] = json!("ClusterIP");
            data["spec"]["externalTrafficPolicy"] = Value::Null;
        });
        assert_eq!(gateway, []);
    }

    #[test]
    fn another_version_is_told_by_the_image() {
        let older = judged(AUTOSCALER, |data| {
            let container = &mut data["spec"]["template"]["spec"]["containers"][0];
            container["image"] = json!("ebb/autoscaler:0.0.9");
            container["env"][5]["value"] = json!("r/ebb/queue-proxy@sha256:00");
        });
        assert_eq!(older.len(), 1, "{older:?}");
        assert!(older[0].1.contains("runs \"ebb/autoscaler:0.0.9\"; this ebb is 0.1.0"), "{older:?}");
    }

    #[test]
    fn a_right_a_rule_or_a_port_that_was_taken_away_is_named() {
        let role = judged("ClusterRole ebb-autoscaler", |data| {
            data["rules"][0]["verbs"] = json!(["get", "list", "watch"]);
        });
        assert!(role[0].1.contains("rules[0]") && role[0].1.contains("\"patch\""), "{role:?}");
        let service = judged("Service ebb-system/ebb-autoscaler", |data| {
            data["spec"]["ports"][1]["port"] = json!(8443);
        });
        assert!(service[0].1.contains("spec.ports[webhook].port is 8443, shipped as 443"), "{service:?}");
        let webhook = judged("MutatingWebhookConfiguration ebb", |data| {
            data["webhooks"][0]["failurePolicy"] = json!("Fail");
        });
        assert_eq!(webhook[0].0, Level::Warning);
        assert!(webhook[0].1.contains("webhooks[pods.ebb.dev].failurePolicy is \"Fail\""), "{webhook:?}");
    }
}
