//! A Service that asks for Ebb, and the objects around it.

use std::collections::BTreeMap;

use ebb_annotations::{ClusterDefaults, Fault, Parsed, Reachability, ScaleTarget, Sidecar, keys, parse};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodSpec, PodTemplateSpec, Service, ServiceAccount};
use kube::{
    Api, ResourceExt,
    api::ListParams,
    core::{DynamicObject, Expression, Selector},
};

use super::{
    Cluster, Failure, kinds,
    shape::{self, Around, Cost},
    trouble,
};

/// Labels that pods must have.
pub(crate) type Labels = BTreeMap<String, String>;

/// The ConfigMap with the cluster's settings, in Ebb's own namespace.
pub(crate) const SETTINGS: &str = "ebb-config";

/// A Service that asks for Ebb, or did before.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) service: Service,
    /// Its parsed annotations, or their faults.
    pub(crate) parsed: Result<Parsed, Vec<Fault>>,
    /// The scale target; `None` if the annotation names none that is possible.
    pub(crate) target: Option<Target>,
    /// The pods that its selector selects.
    pub(crate) pods: Vec<Pod>,
    /// Whether the pods' ServiceAccount mounts tokens.
    pub(crate) account_mounts: Option<bool>,
    /// What could not be read.
    pub(crate) unread: Vec<Failure>,
}

/// The scale target that a Service names.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) named: ScaleTarget,
    pub(crate) state: TargetState,
}

#[derive(Debug)]
pub(crate) enum TargetState {
    Found(Box<DynamicObject>),
    Missing,
    /// The cluster has no such kind with a scale subresource.
    NoSuchKind,
    Unread(Failure),
}

/// Returns the cluster's defaults. If the ConfigMap is missing or invalid, which the autoscaler reports
/// itself, returns the shipped defaults.
pub(crate) async fn defaults(cluster: &Cluster, namespace: &str) -> ClusterDefaults {
    let api: Api<ConfigMap> = cluster.within(namespace);
    let map = cluster.find("reading the ConfigMap ebb-config", api.get(SETTINGS)).await.ok().flatten();
    let data = map.and_then(|map| map.data).unwrap_or_default();
    ClusterDefaults::from_map(&data).unwrap_or_default()
}

/// Returns an annotation of the Service.
pub(crate) fn annotation<'a>(service: &'a Service, key: &str) -> Option<&'a str> {
    service.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// Returns whether the Service asks for Ebb.
pub(crate) fn asks(service: &Service) -> bool {
    annotation(service, keys::SCALE_TARGET.name).is_some()
}

/// Returns whether the Service is a route.
pub(crate) fn is_route(service: &Service) -> bool {
    service.metadata.annotations.as_ref().is_some_and(ebb_annotations::is_route)
}

/// Returns whether Ebb keeps the Service's selector.
pub(crate) fn is_held(service: &Service) -> bool {
    annotation(service, keys::SELECTOR.name).is_some()
}

/// Returns the Service's namespace and name.
pub(crate) fn full_name(service: &Service) -> String {
    format!("{}/{}", service.namespace().unwrap_or_default(), service.name_any())
}

/// Returns the selector of the Service, or else the one that Ebb keeps for it.
pub(crate) fn selector(service: &Service) -> Option<Labels> {
    let own = service.spec.as_ref().and_then(|spec| spec.selector.clone()).filter(|own| !own.is_empty());
    own.or_else(|| kept_selector(service))
}

/// Returns the selector that Ebb keeps for the Service: `app=hello,tier=web`.
pub(crate) fn kept_selector(service: &Service) -> Option<Labels> {
    let pair = |part: &str| {
        let (key, value) = part.split_once('=')?;
        (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
    };
    annotation(service, keys::SELECTOR.name)?.split(',').map(pair).collect()
}

/// Returns list parameters for the objects that `labels` select.
pub(crate) fn selecting(labels: &Labels) -> ListParams {
    let selector: Selector =
        labels.iter().map(|(key, value)| Expression::Equal(key.clone(), value.clone())).collect();
    ListParams::default().labels_from(&selector)
}

impl Bound {
    /// Reads the objects around `service`.
    pub(crate) async fn read(cluster: &Cluster, service: Service, defaults: &ClusterDefaults) -> Self {
        let namespace = service.namespace().unwrap_or_default();
        let empty = BTreeMap::new();
        let annotations = service.metadata.annotations.as_ref().unwrap_or(&empty);
        let parsed = parse(annotations, defaults, Reachability::Reachable);
        let named = annotation(&service, keys::SCALE_TARGET.name).and_then(|text| text.parse().ok());
        let mut unread = Vec::new();
        let target = match named {
            Some(named) => {
                Some(Target { state: TargetState::read(cluster, &namespace, &named).await, named })
            }
            None => None,
        };
        let pods = match selector(&service) {
            Some(labels) => {
                let api: Api<Pod> = cluster.within(&namespace);
                let what = format!("listing the pods of {}", full_name(&service));
                cluster.list(&what, &api, selecting(&labels)).await.unwrap_or_else(|failure| {
                    unread.push(failure);
                    Vec::new()
                })
            }
            None => Vec::new(),
        };
        let mut bound = Self { service, parsed, target, pods, account_mounts: None, unread };
        if let Some(spec) = bound.pod_spec() {
            let account =
                spec.service_account_name.filter(|name| !name.is_empty()).unwrap_or("default".to_owned());
            let api: Api<ServiceAccount> = cluster.within(&namespace);
            let read = cluster.find("reading the pods' ServiceAccount", api.get(&account)).await;
            bound.account_mounts =
                read.ok().flatten().and_then(|account| account.automount_service_account_token);
        }
        bound
    }

    /// Returns the Service's namespace and name.
    pub(crate) fn name(&self) -> String {
        full_name(&self.service)
    }

    /// Returns the scale target, if it exists.
    pub(crate) fn target_object(&self) -> Option<&DynamicObject> {
        match &self.target.as_ref()?.state {
            TargetState::Found(object) => Some(object),
            _ => None,
        }
    }

    /// Returns the spec of the next pod: the template's, or that of a pod if there is no template.
    pub(crate) fn pod_spec(&self) -> Option<PodSpec> {
        let template = self.target_object().and_then(|object| object.data.pointer("/spec/template"));
        let template: Option<PodTemplateSpec> =
            template.and_then(|template| serde_json::from_value(template.clone()).ok());
        template
            .and_then(|template| template.spec)
            .or_else(|| self.pods.iter().find_map(|pod| pod.spec.clone()))
    }

    /// Returns how pods get their queue-proxy.
    pub(crate) fn sidecar(&self) -> Sidecar {
        self.parsed.as_ref().map(|parsed| parsed.binding.sidecar).unwrap_or_default()
    }

    /// Returns pods that are neither finished nor being deleted.
    pub(crate) fn current_pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().filter(|pod| trouble::is_current(pod))
    }

    /// Returns the number of pods without Ebb's sidecar, although they should have one.
    pub(crate) fn bare_pods(&self) -> usize {
        if self.sidecar() == Sidecar::None {
            return 0;
        }
        self.current_pods().filter(|pod| !trouble::has_sidecar(pod)).count()
    }

    /// Returns what in the pods' shape slows down each cold start.
    pub(crate) fn costs(&self) -> Vec<Cost> {
        let Some(mut spec) = self.pod_spec() else { return Vec::new() };
        let sidecar = self.sidecar();
        // A template lacks what Ebb adds, but Ebb's native sidecar has its price all the same.
        let has_own = spec.init_containers.iter().flatten().any(|one| one.name == shape::SIDECAR);
        if sidecar == Sidecar::Native && !has_own {
            spec.init_containers.get_or_insert_default().push(native_sidecar());
        }
        let around = Around {
            account_mounts: self.account_mounts,
            mount_token: self.parsed.as_ref().ok().and_then(|parsed| parsed.binding.mount_token),
            has_sidecar: sidecar != Sidecar::None,
        };
        shape::costs(&spec, around)
    }
}

fn native_sidecar() -> k8s_openapi::api::core::v1::Container {
    k8s_openapi::api::core::v1::Container {
        name: shape::SIDECAR.to_owned(),
        restart_policy: Some("Always".to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        ..Default::default()
    }
}

impl TargetState {
    async fn read(cluster: &Cluster, namespace: &str, named: &ScaleTarget) -> Self {
        let resource = match kinds::resolve(cluster, &named.kind).await {
            Ok(Some(resource)) => resource,
            Ok(None) => return Self::NoSuchKind,
            Err(failure) => return Self::Unread(failure),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), namespace, &resource);
        match cluster.find(format!("reading {named}"), api.get(&named.name)).await {
            Ok(Some(object)) => Self::Found(Box::new(object)),
            Ok(None) => Self::Missing,
            Err(failure) => Self::Unread(failure),
        }
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "what json! makes reads better without a reference")]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Returns a healthy Service `shop/hello` of `Deployment/hello`, with additional annotations.
    pub(crate) fn bound(annotations: Value) -> Bound {
        let mut all = json!({"ebb.dev/scale-target": "Deployment/hello", "ebb.dev/selector": "app=hello"});
        all.as_object_mut().unwrap().extend(annotations.as_object().unwrap().clone());
        let service: Service = serde_json::from_value(
            json!({"metadata": {"name": "hello", "namespace": "shop", "annotations": all}, "spec": {}}),
        )
        .unwrap();
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "hello", "namespace": "shop"},
            "spec": {"replicas": 1, "template": {"spec": {
                "automountServiceAccountToken": false, "containers": [{"name": "app", "image": "app:1"}],
            }}},
        });
        let annotations = service.metadata.annotations.clone().unwrap();
        Bound {
            parsed: parse(&annotations, &ClusterDefaults::default(), Reachability::Reachable),
            target: Some(Target {
                named: "Deployment/hello".parse().unwrap(),
                state: TargetState::Found(Box::new(serde_json::from_value(deployment).unwrap())),
            }),
            pods: vec![pod(true, true)],
            account_mounts: None,
            unread: Vec::new(),
            service,
        }
    }

    /// Returns a pod of it.
    pub(crate) fn pod(has_sidecar: bool, ready: bool) -> Pod {
        let mut containers = vec![json!({"name": "app"})];
        if has_sidecar {
            containers.push(json!({"name": "queue-proxy"}));
        }
        serde_json::from_value(json!({
            "metadata": {"name": "hello-1", "namespace": "shop"}, "spec": {"automountServiceAccountToken": false, "containers": containers},
            "status": {"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        }))
        .unwrap()
    }

    #[test]
    fn the_selector_is_the_services_own_or_the_kept_one() {
        let mut service = bound(json!({})).service;
        let kept = Labels::from([("app".to_owned(), "hello".to_owned())]);
        assert_eq!(selector(&service), Some(kept));
        let own = Labels::from([("app".to_owned(), "other".to_owned())]);
        service.spec.as_mut().unwrap().selector = Some(own.clone());
        assert_eq!(selector(&service), Some(own));
        for broken in ["", "app", "=x", "a=1,,b=2"] {
            let service = bound(json!({"ebb.dev/selector": broken})).service;
            assert_eq!(kept_selector(&service), None, "{broken:?}");
        }
    }

    #[test]
    fn a_native_sidecar_costs_before_there_is_a_pod_that_has_it() {
        assert_eq!(bound(json!({})).costs(), []);
        let costs = bound(json!({"ebb.dev/sidecar": "native"})).costs();
        assert!(costs.len() == 1 && costs[0].what.contains("native"), "{costs:?}");
    }

    #[test]
    fn pods_without_a_sidecar_are_counted_where_they_should_have_one() {
        let mut without = bound(json!({}));
        without.pods.push(pod(false, true));
        assert_eq!(without.bare_pods(), 1);
        let mut none = bound(json!({"ebb.dev/sidecar": "none"}));
        none.pods.push(pod(false, true));
        assert_eq!(none.bare_pods(), 0);
    }
}
