use ebb_cluster::admission::{Outcome, hook_at, review};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use json_patch::Patch;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::*;
use crate::claim::fixtures::{claim, service};

const POD: &str = include_str!("pod.json");

fn injector() -> Injector {
    Injector {
        claims: Claims::default(),
        settings: Arc::new(ArcSwap::from_pointee(Settings {
            image: "q:1".to_owned(),
            pull_policy: None,
            announce: None,
        })),
        defaults: Arc::default(),
        namespace: "ebb-system".to_owned(),
    }
}

impl Injector {
    /// Sends a question as the API server does.
    fn ask(&self, path: &str, question: &Value) -> (Outcome, Value) {
        let hook = hook_at::<Question>(path).unwrap();
        let (outcome, response) = review(self, hook, question.to_string().as_bytes());
        let body = response.into_body().collect().now_or_never().unwrap().unwrap().to_bytes();
        let review: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(review["response"]["uid"], question["request"]["uid"]);
        (outcome, review["response"].clone())
    }
}

/// Returns the API server's question about an object.
fn question(operation: &str, old: &Value, object: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "", "namespace": "shop", "operation": operation,
            "userInfo": {"username": "alice"}, "object": object, "oldObject": old, "dryRun": false,
        },
    })
}

fn pod() -> Value {
    serde_json::from_str(POD).unwrap()
}

fn object(service: &Service) -> Value {
    let mut object = serde_json::to_value(service).unwrap();
    object["apiVersion"] = json!("v1");
    object["kind"] = json!("Service");
    object
}

fn patched(object: &Value, answer: &Value) -> Value {
    assert_eq!((&answer["allowed"], &answer["patchType"]), (&json!(true), &json!("JSONPatch")));
    let ByteString(patch) = serde_json::from_value(answer["patch"].clone()).unwrap();
    let patch: Patch = serde_json::from_slice(&patch).unwrap();
    let mut object = object.clone();
    json_patch::patch(&mut object, &patch).unwrap();
    object
}

#[test]
fn a_pod_of_a_service_of_ebbs_gets_its_sidecar() {
    let injector = injector();
    let ask = question("CREATE", &Value::Null, &pod());
    let (outcome, answer) = injector.ask("/mutate/pods", &ask);
    assert_eq!((outcome, answer.get("patch")), (Outcome::Allowed, None), "no Service selects it");

    injector.claims.put(claim("shop", "hello", &json!({}), &json!({})));
    let mut nonces = Vec::new();
    for _ in 0..2 {
        let (outcome, answer) = injector.ask("/mutate/pods", &ask);
        assert_eq!(outcome, Outcome::Changed);
        let after = patched(&pod(), &answer);
        let sidecar = &after["spec"]["containers"][1];
        assert_eq!(sidecar["name"], "queue-proxy");
        let env = sidecar["env"].as_array().unwrap();
        nonces.push(env.iter().find(|var| var["name"] == "EBB_POD_NONCE").unwrap()["value"].clone());
    }
    assert_ne!(nonces[0], nonces[1], "each pod has a nonce of its own");
    assert_eq!(nonces[0].as_str().map(str::len), Some(32));
}

#[test]
fn what_gets_no_sidecar_is_let_through_with_the_reason() {
    let injector = injector();
    injector.claims.put(claim("shop", "hello", &json!({}), &json!({})));
    let mut of_node = pod();
    of_node["spec"]["hostNetwork"] = json!(true);
    let mut unreadable = pod();
    unreadable["spec"]["containers"] = json!("many");
    for (object, word) in [(of_node, "network"), (unreadable, "not checked")] {
        let (outcome, answer) = injector.ask("/mutate/pods", &question("CREATE", &Value::Null, &object));
        assert_eq!(outcome, Outcome::Undone);
        assert_eq!((&answer["allowed"], answer.get("patch")), (&json!(true), None));
        assert!(answer["warnings"][0].as_str().unwrap().contains(word), "{answer}");
    }
}

#[test]
fn a_service_gives_its_selector_away_and_hears_of_its_faults() {
    let injector = injector();
    let mut asking = object(&service(&json!({"ebb.dev/scale-target": "Deployment/hello"}), &json!({})));
    let create = question("CREATE", &Value::Null, &asking);
    let taken = patched(&asking, &injector.ask("/mutate/services", &create).1);
    assert_eq!(taken["spec"].get("selector"), None);
    assert_eq!(taken["metadata"]["annotations"]["ebb.dev/selector"], "app=hello");

    asking["metadata"]["annotations"]["autoscaling.knative.dev/target"] = json!("many");
    asking["metadata"]["annotations"]["ebb.dev/sidecar"] = json!("big");
    let mut create = question("CREATE", &Value::Null, &asking);
    let (outcome, answer) = injector.ask("/validate/services", &create);
    assert_eq!((outcome, &answer["status"]["code"]), (Outcome::Refused, &json!(422)));
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("autoscaling.knative.dev/target") && message.contains("ebb.dev/sidecar"),
        "{message}"
    );

    // Ebb's own writes are never refused, and objects in its namespace and the system's are not examined.
    create["request"]["userInfo"]["username"] = json!("system:serviceaccount:ebb-system:ebb-autoscaler");
    assert_eq!(injector.ask("/validate/services", &create).1["allowed"], true);
    create["request"]["userInfo"]["username"] = json!("system:serviceaccount:shop:ebb-autoscaler");
    assert_eq!(injector.ask("/validate/services", &create).1["allowed"], false);
    for namespace in ["ebb-system", "kube-system", "kube-node-lease"] {
        create["request"]["namespace"] = json!(namespace);
        assert_eq!(injector.ask("/validate/services", &create).1["allowed"], true, "{namespace}");
    }
}

#[test]
fn an_object_without_metadata_gets_no_patch() {
    let injector = injector();
    let kept = json!({"ebb.dev/scale-target": "Deployment/hello", "ebb.dev/selector": "app=hello"});
    let old = object(&service(&kept, &json!({"selector": null})));
    let mut new = object(&service(&json!({}), &json!({})));
    new.as_object_mut().unwrap().remove("metadata");
    let answer = injector.ask("/mutate/services", &question("UPDATE", &old, &new)).1;
    assert_eq!((&answer["allowed"], answer.get("patch")), (&json!(true), None), "{answer}");
    assert!(answer["warnings"][0].as_str().unwrap().contains("no metadata"), "{answer}");
}

#[test]
fn only_what_is_made_gets_a_sidecar() {
    let injector = injector();
    injector.claims.put(claim("shop", "hello", &json!({}), &json!({})));
    for operation in ["UPDATE", "DELETE", "CONNECT"] {
        let answer = injector.ask("/mutate/pods", &question(operation, &pod(), &pod())).1;
        assert_eq!((&answer["allowed"], answer.get("patch")), (&json!(true), None), "{operation}");
    }
    let deleted = question("DELETE", &pod(), &Value::Null);
    assert_eq!(injector.ask("/mutate/services", &deleted).1["allowed"], true);
}
