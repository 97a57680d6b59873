use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Returns the changes between two templates, which stand in a pod each.
fn changed(old: Value, new: Value) -> Option<String> {
    let text = template(&read(old), &read(new))?;
    let (changes, remedy) = text.rsplit_once('\n').unwrap();
    assert!(remedy.contains("change or remove spec.template.metadata.name"), "{text}");
    Some(changes.to_owned())
}

#[test]
fn every_change_is_told_with_its_path_in_go() {
    let container = |fields: Value| json!({"spec": {"containers": [fields]}});
    let in_pod = |fields: Value| {
        let mut spec = json!({"containers": []});
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({ "spec": spec })
    };
    let annotated = |value| json!({"metadata": {"annotations": {"a.b/c": value}}});
    for (old, new, path, minus, plus) in [
        (
            container(json!({"image": "old"})),
            container(json!({"image": "new"})),
            ".Spec.PodSpec.Containers[0].Image",
            Some("old"),
            Some("new"),
        ),
        (
            in_pod(json!({"timeoutSeconds": 5})),
            in_pod(json!({"timeoutSeconds": 6})),
            ".Spec.TimeoutSeconds",
            Some("5"),
            Some("6"),
        ),
        (in_pod(json!({})), in_pod(json!({"hostIPC": true})), ".Spec.PodSpec.HostIPC", None, Some("true")),
        (
            in_pod(json!({"dnsPolicy": "Default"})),
            in_pod(json!({})),
            ".Spec.PodSpec.DNSPolicy",
            Some("Default"),
            None,
        ),
        (annotated("x"), annotated("y"), ".ObjectMeta.Annotations[\"a.b/c\"]", Some("x"), Some("y")),
        (
            container(json!({"resources": {"limits": {"cpu": "1"}}})),
            container(json!({"resources": {"limits": {"cpu": "2"}}})),
            ".Spec.PodSpec.Containers[0].Resources.Limits[\"cpu\"]",
            Some("1"),
            Some("2"),
        ),
        (
            container(json!({"readinessProbe": {"httpGet": {"path": "/a"}}})),
            container(json!({"readinessProbe": {"httpGet": {"path": "/b"}}})),
            ".Spec.PodSpec.Containers[0].ReadinessProbe.ProbeHandler.HTTPGet.Path",
            Some("/a"),
            Some("/b"),
        ),
        (
            in_pod(json!({"volumes": [{"name": "v", "configMap": {"name": "a"}}]})),
            in_pod(json!({"volumes": [{"name": "v", "configMap": {"name": "b"}}]})),
            ".Spec.PodSpec.Volumes[0].VolumeSource.ConfigMap.LocalObjectReference.Name",
            Some("a"),
            Some("b"),
        ),
        (
            container(json!({"args": ["a"]})),
            container(json!({"args": ["a", "b"]})),
            ".Spec.PodSpec.Containers[0].Args[1]",
            None,
            Some("b"),
        ),
    ] {
        let side = |sign: &str, value: Option<&str>| {
            value.map(|value| format!("\n\t{sign}: \"{value}\"")).unwrap_or_default()
        };
        let want = format!("{{*v1.RevisionTemplateSpec}}{path}:{}{}", side("-", minus), side("+", plus));
        assert_eq!(changed(old, new), Some(want));
    }
}

#[test]
fn the_spec_of_a_revision_has_its_own_root_and_no_remedy() {
    let spec_of = |image| read(json!({"containers": [{"image": image}]}));
    let text = spec(&spec_of("a"), &spec_of("b")).unwrap();
    assert_eq!(text, "{v1.RevisionSpec}.PodSpec.Containers[0].Image:\n\t-: \"a\"\n\t+: \"b\"");
    assert_eq!(spec(&spec_of("a"), &spec_of("a")), None);
}

#[test]
fn what_clients_in_go_spell_otherwise_is_no_change() {
    let container = |fields: Value| json!({"spec": {"containers": [fields]}});
    let cpu = |cpu: Value| container(json!({"resources": {"requests": {"cpu": cpu}}}));
    let mount = |read_only: Value| {
        container(json!({"volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": read_only}]}))
    };
    let probe = |fields: Value| container(json!({ "readinessProbe": fields }));
    for (old, new) in [
        (cpu(json!("1000m")), cpu(json!("1"))),
        (cpu(json!(1)), cpu(json!("1"))),
        (mount(json!(false)), mount(json!(null))),
        (probe(json!({"periodSeconds": 0, "exec": {}})), probe(json!({"exec": {}}))),
        (
            container(json!({"resources": {}, "image": "a"})),
            container(json!({"image": "a", "workingDir": ""})),
        ),
        (json!({"metadata": {"creationTimestamp": null}}), json!({})),
        (json!({"metadata": {"labels": {}}}), json!({"metadata": {}})),
    ] {
        assert_eq!(changed(old.clone(), new.clone()), None, "{old} and {new}");
        assert_eq!(changed(new, old), None);
    }
}

#[test]
fn what_means_something_else_is_a_change() {
    let container = |fields: Value| json!({"spec": {"containers": [fields]}});
    let label = |value: Value| json!({"metadata": {"labels": {"a": value}}});
    for (old, new) in [
        (label(json!("1")), label(json!("1.0"))),
        (label(json!("")), json!({"metadata": {}})),
        (container(json!({"securityContext": {"runAsUser": 0}})), container(json!({"securityContext": {}}))),
        (
            container(json!({"securityContext": {"runAsNonRoot": false}})),
            container(json!({"securityContext": {}})),
        ),
        (json!({"spec": {"containers": [], "timeoutSeconds": 0}}), json!({"spec": {"containers": []}})),
        (container(json!({"command": ["a", "b"]})), container(json!({"command": ["b", "a"]}))),
    ] {
        assert!(changed(old.clone(), new.clone()).is_some(), "{old} and {new}");
    }
}

#[test]
fn the_text_is_bounded() {
    let labels = |value: &str| {
        let labels: Map<String, Value> = (0..500).map(|n| (format!("k{n}"), json!(value))).collect();
        json!({"metadata": {"labels": labels}})
    };
    let text = changed(labels("a"), labels("b")).unwrap();
    assert!(text.len() < MOST + 100 && text.contains(" more changes"), "{text}");
    let long = |letter: &str| json!({"metadata": {"name": letter.repeat(100_000)}});
    let text = changed(long("ä"), long("ö")).unwrap();
    assert!(text.len() < 3 * MOST_OF_VALUE && text.contains("ä..."), "{text}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9/. ä]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_two_templates_can_be_compared_and_none_with_itself(old in any_json(), new in any_json()) {
        let with = |affinity: Value| {
            let mut spec = RevisionSpec { affinity: Some(affinity.clone()), ..RevisionSpec::default() };
            spec.tolerations.push(affinity);
            RevisionTemplate { metadata: None, spec: Some(spec) }
        };
        let (old, new) = (with(old), with(new));
        prop_assert_eq!(template(&old, &old), None);
        prop_assert_eq!(template(&old, &new).is_some(), template(&new, &old).is_some());
    }
}
