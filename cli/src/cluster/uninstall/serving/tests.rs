//! Tests what is asked of an API server, and in which order.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use super::*;
use crate::cluster::test_api::{self, Asked, missing};

const OWN: &str = "ebb-system";
const LIMIT: Duration = Duration::from_secs(60);
const KEEP: Fate = Fate { delete_ksvcs: false, keep_pods: true };
const DELETE: Fate = Fate { delete_ksvcs: true, keep_pods: false };
const KSVCS: &str = "/apis/serving.knative.dev/v1/services";
const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";

/// A cluster with the component, whose objects are labelled as `of` (`managed` by a tool), and with one ksvc that owns a
/// Deployment. Objects that are deleted are gone, and what belongs to them; an object without its owner stays.
fn cluster(of: &'static str, managed: &'static str) -> (Cluster, Arc<Mutex<Vec<Asked>>>) {
    let gone: Arc<Mutex<Vec<String>>> = Arc::default();
    test_api::cluster(move |asked| {
        let path = asked.path.split('?').next().unwrap_or_default().to_owned();
        let mut gone = gone.lock();
        let labels = json!({"app.kubernetes.io/name": of, "app.kubernetes.io/managed-by": managed});
        let list = |items: Vec<Value>| (200, json!({"metadata": {}, "items": items}));
        let has = |gone: &[String], part: &str| !gone.iter().any(|path| path.ends_with(part));
        let ksvc = "/namespaces/shop/services/hello";
        let owner = json!({"apiVersion": "serving.knative.dev/v1", "kind": "Revision", "name": "hello-00001", "uid": "u"});
        match (&*asked.method, &*path) {
            ("DELETE", _) => {
                gone.push(path);
                (200, json!({"kind": "Status", "status": "Success"}))
            }
            ("PATCH", _) => {
                gone.push(format!("{path} patched"));
                (200, json!({"metadata": {"name": "hello"}}))
            }
            ("GET", KSVCS) if has(&gone, ksvc) => {
                let finalizers = json!(["routes.serving.knative.dev"]);
                list(vec![
                    json!({"metadata": {"name": "hello", "namespace": "shop", "finalizers": finalizers}}),
                ])
            }
            ("GET", DEPLOYMENTS) if has(&gone, ksvc) && has(&gone, "deployments/hello-00001 patched") => {
                list(vec![json!({"metadata": {
                    "name": "hello-00001", "namespace": "shop", "ownerReferences": [owner],
                }})])
            }
            // What belongs to a namespace or to nobody has its name at the end.
            ("GET", path) if path.contains("ebb-serving") || path.contains("customresourcedefinitions") => {
                (200, json!({"metadata": {"name": "ebb-serving", "labels": labels}}))
            }
            ("GET", _) => list(Vec::new()),
            _ => missing(),
        }
    })
}

/// The paths of writes, with their methods, without what is the same of all.
fn writes(log: &Mutex<Vec<Asked>>) -> Vec<String> {
    let log = log.lock();
    let writes = log.iter().filter(|asked| asked.method != "GET");
    writes
        .map(|asked| {
            let path = asked.path.split('?').next().unwrap_or_default();
            format!("{} {}", asked.method, path.rsplitn(3, '/').take(2).collect::<Vec<_>>().join(" of "))
        })
        .collect()
}

async fn removed(fate: Fate) -> Vec<String> {
    let (cluster, log) = cluster("ebb", "kustomize");
    let serving = Serving::find(&cluster, OWN).await.unwrap();
    serving.remove(&cluster, OWN, fate, LIMIT).await.unwrap();
    writes(&log)
}

#[tokio::test(start_paused = true)]
async fn ksvcs_are_neither_kept_nor_deleted_unless_it_is_said() {
    let (cluster, log) = cluster("ebb", "kustomize");
    let serving = Serving::find(&cluster, OWN).await.unwrap();
    let error = serving.remove(&cluster, OWN, Fate::default(), LIMIT).await.unwrap_err().to_string();
    for part in ["1 object of Knative's API (ksvc shop/hello)", "--keep-pods", "--delete-ksvcs"] {
        assert!(error.contains(part), "{error}");
    }
    let plan = serving.plan(Fate::default());
    assert!(plan[0].contains("refused"), "{plan:?}");
    assert_eq!(writes(&log), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_ksvc_that_comes_while_nothing_was_said_is_not_deleted() {
    let (cluster, log) = cluster("ebb", "kustomize");
    let mut serving = Serving::find(&cluster, OWN).await.unwrap();
    (serving.api, serving.owned) = (Vec::new(), Vec::new());
    let error = serving.remove(&cluster, OWN, Fate::default(), LIMIT).await.unwrap_err().to_string();
    assert!(error.contains("created meanwhile: ksvc shop/hello"), "{error}");
    assert!(!writes(&log).iter().any(|write| write.contains("hello")), "{:?}", writes(&log));
}

#[tokio::test(start_paused = true)]
async fn webhooks_go_first_then_the_program_then_ksvcs_and_their_kinds_last() {
    let writes = removed(DELETE).await;
    assert_eq!(
        writes[..5],
        [
            "DELETE ebb-serving of validatingwebhookconfigurations",
            "DELETE ebb-serving of mutatingwebhookconfigurations",
            "DELETE ebb-serving of deployments",
            "PATCH hello of services",
            "DELETE hello of services",
        ]
    );
    let kinds = writes.iter().position(|write| write.contains("customresourcedefinitions")).unwrap();
    assert!(writes[kinds..].iter().all(|write| write.contains("customresourcedefinitions")), "{writes:#?}");
    assert_eq!(writes.len() - kinds, 6);
    assert!(writes[5..kinds].contains(&"DELETE ebb-serving of leases".to_owned()), "{writes:#?}");
    let first = "DELETE services.serving.knative.dev of customresourcedefinitions";
    assert_eq!(writes.last().unwrap(), first, "what tells that something is left");
}

#[tokio::test(start_paused = true)]
async fn pods_are_kept_by_taking_away_the_owner_before_it_goes() {
    let writes = removed(KEEP).await;
    let at = |wanted: &str| writes.iter().position(|write| write == wanted).unwrap();
    assert!(at("DELETE ebb-serving of deployments") < at("PATCH hello-00001 of deployments"));
    assert!(at("PATCH hello-00001 of deployments") < at("DELETE hello of services"));
    assert!(!writes.contains(&"DELETE hello-00001 of deployments".to_owned()), "{writes:#?}");
}

#[tokio::test(start_paused = true)]
async fn kinds_of_knatives_own_stay_with_their_objects() {
    let (cluster, log) = cluster("knative-serving", "");
    let serving = Serving::find(&cluster, OWN).await.unwrap();
    serving.remove(&cluster, OWN, Fate::default(), LIMIT).await.unwrap();
    let writes = writes(&log);
    assert!(writes.contains(&"DELETE ebb-serving of deployments".to_owned()), "{writes:#?}");
    assert!(
        !writes.iter().any(|write| write.contains("hello") || write.contains("customresource")),
        "{writes:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_helm_installed_ends_and_is_left_to_helm() {
    let (cluster, log) = cluster("ebb", "Helm");
    let serving = Serving::find(&cluster, OWN).await.unwrap();
    assert!(serving.is_helms());
    serving.remove(&cluster, OWN, KEEP, LIMIT).await.unwrap();
    let writes = writes(&log);
    assert!(writes.contains(&"PATCH scale of ebb-serving".to_owned()), "{writes:#?}");
    assert!(writes.contains(&"DELETE hello of services".to_owned()), "{writes:#?}");
    assert!(!writes.iter().any(|write| write.contains("customresource")), "{writes:#?}");
}

#[tokio::test]
async fn a_dry_run_names_all_of_it() {
    let (cluster, log) = cluster("ebb", "kustomize");
    let plan = Serving::find(&cluster, OWN).await.unwrap().plan(KEEP);
    for line in [
        "Deployment shop/hello-00001: would be kept, without its owner",
        "ksvc shop/hello: would be deleted",
        "Deployment ebb-system/ebb-serving: would be deleted",
        "CustomResourceDefinition services.serving.knative.dev: would be deleted",
    ] {
        assert!(plan.iter().any(|one| one == line), "{line} in {plan:#?}");
    }
    assert_eq!(writes(&log), Vec::<String>::new());
}
