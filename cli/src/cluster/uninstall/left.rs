//! Finds the Services that are not given back yet.

use std::collections::BTreeMap;

use ebb_annotations::ClusterDefaults;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{Api, ResourceExt, api::ListParams};

use crate::cluster::{
    Cluster, Failure,
    bound::{Bound, full_name, is_held, kept_selector, selector},
    trouble,
};

const MANAGER: &str = "endpointslice.kubernetes.io/managed-by";
const OURS: &str = "ebb.dev";
const CLUSTERS: &str = "endpointslice-controller.k8s.io";
const OF: &str = "kubernetes.io/service-name";

/// A Service with something of Ebb's.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Left {
    pub(super) namespace: String,
    pub(super) service: String,
    /// The object; `None` if it is deleted, and its slices are about to be.
    pub(super) object: Option<Service>,
    /// Names of Ebb's slices.
    pub(super) slices: Vec<String>,
    /// Whether the cluster's own slices have a ready endpoint.
    pub(super) is_taken_over: bool,
}

impl Left {
    /// Returns the Service's namespace and name.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.namespace, self.service)
    }

    /// Returns whether Ebb keeps its selector.
    pub(super) fn is_held(&self) -> bool {
        self.object.as_ref().is_some_and(is_held)
    }

    /// Returns why it still has something of Ebb's.
    pub(super) async fn why(&self, cluster: &Cluster) -> String {
        let Some(service) = &self.object else { return "it was deleted, but its slices are left".to_owned() };
        if self.is_held() && selector(service).is_none() {
            return "ebb.dev/selector cannot be read; set spec.selector, and remove the annotation"
                .to_owned();
        }
        if self.is_held() {
            return "the autoscaler has not restored its selector; `ebb check` says why".to_owned();
        }
        let bound = Bound::read(cluster, service.clone(), &ClusterDefaults::default()).await;
        let of_target = || bound.target_object().and_then(|object| trouble::of_target(&object.data));
        match bound.current_pods().find_map(trouble::of_pod).or_else(of_target) {
            Some(trouble) => format!("no pod takes its requests yet: {}; {}", trouble.what, trouble.todo),
            None if bound.current_pods().next().is_none() => {
                "it has no pod; scale up its scale target by hand, or delete its slices".to_owned()
            }
            None => "Kubernetes has not created endpoints for its pods yet".to_owned(),
        }
    }
}

/// Returns all of them.
pub(super) async fn all(cluster: &Cluster) -> Result<Vec<Left>, Failure> {
    let services: Api<Service> = Api::all(cluster.client.clone());
    let slices: Api<EndpointSlice> = Api::all(cluster.client.clone());
    let services = cluster.list("listing Services", &services, ListParams::default()).await?;
    let ours = ListParams::default().labels(&format!("{MANAGER} in ({OURS}, {CLUSTERS})"));
    let slices = cluster.list("listing EndpointSlices", &slices, ours).await?;
    Ok(among(services, &slices))
}

fn among(services: Vec<Service>, slices: &[EndpointSlice]) -> Vec<Left> {
    let mut left: BTreeMap<String, Left> = BTreeMap::new();
    let label = |slice: &EndpointSlice, key: &str| slice.labels().get(key).cloned().unwrap_or_default();
    for slice in slices.iter().filter(|slice| label(slice, MANAGER) == OURS) {
        let (namespace, service) = (slice.namespace().unwrap_or_default(), label(slice, OF));
        let one = left.entry(format!("{namespace}/{service}")).or_default();
        (one.namespace, one.service) = (namespace, service);
        one.slices.push(slice.name_any());
    }
    for service in services {
        let name = full_name(&service);
        if is_held(&service) || left.contains_key(&name) {
            let one = left.entry(name).or_default();
            (one.namespace, one.service) = (service.namespace().unwrap_or_default(), service.name_any());
            one.object = Some(service);
        }
    }
    for slice in slices.iter().filter(|slice| label(slice, MANAGER) == CLUSTERS) {
        let name = format!("{}/{}", slice.namespace().unwrap_or_default(), label(slice, OF));
        let takes = |slice: &EndpointSlice| {
            slice.endpoints.iter().any(|one| one.conditions.as_ref().is_none_or(|it| it.ready != Some(false)))
        };
        if let Some(one) = left.get_mut(&name) {
            one.is_taken_over |= takes(slice);
        }
    }
    left.into_values().collect()
}

/// Returns the selector to restore; `None` if it is unknown.
pub(super) fn to_give_back(service: &Service) -> Option<BTreeMap<String, String>> {
    let own = service.spec.as_ref().and_then(|spec| spec.selector.clone()).filter(|own| !own.is_empty());
    own.or_else(|| kept_selector(service))
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "what json! makes reads better without a reference")]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(in super::super) fn service(name: &str, annotations: Value, spec: Value) -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "shop", "resourceVersion": "7", "annotations": annotations},
            "spec": spec,
        }))
        .unwrap()
    }

    fn slice(name: &str, service: &str, manager: &str, ready: bool) -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "shop", "labels": {MANAGER: manager, OF: service}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}],
        }))
        .unwrap()
    }

    #[test]
    fn what_has_a_kept_selector_or_a_slice_of_ours_is_left() {
        let held = json!({"ebb.dev/selector": "app=a", "ebb.dev/scale-target": "Deployment/a"});
        let services = vec![
            service("a", held, json!({})),
            service("b", json!({"ebb.dev/scale-target": "Deployment/b"}), json!({"selector": {"app": "b"}})),
            service("c", json!({"ebb.dev/scale-target": "Deployment/c"}), json!({"selector": {"app": "c"}})),
        ];
        let slices = [
            slice("b-ebb-ipv4-0", "b", OURS, true),
            slice("b-x", "b", CLUSTERS, true),
            slice("c-x", "c", CLUSTERS, true),
            slice("gone-ebb-ipv4-0", "gone", OURS, true),
        ];
        let left = among(services, &slices);
        let names: Vec<String> = left.iter().map(Left::name).collect();
        assert_eq!(names, ["shop/a", "shop/b", "shop/gone"]);
        assert!(left[0].is_held() && !left[0].is_taken_over && left[0].slices.is_empty());
        assert!(!left[1].is_held() && left[1].is_taken_over);
        assert_eq!(left[1].slices, ["b-ebb-ipv4-0"]);
        assert_eq!(left[2].object, None);
    }

    #[test]
    fn endpoints_that_are_not_ready_take_nothing_over() {
        let slices = [slice("b-ebb-ipv4-0", "b", OURS, true), slice("b-x", "b", CLUSTERS, false)];
        let left = among(vec![service("b", json!({}), json!({}))], &slices);
        assert!(!left[0].is_taken_over);
    }
}
