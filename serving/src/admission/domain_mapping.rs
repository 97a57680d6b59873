//! What is wrong with a `DomainMapping`.

use super::{defaults::written::changes_domain_mapping, fault::Faults, metadata, names};
use crate::{
    api::{DomainMapping, Reference},
    config::Config,
};

/// Examines a `DomainMapping` that has its defaults; `old` is what it was.
pub fn faults(new: &DomainMapping, old: Option<&DomainMapping>, config: &Config) -> Faults {
    let mut of_metadata = name_faults(new, &config.domains.cluster);
    if let Some(old) = old {
        let is_changed = changes_domain_mapping(new, old);
        of_metadata.add(metadata::author_faults(&new.metadata, &old.metadata, is_changed));
    }
    let namespace = new.metadata.namespace.as_deref().unwrap_or_default();
    let reference = reference_faults(&new.spec.reference, namespace);
    of_metadata.via_field("metadata").and(reference.via_field("spec.ref"))
}

fn name_faults(mapping: &DomainMapping, cluster: &str) -> Faults {
    let mut faults = Faults::default();
    if mapping.metadata.generate_name.as_ref().is_some_and(|prefix| !prefix.is_empty()) {
        faults.add(Faults::disallowed("generateName"));
    }
    let name = mapping.metadata.name.as_deref().unwrap_or_default();
    if let Some(wrong) = names::domain("name", name) {
        faults.add(Faults::generic(format!("invalid name {name:?}: {wrong}"), "name"));
    }
    let absolute = name.strip_suffix('.').unwrap_or(name);
    if absolute.strip_suffix(cluster).is_some_and(|rest| rest.ends_with('.')) {
        let why = format!("must not be a subdomain of cluster local domain {cluster:?}");
        faults.add(Faults::generic(format!("invalid name {name:?}: {why}"), "name"));
    }
    faults
}

fn reference_faults(reference: &Reference, namespace: &str) -> Faults {
    let api_version = reference.api_version.as_deref().unwrap_or_default();
    let needed = [("name", reference.name.as_str()), ("kind", &reference.kind), ("apiVersion", api_version)];
    let missing =
        needed.into_iter().filter(|(_, value)| value.is_empty()).map(|(field, _)| Faults::missing(field));
    let mut faults: Faults = missing.collect();
    if reference.group.as_ref().is_some_and(|group| !group.is_empty()) {
        faults.add(Faults::disallowed("group"));
    }
    let other = reference.namespace.as_deref().unwrap_or_default();
    if other != namespace {
        let details = format!("parent namespace: {namespace:?} does not match ref: {other:?}");
        faults.add(Faults::generic("mismatched namespaces", "namespace").with_details(details));
    }
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::DomainMappingSpec;

    fn mapping(metadata: Value, reference: Value) -> DomainMapping {
        let reference = serde_json::from_value(reference).unwrap();
        let spec = DomainMappingSpec { reference, tls: None };
        DomainMapping { metadata: serde_json::from_value(metadata).unwrap(), spec, status: None }
    }

    fn told(new: &DomainMapping) -> String {
        faults(new, None, &Config::default()).text().unwrap_or_default()
    }

    #[test]
    fn its_name_is_a_domain_outside_the_cluster() {
        let reference = json!({"kind": "Service", "name": "a", "apiVersion": "v1", "namespace": "shop"});
        let under = "must not be a subdomain of cluster local domain \"cluster.local\": metadata.name";
        for (name, wanted) in [
            ("hello.example.org", String::new()),
            ("cluster.local", String::new()),
            ("hello.mycluster.local", String::new()),
            ("a.cluster.local", format!("invalid name \"a.cluster.local\": {under}")),
            (
                "localhost",
                "invalid name \"localhost\": name: Invalid value: \"localhost\": should be a domain with at least two \
                 segments separated by dots: metadata.name"
                    .to_owned(),
            ),
        ] {
            let named = mapping(json!({"name": name, "namespace": "shop"}), reference.clone());
            assert_eq!(told(&named), wanted);
        }
        let generated = mapping(json!({"name": "a.b", "namespace": "shop", "generateName": "a"}), reference);
        assert_eq!(told(&generated), "must not set the field(s): metadata.generateName");
    }

    #[test]
    fn it_refers_to_an_object_of_its_own_namespace() {
        for (reference, wanted) in [
            (json!({"kind": "", "name": "", "namespace": "shop"}), {
                "missing field(s): spec.ref.apiVersion, spec.ref.kind, spec.ref.name"
            }),
            (
                json!({"kind": "Service", "name": "a", "apiVersion": "v1", "namespace": "other", "group": "g"}),
                "mismatched namespaces: spec.ref.namespace\n\
                 parent namespace: \"shop\" does not match ref: \"other\"\n\
                 must not set the field(s): spec.ref.group",
            ),
        ] {
            assert_eq!(told(&mapping(json!({"name": "a.b", "namespace": "shop"}), reference)), wanted);
        }
    }

    #[test]
    fn its_authors_are_examined() {
        let reference = json!({"kind": "Service", "name": "a", "apiVersion": "v1", "namespace": "shop"});
        let of = |user: &str| {
            let annotations = json!({"serving.knative.dev/creator": user});
            mapping(
                json!({"name": "a.b", "namespace": "shop", "annotations": annotations}),
                reference.clone(),
            )
        };
        let told = faults(&of("bob"), Some(&of("alice")), &Config::default()).text().unwrap();
        assert_eq!(told, "annotation value is immutable: metadata.annotations.serving.knative.dev/creator");
    }
}
