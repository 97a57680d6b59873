//! Objects that can be scaled, by the names of their kinds.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::{in_words, watch::Name};

/// An object's scale must have been told in so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Between two tries to read it, at first and at most.
const RETRY: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(10)];

/// What the kind of a scale target is called by the API.
///
/// # Errors
///
/// If the API has no such kind, or it cannot be scaled, or the API does not answer.
pub(crate) async fn resolve(client: &Client, kind: &str) -> Result<ApiResource, String> {
    match kind {
        "Deployment" => return Ok(ApiResource::erase::<Deployment>(&())),
        "StatefulSet" => return Ok(ApiResource::erase::<StatefulSet>(&())),
        "ReplicaSet" => return Ok(ApiResource::erase::<ReplicaSet>(&())),
        _ => {}
    }
    let groups = client.list_api_groups().await.map_err(|error| error.to_string())?;
    for group in groups.groups {
        let Some(version) = group.preferred_version.or_else(|| group.versions.first().cloned()) else {
            continue;
        };
        // A group whose server is away hides its own kinds only.
        let Ok(resources) = client.list_api_group_resources(&version.group_version).await else { continue };
        let names: Vec<&str> = resources.resources.iter().map(|resource| resource.name.as_str()).collect();
        for resource in &resources.resources {
            if resource.kind == kind && names.contains(&format!("{}/scale", resource.name).as_str()) {
                let kind = GroupVersionKind::gvk(&group.name, &version.version, kind);
                return Ok(ApiResource::from_gvk_with_plural(&kind, &resource.name));
            }
        }
    }
    Err(format!("the cluster has no kind {kind} with a scale subresource"))
}

/// Whether `.spec.replicas` is what the scale subresource writes, by the type itself.
pub(crate) fn has_plain_replicas(resource: &ApiResource) -> bool {
    resource.group == "apps"
}

/// How many pods an object wants, by its scale subresource; `None` if it is gone, or has none.
pub(crate) async fn replicas(client: &Client, resource: &ApiResource, name: &Name) -> Option<u32> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &name.0, resource);
    let mut pause = RETRY[0];
    loop {
        let why = match timeout(ANSWER_WITHIN, api.get_scale(&name.1)).await {
            Ok(Ok(scale)) => {
                let replicas = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
                return Some(u32::try_from(replicas).unwrap_or(0));
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => return None,
            Ok(Err(error)) => in_words(&error),
            Err(_) => format!("no answer within {ANSWER_WITHIN:?}"),
        };
        // Nobody tells of it again: not to know it would be to take it for gone.
        warn!(
            kind = resource.kind,
            namespace = name.0,
            name = name.1,
            why,
            "cannot read its scale; trying again"
        );
        sleep(pause).await;
        pause = (pause * 2).min(RETRY[1]);
    }
}

/// How to mark the template of an object, so that its pods are replaced by a rollout of its own; `None` if it has none.
pub(crate) fn with_rollouts(kind: &str) -> Option<ApiResource> {
    match kind {
        "Deployment" => Some(ApiResource::erase::<Deployment>(&())),
        "StatefulSet" => Some(ApiResource::erase::<StatefulSet>(&())),
        _ => None,
    }
}
