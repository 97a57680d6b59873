//! How a Revision becomes ready, and what can be wrong with its objects.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::world::{BY_DIGEST, World, condition, revision, said};

#[test]
fn a_revision_becomes_ready_step_by_step() {
    let mut world = World::fresh();
    let images = std::mem::take(&mut world.images);
    let resolving = [
        "Active Unknown Deploying",
        "ContainerHealthy Unknown ResolvingDigests",
        "Ready Unknown ResolvingDigests",
        "ResourcesAvailable Unknown ResolvingDigests",
    ];
    assert_eq!(said(&world.examine().status), resolving);
    world.images = images;
    let deploying = [
        "Active Unknown Deploying",
        "ContainerHealthy Unknown Deploying",
        "Ready Unknown Deploying",
        "ResourcesAvailable Unknown Deploying",
    ];
    assert_eq!(said(&world.examine().status), deploying);
    world.take_over();
    assert_eq!(said(&world.examine().status), deploying);
    world.pods_ready(1, 0);
    let queued = "Queued Requests to the target are being buffered as resources are provisioned.";
    let status = world.examine().status;
    assert_eq!(condition(&status, "Active"), format!("Unknown {queued}"));
    assert_eq!(said(&status)[1..], deploying[1..]);
    world.pods_ready(1, 1);
    let outcome = world.examine();
    let up = ["Active True", "ContainerHealthy True", "Ready True", "ResourcesAvailable True"];
    assert_eq!(said(&outcome.status), up);
    assert_eq!(outcome.events.iter().map(|event| event.reason).collect::<Vec<_>>(), ["RevisionReady"]);
    assert_eq!((outcome.status.actual_replicas, outcome.status.desired_replicas), (Some(1), Some(1)));
    assert_eq!(outcome.status.observed.observed_generation, Some(1));
    world.pods_ready(0, 0);
    let outcome = world.examine();
    assert_eq!(condition(&outcome.status, "Active"), "False NoTraffic The target is not receiving traffic.");
    assert_eq!(said(&outcome.status)[1..], up[1..]);
    assert_eq!((outcome.events.len(), outcome.status.desired_replicas), (0, Some(0)));
}

#[test]
fn a_revision_is_not_ready_before_its_initial_pods_are() {
    let annotations = json!({ "autoscaling.knative.dev/initial-scale": "3" });
    let mut world = World::new(revision(&json!({}), &annotations, &json!({})));
    world.start();
    world.pods_ready(3, 2);
    let status = world.examine().status;
    assert_eq!(condition(&status, "Ready"), "Unknown Deploying");
    assert_eq!(condition(&status, "ContainerHealthy"), "True");
    world.pods_ready(3, 3);
    assert_eq!(condition(&world.examine().status, "Ready"), "True");
    world.pods_ready(2, 1);
    assert_eq!(condition(&world.examine().status, "Ready"), "True");
}

#[test]
fn a_revision_that_needs_no_initial_pod_is_ready_without() {
    let annotations = json!({ "autoscaling.knative.dev/initial-scale": "0" });
    let mut world = World::new(revision(&json!({}), &annotations, &json!({})));
    world.config.autoscaler.allow_zero_initial_scale = true;
    world.start();
    assert_eq!(world.deployment.as_ref().unwrap()["spec"]["replicas"], 0);
    let status = world.examine().status;
    assert_eq!(
        (condition(&status, "Ready"), condition(&status, "Active")),
        ("True".to_owned(), "False NoTraffic The target is not receiving traffic.".to_owned(),)
    );
}

#[test]
fn an_image_without_a_digest_is_told_and_may_come_later() {
    let mut world = World::fresh();
    let images = std::mem::take(&mut world.images);
    world.images.fail("ghcr.io/shop/cart:v1", "ghcr.io has no image shop/cart:v1 (100%)".to_owned());
    let status = world.examine().status;
    let missing = "False ContainerMissing Unable to fetch image \"ghcr.io/shop/cart:v1\": failed to resolve image to \
                   digest: ghcr.io has no image shop/cart:v1 (100%)";
    assert_eq!(condition(&status, "ContainerHealthy"), missing);
    assert_eq!(condition(&status, "Ready"), missing);
    assert_eq!(condition(&status, "ResourcesAvailable"), "Unknown ResolvingDigests");
    world.images = images;
    assert_eq!(condition(&world.examine().status, "Ready"), "Unknown Deploying");
    assert_eq!(world.revision.status.unwrap().container_statuses[0].image_digest, BY_DIGEST);
}

#[test]
fn an_image_that_is_no_reference_is_told_at_once() {
    let spec = json!({ "containers": [{ "name": "user-container", "image": "No Image" }] });
    let mut world = World::new(revision(&json!({}), &json!({}), &spec));
    assert_eq!(
        condition(&world.examine().status, "Ready"),
        "False ContainerMissing Unable to fetch image \"No Image\": failed to resolve image to digest: could not \
         parse reference: No Image"
    );
}

#[test]
fn names_that_others_have_are_told_and_nothing_is_written() {
    let other = json!({ "metadata": { "ownerReferences": [{
        "apiVersion": "v1", "kind": "Other", "name": "x", "uid": "uid-2", "controller": true,
    }] } });
    for (of_front, message) in [
        (true, "There is an existing Service \"cart-00001\" that we do not own."),
        (false, "There is an existing Deployment \"cart-00001-deployment\" that we do not own."),
    ] {
        let mut world = World::initialised();
        let object = if of_front { &mut world.front } else { &mut world.deployment };
        let before = object.clone();
        json_patch::merge(object.as_mut().unwrap(), &other);
        let outcome = world.examine();
        assert_eq!(condition(&outcome.status, "Ready"), format!("False NotOwned {message}"));
        assert_eq!(outcome.writes, []);

        // It was ready before, and is again.
        *(if of_front { &mut world.front } else { &mut world.deployment }) = before;
        assert_eq!(condition(&world.examine().status, "Ready"), "True");
    }
}

#[test]
fn what_ebb_refuses_is_told_with_its_words() {
    let mut world = World::fresh();
    world.examine();
    let refused =
        json!({ "metadata": { "annotations": { "ebb.dev/status": "window: \"5s\" is too small" } } });
    json_patch::merge(world.front.as_mut().unwrap(), &refused);
    assert_eq!(
        condition(&world.examine().status, "Ready"),
        "False AnnotationsRefused window: \"5s\" is too small"
    );
    assert_eq!(world.deployment, None);
    world.take_over();
    assert_eq!(condition(&world.examine().status, "Ready"), "Unknown Deploying");
    assert!(world.deployment.is_some());
}

#[test]
fn an_object_that_does_not_come_is_told_after_the_deadline() {
    for (is_taken, message) in [
        (false, "Ebb has not taken over the Service of the Revision."),
        (true, "The Deployment of the Revision could not be created."),
    ] {
        let mut world = World::fresh();
        world.config.deployment.progress_deadline = Duration::from_secs(60);
        world.examine();
        if is_taken {
            world.take_over();
        }
        let outcome = world.examine();
        world.deployment = None;
        let due = world.now + Duration::from_secs(60);
        assert_eq!(outcome.again, Some(due));
        world.now = due - Duration::from_secs(1);
        assert_eq!(world.look().again, Some(due));
        world.now = due;
        for _ in 0..2 {
            let outcome = world.examine();
            world.deployment = None;
            assert_eq!(outcome.again, None);
            assert_eq!(
                condition(&outcome.status, "Ready"),
                format!("False ProgressDeadlineExceeded {message}")
            );
            world.now += Duration::from_secs(1);
        }
        world.take_over();
        world.examine();
        world.pods_ready(1, 1);
        assert_eq!(condition(&world.examine().status, "Ready"), "True");
    }
}

#[test]
fn a_revision_from_a_backup_whose_pods_rest_is_ready() {
    let mut world = World::initialised();
    world.pods_ready(0, 0);
    world.revision.status = None;
    let status = world.examine().status;
    assert_eq!(condition(&status, "Ready"), "True");
}

#[test]
fn a_revision_without_containers_or_with_an_odd_pod_says_so() {
    for (spec, message) in [
        (json!({ "containers": [] }), "The Revision has no containers."),
        (json!({ "affinity": { "nodeAffinity": 5 } }), "The pod's spec is invalid: invalid type"),
    ] {
        let mut world = World::new(revision(&json!({}), &json!({}), &spec));
        world.examine();
        world.take_over();
        let status = world.examine().status;
        let ready = condition(&status, "Ready");
        assert!(ready.starts_with(&format!("False Invalid {message}")), "{ready}");
    }
}

#[test]
fn a_revision_that_is_being_deleted_is_left_alone() {
    let mut world = World::fresh();
    let deleted = json!({ "metadata": { "deletionTimestamp": "2027-01-15T08:00:00Z" } });
    let mut object = serde_json::to_value(&world.revision).unwrap();
    json_patch::merge(&mut object, &deleted);
    world.revision = serde_json::from_value(object).unwrap();
    assert_eq!(world.examine().writes, []);
}

#[test]
fn conditions_keep_their_time_while_they_say_the_same() {
    let mut world = World::initialised();
    let before = world.revision.status.clone();
    world.now = Timestamp::from_second(1_900_000_000).unwrap();
    assert_eq!(Some(world.examine().status), before);
}
