//! Fields that the kind does not have, as a cluster refuses them: one that is misspelled would be as good as
//! absent.

use serde::Serialize;
use serde_json::Value;

/// Returns the paths of fields of `given` that are lost in `read`, which was read from it. What a status says
/// is not read.
pub(super) fn fields<T: Serialize>(given: &Value, read: &T) -> Vec<String> {
    let mut lost = Vec::new();
    if let Ok(kept) = serde_json::to_value(read) {
        compare(given, &kept, "", &mut lost);
    }
    lost.retain(|path| path.split('.').next() != Some("status"));
    lost
}

fn compare(given: &Value, kept: &Value, path: &str, lost: &mut Vec<String>) {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            for (name, value) in given {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match kept.get(name) {
                    Some(kept) => compare(value, kept, &path, lost),
                    // Empty values of fields that exist are not kept either.
                    None if is_empty(value) => {}
                    None => lost.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(kept)) => {
            for (index, (given, kept)) in given.iter().zip(kept).enumerate() {
                compare(given, kept, &format!("{path}[{index}]"), lost);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use ebb_serving::api::Service;
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_no_service_has_are_found_at_any_depth() {
        let mut given = json!({
            "apiVersion": "serving.knative.dev/v1", "kind": "Service",
            "metadata": {"name": "hello", "creationTimestamp": null, "labels": {}, "lables": {"a": "b"}},
            "spec": {"traffic": [], "template": {"metadata": {"name": "", "creationTimestamp": null}, "spec": {
                "timeout": 3, "volumes": [{"name": "x", "emptyDir": {}}],
                "containers": [{"image": "hello", "env": [], "resources": {}, "securityContext": {}}, {"comand": ["x"]}],
            }}},
            "status": {"address": {"url": "x"}, "since": "today"},
        });
        let read: Service = serde_json::from_value(given.clone()).unwrap();
        let lost =
            ["metadata.lables", "spec.template.spec.containers[1].comand", "spec.template.spec.timeout"];
        let mut found = fields(&given, &read);
        found.sort();
        assert_eq!(found, lost);
        given["metadata"]["lables"].take();
        assert_eq!(fields(&given, &read).len(), 2, "an empty field says nothing");
    }
}
