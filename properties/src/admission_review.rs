//! Questions of the API server's, as bytes from the network.

use std::sync::LazyLock;

use ebb_kubernetes::injector::{Settings, answer};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use json_patch::Patch;
use k8s_openapi::{ByteString, api::core::v1::Service};
use serde_json::{Value, json};

/// Where questions are asked.
pub const PATHS: [&str; 3] = ["/mutate/pods", "/mutate/services", "/validate/services"];

/// The Service that is known when a question comes; it selects the pods of `app: hello` in `shop`.
static KNOWN: LazyLock<[Service; 1]> = LazyLock::new(|| {
    let service = json!({
        "metadata": {
            "namespace": "shop", "name": "hello", "uid": "1",
            "annotations": {"ebb.dev/scale-target": "Deployment/hello"},
        },
        "spec": {
            "clusterIP": "10.0.0.1", "selector": {"app": "hello"},
            "ports": [{"port": 80, "targetPort": 8080}],
        },
    });
    [serde_json::from_value(service).expect("a Service")]
});

/// Checks everything that holds of the answer to `question` at each of [`PATHS`], and answers how many of them changed
/// what was asked about.
///
/// # Panics
///
/// If something does not hold.
pub fn hold(question: &[u8]) -> usize {
    PATHS.into_iter().filter(|path| holds_at(path, question)).count()
}

/// Whether there is a patch.
fn holds_at(target: &str, question: &[u8]) -> bool {
    let settings = Settings { image: "q:1".to_owned(), pull_policy: None, announce: None };
    let answered = answer(target, question, &*KNOWN, settings).expect("it is one of the paths");
    let status = answered.status().as_u16();
    let body = answered.into_body().collect().now_or_never().expect("nothing has to be waited for");
    let body = body.expect("an answer of our own does not break off").to_bytes();
    if status == 400 {
        return false;
    }
    assert_eq!(status, 200, "{body:?}");
    // What is not looked at need not be text.
    let Ok(asked) = serde_json::from_slice::<Value>(question) else { return false };
    let review: Value = serde_json::from_slice(&body).expect("an answer is JSON");
    let said = &review["response"];
    assert_eq!(said["uid"], asked["request"]["uid"], "{review}");
    assert_eq!(review["apiVersion"], asked["apiVersion"], "{review}");
    let allowed = said["allowed"].as_bool().expect("yes or no");
    assert!(allowed || target == "/validate/services", "only what validates may refuse: {review}");
    assert_eq!(said.get("status").is_some(), !allowed, "who refuses says why: {review}");
    let Some(patch) = said.get("patch") else { return false };
    assert!(allowed && target != "/validate/services" && said["patchType"] == "JSONPatch", "{review}");
    let ByteString(patch) = serde_json::from_value(patch.clone()).expect("a patch is base64");
    let patch: Patch = serde_json::from_slice(&patch).expect("a patch is a JSON patch");
    let mut object = asked["request"]["object"].clone();
    let before = object.clone();
    json_patch::patch(&mut object, &patch).expect("a patch suits the object that was asked about");
    assert_ne!(object, before, "a patch changes something");
    true
}
