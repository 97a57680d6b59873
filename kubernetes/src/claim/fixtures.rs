//! Services and their claims, for tests.

use std::sync::Arc;

use ebb_annotations::ClusterDefaults;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use crate::claim::{self, Claim, Verdict};

/// Returns a Service `shop/hello` on port 80, for pods of `app: hello` on port 8080. `spec` is merged into its spec.
pub(crate) fn service(annotations: &Value, spec: &Value) -> Service {
    named("shop", "hello", annotations, spec)
}

fn named(namespace: &str, name: &str, annotations: &Value, spec: &Value) -> Service {
    let mut all = json!({
        "clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"], "ports": [{"port": 80, "targetPort": 8080}],
        "selector": {"app": "hello"},
    });
    for (key, value) in spec.as_object().unwrap() {
        all[key] = value.clone();
    }
    let metadata = json!({"namespace": namespace, "name": name, "uid": "1", "annotations": annotations});
    serde_json::from_value(json!({"metadata": metadata, "spec": all})).unwrap()
}

/// Returns the claim of a Service that has `annotations` in addition to its scale target.
pub(crate) fn claim(namespace: &str, name: &str, annotations: &Value, spec: &Value) -> Arc<Claim> {
    let mut annotations = annotations.clone();
    annotations["ebb.dev/scale-target"] = json!("Deployment/hello");
    match claim::read(&named(namespace, name, &annotations, spec), &ClusterDefaults::default()) {
        Verdict::Ours(claim) => Arc::from(claim),
        other => panic!("{other:?}"),
    }
}
