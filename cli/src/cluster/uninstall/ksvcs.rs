//! The objects of Knative's API, and what they own: what uninstalling must not take away unasked.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind, TypeMeta},
};
use serde_json::{Value, json};

use crate::cluster::{
    Cluster, FIELD_MANAGER, Failure,
    manifests::{api, name},
};

/// The group of the objects that own others of Kubernetes.
pub(super) const GROUP: &str = "serving.knative.dev/";
/// Finalizers of Kubernetes itself, which removes them.
const CLUSTERS: [&str; 2] = ["foregroundDeletion", "orphan"];

/// Returns all objects of these kinds.
pub(super) async fn all(cluster: &Cluster, kinds: &[DynamicObject]) -> Result<Vec<DynamicObject>, Failure> {
    let mut all = Vec::new();
    for resource in kinds.iter().filter_map(resource) {
        all.extend(list(cluster, &resource).await?);
    }
    Ok(all)
}

/// Returns the Deployments and Services that belong to an object of the API.
pub(super) async fn owned(cluster: &Cluster) -> Result<Vec<DynamicObject>, Failure> {
    let mut owned = Vec::new();
    for resource in [ApiResource::erase::<Deployment>(&()), ApiResource::erase::<Service>(&())] {
        owned.extend(list(cluster, &resource).await?.into_iter().filter(is_owned));
    }
    Ok(owned)
}

async fn list(cluster: &Cluster, resource: &ApiResource) -> Result<Vec<DynamicObject>, Failure> {
    let api: Api<DynamicObject> = Api::all_with(cluster.client.clone(), resource);
    let what = format!("listing {}.{}", resource.plural, resource.group);
    let mut found = match cluster.list(&what, &api, ListParams::default()).await {
        // The kind is deleted already.
        Err(failure) if failure.is_missing() => return Ok(Vec::new()),
        found => found?,
    };
    // The objects of a list need not name their kind.
    let types = TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
    for object in &mut found {
        object.types = Some(types.clone());
    }
    Ok(found)
}

/// Returns the resource that a `CustomResourceDefinition` defines.
fn resource(kind: &DynamicObject) -> Option<ApiResource> {
    let text = |path: &str| kind.data.pointer(path).and_then(Value::as_str);
    let (group, version) = (text("/spec/group")?, text("/spec/versions/0/name")?);
    let kind = GroupVersionKind::gvk(group, version, text("/spec/names/kind")?);
    Some(ApiResource::from_gvk_with_plural(&kind, text("/spec/names/plural")?))
}

fn is_owned(object: &DynamicObject) -> bool {
    object.owner_references().iter().any(|owner| owner.api_version.starts_with(GROUP))
}

/// Makes an object belong to no object of the API, so that it stays when they are deleted.
pub(super) async fn detach(cluster: &Cluster, object: &DynamicObject) -> Result<(), Failure> {
    change(cluster, object, &detached(object)).await
}

/// Deletes an object of the API. Nobody is there any more to do what its finalizers wait for, so they are removed.
pub(super) async fn delete(cluster: &Cluster, object: &DynamicObject) -> Result<(), Failure> {
    if let Some(patch) = unfinalized(object) {
        change(cluster, object, &patch).await?;
    }
    let what = format!("deleting {}", name(object));
    let api = api(cluster, object);
    cluster.find(what, api.delete(&object.name_any(), &DeleteParams::background())).await.map(drop)
}

/// Applies a merge patch. One that came too late has no effect: the object is read again.
async fn change(cluster: &Cluster, object: &DynamicObject, patch: &Value) -> Result<(), Failure> {
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let what = format!("changing {}", name(object));
    let api = api(cluster, object);
    match cluster.find(what, api.patch(&object.name_any(), &params, &Patch::Merge(patch))).await {
        Err(failure) if failure.is_conflict() => Ok(()),
        changed => changed.map(drop),
    }
}

/// Returns the patch that leaves an object, as it was read, no owner of the API.
fn detached(object: &DynamicObject) -> Value {
    let others: Vec<_> =
        object.owner_references().iter().filter(|owner| !owner.api_version.starts_with(GROUP)).collect();
    let version = &object.metadata.resource_version;
    json!({"metadata": {"resourceVersion": version, "ownerReferences": others}})
}

/// Returns the patch that removes the finalizers of others than Kubernetes itself; `None` if there are none.
fn unfinalized(object: &DynamicObject) -> Option<Value> {
    let (clusters, others): (Vec<&String>, Vec<&String>) =
        object.finalizers().iter().partition(|finalizer| CLUSTERS.contains(&finalizer.as_str()));
    let version = &object.metadata.resource_version;
    (!others.is_empty()).then(|| json!({"metadata": {"resourceVersion": version, "finalizers": clusters}}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::manifests;

    fn object(metadata: &Value) -> DynamicObject {
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    #[test]
    fn each_kind_is_found_by_its_definition() {
        let kinds = manifests::kinds().unwrap();
        let all: Vec<String> = kinds
            .iter()
            .filter_map(resource)
            .map(|one| format!("{} {} {}", one.api_version, one.kind, one.plural))
            .collect();
        assert_eq!(
            all,
            [
                "serving.knative.dev/v1 Service services",
                "serving.knative.dev/v1 Configuration configurations",
                "serving.knative.dev/v1 Revision revisions",
                "serving.knative.dev/v1 Route routes",
                "serving.knative.dev/v1beta1 DomainMapping domainmappings",
                "networking.internal.knative.dev/v1alpha1 ClusterDomainClaim clusterdomainclaims",
            ]
        );
    }

    #[test]
    fn only_owners_of_the_api_are_given_up() {
        let owner = |version: &str| json!({"apiVersion": version, "kind": "K", "name": "n", "uid": version});
        let mine = object(&json!({
            "resourceVersion": "7",
            "ownerReferences": [owner("serving.knative.dev/v1"), owner("apps/v1"), owner("serving.knative.dev/v1beta1")],
        }));
        assert!(is_owned(&mine));
        let patch = detached(&mine);
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(patch["metadata"]["ownerReferences"], json!([owner("apps/v1")]));
        assert!(!is_owned(&object(&json!({"ownerReferences": [owner("apps/v1")]}))));
        assert!(!is_owned(&object(&json!({}))));
    }

    #[test]
    fn finalizers_of_kubernetes_itself_stay() {
        let with = |finalizers: Value| object(&json!({"resourceVersion": "7", "finalizers": finalizers}));
        let patch = unfinalized(&with(json!(["routes.serving.knative.dev", "foregroundDeletion"])));
        let wanted = json!({"resourceVersion": "7", "finalizers": ["foregroundDeletion"]});
        assert_eq!(patch.unwrap()["metadata"], wanted);
        assert_eq!(unfinalized(&with(json!(["foregroundDeletion"]))), None);
        assert_eq!(unfinalized(&object(&json!({}))), None);
    }
}
