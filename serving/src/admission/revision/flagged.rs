//! Fields of the pod that need a flag.

use serde_json::Value;

use super::{super::fault::Faults, shape};
use crate::{
    api::RevisionSpec,
    config::{Feature, Features, Flag, SecureDefaults},
};

/// Returns a fault for each field that is set without its flag, and for each value that cannot go into a pod.
pub(super) fn faults(spec: &RevisionSpec, features: &Features) -> Faults {
    let is_true = |flag: Option<bool>| flag == Some(true);
    let is_text = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let is_given = |value: &Option<Value>| value.as_ref().is_some_and(|value| !value.is_null());
    let fields = [
        ("affinity", Feature::Affinity, is_given(&spec.affinity)),
        ("dnsConfig", Feature::DnsConfig, is_given(&spec.dns_config)),
        ("dnsPolicy", Feature::DnsPolicy, is_text(&spec.dns_policy)),
        ("hostAliases", Feature::HostAliases, !spec.host_aliases.is_empty()),
        ("hostIPC", Feature::HostIpc, is_true(spec.host_ipc)),
        ("hostNetwork", Feature::HostNetwork, is_true(spec.host_network)),
        ("hostPID", Feature::HostPid, is_true(spec.host_pid)),
        ("initContainers", Feature::InitContainers, !spec.init_containers.is_empty()),
        ("nodeSelector", Feature::NodeSelector, !spec.node_selector.is_empty()),
        ("priorityClassName", Feature::PriorityClassName, is_text(&spec.priority_class_name)),
        ("runtimeClassName", Feature::RuntimeClassName, spec.runtime_class_name.is_some()),
        ("schedulerName", Feature::SchedulerName, is_text(&spec.scheduler_name)),
        ("securityContext", Feature::SecurityContext, is_given(&spec.security_context)),
        ("shareProcessNamespace", Feature::ShareProcessNamespace, spec.share_process_namespace.is_some()),
        ("tolerations", Feature::Tolerations, !spec.tolerations.is_empty()),
        ("topologySpreadConstraints", Feature::TopologySpread, !spec.topology_spread_constraints.is_empty()),
    ];
    let refused = |&(_, feature, is_set): &(&str, Feature, bool)| is_set && !allows(features, feature);
    let without_flag = fields.iter().filter(|field| refused(field));
    without_flag.map(|(name, ..)| Faults::disallowed(name)).collect::<Faults>().and(shapes(spec))
}

/// A part of the pod's security context may be set with secure defaults, too.
fn allows(features: &Features, feature: Feature) -> bool {
    let by_secure_defaults =
        feature == Feature::SecurityContext && features.secure_defaults != SecureDefaults::Disabled;
    features.of(feature) != Flag::Disabled || by_secure_defaults
}

/// Returns the faults of values which the schema leaves open, and which go into the pod as they are.
fn shapes(spec: &RevisionSpec) -> Faults {
    use k8s_openapi::api::core::v1::{
        Affinity, HostAlias, PodDNSConfig, Toleration, TopologySpreadConstraint,
    };
    [
        shape::faults_of::<Affinity>(spec.affinity.as_ref(), "affinity"),
        shape::faults_of::<PodDNSConfig>(spec.dns_config.as_ref(), "dnsConfig"),
        shape::faults_of_each::<HostAlias>(&spec.host_aliases, "hostAliases"),
        shape::faults_of_each::<Toleration>(&spec.tolerations, "tolerations"),
        shape::faults_of_each::<TopologySpreadConstraint>(
            &spec.topology_spread_constraints,
            "topologySpreadConstraints",
        ),
    ]
    .into_iter()
    .collect()
}
