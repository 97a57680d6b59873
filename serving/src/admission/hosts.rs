//! Hosts and names that would be too long, or another object's, under the templates of the present settings.
//!
//! The reference admits such objects, and their Routes never become ready.

use std::collections::BTreeMap;

use ebb_core::{Host, NotAHost};
use kube::core::ObjectMeta;

use super::fault::Faults;
use crate::{
    api::{RevisionTemplate, TrafficTarget},
    config::{Config, Values},
    keys,
};

/// The longest label of DNS, which the name of a tag becomes.
const LONGEST_LABEL: usize = 63;
/// What the API server puts behind a prefix, of which it uses a part if both were longer than a label.
const RANDOM: &str = "xxxxx";

/// What an object says that decides about its hosts. Nothing else does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) metadata: &'a ObjectMeta,
    pub(super) targets: &'a [TrafficTarget],
    pub(super) template: Option<&'a RevisionTemplate>,
}

/// Examines the hosts that an object will have. What was so before may stay so: the templates may have changed.
pub(super) fn faults(new: Named<'_>, old: Option<Named<'_>>, config: &Config) -> Faults {
    let before = old.map(|old| found(old, config)).unwrap_or_default();
    let new = found(new, config).into_iter().filter(|(message, _)| !before.contains_key(message));
    new.map(|(message, path)| Faults::generic(message, &path)).collect()
}

/// Returns what is wrong, with the path.
fn found(named: Named<'_>, config: &Config) -> BTreeMap<String, String> {
    let name = name(named.metadata);
    let mut found = BTreeMap::new();
    if let Some(message) = host_fault(&name, named.metadata, config) {
        found.insert(message, "metadata.name".to_owned());
    }
    let taken = revision_names(&named);
    for (index, target) in named.targets.iter().enumerate() {
        let Some(tag) = target.tag.as_deref().filter(|tag| !tag.is_empty()) else { continue };
        let Ok(tagged) = config.network.tag.render(&values(&name, tag, "", named.metadata, &BTreeMap::new()))
        else {
            continue;
        };
        let message = if tagged.len() > LONGEST_LABEL {
            Some(format!("the name {tagged:?} of tag {tag:?} has more than {LONGEST_LABEL} characters"))
        } else if taken.contains(&tagged.as_str()) {
            Some(format!("the name {tagged:?} of tag {tag:?} is the name of a revision"))
        } else {
            host_fault(&tagged, named.metadata, config)
        };
        if let Some(message) = message {
            found.insert(message, format!("spec.traffic[{index}].tag"));
        }
    }
    found
}

fn name(metadata: &ObjectMeta) -> String {
    let name = metadata.name.as_deref().filter(|name| !name.is_empty());
    name.map_or_else(
        || {
            let prefix = metadata.generate_name.as_deref().unwrap_or_default();
            let room = prefix.floor_char_boundary(LONGEST_LABEL - RANDOM.len());
            format!("{}{RANDOM}", &prefix[..room])
        },
        str::to_owned,
    )
}

/// Returns the revisions that the object names.
fn revision_names<'a>(named: &Named<'a>) -> Vec<&'a str> {
    let next = named.template.and_then(|template| template.metadata.as_ref()?.name.as_deref());
    next.into_iter()
        .chain(named.targets.iter().filter_map(|target| target.revision_name.as_deref()))
        .collect()
}

/// Returns what is wrong with the public host of a name, if it has one.
fn host_fault(name: &str, metadata: &ObjectMeta, config: &Config) -> Option<String> {
    let none = BTreeMap::new();
    let labels = metadata.labels.as_ref().unwrap_or(&none);
    let domain = config.domains.of(labels);
    let is_local = labels.get(keys::VISIBILITY).is_some_and(|visibility| visibility == "cluster-local");
    if is_local || domain == format!("svc.{}", config.domains.cluster) {
        return None;
    }
    let host = config.network.domain.render(&values(name, "", &domain, metadata, &none)).ok()?;
    let is_long = matches!(host.parse::<Host>(), Err(NotAHost::TooLong));
    is_long.then(|| format!("the host {host:?} is longer than DNS allows"))
}

fn values<'a>(
    name: &'a str,
    tag: &'a str,
    domain: &'a str,
    metadata: &'a ObjectMeta,
    none: &'a BTreeMap<String, String>,
) -> Values<'a> {
    Values {
        name,
        namespace: metadata.namespace.as_deref().unwrap_or_default(),
        domain,
        tag,
        labels: metadata.labels.as_ref().unwrap_or(none),
        annotations: metadata.annotations.as_ref().unwrap_or(none),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn public(domain: &str) -> Config {
        let mut config = Config::default();
        config.domains.domains.insert(domain.to_owned(), BTreeMap::new());
        config
    }

    struct Object {
        metadata: ObjectMeta,
        targets: Vec<TrafficTarget>,
        template: RevisionTemplate,
    }

    impl Object {
        fn new(metadata: Value, targets: Value, revision: &str) -> Self {
            Self {
                metadata: serde_json::from_value(metadata).unwrap(),
                targets: serde_json::from_value(targets).unwrap(),
                template: serde_json::from_value(json!({"metadata": {"name": revision}})).unwrap(),
            }
        }

        fn named(&self) -> Named<'_> {
            Named { metadata: &self.metadata, targets: &self.targets, template: Some(&self.template) }
        }

        fn told(&self, old: Option<&Self>, config: &Config) -> String {
            faults(self.named(), old.map(Self::named), config).text().unwrap_or_default()
        }
    }

    #[test]
    fn a_tag_whose_name_is_too_long_is_found_before_its_route_hangs() {
        let long = "a".repeat(60);
        let tagged = Object::new(json!({"name": long}), json!([{"tag": "ok"}, {"tag": "blue"}]), "");
        let fault = format!(
            "the name \"blue-{long}\" of tag \"blue\" has more than 63 characters: spec.traffic[1].tag"
        );
        assert_eq!(tagged.told(None, &Config::default()), fault);
        let generated = Object::new(json!({"generateName": long}), json!([{"tag": "blue"}]), "");
        assert!(generated.told(None, &Config::default()).contains("blue-aaaa"));
    }

    #[test]
    fn a_tag_is_not_named_like_a_revision() {
        let metadata = json!({"name": "svc"});
        let next = Object::new(metadata.clone(), json!([{"tag": "svc-a"}]), "svc-a-svc");
        let fault = "the name \"svc-a-svc\" of tag \"svc-a\" is the name of a revision: spec.traffic[0].tag";
        assert_eq!(next.told(None, &Config::default()), fault);
        let other =
            Object::new(metadata.clone(), json!([{"tag": "svc-a"}, {"revisionName": "svc-a-svc"}]), "");
        assert_eq!(other.told(None, &Config::default()), fault);
        let free = Object::new(metadata, json!([{"tag": "a", "revisionName": "svc-a"}]), "svc-b");
        assert_eq!(free.told(None, &Config::default()), "");
    }

    #[test]
    fn a_public_host_fits_into_dns() {
        let config = public(&format!("{}.com", ["b".repeat(60), "c".repeat(60), "d".repeat(60)].join(".")));
        let metadata = |label: &str| {
            json!({
                "name": "a".repeat(40), "namespace": "n".repeat(40), "labels": {keys::VISIBILITY: label},
            })
        };
        let long = Object::new(metadata(""), json!([]), "");
        let told = long.told(None, &config);
        assert!(
            told.starts_with("the host \"aaa") && told.ends_with("is longer than DNS allows: metadata.name"),
            "{told}"
        );
        let local = Object::new(metadata("cluster-local"), json!([]), "");
        assert_eq!(local.told(None, &config), "");
        assert_eq!(long.told(None, &Config::default()), "");
        assert_eq!(long.told(None, &public("example.com")), "");
    }

    #[test]
    fn what_was_so_may_stay_so() {
        let config = Config::default();
        let metadata = json!({"name": "a".repeat(60)});
        let old = Object::new(metadata.clone(), json!([{"tag": "blue"}]), "");
        let moved = Object::new(metadata.clone(), json!([{"tag": "a"}, {"tag": "blue"}]), "");
        assert_eq!(moved.told(Some(&old), &config), "");
        let more = Object::new(metadata, json!([{"tag": "blue"}, {"tag": "green"}]), "");
        assert!(more.told(Some(&old), &config).ends_with("has more than 63 characters: spec.traffic[1].tag"));
    }
}
