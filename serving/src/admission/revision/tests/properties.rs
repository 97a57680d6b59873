use proptest::prelude::*;

use super::*;

/// Fields of all levels, so that arbitrary objects have many of them.
const FIELDS: [&str; 48] = [
    "affinity",
    "args",
    "capabilities",
    "configMap",
    "configMapRef",
    "containerConcurrency",
    "containerPort",
    "containers",
    "csi",
    "downwardAPI",
    "emptyDir",
    "env",
    "envFrom",
    "exec",
    "fieldRef",
    "grpc",
    "hostAliases",
    "hostPath",
    "httpGet",
    "image",
    "initContainers",
    "items",
    "key",
    "limits",
    "livenessProbe",
    "mountPath",
    "mountPropagation",
    "name",
    "nodeSelector",
    "path",
    "persistentVolumeClaim",
    "port",
    "ports",
    "projected",
    "readOnly",
    "readinessProbe",
    "resources",
    "runAsUser",
    "secret",
    "securityContext",
    "sizeLimit",
    "sources",
    "supplementalGroups",
    "tcpSocket",
    "timeoutSeconds",
    "tolerations",
    "volumeMounts",
    "volumes",
];

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-2_i32..9100).prop_map(Value::from),
        "[a-z0-9/.:@ä-]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let field = prop::sample::select(&FIELDS[..]).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(field, inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Returns a container whose fields are of the right type often enough.
fn any_container() -> impl Strategy<Value = Value> {
    let text = "[a-z/.:@-]{0,6}";
    let mount = (text, "[/a-z.]{0,8}", any::<bool>())
        .prop_map(|(name, path, flag)| json!({"name": name, "mountPath": path, "readOnly": flag}));
    let probe = (any::<Option<i32>>(), any_value(), any::<bool>()).prop_map(|(number, port, is_http)| {
        let way = if is_http { "httpGet" } else { "tcpSocket" };
        json!({"periodSeconds": number, "successThreshold": number, way: {"port": port}})
    });
    let ports = prop::collection::vec(any::<Option<i32>>(), 0..3)
        .prop_map(|ports| ports.into_iter().map(|port| json!({"containerPort": port})).collect::<Vec<_>>());
    (text, text, prop::collection::vec(mount, 0..3), prop::option::of(probe), ports).prop_map(
        |(name, image, mounts, probe, ports)| {
            json!({"name": name, "image": image, "volumeMounts": mounts, "readinessProbe": probe, "ports": ports})
        },
    )
}

fn any_spec() -> impl Strategy<Value = Value> {
    let containers = || prop::collection::vec(any_container(), 0..3);
    let volume =
        ("[a-z]{0,2}", prop::sample::select(&["csi", "hostPath", "image", "ephemeral"][..]), any_value())
            .prop_map(|(name, source, value)| json!({"name": name, source: value}));
    (containers(), containers(), prop::collection::vec(volume, 0..3), any_value(), any::<Option<i64>>())
        .prop_map(|(containers, init, volumes, value, number)| {
            json!({
                "containers": containers, "initContainers": init, "volumes": volumes, "affinity": value,
                "securityContext": value, "timeoutSeconds": number, "containerConcurrency": number,
                "tolerations": [value],
            })
        })
}

/// Returns settings with all features or none.
fn settings(has_all: bool) -> Config {
    if has_all { enabled(Feature::ALL) } else { Config::default() }
}

proptest! {
    #[test]
    fn no_spec_is_too_strange(spec in any_spec(), other in any_value(), has_all: bool) {
        for spec in [spec, other] {
            if let Ok(spec) = serde_json::from_value::<RevisionSpec>(spec) {
                let text = spec_faults(&spec, &settings(has_all)).text();
                prop_assert!(text.is_none_or(|text| !text.is_empty()));
            }
        }
    }

    #[test]
    fn no_annotation_is_too_strange(
        annotations in prop::collection::btree_map(
            "(autoscaling|serving|queue.sidecar.serving|networking).knative.dev/(min-scale|window|target|\
             progress-deadline|resource-percentage|cpu-resource-limit|[a-z]{0,3})",
            "[0-9a-zA-Z.+-]{0,8}",
            0..4,
        ),
    ) {
        let template: RevisionTemplate =
            serde_json::from_value(json!({"metadata": {"annotations": annotations}})).unwrap();
        prop_assert!(template_faults(&template, &Config::default()).text().is_some(), "it has no containers");
    }
}
