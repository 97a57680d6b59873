//! Resolves the kinds of scale targets.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use tokio::time::{sleep, timeout};

use ebb_cluster::{in_words, watches::Name};

/// Time limit for an answer of the API server.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Pause between two attempts to read a scale, and their number.
const PAUSE: Duration = Duration::from_secs(1);
const TRIES: u32 = 3;

/// Returns the API resource of a scale target's kind.
///
/// # Errors
///
/// Returns an error if the API has no such kind, if it cannot be scaled, or if the API does not answer.
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
        // A group whose server is away hides only its own kinds.
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

/// Returns whether the scale subresource writes `.spec.replicas`, judging by the type alone.
pub(crate) fn has_plain_replicas(resource: &ApiResource) -> bool {
    resource.group == "apps"
}

/// Returns how many pods an object wants, by its scale subresource.
///
/// # Errors
///
/// Returns the API server's error, after the client's own retries, or that it cannot be reached.
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
        // Other objects of its kind wait meanwhile.
        if tries == TRIES {
            return Err(why);
        }
        sleep(PAUSE).await;
    }
}

/// Returns the resource of a kind whose objects roll out a changed template by themselves; `None` for others.
pub(crate) fn with_rollouts(kind: &str) -> Option<ApiResource> {
    match kind {
        "Deployment" => Some(ApiResource::erase::<Deployment>(&())),
        "StatefulSet" => Some(ApiResource::erase::<StatefulSet>(&())),
        _ => None,
    }
}
