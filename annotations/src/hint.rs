//! Suggestions for unknown keys.

use super::{
    Hint, Metric,
    defaults::CLUSTER_ONLY,
    keys::{self, Key, short_name},
};

/// The similarity (Jaro-Winkler, 1 is equal) above which an unknown name counts as a misspelling.
const NEAR: f64 = 0.85;

/// Returns what `key` is probably a misspelling of, ignoring its prefix and case, for a service scaled by
/// `metric`.
pub(super) fn hint(key: &str, metric: Metric) -> Option<Hint> {
    let annotations = keys::KNOWN.iter().flat_map(|known| {
        let hint = Hint::Annotation(usable(known, metric).name);
        known.spellings().map(move |name| (name, hint))
    });
    let settings = CLUSTER_ONLY.iter().map(|known| (known.name, Hint::Cluster(known.name)));
    closest(key, annotations.chain(settings))
}

/// Returns what belongs to the one of the `known` names that `key` is probably a misspelling of; `None` if no name
/// is close. Prefixes that end in `/`, case and separators do not count.
pub fn closest<'a, T>(key: &str, known: impl IntoIterator<Item = (&'a str, T)>) -> Option<T> {
    let wanted = plain(key);
    known
        .into_iter()
        .map(|(name, meaning)| (strsim::jaro_winkler(&plain(name), &wanted), meaning))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, meaning)| meaning)
}

/// Returns `known`, or an equivalent if it would be refused: a second target of the service's own metric
/// means the first target, and an annotation that Ebb writes means the one that users write (a rollout's
/// duration).
fn usable(known: &Key, metric: Metric) -> Key {
    match (*known, metric) {
        (keys::TARGET_CONCURRENCY, Metric::Concurrency) | (keys::TARGET_RPS, Metric::Rps) => keys::TARGET,
        (keys::ROLLOUT, _) => keys::SPLIT_DURATION,
        (other, _) => other,
    }
}

/// Returns a key's name in lower case without separators: `minScale` and `min_scale` are `minscale`.
fn plain(key: &str) -> String {
    short_name(key).chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClusterDefaults, Reachability, full_key, parse};

    #[test]
    fn slips_are_recognized_and_strangers_are_not() {
        use Hint::{Annotation, Cluster};
        for (slip, meant) in [
            ("autoscaling.knative.dev/min_scale", Some(Annotation(keys::MIN_SCALE.name))),
            ("autoscaling.knative.dev/maxscale", Some(Annotation(keys::MAX_SCALE.name))),
            ("autoscaling.knative.dev/Target", Some(Annotation(keys::TARGET.name))),
            ("ebb.dev/target", Some(Annotation(keys::TARGET.name))),
            ("autoscaling.knative.dev/stable-window", None),
            (
                "autoscaling.knative.dev/panic-treshold-percentage",
                Some(Annotation(keys::PANIC_THRESHOLD.name)),
            ),
            ("ebb.dev/request-timeuot", Some(Annotation(keys::REQUEST_TIMEOUT.name))),
            ("ebb.dev/compatability", Some(Annotation(keys::COMPATIBILITY.name))),
            ("ebb.dev/startupAware", Some(Annotation(keys::STARTUP_AWARE.name))),
            ("ebb.dev/max-starting", Some(Annotation(keys::MAX_STARTING_PODS.name))),
            ("ebb.dev/idleFirst", Some(Annotation(keys::IDLE_FIRST.name))),
            ("ebb.dev/targetRPS", Some(Annotation(keys::TARGET_RPS.name))),
            ("ebb.dev/schedules", Some(Annotation(keys::SCHEDULE.name))),
            ("autoscaling.knative.dev/shedule", Some(Annotation(keys::SCHEDULE.name))),
            ("serving.knative.dev/progressDeadline", Some(Annotation(keys::PROGRESS_DEADLINE.name))),
            ("serving.knative.dev/min-scale", Some(Annotation(keys::MIN_SCALE.name))),
            ("serving.knative.dev/creator", None),
            (
                "autoscaling.knative.dev/scale-to-zero-grace-period",
                Some(Cluster("scale-to-zero-grace-period")),
            ),
            ("autoscaling.knative.dev/scaleToZeroGracePeriod", Some(Cluster("scale-to-zero-grace-period"))),
            (
                "autoscaling.knative.dev/scale-to-zero-pod-retention",
                Some(Annotation(keys::POD_RETENTION.name)),
            ),
            ("autoscaling.knative.dev/max-scale-up-rate", Some(Cluster("max-scale-up-rate"))),
            ("serving.knative.dev/rollout-duration", Some(Annotation(keys::SPLIT_DURATION.name))),
            ("ebb.dev/zebra", None),
        ] {
            assert_eq!(hint(slip, Metric::Concurrency), meant, "{slip}");
        }
    }

    #[test]
    fn the_closest_name_wins() {
        let known =
            [("domain-template", 1), ("domainTemplate", 1), ("tag-template", 2), ("http-protocol", 3)];
        for (slip, meant) in [
            ("domain-templates", Some(1)),
            ("tagTemplate", Some(2)),
            ("http_protocol", Some(3)),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(closest(slip, known), meant, "{slip}");
        }
    }

    #[test]
    fn whoever_follows_a_hint_is_not_refused() {
        for metric in [Metric::Concurrency, Metric::Rps] {
            for slip in ["targetConcurrency", "target-concurency", "targetRPS", "target_rps", "targets"] {
                let slip = full_key(slip);
                let Some(Hint::Annotation(meant)) = hint(&slip, metric) else { panic!("{slip}") };
                let annotations = [(keys::METRIC.name, metric.as_str()), (meant, "10")];
                let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
                let parsed = parse(&annotations, &ClusterDefaults::default(), Reachability::Reachable);
                assert_eq!(parsed.map(|parsed| parsed.warnings), Ok(vec![]), "{slip} under {metric:?}");
            }
        }
    }
}
