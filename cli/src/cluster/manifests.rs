//! What is installed: the objects of `deploy/install.yaml` and those of components, compiled into this program.

use clap::Args as ClapArgs;
use kube::{
    Api, ResourceExt,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;

use super::{Cluster, components::Components};

/// What one size of an installation has. `deploy/check` verifies that these are the base and the overlay for one node,
/// and what the components add to each.
struct Rendered {
    ebb: &'static str,
    gateway: &'static str,
    serving: &'static str,
}

const BASE: Rendered = Rendered {
    ebb: include_str!("../../../deploy/install.yaml"),
    gateway: include_str!("../../../deploy/rendered/gateway.yaml"),
    serving: include_str!("../../../deploy/rendered/serving.yaml"),
};
const SINGLE: Rendered = Rendered {
    ebb: include_str!("../../../deploy/install-single.yaml"),
    gateway: include_str!("../../../deploy/rendered/gateway-single.yaml"),
    serving: include_str!("../../../deploy/rendered/serving-single.yaml"),
};
/// The kinds of Knative's API, without the labels of what is installed.
const KINDS: &str = include_str!("../../../deploy/components/serving/crds.yaml");

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
pub(crate) fn objects(
    single: bool,
    components: Components,
    images: &Images,
) -> anyhow::Result<Vec<DynamicObject>> {
    let rendered = if single { SINGLE } else { BASE };
    let mut objects = read(rendered.ebb)?;
    if components.has_gateway() {
        add(&mut objects, read(rendered.gateway)?);
    }
    if components.serving {
        add(&mut objects, kinds()?);
        add(&mut objects, read(rendered.serving)?);
    }
    // A webhook that exists before its server could only fail.
    objects.sort_by_key(is_webhook);
    for object in &mut objects {
        set_images(object, images);
    }
    Ok(objects)
}

/// Returns the objects of the component that serves Knative's API alone, in the order in which to apply them.
///
/// # Errors
///
/// Returns an error in the same case as [`objects`].
pub(crate) fn of_serving() -> anyhow::Result<Vec<DynamicObject>> {
    let mut objects = kinds()?;
    objects.extend(read(BASE.serving)?);
    Ok(objects)
}

/// Returns the kinds of Knative's API, labelled as the component's other objects are.
///
/// # Errors
///
/// Returns an error in the same case as [`objects`].
pub(crate) fn kinds() -> anyhow::Result<Vec<DynamicObject>> {
    let mut kinds = read(KINDS)?;
    let labels =
        read(BASE.serving)?.into_iter().find_map(|object| object.metadata.labels).unwrap_or_default();
    for kind in &mut kinds {
        kind.labels_mut().extend(labels.clone());
    }
    Ok(kinds)
}

fn read(text: &str) -> anyhow::Result<Vec<DynamicObject>> {
    let values: Vec<Value> = serde_saphyr::from_multiple(text)?;
    let objects = values.into_iter().filter(|value| !value.is_null()).map(serde_json::from_value);
    Ok(objects.collect::<Result<_, _>>()?)
}

/// Adds what a component has: an object that is there already is replaced.
fn add(objects: &mut Vec<DynamicObject>, component: Vec<DynamicObject>) {
    for object in component {
        match objects.iter_mut().find(|there| name(there) == name(&object)) {
            Some(there) => *there = object,
            None => objects.push(object),
        }
    }
}

/// Returns whether the object says which webhooks there are.
pub(crate) fn is_webhook(object: &DynamicObject) -> bool {
    kind(object).ends_with("WebhookConfiguration")
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
        // The name of a ServiceAccount as a user, in an expression.
        Value::String(text) => *text = text.replace(&format!(":{NAMESPACE}:"), &format!(":{namespace}:")),
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

    const NONE: Components = Components { gateway: false, serving: false };
    const ALL: Components = Components { gateway: true, serving: true };

    fn shipped(images: &Images) -> Vec<DynamicObject> {
        objects(false, ALL, images).unwrap()
    }

    fn deployments(objects: &[DynamicObject]) -> Vec<&DynamicObject> {
        objects.iter().filter(|object| kind(object) == "Deployment").collect()
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
        for before in ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Secret", "PriorityClass"] {
            assert!(at(before) < at("Deployment"), "{before}");
        }
        let (program, kinds) = ("Deployment ebb-system/ebb-serving", "CustomResourceDefinition");
        let names: Vec<String> = objects.iter().map(name).collect();
        let last_kind = names.iter().rposition(|name| name.starts_with(kinds));
        assert!(last_kind < names.iter().position(|name| name == program));
        assert!(objects[objects.len() - 4..].iter().all(is_webhook));
        assert!(!objects[..objects.len() - 4].iter().any(is_webhook));
    }

    #[test]
    fn a_component_adds_to_what_is_there_or_replaces_it() {
        let names = |components| -> Vec<String> {
            objects(false, components, &Images::default()).unwrap().iter().map(name).collect()
        };
        let (none, gateway) = (names(NONE), names(Components { gateway: true, ..NONE }));
        let added: Vec<&String> = gateway.iter().filter(|name| !none.contains(name)).collect();
        assert_eq!(added, ["Service ebb-system/ebb-gateway"]);
        assert_eq!(gateway.len(), none.len() + 1);
        let all = shipped(&Images::default());
        let activator = deployments(&all)[0];
        assert!(name(activator).ends_with("ebb-activator") && activator.data.to_string().contains("GATEWAY"));
        assert_eq!(names(Components { serving: true, ..NONE }), names(ALL));
        assert_eq!(all.len(), gateway.len() + of_serving().unwrap().len());
    }

    #[test]
    fn kinds_are_labelled_as_all_else_is() {
        let kinds = kinds().unwrap();
        assert_eq!(kinds.len(), 6);
        assert_eq!(kinds[0].name_any(), "services.serving.knative.dev");
        for kind in kinds {
            let labels = kind.labels();
            assert_eq!(labels["app.kubernetes.io/component"], "serving", "{}", kind.name_any());
            assert!(labels.keys().any(|key| key.starts_with("knative.dev/")), "{}", kind.name_any());
        }
    }

    #[test]
    fn on_one_node_there_is_one_of_each_and_no_budget() {
        let single = objects(true, ALL, &Images::default()).unwrap();
        let deployments = deployments(&single);
        assert_eq!(deployments.len(), 3);
        assert!(deployments.iter().all(|object| object.data["spec"]["replicas"] == 1));
        assert!(single.iter().all(|object| kind(object) != "PodDisruptionBudget"));
        assert_eq!(single.len() + 3, shipped(&Images::default()).len(), "all else is there");
    }

    #[test]
    fn images_come_from_a_registry_of_ones_own_the_sidecar_too() {
        let version = env!("CARGO_PKG_VERSION");
        let of = |prefix: &str| {
            ["activator", "autoscaler", "queue-proxy", "serving"]
                .map(|name| format!("{prefix}ebb/{name}:{version}"))
        };
        assert_eq!(image_lines(&shipped(&Images::default())), of(""));
        let own = Images { image_registry: Some("r.example/team/".to_owned()), ..Images::default() };
        assert_eq!(image_lines(&shipped(&own)), of("r.example/team/"));
        let sidecar = Images { queue_proxy_image: Some("x/ebb/q:1".to_owned()), ..own };
        assert_eq!(image_lines(&shipped(&sidecar))[3], "x/ebb/q:1");
    }

    #[test]
    fn elsewhere_nothing_is_left_of_the_usual_namespace() {
        for mut object in shipped(&Images::default()) {
            let before = name(&object);
            move_to(&mut object, "scaling");
            let text = serde_json::to_string(&object).unwrap();
            assert!(!text.contains("ebb-system"), "{before}: {text}");
        }
    }
}
