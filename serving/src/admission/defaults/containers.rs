//! Defaults of containers.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::ObjectMeta;
use serde_json::Value;

use crate::{
    api::{Container, RevisionSpec, Volume, VolumeMount},
    config::{Defaults, Template, Values},
    names::child,
};

use super::probe;

/// Names of containers if a template yields nothing.
const CONTAINER: &str = "user-container";
const INIT_CONTAINER: &str = "init-container";

/// Names the containers that have no name, in the template of `parent`.
pub(super) fn name(spec: &mut RevisionSpec, parent: &ObjectMeta, defaults: &Defaults) {
    let all = spec.containers.iter().chain(&spec.init_containers);
    let mut taken: BTreeSet<String> =
        all.map(|one| one.name.clone()).filter(|name| !name.is_empty()).collect();
    let wanted = rendered(&defaults.container_name, parent).unwrap_or_else(|| CONTAINER.to_owned());
    name_all(&mut spec.containers, &wanted, &mut taken);
    let wanted = rendered(&defaults.init_container_name, parent).unwrap_or_else(|| INIT_CONTAINER.to_owned());
    name_all(&mut spec.init_containers, &wanted, &mut taken);
}

fn name_all(containers: &mut [Container], wanted: &str, taken: &mut BTreeSet<String>) {
    let is_numbered = containers.len() > 1 || taken.contains(wanted);
    let mut numbered = (0_usize..).map(|number| child(wanted, &format!("-{number}")));
    for container in containers.iter_mut().filter(|container| container.name.is_empty()) {
        let name = if is_numbered { numbered.find(|name| !taken.contains(name)) } else { None };
        container.name = name.unwrap_or_else(|| wanted.to_owned());
        taken.insert(container.name.clone());
    }
}

fn rendered(template: &Template, parent: &ObjectMeta) -> Option<String> {
    let none = BTreeMap::new();
    let values = Values {
        name: parent.name.as_deref().unwrap_or_default(),
        namespace: parent.namespace.as_deref().unwrap_or_default(),
        domain: "",
        tag: "",
        labels: parent.labels.as_ref().unwrap_or(&none),
        annotations: parent.annotations.as_ref().unwrap_or(&none),
    };
    template.render(&values).ok().filter(|name| !name.is_empty())
}

/// Fills in the containers, except those that only prepare.
pub(super) fn fill(spec: &mut RevisionSpec, defaults: &Defaults) {
    let is_alone = spec.containers.len() == 1;
    for container in &mut spec.containers {
        resources(container, defaults);
        let takes_requests = is_alone || !container.ports.is_empty();
        probe::fill(&mut container.readiness_probe, takes_requests);
        for mount in &mut container.volume_mounts {
            read_only(mount, &spec.volumes);
        }
    }
}

fn resources(container: &mut Container, defaults: &Defaults) {
    if defaults.requests.is_empty() && defaults.limits.is_empty() {
        return;
    }
    let resources = container.resources.get_or_insert_default();
    let parts = [(&mut resources.requests, &defaults.requests), (&mut resources.limits, &defaults.limits)];
    for (own, defaults) in parts {
        for (resource, quantity) in defaults {
            own.entry(resource.clone()).or_insert_with(|| Value::String(quantity.clone()));
        }
    }
}

/// Says of a mount that it is read-only if its volume cannot be written to. Who asks for the contrary is not silently
/// overruled; that is a fault.
fn read_only(mount: &mut VolumeMount, volumes: &[Volume]) {
    let volume = volumes.iter().find(|volume| volume.name == mount.name);
    if volume.is_some_and(|volume| !is_writable(volume)) {
        mount.read_only = mount.read_only.or(Some(true));
    }
}

fn is_writable(volume: &Volume) -> bool {
    volume.empty_dir.is_some() || volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;

    fn spec(containers: Value, init_containers: Value) -> RevisionSpec {
        RevisionSpec {
            containers: serde_json::from_value(containers).unwrap(),
            init_containers: serde_json::from_value(init_containers).unwrap(),
            ..RevisionSpec::default()
        }
    }

    fn names(containers: &[Container]) -> Vec<&str> {
        containers.iter().map(|container| container.name.as_str()).collect()
    }

    #[test]
    fn containers_without_names_get_one_that_is_free() {
        for (containers, init_containers, named, init_named) in [
            (json!([{}]), json!([{}]), vec!["user-container"], vec!["init-container"]),
            (json!([{"name": "mine"}]), json!([]), vec!["mine"], vec![]),
            (json!([{}, {}]), json!([]), vec!["user-container-0", "user-container-1"], vec![]),
            (
                json!([{"name": "user-container-1"}, {}, {}]),
                json!([{"name": "user-container-2"}]),
                vec!["user-container-1", "user-container-0", "user-container-3"],
                vec!["user-container-2"],
            ),
            (
                json!([{}]),
                json!([{"name": "user-container"}]),
                vec!["user-container-0"],
                vec!["user-container"],
            ),
        ] {
            let mut spec = spec(containers, init_containers);
            name(&mut spec, &ObjectMeta::default(), &Config::default().defaults);
            assert_eq!((names(&spec.containers), names(&spec.init_containers)), (named, init_named));
        }
    }

    #[test]
    fn a_name_that_both_templates_yield_is_given_once() {
        let defaults = Config::default().defaults;
        let defaults = Defaults { init_container_name: defaults.container_name.clone(), ..defaults };
        let mut spec = spec(json!([{}]), json!([{}]));
        name(&mut spec, &ObjectMeta::default(), &defaults);
        assert_eq!(
            (names(&spec.containers), names(&spec.init_containers)),
            (vec!["user-container"], vec!["user-container-0"])
        );
    }

    #[test]
    fn only_resources_that_are_set_and_not_given_are_filled_in() {
        let quantities =
            |text: &[(&str, &str)]| text.iter().map(|&(a, b)| (a.to_owned(), b.to_owned())).collect();
        let defaults = Defaults {
            requests: quantities(&[("cpu", "100m"), ("memory", "64Mi")]),
            limits: quantities(&[("memory", "1Gi")]),
            ..Defaults::default()
        };
        let mut spec = spec(json!([{"resources": {"requests": {"cpu": 1}}}, {}]), json!([{}]));
        fill(&mut spec, &defaults);
        let resources = |container: &Container| serde_json::to_value(&container.resources).unwrap();
        assert_eq!(
            resources(&spec.containers[0]),
            json!({"requests": {"cpu": 1, "memory": "64Mi"}, "limits": {"memory": "1Gi"}})
        );
        assert_eq!(
            resources(&spec.containers[1]),
            json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}})
        );
        assert_eq!(spec.init_containers[0].resources, None);
        fill(&mut spec, &Defaults::default());
        let mut bare = self::spec(json!([{}]), json!([]));
        fill(&mut bare, &Defaults::default());
        assert_eq!(bare.containers[0].resources, None);
    }

    #[test]
    fn mounts_of_what_cannot_be_written_to_say_so() {
        for (source, wanted) in [
            (json!({"secret": {}}), Some(true)),
            (json!({"configMap": {}}), Some(true)),
            (json!({"projected": {}}), Some(true)),
            (json!({"hostPath": {}}), Some(true)),
            (json!({"emptyDir": {}}), None),
            (json!({"persistentVolumeClaim": {"claimName": "c"}}), None),
            (json!({"ephemeral": {}}), None),
        ] {
            let mut volume = source.clone();
            volume["name"] = json!("v");
            let mut mounts = serde_json::from_value(json!({
                "volumes": [volume],
                "containers": [{"volumeMounts": [
                    {"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b", "readOnly": false},
                    {"name": "other", "mountPath": "/c"},
                ]}],
            }))
            .unwrap();
            fill(&mut mounts, &Defaults::default());
            let mounts = mounts.containers[0].volume_mounts.iter().map(|mount| mount.read_only);
            assert_eq!(mounts.collect::<Vec<_>>(), [wanted, Some(false), None], "{source}");
        }
    }
}
