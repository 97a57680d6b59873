use std::net::IpAddr;

use ebb_annotations::ScaleTarget;
use ebb_core::Tick;
use k8s_openapi::{
    api::core::v1::{ContainerPort, ContainerState, PodCondition, PodIP},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use serde::Deserialize;

use super::Seen;
use crate::claim::Labels;

/// The name of the sidecar's container.
pub(crate) const SIDECAR: &str = "queue-proxy";

/// The names of the sidecar's ports.
const SERVING: &str = "ebb-http";
const STATS: &str = "ebb-stats";
/// The variable with the pod's secret.
const NONCE: &str = "EBB_POD_NONCE";
/// The annotation by which Kubernetes' controllers choose the pods to remove first.
pub(crate) const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// The label by which a Deployment distinguishes the pods of its templates, each of which has a ReplicaSet.
const TEMPLATE_LABEL: &str = "pod-template-hash";

/// The variable with the app's port.
const APP_PORT: &str = "USER_PORT";
/// The variable that tells who knows when the app is ready, and its value if only the kubelet does.
const READY_BY: (&str, &str) = ("EBB_READY_BY", "kubelet");

/// Reasons of a waiting container that waiting does not resolve.
const STUCK: [&str; 7] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
];

/// What is read of a pod.
pub(crate) type PodObject = Seen<PodSpec, PodStatus>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PodSpec {
    node_name: Option<String>,
    containers: Vec<Container>,
    init_containers: Option<Vec<Container>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Container {
    name: String,
    ports: Option<Vec<ContainerPort>>,
    env: Option<Vec<Variable>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Variable {
    name: String,
    value: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PodStatus {
    phase: Option<String>,
    conditions: Option<Vec<PodCondition>>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIP>>,
    start_time: Option<Time>,
    container_statuses: Option<Vec<ContainerStatus>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ContainerStatus {
    name: String,
    restart_count: i32,
    state: Option<ContainerState>,
    last_state: Option<ContainerState>,
}

/// A pod that runs or is about to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodFacts {
    pub(crate) labels: Labels,
    /// Kind and name of the object that replaces it when it is deleted.
    pub(crate) controller: Option<(String, String)>,
    /// Its addresses, primary first; empty until it has one.
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) node: Option<String>,
    /// Whether it is ready by its condition.
    pub(crate) ready: bool,
    /// Whether it was ready since its containers started, and is not any more: its readiness probe fails.
    pub(crate) has_lost_readiness: bool,
    /// Since when all its containers run and its readiness has not changed.
    pub(crate) runs_since: Option<Tick>,
    pub(crate) started_at: Tick,
    /// Its queue-proxy, if it has one.
    pub(crate) sidecar: Option<SidecarFacts>,
    /// The named ports of its containers.
    pub(crate) ports: Vec<(String, u16)>,
    /// What keeps it from starting.
    pub(crate) trouble: Option<String>,
    /// Whether it was marked earlier as one to remove first.
    pub(crate) marked: bool,
}

/// A queue-proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SidecarFacts {
    pub(crate) serving: u16,
    pub(crate) stats: u16,
    pub(crate) nonce: String,
    /// The app's port, to which it forwards; `None` if unknown.
    pub(crate) app: Option<u16>,
    /// Whether it cannot tell when the app is ready, because only the kubelet runs commands.
    pub(crate) ready_by_kubelet: bool,
}

impl PodFacts {
    /// Returns the facts about `pod`; `None` if it is terminating or has ended.
    pub(crate) fn of(pod: &PodObject) -> Option<Self> {
        let (spec, status) = (&pod.spec, &pod.status);
        let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        if ended || pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let conditions = status.conditions.as_deref().unwrap_or_default();
        let ready =
            conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let mut ips: Vec<IpAddr> =
            status.pod_ips.iter().flatten().filter_map(|ip| ip.ip.parse().ok()).collect();
        if ips.is_empty() {
            ips.extend(status.pod_ip.as_ref().and_then(|ip| ip.parse::<IpAddr>().ok()));
        }
        let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let since = status.start_time.as_ref().or(pod.metadata.creation_timestamp.as_ref());
        Some(Self {
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            controller: controller(&pod.metadata),
            ips,
            node: spec.node_name.clone(),
            ready,
            has_lost_readiness: has_lost_readiness(spec, status),
            runs_since: runs_since(spec, status),
            started_at: since.map_or(Tick::ZERO, tick),
            sidecar: all.clone().find(|container| container.name == SIDECAR).and_then(sidecar),
            ports: all.flat_map(named_ports).collect(),
            trouble: trouble(status),
            marked: pod
                .metadata
                .annotations
                .as_ref()
                .is_some_and(|annotations| annotations.contains_key(DELETION_COST)),
        })
    }

    /// Returns whether it is a pod of `target`. For a kind that is not Kubernetes' own, the owner is unknown: then
    /// every pod with a controller is, except a Job's.
    pub(crate) fn is_of(&self, target: &ScaleTarget) -> bool {
        let Some((kind, name)) = &self.controller else { return false };
        match (&*target.kind, &**kind) {
            ("Deployment", "ReplicaSet") => {
                let template = self.labels.get(TEMPLATE_LABEL);
                template.is_some_and(|template| *name == format!("{}-{template}", target.name))
            }
            ("Deployment" | "StatefulSet" | "ReplicaSet", kind) => {
                kind == target.kind && *name == target.name
            }
            (_, kind) => kind != "Job",
        }
    }

    /// Returns the pod's port of that name.
    pub(crate) fn port(&self, name: &str) -> Option<u16> {
        self.ports.iter().find(|(known, _)| known == name).map(|(_, number)| *number)
    }
}

fn controller(pod: &ObjectMeta) -> Option<(String, String)> {
    let owner = pod.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    Some((owner.kind.clone(), owner.name.clone()))
}

fn named_ports(container: &Container) -> impl Iterator<Item = (String, u16)> {
    container
        .ports
        .iter()
        .flatten()
        .filter_map(|port| Some((port.name.clone()?, u16::try_from(port.container_port).ok()?)))
}

fn sidecar(container: &Container) -> Option<SidecarFacts> {
    let port = |wanted: &str| named_ports(container).find(|(name, _)| name == wanted).map(|(_, port)| port);
    let value = |name: &str| container.env.iter().flatten().find(|var| var.name == name)?.value.clone();
    Some(SidecarFacts {
        serving: port(SERVING)?,
        stats: port(STATS)?,
        nonce: value(NONCE).unwrap_or_default(),
        app: value(APP_PORT).and_then(|port| port.parse().ok()),
        ready_by_kubelet: value(READY_BY.0).as_deref() == Some(READY_BY.1),
    })
}

pub(crate) fn tick(at: &Time) -> Tick {
    Tick::from_millis(u64::try_from(at.0.as_millisecond()).unwrap_or(0))
}

/// Returns since when all containers run and the pod's readiness is as it is now.
fn runs_since(spec: &PodSpec, status: &PodStatus) -> Option<Tick> {
    let changed = readiness(status).and_then(|ready| ready.last_transition_time.as_ref()).map(tick);
    Some(run_since(spec, status)?.max(changed.unwrap_or(Tick::ZERO)))
}

/// Returns whether readiness ended after all containers had started. One that starts anew has to become ready first,
/// which its sidecar tells sooner than the kubelet.
fn has_lost_readiness(spec: &PodSpec, status: &PodStatus) -> bool {
    let Some(ready) = readiness(status).filter(|ready| ready.status == "False") else { return false };
    let changed = ready.last_transition_time.as_ref().map(tick);
    run_since(spec, status).is_some_and(|since| changed.is_some_and(|changed| changed > since))
}

fn readiness(status: &PodStatus) -> Option<&PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready")
}

/// Returns since when all containers run; `None` if not all of them do.
fn run_since(spec: &PodSpec, status: &PodStatus) -> Option<Tick> {
    let statuses = status.container_statuses.as_deref().unwrap_or_default();
    if statuses.is_empty() || statuses.len() < spec.containers.len() {
        return None;
    }
    let mut running = statuses.iter().map(|container| {
        container
            .state
            .as_ref()?
            .running
            .as_ref()
            .map(|running| running.started_at.as_ref().map_or(Tick::ZERO, tick))
    });
    running.try_fold(Tick::ZERO, |latest, at| at.map(|at| latest.max(at)))
}

/// Returns what keeps a pod from starting, in words for users.
fn trouble(status: &PodStatus) -> Option<String> {
    let mut statuses = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    statuses.find_map(stuck).or_else(|| {
        let scheduled =
            status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled")?;
        let unschedulable =
            scheduled.status == "False" && scheduled.reason.as_deref() == Some("Unschedulable");
        unschedulable.then(|| {
            format!("no node has room for it: {}", scheduled.message.as_deref().unwrap_or("no reason given"))
        })
    })
}

fn stuck(status: &ContainerStatus) -> Option<String> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().filter(|reason| STUCK.contains(reason))?;
    let ended = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let more = match (ended, waiting.message.as_deref()) {
        (Some(ended), _) => {
            format!(", exit code {} after {} restarts", ended.exit_code, status.restart_count)
        }
        (None, Some(message)) => format!(": {message}"),
        (None, None) => String::new(),
    };
    Some(format!("container {}: {reason}{more}", status.name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: &Value, status: &Value) -> Option<PodFacts> {
        let object = json!({
            "metadata": {"name": "a", "labels": {"app": "hello"}, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": spec, "status": status,
        });
        PodFacts::of(&serde_json::from_value(object).unwrap())
    }

    fn with_sidecar() -> Value {
        json!({"nodeName": "n", "containers": [
            {"name": "app", "ports": [{"name": "web", "containerPort": 8080}]},
            {"name": "queue-proxy", "env": [{"name": "EBB_POD_NONCE", "value": "secret"}], "ports": [
                {"name": "ebb-http", "containerPort": 8012}, {"name": "ebb-stats", "containerPort": 9090},
            ]},
        ]})
    }

    #[test]
    fn a_running_pod_is_known_by_its_addresses_its_ports_and_its_sidecar() {
        let status = json!({
            "phase": "Running", "startTime": "2026-01-01T00:00:02Z", "podIP": "10.0.0.9",
            "podIPs": [{"ip": "10.0.0.9"}, {"ip": "fd00::9"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        });
        let facts = pod(&with_sidecar(), &status).unwrap();
        assert_eq!(facts.ips, ["10.0.0.9".parse::<IpAddr>().unwrap(), "fd00::9".parse().unwrap()]);
        assert_eq!((facts.ready, facts.node.as_deref(), facts.port("web")), (true, Some("n"), Some(8080)));
        assert_eq!(facts.started_at, Tick::from_secs(1_767_225_602));
        let sidecar = SidecarFacts {
            serving: 8012,
            stats: 9090,
            nonce: "secret".to_owned(),
            app: None,
            ready_by_kubelet: false,
        };
        assert_eq!(facts.sidecar, Some(sidecar));
        assert_eq!(facts.trouble, None);
    }

    #[test]
    fn a_pod_that_has_just_been_made_has_no_address_yet() {
        let facts = pod(&with_sidecar(), &json!({"phase": "Pending"})).unwrap();
        assert!(facts.ips.is_empty() && !facts.ready);
        assert_eq!(facts.started_at, Tick::from_secs(1_767_225_600));
    }

    #[test]
    fn a_pod_runs_since_its_last_container_does_or_since_its_readiness_changed_last() {
        let container = |state: Value| json!({"name": "a", "ready": false, "restartCount": 0, "image": "", "imageID": "", "state": state});
        let running = |second: u32| {
            container(json!({"running": {"startedAt": format!("2026-01-01T00:00:{second:02}Z")}}))
        };
        let waiting = container(json!({"waiting": {"reason": "ContainerCreating"}}));
        let ready = |is: &str, second: u32| json!([{"type": "Ready", "status": is, "lastTransitionTime": format!("2026-01-01T00:00:{second:02}Z")}]);
        for (conditions, containers, since, lost) in [
            (json!([]), vec![], None, false),
            (ready("False", 1), vec![running(3)], None, false),
            (ready("False", 9), vec![running(3), waiting], None, false),
            (ready("False", 1), vec![running(3), running(2)], Some(3), false),
            (json!([]), vec![running(2), running(3)], Some(3), false),
            (ready("True", 4), vec![running(3), running(2)], Some(4), false),
            (ready("False", 9), vec![running(3), running(2)], Some(9), true),
        ] {
            let status = json!({"conditions": conditions, "containerStatuses": containers});
            let since = since.map(|second| Tick::from_secs(1_767_225_600 + second));
            let facts = pod(&with_sidecar(), &status).unwrap();
            assert_eq!((facts.runs_since, facts.has_lost_readiness), (since, lost), "{status}");
        }
    }

    #[test]
    fn pods_that_end_are_none() {
        for phase in ["Succeeded", "Failed"] {
            assert_eq!(pod(&with_sidecar(), &json!({"phase": phase})), None);
        }
        let ending = json!({"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert_eq!(PodFacts::of(&serde_json::from_value(ending).unwrap()), None);
    }

    #[test]
    fn a_pod_without_ebbs_ports_has_no_sidecar() {
        let spec = json!({"containers": [{"name": "queue-proxy", "image": "somebody's"}]});
        assert_eq!(pod(&spec, &json!({})).unwrap().sidecar, None);
        assert_eq!(pod(&json!({"containers": []}), &json!({})).unwrap().sidecar, None);
    }

    #[test]
    fn a_pod_is_of_the_target_that_replaces_it() {
        let owner = |kind: &str, name: &str, controls: bool| json!([{"apiVersion": "", "kind": kind, "name": name, "uid": "", "controller": controls}]);
        let rows = [
            ("Deployment/web", owner("ReplicaSet", "web-5d9c", true), true),
            ("Deployment/web", owner("ReplicaSet", "web-api-5d9c", true), false),
            ("Deployment/web", owner("ReplicaSet", "web-77aa", true), false),
            ("Deployment/web", owner("ReplicaSet", "web-5d9c", false), false),
            ("Deployment/web", owner("Job", "web", true), false),
            ("Deployment/web", owner("StatefulSet", "web", true), false),
            ("Deployment/web", json!([]), false),
            ("StatefulSet/web", owner("StatefulSet", "web", true), true),
            ("StatefulSet/web", owner("StatefulSet", "other", true), false),
            ("StatefulSet/web", owner("Job", "web", true), false),
            ("ReplicaSet/web", owner("ReplicaSet", "web", true), true),
            ("ReplicaSet/web", owner("ReplicaSet", "web-5d9c", true), false),
            ("Rollout/web", owner("ReplicaSet", "web-5d9c", true), true),
            ("Rollout/web", owner("Rollout", "web", true), true),
            ("Rollout/web", owner("Job", "web", true), false),
            ("Rollout/web", json!([]), false),
        ];
        for (target, owners, is_of) in rows {
            let object = json!({"metadata": {
                "name": "a", "labels": {"pod-template-hash": "5d9c"}, "ownerReferences": owners,
            }});
            let pod = PodFacts::of(&serde_json::from_value(object).unwrap()).unwrap();
            assert_eq!(pod.is_of(&target.parse().unwrap()), is_of, "{target}: {owners}");
        }
    }

    #[test]
    fn what_keeps_a_pod_from_starting_is_told_in_words() {
        let waiting = |reason: &str, message: &str| {
            json!({"containerStatuses": [{
                "name": "app", "ready": false, "restartCount": 3, "image": "", "imageID": "",
                "state": {"waiting": {"reason": reason, "message": message}},
            }]})
        };
        let told = |status: Value| pod(&with_sidecar(), &status).unwrap().trouble;
        assert_eq!(told(waiting("ContainerCreating", "")), None);
        assert_eq!(
            told(waiting("ImagePullBackOff", "no such image")).unwrap(),
            "container app: ImagePullBackOff: no such image"
        );
        let mut crashing = waiting("CrashLoopBackOff", "back-off");
        crashing["containerStatuses"][0]["lastState"] = json!({"terminated": {"exitCode": 7}});
        assert_eq!(told(crashing).unwrap(), "container app: CrashLoopBackOff, exit code 7 after 3 restarts");
        let unschedulable = json!({"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"},
        ]});
        assert_eq!(told(unschedulable).unwrap(), "no node has room for it: 0/1 nodes");
    }
}
