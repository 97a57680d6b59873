//! Tests what is asked of an API server, and in which order.

use serde_json::{Value, json};

use super::*;
use crate::cluster::test_api::{Asked, cluster, missing};

fn objects() -> Vec<DynamicObject> {
    let all = Components { gateway: true, serving: true };
    manifests::objects(false, all, &Images::default()).unwrap()
}

fn patches(asked: &[Asked]) -> Vec<&Asked> {
    asked.iter().filter(|one| one.method == "PATCH").collect()
}

#[tokio::test]
async fn everything_is_applied_by_the_server_in_the_order_of_the_file() {
    let (cluster, log) =
        cluster(|asked| if asked.method == "GET" { missing() } else { (200, asked.body.clone()) });
    apply_all(&cluster, &objects(), false).await.unwrap();
    let log = log.lock();
    let patches = patches(&log);
    let kinds: Vec<&str> = patches.iter().filter_map(|one| one.body["kind"].as_str()).collect();
    let shipped = objects();
    assert_eq!(kinds, shipped.iter().map(kind).collect::<Vec<_>>());
    for one in &patches {
        assert!(one.path.contains("fieldManager=ebb") && one.path.contains("force=true"), "{one:?}");
        assert!(!one.path.contains("dryRun"), "{one:?}");
    }
    assert!(patches[0].path.starts_with("/api/v1/namespaces/ebb-system?"), "{:?}", patches[0]);
    let last = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/ebb-serving?";
    assert!(patches.last().unwrap().path.starts_with(last));
}

#[tokio::test]
async fn a_dry_run_asks_only_what_can_be_answered_without_the_namespace() {
    let (cluster, log) =
        cluster(|asked| if asked.method == "GET" { missing() } else { (200, asked.body.clone()) });
    apply_all(&cluster, &objects(), true).await.unwrap();
    let log = log.lock();
    for one in patches(&log) {
        assert!(one.path.contains("dryRun=All"), "{one:?}");
        assert_eq!(one.body["metadata"]["namespace"], Value::Null, "{one:?}");
    }
}

#[tokio::test]
async fn what_is_refused_is_named_and_ends_it() {
    let (cluster, log) = cluster(|asked| match &*asked.method {
        "GET" => missing(),
        _ if asked.path.contains("clusterroles") => (
            403,
            json!({"kind": "Status", "status": "Failure", "message": "no escalation", "code": 403, "reason": "Forbidden"}),
        ),
        _ => (200, asked.body.clone()),
    });
    let error = format!("{:#}", apply_all(&cluster, &objects(), false).await.unwrap_err());
    assert!(error.contains("ClusterRole ebb-autoscaler could not be applied"), "{error}");
    assert!(error.contains("no escalation"), "{error}");
    assert!(patches(&log.lock()).iter().all(|one| one.body["kind"] != "Deployment"));
}

#[test]
fn only_what_is_said_of_an_object_makes_it_another() {
    let object = |version: &str, replicas: u32| -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "a", "resourceVersion": version}, "spec": {"replicas": replicas},
            "status": {"replicas": version},
        }))
        .unwrap()
    };
    assert!(is_same(object("1", 2), object("2", 2)));
    assert!(!is_same(object("1", 2), object("2", 3)));
}
