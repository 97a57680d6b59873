//! Why pods do not start, and what to do about it.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use serde_json::Value;

use super::shape::SIDECAR;

/// What prevents pods from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) what: String,
    pub(crate) todo: String,
}

/// Returns whether the pod is neither finished nor being deleted.
pub(crate) fn is_current(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
}

/// Returns whether the pod's Ready condition holds.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|(status, _)| status == "True")
}

/// Returns whether the pod has Ebb's sidecar.
pub(crate) fn has_sidecar(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).any(|one| one.name == SIDECAR)
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<(&'a str, &'a str)> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    let condition = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((&condition.status, condition.message.as_deref().unwrap_or_default()))
}

/// Returns what prevents `pod` from being ready; `None` if it is ready or ending.
pub(crate) fn of_pod(pod: &Pod) -> Option<Trouble> {
    if !is_current(pod) || is_ready(pod) {
        return None;
    }
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(("False", message)) = condition(pod, "PodScheduled") {
        return Some(Trouble {
            what: format!("pod {name} has no node: {message}"),
            todo:
                "make room (add a node, or lower the requests of other pods), or change the pod's requirements for \
                 its node"
                    .to_owned(),
        });
    }
    let status = pod.status.as_ref()?;
    let all =
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    all.clone()
        .find_map(|container| stuck(container, name, namespace))
        .or_else(|| all.clone().find_map(|container| starting(container, name)))
        .or_else(|| unready(pod, name, namespace))
}

/// Returns the trouble of a container that waiting will not help.
fn stuck(container: &ContainerStatus, pod: &str, namespace: &str) -> Option<Trouble> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let (image, name) = (&container.image, &container.name);
    let message = waiting.message.as_deref().unwrap_or_default();
    let (what, todo) = match waiting.reason.as_deref()? {
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" => (
            format!("the image {image} cannot be pulled: {message}"),
            "check the image's name, that the node can reach the registry, and that the pod has a pull secret for \
             it"
                .to_owned(),
        ),
        "CrashLoopBackOff" => (
            format!("{} repeatedly", ended(container.last_state.as_ref())),
            format!("kubectl --namespace {namespace} logs {pod} --container {name} --previous"),
        ),
        reason @ ("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError") => (
            format!("cannot be created ({reason}): {message}"),
            "check that the ConfigMaps, Secrets and volumes that it names exist".to_owned(),
        ),
        _ => return None,
    };
    Some(Trouble { what: format!("pod {pod}: container {name}: {what}"), todo })
}

fn ended(last: Option<&ContainerState>) -> String {
    match last.and_then(|state| state.terminated.as_ref()) {
        Some(end) if end.reason.as_deref() == Some("OOMKilled") => {
            "it needs more memory than its limit, and is killed (OOMKilled)".to_owned()
        }
        Some(end) => format!("it ends with exit code {}", end.exit_code),
        None => "it ends".to_owned(),
    }
}

/// Returns the state of a container that is starting, which is no fault yet.
fn starting(container: &ContainerStatus, pod: &str) -> Option<Trouble> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or("waiting");
    let name = &container.name;
    Some(Trouble {
        what: format!(
            "pod {pod}: container {name} is not running yet ({reason}: image, volumes, or containers before it)"
        ),
        todo: "wait; if this does not change, see the pod's Events: kubectl describe pod".to_owned(),
    })
}

fn unready(pod: &Pod, name: &str, namespace: &str) -> Option<Trouble> {
    let (_, message) = condition(pod, "Ready")?;
    let why = if message.is_empty() { String::new() } else { format!(" ({message})") };
    Some(Trouble {
        what: format!("pod {name} runs and is not ready{why}: its readiness probe has not succeeded"),
        todo: format!(
            "kubectl --namespace {namespace} describe pod {name}   # Events show the probe's result"
        ),
    })
}

/// Returns why a Deployment or ReplicaSet could not create pods, for example because of a quota or an
/// admission webhook.
pub(crate) fn of_target(object: &Value) -> Option<Trouble> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let failed = conditions
        .iter()
        .find(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True")?;
    let message = failed["message"].as_str().unwrap_or("no reason given");
    let todo = if message.contains("exceeded quota") {
        "raise the namespace's ResourceQuota, or lower what the pods request or max-scale"
    } else {
        "change what refuses them, or the pod template"
    };
    Some(Trouble { what: format!("no pod can be created: {message}"), todo: todo.to_owned() })
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "what json! makes reads better without a reference")]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: Value) -> Pod {
        let pod = json!({"metadata": {"name": "a-1", "namespace": "shop"}, "status": status});
        serde_json::from_value(pod).unwrap()
    }

    fn container(state: Value, last: Value) -> Value {
        json!({"containerStatuses": [{
            "name": "app", "image": "r/app:1", "imageID": "", "ready": false, "restartCount": 3,
            "state": state, "lastState": last,
        }]})
    }

    #[track_caller]
    fn assert_trouble(status: Value, what: &str, todo: &str) {
        let trouble = of_pod(&pod(status)).unwrap();
        assert!(trouble.what.contains(what), "{what:?} in {trouble:?}");
        assert!(trouble.todo.contains(todo), "{todo:?} in {trouble:?}");
    }

    #[test]
    fn each_reason_is_said_with_what_to_do() {
        let unscheduled = json!({"conditions": [
            {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}
        ]});
        assert_trouble(unscheduled, "no node: 0/1 nodes", "make room");
        let waiting = |reason: &str| json!({"waiting": {"reason": reason, "message": "because"}});
        assert_trouble(
            container(waiting("ImagePullBackOff"), json!({})),
            "r/app:1 cannot be pulled: because",
            "pull secret",
        );
        assert_trouble(container(waiting("CreateContainerConfigError"), json!({})), "because", "ConfigMaps");
        let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        assert_trouble(
            container(waiting("CrashLoopBackOff"), killed),
            "more memory than its limit",
            "--previous",
        );
        let ended = json!({"terminated": {"exitCode": 2, "reason": "Error"}});
        assert_trouble(
            container(waiting("CrashLoopBackOff"), ended),
            "exit code 2 repeatedly",
            "logs a-1 --container app",
        );
        assert_trouble(container(waiting("ContainerCreating"), json!({})), "not running yet", "wait");
        let unready = json!({"conditions": [
            {"type": "Ready", "status": "False", "message": "containers with unready status: [app]"}
        ]});
        assert_trouble(unready, "unready status: [app]", "describe pod a-1");
    }

    #[test]
    fn pods_that_serve_or_have_ended_have_none() {
        assert_eq!(of_pod(&pod(json!({"conditions": [{"type": "Ready", "status": "True"}]}))), None);
        assert_eq!(of_pod(&pod(json!({"phase": "Succeeded"}))), None);
    }

    #[test]
    fn a_quota_is_told_from_other_refusals() {
        let failed = |message: &str| json!({"status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": message}]}});
        let quota = of_target(&failed("pods \"a\" is forbidden: exceeded quota: q")).unwrap();
        assert!(
            quota.what.contains("exceeded quota: q") && quota.todo.contains("ResourceQuota"),
            "{quota:?}"
        );
        assert!(of_target(&failed("violates PodSecurity")).unwrap().todo.contains("pod template"));
        assert_eq!(of_target(&json!({"status": {}})), None);
    }
}
