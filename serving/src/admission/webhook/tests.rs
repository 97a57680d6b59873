use kube::core::admission::AdmissionReview;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::keys;

fn webhooks() -> Webhooks {
    let judge_settings = |map: &ConfigMap| {
        let has_data = map.data.is_some();
        if has_data { Ok(vec!["it is odd".to_owned()]) } else { Err("it is empty".to_owned()) }
    };
    Webhooks { config: Arc::default(), judge_settings }
}

/// Returns the API server's request about an object.
fn request(kind: &str, operation: &str, old: &Value, object: &Value) -> AdmissionRequest<DynamicObject> {
    let review: AdmissionReview<DynamicObject> = serde_json::from_value(json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "serving.knative.dev", "version": "v1", "kind": kind},
            "resource": {"group": "serving.knative.dev", "version": "v1", "resource": "any"},
            "name": "", "namespace": "shop", "operation": operation,
            "userInfo": {"username": "alice"}, "object": object, "oldObject": old, "dryRun": false,
        },
    }))
    .unwrap();
    review.try_into().unwrap()
}

fn ask(hook: Question, request: &AdmissionRequest<DynamicObject>) -> Answer {
    webhooks().answer(hook, request).unwrap()
}

fn refusal(answer: Answer) -> String {
    let refusal = answer.refused.unwrap();
    assert_eq!((refusal.code.as_u16(), refusal.reason), (400, "BadRequest"));
    refusal.message
}

fn create(kind: &str, object: &Value) -> AdmissionRequest<DynamicObject> {
    request(kind, "CREATE", &Value::Null, object)
}

fn ksvc(spec: Value) -> Value {
    let metadata = json!({"name": "hello", "namespace": "shop", "creationTimestamp": null});
    let mut ksvc = json!({"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": metadata, "status": {}});
    ksvc["spec"] = spec;
    ksvc
}

/// Returns the object as it is after its defaults.
fn defaulted(old: &Value, object: &Value) -> Value {
    let operation = if old.is_null() { "CREATE" } else { "UPDATE" };
    let answer = ask(Question::Defaulting, &request("Service", operation, old, object));
    assert_eq!(answer.refused, None);
    let mut after = object.clone();
    json_patch::patch(&mut after, &answer.patch).unwrap();
    after
}

#[test]
fn several_faults_are_one_refusal_in_the_words_of_the_reference() {
    let mut object = ksvc(json!({
        "template": {"spec": {
            "timeoutSeconds": 601, "containers": [{"image": "app", "ports": [{"name": "arbitrary"}]}],
        }},
        "traffic": [
            {"revisionName": "a", "percent": 50, "latestRevision": false},
            {"revisionName": "b", "percent": 40, "latestRevision": false},
        ],
    }));
    object["metadata"]["annotations"] = json!({"autoscaling.knative.dev/min-scale": "1"});
    let answer = ask(Question::Validation, &create("Service", &defaulted(&Value::Null, &object)));
    let lines = [
        "validation failed: Port name arbitrary is not allowed: spec.template.spec.containers[0].ports",
        "Name must be empty, or one of: 'h2c', 'http1'",
        "Traffic targets sum to 90, want 100: spec.traffic",
        "expected 0 <= 601 <= 600: spec.template.spec.timeoutSeconds",
        "invalid key name \"autoscaling.knative.dev/min-scale\": metadata.annotations",
        "autoscaling annotations must be put under \"spec.template.metadata.annotations\" to work",
    ];
    assert_eq!(refusal(answer), lines.join("\n"));
}

#[test]
fn a_new_ksvc_gets_what_it_does_not_say_and_nothing_else() {
    let object = ksvc(json!({
        "template": {
            "metadata": {"creationTimestamp": null},
            "spec": {"containers": [{"image": "app", "resources": {}, "unknown": 1, "env": [{"name": "A"}]}]},
        },
    }));
    let mut wanted = object.clone();
    wanted["metadata"]["annotations"] = json!({keys::CREATOR: "alice", keys::LAST_MODIFIER: "alice"});
    wanted["spec"]["traffic"] = json!([{"percent": 100, "latestRevision": true}]);
    let spec = &mut wanted["spec"]["template"]["spec"];
    spec["containerConcurrency"] = json!(0);
    spec["enableServiceLinks"] = json!(false);
    spec["timeoutSeconds"] = json!(300);
    spec["containers"][0]["name"] = json!("user-container");
    spec["containers"][0]["readinessProbe"] = json!({"successThreshold": 1, "tcpSocket": {"port": 0}});
    wanted["spec"]["template"]["metadata"] = json!({});
    let stored = defaulted(&Value::Null, &object);
    assert_eq!(stored, wanted);
    assert_eq!(defaulted(&stored, &stored), stored);
    let answer = ask(Question::Validation, &create("Service", &stored));
    assert_eq!(answer.refused, None);
    assert_eq!(answer.warnings.len(), 1, "{:?}", answer.warnings);
}

#[test]
fn whoever_changes_the_spec_is_its_last_modifier() {
    let mut stored =
        defaulted(&Value::Null, &ksvc(json!({"template": {"spec": {"containers": [{"image": "app"}]}}})));
    stored["metadata"]["annotations"] = json!({keys::CREATOR: "bob", keys::LAST_MODIFIER: "bob"});
    let labelled = |mut object: Value| {
        object["metadata"]["labels"] = json!({"a": "b"});
        object
    };
    let signers = |object: &Value| {
        let annotations = &object["metadata"]["annotations"];
        [annotations[keys::CREATOR].clone(), annotations[keys::LAST_MODIFIER].clone()]
    };
    assert_eq!(signers(&defaulted(&stored, &labelled(stored.clone()))), ["bob", "bob"]);
    let mut changed = stored.clone();
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = json!("app:2");
    assert_eq!(signers(&defaulted(&stored, &changed)), ["bob", "alice"]);
    let replaced = ksvc(json!({"template": stored["spec"]["template"]}));
    let replaced = defaulted(&stored, &replaced);
    assert_eq!(signers(&replaced), ["bob", "bob"]);
    let answer = ask(Question::Validation, &request("Service", "UPDATE", &stored, &replaced));
    assert_eq!((answer.refused, answer.warnings), (None, vec![]));
}

#[test]
fn a_template_that_keeps_its_name_is_not_filled_in_and_may_not_change() {
    let template = json!({"metadata": {"name": "hello-one"}, "spec": {"containers": [{"image": "app"}]}});
    let mut stored =
        ksvc(json!({"template": template, "traffic": [{"percent": 100, "latestRevision": true}]}));
    stored["metadata"]["annotations"] = json!({keys::CREATOR: "bob", keys::LAST_MODIFIER: "bob"});
    assert_eq!(defaulted(&stored, &stored), stored);
    let answer = ask(Question::Validation, &request("Service", "UPDATE", &stored, &stored));
    assert_eq!(answer.refused, None);
    let mut changed = stored.clone();
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = json!("app:2");
    let changed = defaulted(&stored, &changed);
    let answer = ask(Question::Validation, &request("Service", "UPDATE", &stored, &changed));
    let wanted = "validation failed: Saw the following changes without a name change (-old +new): \
         spec.template.metadata.name\n";
    let message = refusal(answer);
    assert!(message.starts_with(wanted), "{message}");
}

#[test]
fn what_cannot_be_read_is_refused() {
    let mut object = ksvc(json!({"template": {"spec": {"containers": "many"}}}));
    for hook in [Question::Defaulting, Question::Validation] {
        let message = refusal(ask(hook, &create("Service", &object)));
        assert!(message.starts_with("decoding request failed: "), "{message}");
    }
    object["spec"] = json!({});
    object["metadata"] = json!({});
    let message = refusal(ask(Question::Defaulting, &create("Service", &object)));
    assert_eq!(message, "decoding request failed: the object has no metadata");
}

#[test]
fn a_ksvc_without_a_template_is_refused_without_a_panic() {
    for spec in [json!({}), json!({"template": {}}), json!({"template": {"spec": {"containers": []}}})] {
        let stored = defaulted(&Value::Null, &ksvc(spec));
        let message = refusal(ask(Question::Validation, &create("Service", &stored)));
        assert_eq!(message, "validation failed: missing field(s): spec.template.spec.containers");
    }
}

#[test]
fn each_kind_has_its_defaults_and_its_rules() {
    let template = json!({"spec": {"containers": [{"image": "app"}]}});
    for (kind, spec, pointer, default, fault) in [
        (
            "Configuration",
            json!({"template": template}),
            "/spec/template/spec/timeoutSeconds",
            json!(300),
            None,
        ),
        ("Revision", template["spec"].clone(), "/spec/enableServiceLinks", json!(false), None),
        (
            "Route",
            json!({"traffic": [{"configurationName": "c"}]}),
            "/spec/traffic/0/percent",
            json!(0),
            Some("Traffic targets sum to 0, want 100: spec.traffic"),
        ),
        (
            "DomainMapping",
            json!({"ref": {"kind": "Service", "name": "a", "apiVersion": "v1"}}),
            "/spec/ref/namespace",
            json!("shop"),
            Some(
                "invalid name \"hello\": name: Invalid value: \"hello\": should be a domain with at least two segments \
                 separated by dots: metadata.name",
            ),
        ),
    ] {
        let mut object = json!({"metadata": {"name": "hello", "namespace": "shop"}, "spec": spec});
        let answer = ask(Question::Defaulting, &create(kind, &object));
        json_patch::patch(&mut object, &answer.patch).unwrap();
        assert_eq!(object.pointer(pointer), Some(&default), "{object}");
        let is_signed = object["metadata"]["annotations"][keys::CREATOR] == "alice";
        assert_eq!(is_signed, kind != "Revision", "{kind}");
        let refused =
            ask(Question::Validation, &create(kind, &object)).refused.map(|refusal| refusal.message);
        assert_eq!(refused, fault.map(|fault| format!("validation failed: {fault}")), "{kind}");
    }
}

#[test]
fn what_belongs_to_a_ksvc_has_the_signatures_of_its_ksvc() {
    let owner =
        json!({"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "hello", "uid": "u"});
    let metadata = json!({
        "name": "hello", "namespace": "shop", "labels": {keys::SERVICE: "hello"}, "ownerReferences": [owner],
        "annotations": {keys::CREATOR: "bob", keys::LAST_MODIFIER: "bob"},
    });
    let target = json!({"configurationName": "hello", "percent": 100, "latestRevision": true});
    for (kind, before, after) in [
        (
            "Configuration",
            json!({"template": {"spec": {"containers": [{"image": "app"}]}}}),
            json!({"template": {"spec": {"containers": [{"image": "app:2"}]}}}),
        ),
        ("Route", json!({"traffic": [target]}), json!({"traffic": [target, {"configurationName": "hello"}]})),
    ] {
        let [before, mut after] = [before, after].map(|spec| json!({"metadata": metadata, "spec": spec}));
        after["metadata"]["annotations"][keys::LAST_MODIFIER] = json!("carol");
        let answer = ask(Question::Defaulting, &request(kind, "UPDATE", &before, &after));
        json_patch::patch(&mut after, &answer.patch).unwrap();
        assert_eq!(after["metadata"]["annotations"][keys::LAST_MODIFIER], "carol", "{kind}");
        let answer = ask(Question::Validation, &request(kind, "UPDATE", &before, &after));
        assert_eq!((answer.refused, answer.warnings), (None, vec![]), "{kind}");
        after["metadata"]["labels"][keys::SERVICE] = json!("other");
        let message = refusal(ask(Question::Validation, &request(kind, "UPDATE", &before, &after)));
        let wanted = "validation failed: missing field(s): metadata.labels.serving.knative.dev/service";
        assert_eq!(message, wanted, "{kind}");
    }
}

#[test]
fn a_tag_that_is_too_long_for_its_route_is_refused() {
    let name = "a".repeat(62);
    let metadata = json!({"name": name, "namespace": "shop"});
    let template = json!({"spec": {"containers": [{"image": "app"}]}});
    for (kind, spec) in [
        ("Service", json!({"template": template, "traffic": [{"percent": 100, "tag": "b"}]})),
        ("Route", json!({"traffic": [{"configurationName": "c", "percent": 100, "tag": "b"}]})),
    ] {
        let object = json!({"metadata": metadata, "spec": spec});
        let message = refusal(ask(Question::Validation, &create(kind, &object)));
        let wanted =
            format!("the name \"b-{name}\" of tag \"b\" has more than 63 characters: spec.traffic[0].tag");
        assert_eq!(message, format!("validation failed: {wanted}"));
    }
}

#[test]
fn what_is_not_examined_passes() {
    let wrong = ksvc(json!({"traffic": [{"percent": 1}]}));
    let mut dying = wrong.clone();
    dying["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let mut status = request("Service", "UPDATE", &wrong, &wrong);
    status.sub_resource = Some("status".to_owned());
    let mut foreign = create("Service", &wrong);
    foreign.kind.group = String::new();
    let requests = [
        status,
        foreign,
        create("ClusterDomainClaim", &wrong),
        request("Service", "UPDATE", &wrong, &dying),
        request("Service", "DELETE", &wrong, &Value::Null),
    ];
    for request in &requests {
        for hook in [Question::Defaulting, Question::Validation] {
            let answer = ask(hook, request);
            assert_eq!((answer.refused, answer.patch.is_empty()), (None, true), "{request:?}");
        }
    }
}

#[test]
fn settings_are_judged() {
    let map = |data: Value| json!({"metadata": {"name": "config-gc"}, "data": data});
    let answer = ask(Question::Settings, &create("ConfigMap", &map(json!({"a": "b"}))));
    assert_eq!((answer.refused, answer.warnings), (None, vec!["it is odd".to_owned()]));
    let message = refusal(ask(Question::Settings, &create("ConfigMap", &map(Value::Null))));
    assert_eq!(message, "validation failed: it is empty");
    let message = refusal(ask(Question::Settings, &create("ConfigMap", &map(json!("x")))));
    assert!(message.starts_with("decoding request failed: "), "{message}");
    let deleted = request("ConfigMap", "DELETE", &map(Value::Null), &Value::Null);
    assert_eq!(ask(Question::Settings, &deleted).refused, None);
}

proptest! {
    #[test]
    fn a_patch_only_adds_and_fields_that_are_unknown_stay(
        extra in "[a-z]{1,5}", timeout in proptest::option::of(any::<i64>()), percent in any::<i64>(),
    ) {
        let key = format!("x-{extra}");
        let mut object = ksvc(json!({
            "template": {"metadata": {&key: 1}, "spec": {
                &key: 2, "timeoutSeconds": timeout, "containers": [{"image": "app", &key: {"a": [3]}}],
            }},
            "traffic": [{"percent": percent, &key: 4}],
        }));
        object[&key] = json!(5);
        let after = defaulted(&Value::Null, &object);
        for pointer in ["", "/spec/template/metadata", "/spec/template/spec", "/spec/template/spec/containers/0", "/spec/traffic/0"] {
            let pointer = format!("{pointer}/{key}");
            prop_assert_eq!(after.pointer(&pointer), object.pointer(&pointer));
        }
        prop_assert_eq!(defaulted(&after, &after).clone(), after);
    }
}
