//! What is installed: the objects of `deploy/install.yaml`, compiled into this program.

use clap::Args as ClapArgs;
use kube::{
    Api, ResourceExt,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;

use super::Cluster;

/// `deploy/check` verifies that these are the base and the overlay for one node.
const INSTALL: &str = include_str!("../../../deploy/install.yaml");
const SINGLE: &str = include_str!("../../../deploy/install-single.yaml");

/// Ebb's default namespace.
pub(crate) const NAMESPACE: &str = "ebb-system";
/// The variable that tells the autoscaler which sidecar to inject.
pub(crate) const SIDECAR_IMAGE: &str = "EBB_QUEUE_PROXY_IMAGE";

/// Images to use instead of the shipped ones.
#[derive(ClapArgs, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Images {
    /// Use Ebb's images from this registry: REGISTRY/ebb/autoscaler:VERSION and so on
    #[arg(long, value_name = "REGISTRY")]
    pub(crate) image_registry: Option<String>,
    /// The complete name of the sidecar's image
    #[arg(long, value_name = "IMAGE")]
    pub(crate) queue_proxy_image: Option<String>,
}

impl Images {
    fn named(&self, shipped: &str) -> String {
        match &self.image_registry {
            Some(registry) => format!("{}/{shipped}", registry.trim_end_matches('/')),
            None => shipped.to_owned(),
        }
    }
}

/// Returns the objects, in the order in which to apply them.
///
/// # Errors
///
/// Returns an error if the built-in text is not YAML of objects, which the tests exclude.
pub(crate) fn objects(single: bool, images: &Images) -> anyhow::Result<Vec<DynamicObject>> {
    let text = if single { SINGLE } else { INSTALL };
    let values: Vec<Value> = serde_saphyr::from_multiple(text)?;
    let mut objects = Vec::with_capacity(values.len());
    for value in values.into_iter().filter(|value| !value.is_null()) {
        let mut object: DynamicObject = serde_json::from_value(value)?;
        set_images(&mut object, images);
        objects.push(object);
    }
    Ok(objects)
}

fn set_images(object: &mut DynamicObject, images: &Images) {
    let Some(containers) = object.data.pointer_mut("/spec/template/spec/containers") else { return };
    for container in containers.as_array_mut().into_iter().flatten() {
        if let Some(Value::String(image)) = container.get_mut("image") {
            *image = images.named(image);
        }
        let variables = container.get_mut("env").and_then(Value::as_array_mut);
        for variable in variables.into_iter().flatten().filter(|variable| variable["name"] == SIDECAR_IMAGE) {
            if let Some(Value::String(image)) = variable.get_mut("value") {
                *image = images.queue_proxy_image.clone().unwrap_or_else(|| images.named(image));
            }
        }
    }
}

/// Moves an object to the namespace in which Ebb is installed, including its references to others there.
pub(crate) fn move_to(object: &mut DynamicObject, namespace: &str) {
    if namespace == NAMESPACE {
        return;
    }
    if object.metadata.namespace.is_some() {
        object.metadata.namespace = Some(namespace.to_owned());
    }
    if kind(object) == "Namespace" {
        object.metadata.name = Some(namespace.to_owned());
    }
    rename(&mut object.data, namespace);
}

fn rename(value: &mut Value, namespace: &str) {
    match value {
        Value::String(text) if text == NAMESPACE => namespace.clone_into(text),
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, namespace)),
        Value::Object(fields) => fields.values_mut().for_each(|value| rename(value, namespace)),
        _ => {}
    }
}

/// Returns the object's kind.
pub(crate) fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| &types.kind)
}

/// Returns the object's name for people: `Deployment ebb-system/ebb-activator`.
pub(crate) fn name(object: &DynamicObject) -> String {
    match object.namespace() {
        Some(namespace) => format!("{} {namespace}/{}", kind(object), object.name_any()),
        None => format!("{} {}", kind(object), object.name_any()),
    }
}

/// Returns the API for the object's kind.
pub(crate) fn api(cluster: &Cluster, object: &DynamicObject) -> Api<DynamicObject> {
    let types = object.types.clone().unwrap_or_default();
    let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &types.kind));
    match object.namespace() {
        Some(namespace) => Api::namespaced_with(cluster.client.clone(), &namespace, &resource),
        None => Api::all_with(cluster.client.clone(), &resource),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped(images: &Images) -> Vec<DynamicObject> {
        objects(false, images).unwrap()
    }

    fn image_lines(objects: &[DynamicObject]) -> Vec<String> {
        let text = serde_json::to_string(objects).unwrap();
        let mut images: Vec<String> = text
            .split('"')
            .filter(|part| part.contains("ebb/") && part.contains(':'))
            .map(str::to_owned)
            .collect();
        images.sort();
        images
    }

    #[test]
    fn what_others_need_comes_before_them() {
        let objects = shipped(&Images::default());
        let at = |wanted: &str| objects.iter().position(|object| kind(object) == wanted).unwrap();
        assert_eq!(at("Namespace"), 0);
        for before in
            ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Secret", "Service", "PriorityClass"]
        {
            assert!(at(before) < at("Deployment"), "{before}");
        }
        // A webhook that exists before its server could only fail.
        assert_eq!(at("MutatingWebhookConfiguration"), objects.len() - 2);
        assert_eq!(at("ValidatingWebhookConfiguration"), objects.len() - 1);
    }

    #[test]
    fn on_one_node_there_is_one_of_each_and_no_budget() {
        let single = objects(true, &Images::default()).unwrap();
        let deployments: Vec<_> = single.iter().filter(|object| kind(object) == "Deployment").collect();
        assert_eq!(deployments.len(), 2);
        assert!(deployments.iter().all(|object| object.data["spec"]["replicas"] == 1));
        assert!(single.iter().all(|object| kind(object) != "PodDisruptionBudget"));
        assert_eq!(single.len() + 2, shipped(&Images::default()).len(), "all else is there");
    }

    #[test]
    fn images_come_from_a_registry_of_ones_own_the_sidecar_too() {
        let version = env!("CARGO_PKG_VERSION");
        let of = |prefix: &str| {
            ["activator", "autoscaler", "queue-proxy"].map(|name| format!("{prefix}ebb/{name}:{version}"))
        };
        assert_eq!(image_lines(&shipped(&Images::default())), of(""));
        let own = Images { image_registry: Some("r.example/team/".to_owned()), ..Images::default() };
        assert_eq!(image_lines(&shipped(&own)), of("r.example/team/"));
        let sidecar = Images { queue_proxy_image: Some("x/ebb/q:1".to_owned()), ..own };
        assert_eq!(image_lines(&shipped(&sidecar))[2], "x/ebb/q:1");
    }

    #[test]
    fn elsewhere_nothing_is_left_of_the_usual_namespace() {
        for mut object in shipped(&Images::default()) {
            let before = name(&object);
            move_to(&mut object, "scaling");
            let text = serde_json::to_string(&object).unwrap();
            assert!(!text.contains("\"ebb-system\""), "{before}: {text}");
        }
    }
}
