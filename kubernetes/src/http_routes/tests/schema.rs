//! Validates the written objects by the schema of the kind.

use regex::Regex;

use super::*;
use crate::http_routes::object::objects;

/// Keywords that do not restrict values; only the API server knows the language of the rules.
const SILENT: [&str; 7] = [
    "default",
    "description",
    "format",
    "type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-validations",
];

fn schema() -> Value {
    let text = include_str!("../../../tests/fixtures/httproutes.crd.yaml");
    let mut kind: Value = serde_saphyr::from_str(text).unwrap();
    assert_eq!(kind["spec"]["versions"][0]["name"], "v1");
    kind["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take()
}

/// Returns everything about `value` that the schema does not allow.
fn faults(value: &Value, schema: &Value, at: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut want = |is_so: bool, what: &str| {
        if !is_so {
            faults.push(format!("{at}: {what}: {value}"));
        }
    };
    let is_of_type = match schema["type"].as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "boolean" => value.is_boolean(),
        other => panic!("{at}: type {other}"),
    };
    want(is_of_type, "type");
    let length = value.as_str().map(|text| text.chars().count());
    let items = value.as_array().map(Vec::len);
    let number = value.as_i64();
    for (keyword, bound) in schema.as_object().unwrap() {
        let limit = || bound.as_i64().unwrap();
        let size = || usize::try_from(limit()).unwrap();
        match &**keyword {
            "maxLength" => want(length.is_none_or(|length| length <= size()), keyword),
            "minLength" => want(length.is_none_or(|length| length >= size()), keyword),
            "maxItems" => want(items.is_none_or(|items| items <= size()), keyword),
            "minItems" => want(items.is_none_or(|items| items >= size()), keyword),
            "maximum" => want(number.is_none_or(|number| number <= limit()), keyword),
            "minimum" => want(number.is_none_or(|number| number >= limit()), keyword),
            "enum" => want(bound.as_array().unwrap().contains(value), keyword),
            "pattern" => {
                let pattern = Regex::new(bound.as_str().unwrap()).unwrap();
                want(value.as_str().is_none_or(|text| pattern.is_match(text)), keyword);
            }
            "required" => {
                let is_there = |name: &Value| value.get(name.as_str().unwrap()).is_some();
                want(bound.as_array().unwrap().iter().all(is_there), keyword);
            }
            "items" | "properties" => {}
            silent => assert!(SILENT.contains(&silent), "{at}: unknown keyword {silent}"),
        }
    }
    for item in value.as_array().into_iter().flatten() {
        faults.extend(self::faults(item, &schema["items"], at));
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match schema["properties"].get(name) {
            // The API server has a schema of its own for metadata.
            Some(_) if at == ".metadata" => {}
            Some(schema) => faults.extend(self::faults(inner, schema, &at)),
            None => faults.push(format!("{at}: unknown")),
        }
    }
    faults
}

#[test]
fn what_is_written_is_as_the_kind_says() {
    let schema = schema();
    let long = ["a"; 63].concat();
    let mut backend = backend(33);
    backend.hosts.push(format!("*.{}", [&*long, &long, &long].join(".")).parse().unwrap());
    backend.port = 65535;
    for parent in ["infra/web", "infra/web.example/https"] {
        let all = objects(&key(&long), &backend, &parent.parse().unwrap());
        assert_eq!(all.len(), 3, "16 hosts each");
        for (name, object) in &all {
            assert_eq!(faults(object, &schema, ""), [""; 0], "{name}");
            assert_eq!(object["metadata"]["name"], **name);
        }
        let hosts = all.iter().flat_map(|(_, object)| object["spec"]["hostnames"].as_array().unwrap());
        assert_eq!(hosts.count(), 34);
        let names = ["", "-2", "-3"].map(|suffix| format!("{long}-ebb{suffix}"));
        assert!(all.iter().map(|(name, _)| name).eq(&names));
    }
}

#[test]
fn the_check_finds_what_the_kind_does_not_allow() {
    let schema = schema();
    let good = objects(&key("hello"), &backend(1), &parent()).remove(0).1;
    let hosts: Vec<String> = (0..17).map(|index| format!("h{index}.com")).collect();
    for (pointer, value, fault) in [
        ("/spec/hostnames", json!(hosts), ".spec.hostnames: maxItems"),
        ("/spec/hostnames/0", json!("A.com"), ".spec.hostnames: pattern"),
        ("/spec/hostnames/0", json!(""), ".spec.hostnames: minLength"),
        ("/spec/rules", json!([]), ".spec.rules: minItems"),
        ("/spec/parentRefs/0", json!({"namespace": "infra"}), ".spec.parentRefs: required"),
        ("/spec/parentRefs/0/name", json!("a".repeat(254)), ".spec.parentRefs.name: maxLength"),
        ("/spec/rules/0/backendRefs/0/port", json!(65536), ".spec.rules.backendRefs.port: maximum"),
        ("/spec/rules/0/backendRefs/0/port", json!(0), ".spec.rules.backendRefs.port: minimum"),
        ("/spec/rules/0/backendRefs/0/port", json!("80"), ".spec.rules.backendRefs.port: type"),
        ("/spec/rules/0/backendRefs/0", json!({"name": "a", "uid": "1"}), ".uid: unknown"),
        ("/spec/rules/0/matches", json!([{"path": {"type": "Glob"}}]), ".path.type: enum"),
    ] {
        let mut bad = good.clone();
        if let Some(part) = bad.pointer_mut(pointer) {
            *part = value;
        } else {
            bad["spec"]["rules"][0]["matches"] = value;
        }
        let found = faults(&bad, &schema, "");
        assert!(found.iter().any(|found| found.contains(fault)), "{fault}: {found:?}");
    }
}
