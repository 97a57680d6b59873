//! The cluster's settings for scaling, as annotations: Ebb has settings of its own, and does not read these.

use std::num::NonZeroU32;

use ebb_annotations::{
    ClusterDefaults, GoDuration, Metric, TargetBurstCapacity,
    keys::{self as ebb, Key},
};

use super::labels::Texts;
use crate::{api::RevisionSpec, config::Config};

/// Adds the cluster's settings that differ from Ebb's defaults, and that a Revision with `annotations` does not set
/// itself.
pub(super) fn complete(annotations: &mut Texts, spec: &RevisionSpec, config: &Config) {
    let cluster = ClusterDefaults {
        // The reference has it in another map.
        progress_deadline: config.deployment.progress_deadline,
        ..config.autoscaler.clone()
    };
    let usual = settings(&ClusterDefaults::default(), annotations, spec);
    let settings = settings(&cluster, annotations, spec);
    for (key, value) in settings.into_iter().filter(|setting| !usual.contains(setting)) {
        if text(annotations, key).is_none() {
            annotations.insert(key.name.to_owned(), value);
        }
    }
    if !cluster.scale_to_zero && number(annotations, ebb::MIN_SCALE) == Some(0) {
        let spelling = ebb::MIN_SCALE.spellings().find(|name| annotations.contains_key(*name));
        annotations.insert(spelling.unwrap_or(ebb::MIN_SCALE.name).to_owned(), "1".to_owned());
    }
}

/// Returns all settings that can be annotations, as they are in effect for a Revision with `annotations`.
fn settings(cluster: &ClusterDefaults, annotations: &Texts, spec: &RevisionSpec) -> Vec<(Key, String)> {
    let by_rps = text(annotations, ebb::METRIC) == Some(Metric::Rps.as_str());
    let is_limited = spec.container_concurrency.is_some_and(|limit| limit > 0);
    let max = number(annotations, ebb::MAX_SCALE).or(cluster.max_scale.map(NonZeroU32::get));
    // A default that the Revision's own maximum excludes gives way.
    let bounded = |pods: u32| pods.min(max.filter(|max| *max > 0).unwrap_or(u32::MAX)).to_string();
    let least = cluster.min_scale.max(u32::from(!cluster.scale_to_zero));
    let duration = |duration| GoDuration::from(duration).to_string();
    let mut settings = vec![
        (ebb::CLASS, cluster.class.clone()),
        (ebb::TARGET_BURST_CAPACITY, burst_capacity(cluster.target_burst_capacity)),
        (ebb::INITIAL_SCALE, bounded(cluster.initial_scale)),
        (ebb::MIN_SCALE, bounded(least)),
        (ebb::MAX_SCALE, cluster.max_scale.map_or(0, NonZeroU32::get).to_string()),
        (ebb::WINDOW, duration(cluster.stable_window)),
        (ebb::PANIC_WINDOW, cluster.panic_window_percentage.to_string()),
        (ebb::PANIC_THRESHOLD, cluster.panic_threshold_percentage.to_string()),
        (ebb::POD_RETENTION, duration(cluster.pod_retention_period)),
        (ebb::SCALE_DOWN_DELAY, duration(cluster.scale_down_delay)),
        (ebb::PROGRESS_DEADLINE, duration(cluster.progress_deadline)),
    ];
    if by_rps {
        settings.push((ebb::TARGET, cluster.rps_total.to_string()));
    } else {
        settings.push((ebb::TARGET_UTILIZATION, percent(cluster.utilization)));
        // A limit of requests at once is its own target.
        if !is_limited {
            settings.push((ebb::TARGET, cluster.total.to_string()));
        }
    }
    settings
}

fn text(annotations: &Texts, key: Key) -> Option<&str> {
    key.spellings().find_map(|name| annotations.get(name)).map(String::as_str)
}

fn number(annotations: &Texts, key: Key) -> Option<u32> {
    text(annotations, key)?.parse().ok()
}

fn burst_capacity(capacity: TargetBurstCapacity) -> String {
    match capacity {
        TargetBurstCapacity::Unlimited => "-1".to_owned(),
        TargetBurstCapacity::Requests(requests) => requests.to_string(),
    }
}

/// Returns a fraction in percent, without the rounding errors of its binary form.
fn percent(fraction: f64) -> String {
    ((fraction * 1e8).round() / 1e6).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Own annotations, the limit of requests at once, a setting of the cluster, and all annotations then.
    type Case<'a> = (&'a [(&'a str, &'a str)], Option<i64>, fn(&mut Config), &'a str);

    fn completed(
        own: &[(&str, &str)],
        limit: Option<i64>,
        change: impl Fn(&mut Config),
    ) -> Vec<(String, String)> {
        let mut config = Config::default();
        change(&mut config);
        let mut annotations: Texts =
            own.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let spec = RevisionSpec { container_concurrency: limit, ..RevisionSpec::default() };
        complete(&mut annotations, &spec, &config);
        let short = |key: &str| key.rsplit('/').next().unwrap_or_default().to_owned();
        annotations.iter().map(|(key, value)| (short(key), value.clone())).collect()
    }

    #[test]
    fn the_usual_settings_need_no_annotation() {
        assert_eq!(completed(&[], None, |_| {}), []);
    }

    #[test]
    fn other_settings_become_annotations_unless_the_revision_has_them() {
        let min = "autoscaling.knative.dev/min-scale";
        let max = "autoscaling.knative.dev/maxScale";
        let metric = ("autoscaling.knative.dev/metric", "rps");
        let cases: [Case<'_>; 13] = [
            (&[], None, |config| config.autoscaler.total = 150.5, "target=150.5"),
            (&[], Some(0), |config| config.autoscaler.total = 50.0, "target=50"),
            (&[], Some(8), |config| config.autoscaler.total = 50.0, ""),
            (&[metric], None, |config| config.autoscaler.total = 50.0, "metric=rps"),
            (&[metric], Some(8), |config| config.autoscaler.rps_total = 20.0, "metric=rps target=20"),
            (&[], None, |config| config.autoscaler.utilization = 0.29, "target-utilization-percentage=29"),
            (
                &[],
                None,
                |config| config.autoscaler.target_burst_capacity = TargetBurstCapacity::Unlimited,
                "target-burst-capacity=-1",
            ),
            (&[(min, "3")], None, |config| config.autoscaler.min_scale = 2, "min-scale=3"),
            (&[(max, "2")], None, |config| config.autoscaler.min_scale = 5, "maxScale=2 min-scale=2"),
            (&[], None, |config| config.autoscaler.scale_to_zero = false, "min-scale=1"),
            (&[(min, "0")], None, |config| config.autoscaler.scale_to_zero = false, "min-scale=1"),
            (&[], None, |config| config.autoscaler.stable_window = Duration::from_secs(90), "window=1m30s"),
            (
                &[],
                None,
                |config| config.deployment.progress_deadline = Duration::from_secs(120),
                "progress-deadline=2m",
            ),
        ];
        for (own, limit, change, expected) in cases {
            let all = completed(own, limit, change);
            let all: Vec<String> = all.iter().map(|(key, value)| format!("{key}={value}")).collect();
            assert_eq!(all.join(" "), expected, "{own:?}");
        }
    }
}
