//! Gives a Service back without the autoscaler, in the autoscaler's order: wake the scale target, restore the
//! selector, wait for the cluster's own endpoints, and only then delete Ebb's.

use std::{collections::BTreeMap, time::Duration};

use ebb_annotations::{ScaleTarget, keys};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::left::{Left, to_give_back};
use crate::cluster::{Cluster, FIELD_MANAGER, Failure, bound::annotation, kinds};

/// The time within which every node's kube-proxy applies a changed slice.
const NETWORK: Duration = Duration::from_secs(3);

/// The next step for a Service.
#[derive(Debug, PartialEq)]
enum Step {
    /// Apply this merge patch to the Service; before it, wake the scale target if it has no pod.
    GiveBack(Value),
    /// Wait for the cluster's endpoints, or for every node to learn of them.
    Wait,
    /// Delete Ebb's slices.
    DeleteSlices,
    /// Nothing can be done.
    Stuck(&'static str),
}

/// Returns the next step, if the cluster's own endpoints have been ready for `ready_for`.
fn next(left: &Left, ready_for: Option<Duration>, is_target_missing: bool) -> Step {
    let Some(service) = &left.object else { return Step::DeleteSlices };
    if left.is_held() {
        return match give_back(service) {
            Some(patch) => Step::GiveBack(patch),
            None => {
                Step::Stuck("ebb.dev/selector cannot be read; set spec.selector, and remove the annotation")
            }
        };
    }
    // If nothing will ever serve, Ebb's endpoints only keep clients waiting.
    if is_target_missing || ready_for.is_some_and(|ready_for| ready_for >= NETWORK) {
        Step::DeleteSlices
    } else {
        Step::Wait
    }
}

/// Returns the patch that removes all traces of Ebb, for this version of the Service.
fn give_back(service: &Service) -> Option<Value> {
    let selector = to_give_back(service)?;
    Some(json!({
        "metadata": {
            "resourceVersion": service.metadata.resource_version,
            "annotations": {
                keys::SELECTOR.name: null,
                keys::ACTIVATOR_PORT.name: null,
                keys::STATUS.name: null,
            },
        },
        "spec": {"selector": selector},
    }))
}

/// Takes the next step for `left`.
///
/// # Errors
///
/// Returns the reason, in words, if there is none.
pub(super) async fn advance(
    cluster: &Cluster,
    left: &Left,
    ready_since: &mut BTreeMap<String, Instant>,
) -> Result<(), String> {
    let name = left.name();
    let now = Instant::now();
    let ready_for = if left.is_taken_over {
        Some(now.duration_since(*ready_since.entry(name.clone()).or_insert(now)))
    } else {
        ready_since.remove(&name);
        None
    };
    let target = Target::of(cluster, left).await.map_err(|failure| failure.to_string())?;
    match next(left, ready_for, matches!(target, Target::Missing)) {
        Step::Wait => Ok(()),
        Step::Stuck(why) => Err(why.to_owned()),
        Step::GiveBack(patch) => {
            if let Target::Asleep(api, id) = target {
                wake(cluster, &api, &id).await.map_err(|failure| failure.to_string())?;
                println!("{name}: scaled up, so that a pod answers");
            }
            let api: Api<Service> = cluster.within(&left.namespace);
            let params =
                PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            let what = format!("giving {name} its selector back");
            match cluster.call(what, api.patch(&left.service, &params, &Patch::Merge(&patch))).await {
                Ok(_) => {
                    println!("{name}: has its selector back");
                    Ok(())
                }
                // The object was changed; it is read again before the next step.
                Err(failure) if failure.is_conflict() || failure.is_missing() => Ok(()),
                Err(failure) => Err(failure.to_string()),
            }
        }
        Step::DeleteSlices => {
            let api: Api<EndpointSlice> = cluster.within(&left.namespace);
            let params = DeleteParams::default();
            for slice in &left.slices {
                let deleted =
                    cluster.find(format!("deleting EndpointSlice {slice}"), api.delete(slice, &params)).await;
                deleted.map_err(|failure| failure.to_string())?;
            }
            println!("{name}: Kubernetes' own endpoints serve");
            Ok(())
        }
    }
}

/// The scale target of a Service.
enum Target {
    /// It has pods, or wants some, or its state is unknown.
    Awake,
    /// It wants no pods.
    Asleep(Box<Api<DynamicObject>>, String),
    Missing,
}

impl Target {
    async fn of(cluster: &Cluster, left: &Left) -> Result<Self, Failure> {
        let text = left.object.as_ref().and_then(|service| annotation(service, keys::SCALE_TARGET.name));
        let Some(named) = text.and_then(|text| text.parse::<ScaleTarget>().ok()) else {
            return Ok(Self::Awake);
        };
        let Some(resource) = kinds::resolve(cluster, &named.kind).await? else { return Ok(Self::Missing) };
        let api: Api<DynamicObject> =
            Api::namespaced_with(cluster.client.clone(), &left.namespace, &resource);
        let scale = cluster.find(format!("reading the scale of {named}"), api.get_scale(&named.name)).await?;
        Ok(match scale.map(|scale| scale.spec.and_then(|spec| spec.replicas).unwrap_or(0)) {
            None => Self::Missing,
            Some(0) => Self::Asleep(Box::new(api), named.name),
            Some(_) => Self::Awake,
        })
    }
}

async fn wake(cluster: &Cluster, api: &Api<DynamicObject>, name: &str) -> Result<(), Failure> {
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"spec": {"replicas": 1}}));
    cluster.call(format!("waking {name}"), api.patch_scale(name, &params, &patch)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{test_api, uninstall::left::tests::service};

    fn left(annotations: Value, spec: Value) -> Left {
        Left {
            namespace: "shop".to_owned(),
            service: "a".to_owned(),
            object: Some(service("a", annotations, spec)),
            slices: vec!["a-ebb-ipv4-0".to_owned()],
            is_taken_over: false,
        }
    }

    #[test]
    fn the_selector_comes_back_and_only_ebbs_own_annotations_go() {
        let annotations = json!({
            "ebb.dev/scale-target": "Deployment/a", "ebb.dev/selector": "app=a,tier=web",
            "ebb.dev/activator-port": "10000", "autoscaling.knative.dev/target": "5",
        });
        let Step::GiveBack(patch) = next(&left(annotations, json!({})), None, false) else {
            panic!("given back")
        };
        assert_eq!(patch["spec"]["selector"], json!({"app": "a", "tier": "web"}));
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        let removed: Vec<&String> = patch["metadata"]["annotations"].as_object().unwrap().keys().collect();
        assert_eq!(removed, ["ebb.dev/activator-port", "ebb.dev/selector", "ebb.dev/status"]);
    }

    #[test]
    fn a_selector_that_a_user_set_meanwhile_stays() {
        let held = left(json!({"ebb.dev/selector": "app=a"}), json!({"selector": {"app": "new"}}));
        let Step::GiveBack(patch) = next(&held, None, false) else { panic!("given back") };
        assert_eq!(patch["spec"]["selector"], json!({"app": "new"}));
    }

    #[test]
    fn ebbs_endpoints_stay_until_every_node_knows_the_clusters() {
        let released = left(json!({}), json!({"selector": {"app": "a"}}));
        assert_eq!(next(&released, None, false), Step::Wait);
        assert_eq!(next(&released, Some(Duration::from_secs(1)), false), Step::Wait);
        assert_eq!(next(&released, Some(NETWORK), false), Step::DeleteSlices);
        assert_eq!(next(&released, None, true), Step::DeleteSlices, "nobody would ever serve");
    }

    #[test]
    fn a_selector_that_nobody_knows_is_for_the_user() {
        let broken = left(json!({"ebb.dev/selector": "nonsense"}), json!({}));
        assert!(matches!(next(&broken, None, false), Step::Stuck(why) if why.contains("spec.selector")));
        let gone = Left { object: None, ..left(json!({}), json!({})) };
        assert_eq!(next(&gone, None, false), Step::DeleteSlices);
    }

    #[tokio::test]
    async fn a_service_at_zero_is_woken_before_it_has_its_selector_back() {
        let scale = |replicas: u32| json!({"metadata": {"name": "a"}, "spec": {"replicas": replicas}});
        let (cluster, log) =
            test_api::cluster(move |asked| match (&*asked.method, asked.path.contains("/scale")) {
                ("GET", true) => (200, scale(0)),
                ("PATCH", true) => (200, scale(1)),
                ("PATCH", false) => (200, json!({"metadata": {"name": "a"}})),
                _ => test_api::missing(),
            });
        let held =
            left(json!({"ebb.dev/scale-target": "Deployment/a", "ebb.dev/selector": "app=a"}), json!({}));
        advance(&cluster, &held, &mut BTreeMap::new()).await.unwrap();
        let patched: Vec<String> = log
            .lock()
            .iter()
            .filter(|asked| asked.method == "PATCH")
            .map(|asked| asked.path.split('?').next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(
            patched,
            ["/apis/apps/v1/namespaces/shop/deployments/a/scale", "/api/v1/namespaces/shop/services/a"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn ebbs_slices_are_deleted_when_the_clusters_have_been_ready_for_long_enough() {
        let (cluster, log) = test_api::cluster(|asked| match &*asked.method {
            "DELETE" => (200, json!({"kind": "Status", "status": "Success"})),
            _ => (200, json!({"metadata": {"name": "a"}, "spec": {"replicas": 1}})),
        });
        let annotations = json!({"ebb.dev/scale-target": "Deployment/a"});
        let mut released = left(annotations, json!({"selector": {"app": "a"}}));
        released.is_taken_over = true;
        let mut ready_since = BTreeMap::new();
        let deleted = || log.lock().iter().filter(|asked| asked.method == "DELETE").count();
        advance(&cluster, &released, &mut ready_since).await.unwrap();
        assert_eq!(deleted(), 0);
        tokio::time::advance(NETWORK).await;
        advance(&cluster, &released, &mut ready_since).await.unwrap();
        assert_eq!(deleted(), 1);
    }
}
