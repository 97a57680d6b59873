//! Objects that belong to another object: Kubernetes deletes them with it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, core::ObjectMeta};

use crate::{
    api::{Condition, Observed},
    conditions::READY,
    seen,
};

/// Returns the reference by which an object says that `owner` controls it. While the object exists, a deletion of
/// `owner` in the foreground waits.
pub fn owner_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Returns the metadata of a new object that `owner` controls, in the namespace of `owner`.
pub fn metadata<K: Resource<DynamicType = ()>>(
    owner: &K,
    name: &str,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: owner.meta().namespace.clone(),
        owner_references: Some(vec![owner_reference(owner)]),
        labels: Some(labels),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    }
}

/// Returns whether `owner` controls the object with this metadata.
pub fn is_controlled_by<K: Resource<DynamicType = ()>>(metadata: &ObjectMeta, owner: &K) -> bool {
    owner.meta().uid.is_some() && seen::owner(metadata) == owner.meta().uid
}

/// Returns whether nobody controls the object with this metadata although its label says that it is one of `owner`: the
/// reference got lost, as in a restore from a backup, and [`adopted`] gives it back.
pub fn is_orphan_of<K: Resource<DynamicType = ()>>(metadata: &ObjectMeta, owner: &K, label: &str) -> bool {
    let name = owner.meta().name.as_ref();
    let labels = metadata.labels.as_ref();
    seen::owner(metadata).is_none() && name.is_some() && labels.and_then(|all| all.get(label)) == name
}

/// Returns the owner references of the object with this metadata, with `owner` as its controller.
pub fn adopted<K: Resource<DynamicType = ()>>(metadata: &ObjectMeta, owner: &K) -> Vec<OwnerReference> {
    let reference = owner_reference(owner);
    let others = metadata.owner_references.iter().flatten().filter(|one| one.uid != reference.uid).cloned();
    others.chain([reference.clone()]).collect()
}

/// Returns what `Ready` says of an object's present spec; `None` while its status is of an older one, or has no `Ready`.
pub fn ready<'a>(metadata: &ObjectMeta, observed: &'a Observed) -> Option<&'a Condition> {
    let is_present = observed.observed_generation == metadata.generation;
    observed.conditions.iter().find(|one| is_present && one.type_ == READY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Configuration, ConfigurationSpec};

    fn configuration(uid: Option<&str>) -> Configuration {
        let mut configuration = Configuration::new("hello", ConfigurationSpec::default());
        configuration.metadata.namespace = Some("apps".to_owned());
        configuration.metadata.uid = uid.map(str::to_owned);
        configuration
    }

    #[test]
    fn a_child_names_its_controller_and_lives_beside_it() {
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let child = metadata(&configuration(Some("uid-1")), "hello-00001", labels.clone(), BTreeMap::new());
        assert_eq!((child.name.as_deref(), child.namespace.as_deref()), (Some("hello-00001"), Some("apps")));
        assert_eq!(child.labels, Some(labels));
        let wanted = OwnerReference {
            api_version: "serving.knative.dev/v1".to_owned(),
            kind: "Configuration".to_owned(),
            name: "hello".to_owned(),
            uid: "uid-1".to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        };
        assert_eq!(child.owner_references, Some(vec![wanted]));
    }

    #[test]
    fn only_the_uid_tells_who_controls_an_object() {
        let child = metadata(&configuration(Some("uid-1")), "x", BTreeMap::new(), BTreeMap::new());
        assert!(is_controlled_by(&child, &configuration(Some("uid-1"))));
        assert!(!is_controlled_by(&child, &configuration(Some("uid-2"))), "another of the same name");
        let mut mention = child.clone();
        for owner in mention.owner_references.iter_mut().flatten() {
            owner.controller = Some(false);
        }
        assert!(
            !is_controlled_by(&mention, &configuration(Some("uid-1"))),
            "an owner need not be the controller"
        );
        assert!(
            !is_controlled_by(&mention, &configuration(None)),
            "an object that is not stored controls nothing"
        );
    }

    #[test]
    fn an_orphan_is_known_by_its_label_and_keeps_its_other_owners_when_it_is_adopted() {
        let owner = configuration(Some("uid-2"));
        let labelled = |name: &str| BTreeMap::from([("of".to_owned(), name.to_owned())]);
        let mut orphan = metadata(&owner, "x", labelled("hello"), BTreeMap::new());
        assert!(!is_orphan_of(&orphan, &owner, "of"), "it has its controller");
        let other = OwnerReference { uid: "uid-9".to_owned(), ..OwnerReference::default() };
        orphan.owner_references = Some(vec![other.clone()]);
        assert!(is_orphan_of(&orphan, &owner, "of"));
        assert!(!is_orphan_of(&orphan, &owner, "other"));
        orphan.owner_references = Some(adopted(&orphan, &owner));
        assert_eq!(orphan.owner_references, Some(vec![other, owner_reference(&owner)]));
        let stranger = metadata(&configuration(Some("uid-1")), "x", labelled("hello"), BTreeMap::new());
        assert!(!is_orphan_of(&stranger, &owner, "of"), "another controls it");
    }

    #[test]
    fn an_old_status_says_nothing_of_the_present_spec() {
        let condition =
            Condition { type_: READY.to_owned(), status: "True".to_owned(), ..Condition::default() };
        let observed = Observed {
            observed_generation: Some(2),
            conditions: vec![condition.clone()],
            ..Observed::default()
        };
        let of = |generation| ObjectMeta { generation: Some(generation), ..ObjectMeta::default() };
        assert_eq!(ready(&of(2), &observed), Some(&condition));
        assert_eq!(ready(&of(3), &observed), None);
        assert_eq!(ready(&of(2), &Observed { conditions: vec![], ..observed }), None);
    }
}
