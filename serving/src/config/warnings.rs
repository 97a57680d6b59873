//! Says which keys of a map have no effect.

use std::collections::BTreeMap;

use ebb_annotations::closest;

use super::{EXAMPLE, Map, setting::Setting};

/// The most warnings of one map.
const MOST: usize = 16;
/// What many keys of `config-features` begin with: it says nothing about what is meant.
const PREFIX: &str = "kubernetes.podspec-";

/// Returns a warning for each key that has no effect.
pub(super) fn warnings(map: Map, data: &BTreeMap<String, String>) -> Vec<String> {
    let Some(settings) = map.settings() else { return Vec::new() };
    let name = map.name();
    let mut silent = data.iter().filter(|(key, _)| *key != EXAMPLE).filter_map(|(key, value)| {
        let why = why_silent(map, &settings, data, (key, value))?;
        Some(format!("{name}: {key}: {why}"))
    });
    let mut warnings: Vec<String> = silent.by_ref().take(MOST).collect();
    if silent.next().is_some() {
        warnings.push(format!("{name}: more keys have no effect"));
    }
    warnings
}

/// Returns why a key has no effect, if it has none.
fn why_silent(
    map: Map,
    settings: &[Setting],
    data: &BTreeMap<String, String>,
    (key, value): (&str, &str),
) -> Option<String> {
    let Some(setting) = settings.iter().find(|setting| setting.spellings().any(|name| name == key)) else {
        let names = settings.iter().map(|setting| (plain(setting.name), setting.name));
        return Some(match closest(plain(key), names) {
            Some(meant) => format!("unknown, has no effect; did you mean {meant}?"),
            None => "unknown, has no effect".to_owned(),
        });
    };
    let first = setting.spellings().find(|name| data.contains_key(*name));
    if let Some(first) = first.filter(|first| *first != key) {
        let is_same = data.get(first).is_some_and(|other| other.trim() == value.trim());
        return (!is_same).then(|| format!("has no effect beside {first}"));
    }
    let usual = setting.idle.filter(|usual| !usual.eq_ignore_ascii_case(value.trim()))?;
    Some(match (map, usual) {
        (Map::Autoscaler, _) => format!("has no effect here; it is a key of {}", Map::Deployment.name()),
        (_, "") => "has no effect with Ebb".to_owned(),
        (_, usual) => format!("has no effect with Ebb, which does as with {usual}"),
    })
}

fn plain(key: &str) -> &str {
    key.strip_prefix(PREFIX).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(map: Map, pairs: &[(&str, &str)]) -> Vec<String> {
        let data = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        warnings(map, &data)
    }

    #[test]
    fn an_unknown_key_is_warned_of_with_what_was_probably_meant() {
        for (map, key, warning) in [
            (Map::Defaults, "revision-timeout-second", Some("revision-timeout-seconds")),
            (Map::Defaults, "container-conccurency", Some("container-concurrency")),
            (Map::Deployment, "progres-deadline", Some("progress-deadline")),
            (Map::Features, "kubernetes.podspec-affinty", Some("kubernetes.podspec-affinity")),
            (
                Map::Features,
                "kubernetes.podspec-volumes-hostpth",
                Some("kubernetes.podspec-volumes-hostpath"),
            ),
            (Map::Features, "kubernetes.podspec-dryrun", None),
            (Map::Features, "multicontainer", Some("multi-container")),
            (Map::Gc, "max-non-active-revision", Some("max-non-active-revisions")),
            (Map::Gc, "zebra", None),
            (Map::Network, "domain_template", Some("domain-template")),
            (Map::Autoscaler, "stable-windw", Some("stable-window")),
        ] {
            let hint = warning.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            let wanted = format!("{}: {key}: unknown, has no effect{hint}", map.name());
            assert_eq!(warned(map, &[(key, "")]), [wanted]);
        }
    }

    #[test]
    fn a_key_that_is_accepted_but_not_honoured_is_warned_of() {
        for (map, key, value, warning) in [
            (Map::Deployment, "queue-sidecar-image", "example.com/queue", "has no effect with Ebb"),
            (Map::Deployment, "queueSidecarCPURequest", "1", "has no effect with Ebb"),
            (Map::Network, "ingress.class", "istio", "has no effect with Ebb"),
            (
                Map::Network,
                "system-internal-tls",
                "Enabled",
                "has no effect with Ebb, which does as with Disabled",
            ),
            (
                Map::Features,
                "queueproxy.mount-podinfo",
                "Allowed",
                "has no effect with Ebb, which does as with Disabled",
            ),
            (
                Map::Autoscaler,
                "progress-deadline",
                "60s",
                "has no effect here; it is a key of config-deployment",
            ),
        ] {
            assert_eq!(warned(map, &[(key, value)]), [format!("{}: {key}: {warning}", map.name())]);
        }
    }

    #[test]
    fn an_older_spelling_is_warned_of_only_if_the_newer_one_says_something_else() {
        let both = |older| [("domain-template", "a.b"), ("domainTemplate", older)];
        assert_eq!(warned(Map::Network, &both("a.b\n")), [""; 0]);
        let warning = "config-network: domainTemplate: has no effect beside domain-template";
        assert_eq!(warned(Map::Network, &both("c.d")), [warning]);
    }

    #[test]
    fn what_says_how_things_are_anyway_is_not_warned_of() {
        assert_eq!(
            warned(
                Map::Network,
                &[("system-internal-tls", "disabled"), ("_example", "x"), ("auto-tls", "x")]
            ),
            [""; 0]
        );
        assert_eq!(warned(Map::Deployment, &[("queue-sidecar-token-audiences", "")]), [""; 0]);
        assert_eq!(warned(Map::Domain, &[("example.com", "")]), [""; 0]);
    }

    #[test]
    fn there_are_not_endlessly_many_warnings() {
        let keys: Vec<String> = (0..1000).map(|number| format!("zebra{number:04}")).collect();
        let pairs: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "")).collect();
        let warned = warned(Map::Gc, &pairs);
        assert_eq!(warned.len(), 17);
        assert_eq!(warned.last().map(String::as_str), Some("config-gc: more keys have no effect"));
    }
}
