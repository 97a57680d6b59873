//! What is told of pods that do not run.

use std::time::Duration;

use super::world::{World, condition};
use crate::seen::{Container, Ended, Pod, Progress, Waiting};

fn waits(reason: &str, message: &str) -> Pod {
    let waiting = Waiting { reason: reason.to_owned(), message: message.to_owned() };
    let container =
        Container { name: "user-container".to_owned(), waiting: Some(waiting), ..Container::default() };
    Pod { containers: vec![container], ..Pod::default() }
}

fn crashes() -> Pod {
    let ended = Ended { code: 1, message: "no database".to_owned(), ..Ended::default() };
    let container =
        Container { name: "user-container".to_owned(), ended: Some(ended), ..Container::default() };
    Pod { containers: vec![container], ..Pod::default() }
}

fn homeless() -> Pod {
    let why = ("Unschedulable".to_owned(), "0/1 nodes are available: 1 Insufficient cpu.".to_owned());
    Pod { unscheduled: Some(why), ..Pod::default() }
}

fn progress(status: &str, reason: &str, message: &str) -> Progress {
    Progress { status: status.to_owned(), reason: reason.to_owned(), message: message.to_owned() }
}

fn timed_out() -> Progress {
    progress("False", "ProgressDeadlineExceeded", "ReplicaSet \"x\" has timed out progressing.")
}

fn quota() -> Progress {
    progress("True", "FailedCreate", "pods \"x\" is forbidden: exceeded quota: 100%s")
}

#[test]
fn what_keeps_first_pods_from_running_is_told() {
    let deploying = "Unknown Deploying";
    let unschedulable = "Unschedulable 0/1 nodes are available: 1 Insufficient cpu.";
    let forbidden = "False FailedCreate pods \"x\" is forbidden: exceeded quota: 100%s";
    let exited = "False ExitCode1 Container failed with: no database";
    let back_off = "ImagePullBackOff Back-off pulling image";
    let pull = || waits("ImagePullBackOff", "Back-off pulling image");
    let late = "False ProgressDeadlineExceeded ReplicaSet \"x\" has timed out progressing.";
    let (stuck, cannot_pull) = (format!("False {unschedulable}"), format!("False {back_off}"));
    let (may_fit, may_pull) = (format!("Unknown {unschedulable}"), format!("Unknown {back_off}"));
    let up = Some(progress("True", "ReplicaSetUpdated", ""));
    for (pods, progressing, failure, resources, container, ready) in [
        (vec![], up.clone(), None, deploying, deploying, deploying),
        (vec![waits("ContainerCreating", "")], up.clone(), None, deploying, deploying, deploying),
        (vec![crashes()], up.clone(), None, deploying, exited, exited),
        (vec![homeless()], up.clone(), None, &may_fit, deploying, &may_fit),
        (vec![homeless()], Some(timed_out()), None, &stuck, deploying, &stuck),
        (vec![pull()], up.clone(), None, &may_pull, deploying, &may_pull),
        (vec![pull()], Some(timed_out()), None, &cannot_pull, deploying, &cannot_pull),
        (vec![], Some(timed_out()), None, late, deploying, late),
        (vec![], up, Some(quota()), forbidden, deploying, forbidden),
        (vec![], Some(progress("Unknown", "DeploymentPaused", "")), None, deploying, deploying, deploying),
    ] {
        let mut world = World::started();
        world.pods_ready(1, 0);
        world.deployed(|deployed| {
            deployed.progressing.clone_from(&progressing);
            deployed.replica_failure.clone_from(&failure);
        });
        world.pods.clone_from(&pods);
        world.now += Duration::from_secs(1);
        let status = world.examine().status;
        let all = ["ResourcesAvailable", "ContainerHealthy"].map(|type_| condition(&status, type_));
        assert_eq!(all, [resources, container], "{pods:?}");
        assert_eq!(condition(&status, "Ready"), ready, "{pods:?}");

        // Nothing stays of it once pods run.
        world.pods_ready(1, 1);
        world.pods.clear();
        assert_eq!(condition(&world.examine().status, "Ready"), "True", "{pods:?}");
    }
}

#[test]
fn a_pod_without_a_node_is_no_failure_where_nodes_always_come() {
    let mut world = World::started();
    world.config.deployment.pod_is_always_schedulable = true;
    world.pods_ready(1, 0);
    world.pods.push(homeless());
    assert_eq!(condition(&world.examine().status, "Ready"), "Unknown Deploying");
}

#[test]
fn a_first_start_that_was_given_up_says_so_and_why() {
    let mut world = World::started();
    world.pods_ready(1, 0);
    world.pods.push(crashes());
    world.examine();
    world.pods.clear();
    world.pods_ready(0, 0);
    let status = world.examine().status;
    let never = "False ProgressDeadlineExceeded Initial scale was never achieved";
    assert_eq!(condition(&status, "ResourcesAvailable"), never);
    assert_eq!(condition(&status, "ContainerHealthy"), "False ExitCode1 Container failed with: no database");
}

#[test]
fn a_revision_that_was_ready_stays_so_and_tells_what_its_pods_lack() {
    for (pods, failure, active) in [
        (
            vec![],
            None,
            "Unknown Queued Requests to the target are being buffered as resources are provisioned.",
        ),
        (vec![crashes()], None, "False ExitCode1 0 of 2 pods are ready: Container failed with: no database"),
        (
            vec![homeless()],
            None,
            "False Unschedulable 0 of 2 pods are ready: 0/1 nodes are available: 1 Insufficient cpu.",
        ),
        (
            vec![],
            Some(quota()),
            "False FailedCreate 0 of 2 pods are ready: pods \"x\" is forbidden: exceeded quota: 100%s",
        ),
    ] {
        let mut world = World::initialised();
        world.pods_ready(2, 0);
        world.deployed(|deployed| deployed.replica_failure.clone_from(&failure));
        world.pods.clone_from(&pods);
        let status = world.examine().status;
        assert_eq!(condition(&status, "Active"), active);
        assert_eq!(condition(&status, "Ready"), "True", "{pods:?}");
    }
    let mut world = World::initialised();
    world.pods_ready(3, 1);
    world.deployed(|deployed| deployed.replica_failure = Some(quota()));
    world.pods.push(crashes());
    assert_eq!(condition(&world.examine().status, "Active"), "True", "one pod is enough");
}
