//! Environment variables.

use k8s_openapi::api::core::v1::{ObjectFieldSelector, ResourceFieldSelector};
use serde_json::Value;

use super::{super::fault::Faults, container::Role, shape};
use crate::{
    api::{EnvFromSource, EnvVar, EnvVarSource},
    config::{Feature, Features, Flag},
};

/// What Ebb itself tells every container.
const RESERVED: [&str; 3] = ["K_SERVICE", "K_CONFIGURATION", "K_REVISION"];
/// What it tells the container that takes requests.
const PORT: &str = "PORT";

/// Returns what is wrong with the variables of a container.
pub(super) fn faults(variables: &[EnvVar], role: Role, features: &Features) -> Faults {
    let variable = |(index, variable): (usize, &EnvVar)| {
        let source = variable.value_from.as_ref().map(|source| source_faults(source, features));
        name(&variable.name, role)
            .and(source.unwrap_or_default().via_field("valueFrom"))
            .via_index("env", index)
    };
    variables.iter().enumerate().map(variable).collect()
}

fn name(name: &str, role: Role) -> Faults {
    if name.is_empty() {
        return Faults::missing("name");
    }
    if RESERVED.contains(&name) || (name == PORT && role == Role::Serving) {
        return Faults::generic(format!("{name:?} is a reserved environment variable"), "name");
    }
    Faults::default()
}

fn source_faults(source: &EnvVarSource, features: &Features) -> Faults {
    let is_allowed = features.of(Feature::FieldRef) != Flag::Disabled;
    let fields = [("fieldRef", &source.field_ref), ("resourceFieldRef", &source.resource_field_ref)];
    let is_set = |value: &Option<Value>| value.as_ref().is_some_and(|value| !value.is_null());
    let refused = fields.into_iter().filter(|(_, value)| !is_allowed && is_set(value));
    let mut faults: Faults = refused.map(|(name, _)| Faults::disallowed(name)).collect();
    faults.add(shape::faults_of::<ObjectFieldSelector>(source.field_ref.as_ref(), "fieldRef"));
    faults.add(shape::faults_of::<ResourceFieldSelector>(
        source.resource_field_ref.as_ref(),
        "resourceFieldRef",
    ));
    faults
}

/// Returns what is wrong with the objects whose values become variables.
pub(super) fn faults_of_sources(sources: &[EnvFromSource]) -> Faults {
    let paths = ["configMapRef", "secretRef"];
    let source = |(index, source): (usize, &EnvFromSource)| {
        let faults = match (&source.config_map_ref, &source.secret_ref) {
            (None, None) => Faults::one_of_neither(&paths),
            (Some(_), Some(_)) => Faults::one_of_both(&paths),
            (Some(_), None) | (None, Some(_)) => Faults::default(),
        };
        faults.via_index("envFrom", index)
    };
    sources.iter().enumerate().map(source).collect()
}
