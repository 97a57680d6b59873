//! Finds the kinds of objects that can be scaled.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use kube::core::{ApiResource, GroupVersionKind};

use super::{Cluster, Failure};

/// Returns the API resource for the kind of a scale target; `None` if the cluster has no such kind that can
/// be scaled.
pub(crate) async fn resolve(cluster: &Cluster, kind: &str) -> Result<Option<ApiResource>, Failure> {
    match kind {
        "Deployment" => return Ok(Some(ApiResource::erase::<Deployment>(&()))),
        "StatefulSet" => return Ok(Some(ApiResource::erase::<StatefulSet>(&()))),
        "ReplicaSet" => return Ok(Some(ApiResource::erase::<ReplicaSet>(&()))),
        _ => {}
    }
    let groups = cluster.call("listing the API's groups", cluster.client.list_api_groups()).await?;
    for group in groups.groups {
        let Some(version) = group.preferred_version.or_else(|| group.versions.into_iter().next()) else {
            continue;
        };
        let asked = cluster.client.list_api_group_resources(&version.group_version);
        // A group whose server is down hides only its own kinds.
        let Ok(found) = cluster.call("listing the API's kinds", asked).await else { continue };
        let is_scaled = |name: &str| found.resources.iter().any(|one| one.name == format!("{name}/scale"));
        if let Some(one) = found.resources.iter().find(|one| one.kind == kind && is_scaled(&one.name)) {
            let kind = GroupVersionKind::gvk(&group.name, &version.version, kind);
            return Ok(Some(ApiResource::from_gvk_with_plural(&kind, &one.name)));
        }
    }
    Ok(None)
}
