use std::{num::NonZeroU16, time::Duration};

use ebb_core::LateResponse;

use super::*;
use crate::{
    Aggregation, TargetBurstCapacity,
    fixtures::{capped_at, parse_stock, refusal, refusal_under, spec, texts},
    full_key,
};

#[test]
fn no_annotations_mean_the_defaults() {
    let spec = spec(&[]);
    assert_eq!((spec.metric, spec.target, spec.total), (Metric::Concurrency, 70.0, 100.0));
    assert_eq!(spec.target_burst_capacity, TargetBurstCapacity::Requests(211.0));
    assert_eq!((spec.min_scale, spec.max_scale, spec.initial_scale), (0, None, 1));
    assert_eq!((spec.stable_window, spec.panic_window), (Duration::from_secs(60), Duration::from_secs(6)));
    assert_eq!((spec.progress_deadline, spec.aggregation), (Duration::from_secs(600), Aggregation::Linear));
    assert!(spec.reachable && spec.scale_to_zero);
    assert_eq!(spec.serving, ServingSpec::default());
}

#[test]
fn serving_annotations_are_read() {
    let spec = spec(&[
        ("container-concurrency", "10"),
        ("queue-depth", "50"),
        ("activation-deadline", "30s"),
        ("request-timeout", "10m"),
        ("response-start-timeout", "10m"),
        ("idle-timeout", "0s"),
        ("max-connection-age", "12h"),
        ("late-response", "end"),
        ("tunnel-idle-timeout", "1500ms"),
        ("readiness-path", "/healthz?full=1"),
        ("progress-deadline", "2m"),
    ]);
    assert_eq!(
        spec.serving,
        ServingSpec {
            container_concurrency: NonZeroU32::new(10),
            queue_depth: NonZeroU32::new(50).unwrap(),
            activation_deadline: Duration::from_secs(30),
            request_timeout: Duration::from_secs(600),
            response_start_timeout: Some(Duration::from_secs(600)),
            idle_timeout: None,
            late_response: LateResponse::End,
            max_connection_age: Some(Duration::from_secs(12 * 3600)),
            tunnel_idle_timeout: Some(Duration::from_millis(1500)),
            readiness_path: Some("/healthz?full=1".to_owned()),
            app_protocol: None,
        }
    );
    assert_eq!(spec.progress_deadline, Duration::from_secs(120));
    assert_eq!((spec.target, spec.total), (7.0, 10.0));
}

#[test]
fn how_long_connections_stay_is_unlimited_unless_it_is_said() {
    for (text, limit) in [("0s", None), ("0", None), ("1s", Some(1)), ("87600h", Some(87_600 * 3600))] {
        let serving = spec(&[("max-connection-age", text), ("tunnel-idle-timeout", text)]).serving;
        let limit = limit.map(Duration::from_secs);
        assert_eq!((serving.max_connection_age, serving.tunnel_idle_timeout), (limit, limit), "{text}");
    }
}

#[test]
fn the_binding_is_read() {
    let pairs = [("scale-target", "Deployment/hello"), ("selector", "app=hello"), ("activator-port", "9000")];
    let binding = parse_stock(&pairs).unwrap().binding;
    assert_eq!(binding.scale_target.unwrap().to_string(), "Deployment/hello");
    assert_eq!(binding.selector.as_deref(), Some("app=hello"));
    assert_eq!(binding.activator_port, NonZeroU16::new(9000));
}

#[test]
fn a_refusal_names_the_key_the_value_and_what_is_allowed() {
    for (key, value, want) in [
        (
            "target",
            "banana",
            r#"autoscaling.knative.dev/target: "banana" is not a number; want a number of at least 0.01"#,
        ),
        (
            "window",
            "5s",
            r#"autoscaling.knative.dev/window: "5s" is too small; want a duration from 6s to 1h"#,
        ),
        (
            "window",
            "6.5s",
            r#"autoscaling.knative.dev/window: "6.5s" has a fraction of a second; want whole seconds"#,
        ),
        (
            "minScale",
            "-1",
            r#"autoscaling.knative.dev/minScale: "-1" is negative; want an integer from 0 to 2147483647"#,
        ),
        (
            "class",
            "hpa.autoscaling.knative.dev",
            r#"autoscaling.knative.dev/class: "hpa.autoscaling.knative.dev" is not offered, Ebb scales by requests; want kpa.autoscaling.knative.dev, or no class at all"#,
        ),
        (
            "scale-target",
            "hello",
            r#"ebb.dev/scale-target: "hello" is not a scale target; want Kind/name, for example Deployment/hello"#,
        ),
        ("idle-timeout", "6m", r#"ebb.dev/idle-timeout: "6m" is too large; want a duration from 0s to 5m"#),
        (
            "max-connection-age",
            "999ms",
            r#"ebb.dev/max-connection-age: "999ms" is too small; want a duration of at least 1s, or 0s for off"#,
        ),
        (
            "max-connection-age",
            "60",
            r#"ebb.dev/max-connection-age: "60" is not a duration; want a duration of at least 1s, or 0s for off"#,
        ),
        (
            "tunnel-idle-timeout",
            "-1s",
            r#"ebb.dev/tunnel-idle-timeout: "-1s" is too small; want a duration of at least 1s, or 0s for off"#,
        ),
        (
            "readiness-path",
            "healthz",
            r#"ebb.dev/readiness-path: "healthz" is not an HTTP path; want a path that begins with /, for example /healthz"#,
        ),
        (
            "progress-deadline",
            "0s",
            r#"serving.knative.dev/progress-deadline: "0s" is too small; want a duration of at least 1s"#,
        ),
        (
            "initial-scale",
            "3000000000",
            r#"autoscaling.knative.dev/initial-scale: "3000000000" is too large; want an integer from 0 to 2147483647"#,
        ),
        ("queue-depth", "0", r#"ebb.dev/queue-depth: "0" is too small; want an integer from 1 to 100000"#),
        (
            "activator-port",
            "65536",
            r#"ebb.dev/activator-port: "65536" is too large; want an integer from 1 to 65535"#,
        ),
        (
            "metric-aggregation-algorithm",
            "cubic",
            r#"autoscaling.knative.dev/metric-aggregation-algorithm: "cubic" is not an aggregation algorithm; want linear or weighted-exponential"#,
        ),
    ] {
        assert_eq!(refusal(&[(key, value)]), want);
    }
}

#[test]
fn all_violations_are_reported_at_once_in_order_of_their_keys() {
    let pairs =
        [("window", "x"), ("target", "0"), ("queue-depth", "-1"), ("class", "other"), ("selector", "")];
    let keys: Vec<_> = parse_stock(&pairs).unwrap_err().into_iter().map(|fault| fault.key).collect();
    assert_eq!(keys, ["class", "target", "window", "queue-depth", "selector"].map(full_key));
}

#[test]
fn numbers_that_are_not_finite_are_refused_everywhere() {
    for key in [
        keys::TARGET,
        keys::TARGET_UTILIZATION,
        keys::TARGET_BURST_CAPACITY,
        keys::PANIC_WINDOW,
        keys::PANIC_THRESHOLD,
    ] {
        for value in ["NaN", "Inf", "-inf"] {
            assert_eq!(parse_stock(&[(key.name, value)]).unwrap_err().len(), 1, "{}={value}", key.name);
        }
    }
}

#[test]
fn two_spellings_may_stand_side_by_side_if_they_agree() {
    assert_eq!(spec(&[("min-scale", "2"), ("minScale", "2")]).min_scale, 2);
    assert_eq!(
        refusal(&[("min-scale", "2"), ("minScale", "3")]),
        r#"autoscaling.knative.dev/min-scale: "2" contradicts "3" of autoscaling.knative.dev/minScale; want one of the two keys"#
    );
}

#[test]
fn bounds_are_compared_as_they_take_effect() {
    assert_eq!(
        refusal_under(&capped_at(5), &[("minScale", "6")]),
        r#"autoscaling.knative.dev/minScale: "6" is more than the max-scale of 5 in effect; want at most 5"#
    );
    assert_eq!(
        refusal_under(&capped_at(5), &[("initial-scale", "6")]),
        r#"autoscaling.knative.dev/initial-scale: "6" is more than the max-scale of 5 in effect; want at most 5"#
    );
    assert!(refusal_under(&capped_at(5), &[("activation-scale", "6")]).contains("max-scale of 5"));
    let floor_of_four = ClusterDefaults { min_scale: 4, ..ClusterDefaults::default() };
    assert_eq!(
        refusal_under(&floor_of_four, &[("max-scale", "3")]),
        r#"autoscaling.knative.dev/max-scale: "3" is less than the cluster's min-scale of 4; want 0 (unlimited) or at least 4"#
    );
    assert!(
        parse(&texts(&[("max-scale", "0"), ("min-scale", "9")]), &capped_at(5), Reachability::Reachable)
            .is_ok()
    );
}

#[test]
fn what_is_accepted_does_not_depend_on_reachability() {
    let annotations = texts(&[("min-scale", "6")]);
    for reachability in [Reachability::Reachable, Reachability::Unreachable] {
        assert!(parse(&annotations, &capped_at(5), reachability).is_err());
    }
}

#[test]
fn an_unreachable_service_has_no_lower_bound() {
    let annotations =
        texts(&[("min-scale", "3"), ("initial-scale", "5"), ("scaleToZeroPodRetentionPeriod", "1m")]);
    let spec = parse(&annotations, &ClusterDefaults::default(), Reachability::Unreachable).unwrap().spec;
    assert_eq!((spec.lower_bound(false), spec.pod_retention_period), (0, Duration::ZERO));
    assert!(!spec.reachable);
}

#[test]
fn unknown_keys_are_warned_of_and_have_no_effect() {
    let parsed = parse_stock(&[
        ("min_scale", "3"),
        ("scale-to-zero-grace-period", "1s"),
        ("targetConcurrency", "5"),
        ("ebb.dev/zebra", "1"),
        ("example.com/x", "1"),
        ("serving.knative.dev/rolloutDuration", "1s"),
    ])
    .unwrap();
    let warnings: Vec<_> = parsed.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "autoscaling.knative.dev/min_scale: unknown, has no effect; did you mean autoscaling.knative.dev/min-scale?",
            "autoscaling.knative.dev/scale-to-zero-grace-period: unknown, has no effect; \
             scale-to-zero-grace-period is a setting of the whole cluster, in its ConfigMap ebb-config",
            "autoscaling.knative.dev/targetConcurrency: unknown, has no effect; did you mean autoscaling.knative.dev/target?",
            "ebb.dev/zebra: unknown, has no effect",
            "serving.knative.dev/rolloutDuration: unknown, has no effect; did you mean ebb.dev/split-duration?",
        ]
    );
    assert_eq!(parsed.spec.min_scale, 0);
}
