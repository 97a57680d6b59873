//! The checked-in definitions are those of the types, and they keep and drop what they should.

use ebb_serving::api::{Service, crds};
use serde_json::{Value, from_value, json, to_value};

const CHECKED_IN: &str = include_str!("../../deploy/components/serving/crds.yaml");
const HEAD: &str = "# The kinds of Knative's Serving API. Written by the test `checked_in`, from serving/src/api/:\n\
                    # EBB_WRITE=1 cargo test -p ebb-serving --test crds\n";

fn written() -> String {
    let all = crds().map(|crd| serde_saphyr::to_string(&to_value(crd).expect("JSON")).expect("YAML"));
    all.iter().fold(HEAD.to_owned(), |text, crd| format!("{text}---\n{crd}"))
}

#[test]
fn checked_in() {
    let written = written();
    if std::env::var_os("EBB_WRITE").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/components/serving/crds.yaml");
        std::fs::write(file, &written).expect("a writable tree");
    } else {
        assert!(
            written == CHECKED_IN,
            "deploy/components/serving/crds.yaml is not what the types say; its head says how to write it"
        );
    }
    // What an API server reads is what was meant.
    let read: Vec<Value> = serde_saphyr::from_multiple(&written).expect("YAML");
    assert_eq!(read, crds().map(|crd| to_value(crd).expect("JSON")));
}

/// The schema of the whole object.
fn schema(kind: &str) -> Value {
    let crd = crds().into_iter().find(|crd| crd.spec.names.kind == kind).expect("one of them");
    to_value(&crd.spec.versions[0].schema).expect("JSON")["openAPIV3Schema"].clone()
}

/// Drops from `value` what `schema` does not have, as the API server does.
fn prune(value: &mut Value, schema: &Value) {
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    match value {
        Value::Object(fields) => {
            let (named, others) = (&schema["properties"], &schema["additionalProperties"]);
            fields.retain(|name, _| others.is_object() || named.get(name).is_some());
            for (name, value) in fields.iter_mut() {
                prune(value, named.get(name).unwrap_or(others));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prune(item, &schema["items"])),
        _ => {}
    }
}

/// Walks through `schema` and calls `seen` for each one within it.
fn each(schema: &Value, path: &str, seen: &mut impl FnMut(&str, &Value)) {
    seen(path, schema);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        each(field, &format!("{path}.{name}"), seen);
    }
    for within in ["items", "additionalProperties"] {
        if schema[within].is_object() {
            each(&schema[within], &format!("{path}[]"), seen);
        }
    }
}

#[test]
fn schemas_are_structural() {
    for crd in crds() {
        let kind = &crd.spec.names.kind;
        each(&schema(kind), kind, &mut |path, schema| {
            let typed = schema["type"].is_string() || schema["x-kubernetes-int-or-string"] == true;
            assert!(typed || schema["x-kubernetes-preserve-unknown-fields"] == true, "{path}: {schema}");
            assert!(schema.get("$ref").is_none() && schema.get("oneOf").is_none(), "{path}: {schema}");
            if schema["x-kubernetes-list-type"] == "map" {
                for key in schema["x-kubernetes-list-map-keys"].as_array().expect("keys") {
                    let key = key.as_str().expect("a name");
                    let item = &schema["items"];
                    let required = item["required"].as_array().is_some_and(|all| all.contains(&json!(key)));
                    let has_default = item["properties"][key].get("default").is_some();
                    assert!(required || has_default, "{path}: a key is required, or has a default");
                }
            }
        });
    }
}

/// A default is written into every object: there may be none but those of the API.
#[test]
fn defaults_are_those_of_the_api() {
    let mut defaults = std::collections::BTreeSet::new();
    for crd in crds() {
        each(&schema(&crd.spec.names.kind), "", &mut |path, schema| {
            if let Some(default) = schema.get("default") {
                let (parent, field) = path.rsplit_once('.').expect("a field");
                let of = parent.rsplit('.').next().expect("its parent");
                defaults.insert(format!("{of}.{field}={default}"));
            }
        });
    }
    let all: Vec<String> = defaults.into_iter().collect();
    assert_eq!(
        all,
        [
            r#"configMap.name="""#,
            r#"configMapKeyRef.name="""#,
            r#"configMapRef.name="""#,
            r#"grpc.service="""#,
            r#"imagePullSecrets[].name="""#,
            r#"ports[].protocol="TCP""#,
            r#"secret.name="""#,
            r#"secretKeyRef.name="""#,
            r#"secretRef.name="""#,
        ]
    );
}

#[test]
fn fields_that_are_not_of_the_api_are_dropped_and_those_behind_flags_are_kept() {
    let schema = schema("Service");
    let spec = &schema["properties"]["spec"]["properties"]["template"]["properties"]["spec"];
    for dropped in [
        "restartPolicy",
        "terminationGracePeriodSeconds",
        "activeDeadlineSeconds",
        "nodeName",
        "hostname",
        "subdomain",
        "priority",
        "preemptionPolicy",
        "readinessGates",
        "overhead",
        "setHostnameAsFQDN",
        "os",
        "ephemeralContainers",
    ] {
        assert!(spec["properties"].get(dropped).is_none(), "{dropped}");
    }
    let mut object = json!({
        "metadata": { "creationTimestamp": null, "generateName": "hello-", "labels": { "a": "b" } },
        "spec": {
            "affinity": { "nodeAffinity": { "odd": 1 } },
            "tolerations": [{ "key": "a", "odd": [1] }],
            "dnsPolicy": "Default",
            "volumes": [
                { "name": "a", "hostPath": { "path": "/", "odd": true } },
                { "name": "b", "nfs": { "server": "a" } },
                { "name": "c", "projected": { "sources": [{ "secret": { "name": "s", "defaultMode": 1 } }] } },
            ],
            "containers": [{
                "image": "hello",
                "lifecycle": { "preStop": {} },
                "stdin": true,
                "tty": true,
                "ports": [{ "hostPort": 80 }],
                "resources": { "limits": { "cpu": 1, "example.com/gpu": "2" }, "claims": [] },
                "securityContext": { "procMount": "Default", "runAsUser": 1 },
                "readinessProbe": { "httpGet": { "port": "http" }, "terminationGracePeriodSeconds": 1 },
            }],
        },
    });
    prune(&mut object, &schema["properties"]["spec"]["properties"]["template"]);
    assert_eq!(
        object,
        json!({
            "metadata": { "creationTimestamp": null, "generateName": "hello-", "labels": { "a": "b" } },
            "spec": {
                "affinity": { "nodeAffinity": { "odd": 1 } },
                "tolerations": [{ "key": "a", "odd": [1] }],
                "dnsPolicy": "Default",
                "volumes": [
                    { "name": "a", "hostPath": { "path": "/", "odd": true } },
                    { "name": "b" },
                { "name": "c", "projected": { "sources": [{ "secret": { "name": "s" } }] } },
                    ],
                "containers": [{
                    "image": "hello",
                    "ports": [{}],
                    "resources": { "limits": { "cpu": 1, "example.com/gpu": "2" } },
                    "securityContext": { "runAsUser": 1 },
                    "readinessProbe": { "httpGet": { "port": "http" } },
                }],
            },
        })
    );
}

#[test]
fn what_a_user_wrote_is_written_back_as_it_was() {
    let written = json!({
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": { "name": "hello", "namespace": "shop" },
        "spec": {
            "template": {
                "metadata": {
                    "name": "hello-one",
                    "creationTimestamp": null,
                    "annotations": { "autoscaling.knative.dev/target": "10" },
                },
                "spec": {
                    "containerConcurrency": 0,
                    "timeoutSeconds": 300,
                    "containers": [{
                        "name": "user-container",
                        "image": "hello",
                        "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } }],
                        "ports": [{ "name": "h2c", "containerPort": 8080, "protocol": "TCP" }],
                        "readinessProbe": { "tcpSocket": {}, "successThreshold": 1 },
                        "resources": {},
                    }],
                    "volumes": [{ "name": "v", "projected": { "sources": [
                        { "downwardAPI": { "items": [{ "path": "p", "fieldRef": { "fieldPath": "f" } }] } },
                    ] } }],
                },
            },
            "traffic": [{ "latestRevision": true, "percent": 100, "tag": "current" }],
        },
    });
    let service: Service = from_value(written.clone()).expect("a Service");
    assert_eq!(to_value(&service).expect("JSON"), written);
}
