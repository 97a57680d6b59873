//! Others that write the same replicas as Ebb: HPAs, and KEDA's `ScaledObject`s.

use ebb_annotations::ScaleTarget;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::{
    Api, ResourceExt,
    api::ListParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;

use super::Scope;
use crate::cluster::{Cluster, Failure};

/// An object that scales.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rival {
    kind: &'static str,
    namespace: String,
    name: String,
    target: ScaleTarget,
}

impl Rival {
    /// Returns whether it scales `target`.
    pub(super) fn scales(&self, namespace: &str, target: &ScaleTarget) -> bool {
        self.namespace == namespace && self.target == *target
    }

    pub(super) fn in_words(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }

    /// Returns how to remove it.
    pub(super) fn removal(&self) -> String {
        let kind = self.kind.to_ascii_lowercase();
        format!("kubectl --namespace {} delete {kind} {}", self.namespace, self.name)
    }
}

/// Returns all objects that scale.
pub(super) async fn all(cluster: &Cluster, scope: &Scope) -> Result<Vec<Rival>, Failure> {
    let hpas: Api<HorizontalPodAutoscaler> = match scope.namespace() {
        Some(namespace) => cluster.within(namespace),
        None => Api::all(cluster.client.clone()),
    };
    let mut rivals = Vec::new();
    for hpa in cluster.list("listing HPAs", &hpas, ListParams::default()).await? {
        // HPAs of KEDA are reported as their ScaledObjects.
        let is_kedas = hpa.owner_references().iter().any(|owner| owner.kind == "ScaledObject");
        if let Some(spec) = hpa.spec.as_ref().filter(|_| !is_kedas) {
            rivals.push(Rival {
                kind: "HorizontalPodAutoscaler",
                namespace: hpa.namespace().unwrap_or_default(),
                name: hpa.name_any(),
                target: ScaleTarget {
                    kind: spec.scale_target_ref.kind.clone(),
                    name: spec.scale_target_ref.name.clone(),
                },
            });
        }
    }
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject"));
    let objects: Api<DynamicObject> = match scope.namespace() {
        Some(namespace) => Api::namespaced_with(cluster.client.clone(), namespace, &resource),
        None => Api::all_with(cluster.client.clone(), &resource),
    };
    match cluster.list("listing ScaledObjects", &objects, ListParams::default()).await {
        Ok(objects) => rivals.extend(objects.iter().filter_map(of_keda)),
        // Without KEDA the kind does not exist.
        Err(failure) if failure.is_missing() => {}
        Err(failure) => return Err(failure),
    }
    Ok(rivals)
}

fn of_keda(object: &DynamicObject) -> Option<Rival> {
    let target = object.data.pointer("/spec/scaleTargetRef")?;
    Some(Rival {
        kind: "ScaledObject",
        namespace: object.namespace()?,
        name: object.name_any(),
        target: ScaleTarget {
            kind: target.get("kind").and_then(Value::as_str).unwrap_or("Deployment").to_owned(),
            name: target.get("name")?.as_str()?.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_scaled_object_means_a_deployment_unless_it_says_otherwise() {
        let object: DynamicObject = serde_json::from_value(json!({
            "metadata": {"name": "so", "namespace": "shop"}, "spec": {"scaleTargetRef": {"name": "hello"}},
        }))
        .unwrap();
        let rival = of_keda(&object).unwrap();
        assert!(rival.scales("shop", &"Deployment/hello".parse().unwrap()));
        assert!(!rival.scales("other", &"Deployment/hello".parse().unwrap()));
        assert_eq!(rival.removal(), "kubectl --namespace shop delete scaledobject so");
    }
}
