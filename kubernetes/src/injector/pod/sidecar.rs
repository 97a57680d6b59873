//! Builds the sidecar container.

use std::{net::SocketAddr, num::NonZeroU32, str::FromStr};

use ebb_annotations::ServingSpec;
use ebb_core::{LateResponse, headers};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, HTTPHeader, Lifecycle,
        LifecycleHandler, ObjectFieldSelector, ResourceRequirements, SeccompProfile, SecurityContext,
        VolumeMount,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{
    ports::Ports,
    readiness::Readiness,
    stopping::{Stopping, whole_seconds},
};
use crate::facts::SIDECAR;

/// The UID of `nobody` in images without users.
const USER: i64 = 65532;
/// The path that answers when the drain has progressed so far that the app may stop.
const WAIT_FOR_DRAIN: &str = "/wait-for-drain";
/// The path that begins the drain.
const DRAIN: &str = "/drain";

/// The settings of all sidecars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The image.
    pub image: String,
    /// When the image is pulled; `None` leaves it to the cluster.
    pub pull_policy: Option<PullPolicy>,
    /// Where pods announce themselves; `None` disables that.
    pub announce: Option<SocketAddr>,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// Before each start of a container.
    Always,
    /// If the node does not have it.
    IfNotPresent,
    /// Never.
    Never,
}

impl PullPolicy {
    /// Returns the name of the policy in Kubernetes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

impl FromStr for PullPolicy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::Always, Self::IfNotPresent, Self::Never];
        all.into_iter().find(|policy| policy.as_str() == text).ok_or(())
    }
}

/// The plan for the sidecar of one pod.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) serving: &'a ServingSpec,
    /// The Services, in the pod's namespace, whose requests it takes.
    pub(super) services: Vec<&'a str>,
    pub(super) native: bool,
    pub(super) user_port: u16,
    pub(super) ports: Ports,
    pub(super) readiness: Readiness,
    pub(super) stopping: Stopping,
    pub(super) resources: ResourceRequirements,
    pub(super) token: Option<VolumeMount>,
}

/// Builds the sidecar of one pod.
pub(super) fn container(plan: Plan<'_>, settings: &Settings, nonce: &str) -> Container {
    let ports =
        [("ebb-http", plan.ports.http), ("ebb-stats", plan.ports.stats), ("ebb-admin", plan.ports.admin)];
    let port = |(name, port): (&str, u16)| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port.into(),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    Container {
        name: SIDECAR.to_owned(),
        image: Some(settings.image.clone()),
        image_pull_policy: settings.pull_policy.map(|policy| policy.as_str().to_owned()),
        restart_policy: plan.native.then(|| "Always".to_owned()),
        // A native sidecar is terminated after the app, but must learn earlier that the pod terminates. All hooks are
        // called at once, so it learns it together with the app.
        lifecycle: plan
            .native
            .then(|| Lifecycle { pre_stop: Some(drain(plan.ports.admin, nonce)), ..Lifecycle::default() }),
        env: Some(environment(&plan, settings, nonce)),
        ports: Some(ports.map(port).to_vec()),
        resources: Some(plan.resources),
        volume_mounts: plan.token.map(|mount| vec![mount]),
        security_context: Some(restricted()),
        // If it refuses to start, `kubectl describe` shows why.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

/// Returns the hook that keeps the app running until the sidecar has drained.
pub(super) fn wait_for_drain(admin: u16) -> LifecycleHandler {
    get(WAIT_FOR_DRAIN, admin, None)
}

/// Returns the hook that begins the drain. Others than the kubelet can reach the port, but do not know the nonce.
fn drain(admin: u16, nonce: &str) -> LifecycleHandler {
    let header = HTTPHeader { name: headers::POD_NONCE.to_string(), value: nonce.to_owned() };
    get(DRAIN, admin, Some(vec![header]))
}

fn get(path: &str, port: u16, headers: Option<Vec<HTTPHeader>>) -> LifecycleHandler {
    let get = HTTPGetAction {
        path: Some(path.to_owned()),
        port: IntOrString::Int(port.into()),
        http_headers: headers,
        ..HTTPGetAction::default()
    };
    LifecycleHandler { http_get: Some(get), ..LifecycleHandler::default() }
}

/// Returns what the *restricted* Pod Security Standard requires, and a read-only root file system.
fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..SecurityContext::default()
    }
}

/// Returns the sidecar's environment; `docs/programs.md` lists it with units.
fn environment(plan: &Plan<'_>, settings: &Settings, nonce: &str) -> Vec<EnvVar> {
    let serving = plan.serving;
    let seconds = |duration| whole_seconds(duration).to_string();
    let concurrency = serving.container_concurrency.map_or(0, NonZeroU32::get);
    let said = [
        ("CONTAINER_CONCURRENCY", Some(concurrency.to_string())),
        ("USER_PORT", Some(plan.user_port.to_string())),
        ("QUEUE_SERVING_PORT", Some(plan.ports.http.to_string())),
        ("EBB_STATS_PORT", Some(plan.ports.stats.to_string())),
        ("EBB_ADMIN_PORT", Some(plan.ports.admin.to_string())),
        ("REVISION_TIMEOUT_SECONDS", Some(seconds(serving.request_timeout))),
        ("REVISION_RESPONSE_START_TIMEOUT_SECONDS", serving.response_start_timeout.map(seconds)),
        ("EBB_APP_PROTOCOL", serving.app_protocol.map(|protocol| protocol.word().to_owned())),
        ("REVISION_IDLE_TIMEOUT_SECONDS", serving.idle_timeout.map(seconds)),
        (
            "EBB_LATE_RESPONSE",
            (serving.late_response == LateResponse::End).then(|| serving.late_response.word().to_owned()),
        ),
        ("EBB_MAX_CONNECTION_AGE_SECONDS", serving.max_connection_age.map(seconds)),
        ("EBB_TUNNEL_IDLE_TIMEOUT_SECONDS", serving.tunnel_idle_timeout.map(seconds)),
        ("EBB_DRAIN_QUIET_SECONDS", Some(plan.stopping.quiet.to_string())),
        ("EBB_DRAIN_LIMIT_SECONDS", Some(plan.stopping.limit.to_string())),
        ("SERVING_READINESS_PROBE", Some(verbatim(&plan.readiness.probe.encode()))),
        ("EBB_READY_BY", plan.readiness.by_kubelet.then(|| "kubelet".to_owned())),
        ("EBB_POD_NONCE", Some(nonce.to_owned())),
        ("EBB_SERVICES", Some(plan.services.join(","))),
        ("EBB_ANNOUNCE", settings.announce.map(|address| address.to_string())),
    ];
    let seen = [
        ("SERVING_NAMESPACE", "metadata.namespace"),
        ("SERVING_POD", "metadata.name"),
        ("SERVING_POD_IP", "status.podIP"),
    ];
    let said = said.into_iter().filter_map(|(name, value)| {
        Some(EnvVar { name: name.to_owned(), value: Some(value?), value_from: None })
    });
    said.chain(seen.map(field)).collect()
}

fn field((name, path): (&str, &str)) -> EnvVar {
    let selector = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: path.to_owned() };
    let source = EnvVarSource { field_ref: Some(selector), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}

/// Escapes `text` for the kubelet, which expands `$(NAME)` and replaces `$$` with `$`.
fn verbatim(text: &str) -> String {
    text.replace('$', "$$")
}
