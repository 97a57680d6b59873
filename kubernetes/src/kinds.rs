//! Objects that can be scaled, by the names of their kinds.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use tokio::time::{sleep, timeout};

use ebb_cluster::{in_words, watches::Name};

/// The API server must have answered in so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// An object's scale is asked for again after a pause, so often in all.
const PAUSE: Duration = Duration::from_secs(1);
const TRIES: u32 = 3;

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
    let groups = asked(client.list_api_groups()).await?;
    for group in groups.groups {
        let Some(version) = group.preferred_version.or_else(|| group.versions.first().cloned()) else {
            continue;
        };
        // A group whose server is away hides its own kinds only.
        let Ok(resources) = asked(client.list_api_group_resources(&version.group_version)).await else {
            continue;
        };
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

async fn asked<T>(question: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match timeout(ANSWER_WITHIN, question).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {ANSWER_WITHIN:?}")),
    }
}

/// Whether `.spec.replicas` is what the scale subresource writes, by the type itself.
pub(crate) fn has_plain_replicas(resource: &ApiResource) -> bool {
    resource.group == "apps"
}

/// How many pods an object wants, by its scale subresource.
///
/// # Errors
///
/// What the API server says, which the client has asked again already where that was of use; or that it cannot be asked.
pub(crate) async fn replicas(client: &Client, resource: &ApiResource, name: &Name) -> Result<u32, String> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &name.0, resource);
    let mut tries = 0;
    loop {
        let why = match timeout(ANSWER_WITHIN, api.get_scale(&name.1)).await {
            Ok(Ok(scale)) => {
                let replicas = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
                return Ok(u32::try_from(replicas).unwrap_or(0));
            }
            Ok(Err(error @ kube::Error::Api(_))) => return Err(in_words(&error)),
            Ok(Err(error)) => in_words(&error),
            Err(_) => format!("no answer within {ANSWER_WITHIN:?}"),
        };
        tries += 1;
        // Others of its kind wait meanwhile.
        if tries == TRIES {
            return Err(why);
        }
        sleep(PAUSE).await;
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
