//! What becomes of objects that are there already.

use serde_json::json;

use super::{
    objects::owner,
    world::{UID, World, revision},
};
use crate::outcome::{Kind, Write};

#[test]
fn a_change_of_inputs_changes_the_deployment_and_leaves_what_others_wrote() {
    let mut world = World::started();
    world.pods_ready(7, 7);
    let foreign = json!({
        "metadata": { "annotations": { "example.com/x": "y", "serving.knative.dev/old": "z" } },
        "spec": { "template": { "metadata": { "annotations": { "kubectl.kubernetes.io/restartedAt": "now" } } } },
    });
    json_patch::merge(world.deployment.as_mut().unwrap(), &foreign);
    assert_eq!(world.examine().writes, [], "labels and annotations of others change nothing");

    world.config.deployment.spread_over_nodes = false;
    let writes = world.examine().writes;
    assert!(matches!(&writes[..], [Write::Merge(reference, _)] if reference.kind == Kind::Deployment));
    let deployment = world.deployment.as_ref().unwrap();
    assert_eq!(deployment["spec"]["replicas"], 7);
    assert_eq!(deployment["metadata"]["annotations"], json!({ "example.com/x": "y" }));
    let template = &deployment["spec"]["template"];
    assert_eq!(template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"], "now");
    assert_eq!(template["spec"].get("affinity"), None);
    assert_eq!(deployment["spec"]["selector"]["matchLabels"]["serving.knative.dev/revisionUID"], UID);
    assert_eq!(world.examine().writes, []);
}

#[test]
fn a_deployment_of_the_reference_loses_the_references_sidecar() {
    let mut world = World::started();
    let old = json!({
        "metadata": { "labels": { "serving.knative.dev/deployment-hash": "abc" } },
        "spec": { "template": { "spec": {
            "containers": [{ "name": "user-container" }, { "name": "queue-proxy" }], "volumes": [{ "name": "knative" }],
        } } },
    });
    json_patch::merge(world.deployment.as_mut().unwrap(), &old);
    world.front = None;
    assert!(matches!(&world.examine().writes[..], [Write::Create(_)]), "new pods would get no queue-proxy");
    world.take_over();
    world.examine();
    let pod = &world.deployment.as_ref().unwrap()["spec"]["template"]["spec"];
    let names: Vec<_> = pod["containers"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!((names, pod.get("volumes")), (vec![&json!("user-container")], None));
}

#[test]
fn what_says_who_sends_requests_does_not_restart_pods() {
    let mut world = World::started();
    for (of, key, value) in [
        ("labels", "serving.knative.dev/routingState", "pending"),
        ("labels", "serving.knative.dev/route", "cart"),
        ("annotations", "serving.knative.dev/routes", "cart,other"),
        ("annotations", "serving.knative.dev/routingStateModified", "2027-01-15T08:00:00Z"),
        ("annotations", "serving.knative.dev/no-gc", "true"),
        ("annotations", "autoscaling.knative.dev/target", "7"),
        ("annotations", "ebb.dev/queue-depth", "7"),
    ] {
        let mut revision = serde_json::to_value(&world.revision).unwrap();
        json_patch::merge(&mut revision, &json!({ "metadata": { of: { key: value } } }));
        world.revision = serde_json::from_value(revision).unwrap();
        let writes = world.examine().writes;
        let is_of_pods = |write: &Write| !matches!(write, Write::Merge(of, _) if of.kind == Kind::Front);
        assert!(!writes.iter().any(is_of_pods), "{key}: {writes:?}");
        assert_eq!(world.look().writes, [], "{key}");
    }
    let annotations = &world.front.unwrap()["metadata"]["annotations"];
    assert_eq!(annotations["autoscaling.knative.dev/target"], "7");
    assert_eq!(annotations["ebb.dev/queue-depth"], "7");
}

#[test]
fn a_revision_without_requests_keeps_no_pods() {
    let annotations =
        json!({ "autoscaling.knative.dev/min-scale": "2", "autoscaling.knative.dev/initialScale": "3" });
    let mut world = World::new(revision(&json!({}), &annotations, &json!({})));
    world.start();
    assert_eq!(world.deployment.as_ref().unwrap()["spec"]["replicas"], 3);
    world.pods_ready(3, 3);
    world.examine();
    world
        .revision
        .metadata
        .labels
        .as_mut()
        .unwrap()
        .insert("serving.knative.dev/routingState".to_owned(), "reserve".to_owned());
    let [Write::Merge(_, patch)] = &world.examine().writes[..] else { panic!() };
    let gone =
        json!({ "autoscaling.knative.dev/min-scale": null, "autoscaling.knative.dev/initialScale": null });
    assert_eq!(patch["metadata"], json!({ "annotations": gone }));
    world.deployment = None;
    world.examine();
    assert_eq!(world.deployment.as_ref().unwrap()["spec"]["replicas"], 0);
}

#[test]
fn objects_of_a_revision_of_the_same_name_that_is_gone_are_made_again() {
    for (of_front, of_deployment) in [(true, false), (false, true)] {
        let mut world = World::started();
        let orphan = json!({ "metadata": {
            "ownerReferences": null, "labels": { "serving.knative.dev/revisionUID": "uid-0" },
        } });
        for (object, is_orphan) in [(&mut world.front, of_front), (&mut world.deployment, of_deployment)] {
            if is_orphan {
                json_patch::merge(object.as_mut().unwrap(), &orphan);
            }
        }
        assert!(matches!(&world.examine().writes[..], [Write::Delete(..)]));
        assert!(world.front.is_none() == of_front && world.deployment.is_none() == of_deployment);
    }
}

#[test]
fn a_service_that_lost_its_owner_gets_it_back() {
    let mut world = World::started();
    let orphan = json!({ "metadata": { "ownerReferences": null } });
    json_patch::merge(world.front.as_mut().unwrap(), &orphan);
    assert!(matches!(&world.examine().writes[..], [Write::Merge(..)]));
    assert_eq!(world.front.unwrap()["metadata"]["ownerReferences"], owner());
}
