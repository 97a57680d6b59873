//! Rights on the node, of containers and of the pod.

use k8s_openapi::api::core::v1::PodSecurityContext;
use serde_json::Value;

use super::{
    super::fault::{Faults, HERE},
    shape,
};
use crate::{
    api::SecurityContext,
    config::{Feature, Features, Flag, SecureDefaults},
};

/// The greatest number of a user or a group.
const MOST_ID: i64 = 0x7fff_ffff;
/// The capability that a container may gain with secure defaults.
const LOW_PORTS: &str = "NET_BIND_SERVICE";
/// What may be set for a pod, with the flag.
const OF_POD: [&str; 6] =
    ["runAsUser", "runAsGroup", "runAsNonRoot", "fsGroup", "supplementalGroups", "seccompProfile"];
/// What is an ID of those.
const IDS: [&str; 3] = ["runAsUser", "runAsGroup", "fsGroup"];

/// Returns what is wrong with the rights of a container.
pub(super) fn of_container(context: Option<&SecurityContext>, features: &Features) -> Faults {
    let Some(context) = context else { return Faults::default() };
    let ids = [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)];
    let mut faults: Faults = ids.into_iter().filter_map(|(name, id)| id_fault(id?, name)).collect();
    if context.privileged == Some(true) {
        faults.add(Faults::disallowed("privileged"));
    }
    let added = context.capabilities.as_ref().map(|capabilities| capabilities.add.as_slice());
    if !may_add(added.unwrap_or_default(), features) {
        faults.add(Faults::disallowed("capabilities.add"));
    }
    faults
}

fn may_add(capabilities: &[String], features: &Features) -> bool {
    let by_secure_defaults =
        features.secure_defaults != SecureDefaults::Disabled && capabilities == [LOW_PORTS];
    capabilities.is_empty() || features.is_enabled(Feature::AddCapabilities) || by_secure_defaults
}

/// Returns what is wrong with the rights of the pod.
pub(super) fn of_pod(context: Option<&Value>, features: &Features) -> Faults {
    let Some(context) = context.filter(|context| !context.is_null()) else { return Faults::default() };
    let Some(fields) = context.as_object() else {
        return shape::faults_of::<PodSecurityContext>(Some(context), HERE);
    };
    let set = fields.iter().filter(|(_, value)| !value.is_null());
    let refused = set.filter(|(name, value)| !may_set(name, value, features));
    let mut faults: Faults = refused.map(|(name, _)| Faults::disallowed(name)).collect();
    faults.extend(IDS.iter().filter_map(|name| id_fault(context.get(name)?.as_i64()?, name)));
    let groups = context.get("supplementalGroups").and_then(Value::as_array);
    for (index, group) in groups.into_iter().flatten().enumerate() {
        let fault = group.as_i64().and_then(|group| id_fault(group, &format!("supplementalGroups[{index}]")));
        faults.extend(fault);
    }
    let shape = shape::faults_of::<PodSecurityContext>(Some(context), HERE);
    faults.and(shape)
}

/// Returns whether a field may be set for the pod. With secure defaults alone, that is only an ordinary profile of
/// system calls.
fn may_set(name: &str, value: &Value, features: &Features) -> bool {
    if features.of(Feature::SecurityContext) != Flag::Disabled {
        return OF_POD.contains(&name);
    }
    let has_only_type = value.as_object().is_some_and(|profile| profile.len() == 1);
    features.secure_defaults != SecureDefaults::Disabled
        && name == "seccompProfile"
        && has_only_type
        && ["RuntimeDefault", "Unconfined"].contains(&shape::text(value, "type"))
}

fn id_fault(id: i64, name: &str) -> Option<Faults> {
    (!(0..=MOST_ID).contains(&id)).then(|| Faults::out_of_bounds(id, 0, MOST_ID, name))
}
