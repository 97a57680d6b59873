//! The second signal: a service scaled by requests per second may also watch its concurrency, and vice versa.
//! The `metric` annotation has room for only one.

use std::num::NonZeroU32;

use super::{
    ClusterDefaults, Metric, Rules, Signal,
    admission::MIN_TARGET,
    annotations::{Annotations, text_of},
    effective,
    fault::{Fault, FaultKind},
    keys::{self, Key},
    reading::{Reading, Texts},
};

/// Reads the annotations of the second signal, and adds their faults to `faults`.
pub(super) fn read(
    texts: &Texts,
    shared: &Annotations<'_>,
    defaults: &ClusterDefaults,
    container_concurrency: Option<NonZeroU32>,
    rules: Rules,
    faults: &mut Vec<Fault>,
) -> Option<Signal> {
    let main = match text_of(shared.metric.as_ref()) {
        None => Some(Metric::Concurrency),
        Some(text) => Metric::named(text), // an unknown one is reported elsewhere
    };
    let concurrency = total(texts, &keys::TARGET_CONCURRENCY, Metric::Concurrency, main, faults);
    let rps = total(texts, &keys::TARGET_RPS, Metric::Rps, main, faults);
    let limit = container_concurrency.map(|limit| f64::from(limit.get()));
    let (metric, total) = match (main?, concurrency, limit) {
        (Metric::Concurrency, ..) => (Metric::Rps, rps?),
        (Metric::Rps, Some(wanted), limit) => (Metric::Concurrency, limit.map_or(wanted, |l| l.min(wanted))),
        // Slower requests fill the pods to their limit while their rate stays the same: the reference lets
        // them queue.
        (Metric::Rps, None, limit) if rules == Rules::Mended => (Metric::Concurrency, limit?),
        (Metric::Rps, ..) => return None,
    };
    let target = effective::target(shared, defaults, metric.as_str(), total);
    (total != 0.0).then_some(Signal { metric, target, total })
}

/// Returns what one pod can take of `metric`, if the annotation `key` is set; 0 switches the signal off.
fn total(
    texts: &Texts,
    key: &Key,
    metric: Metric,
    main: Option<Metric>,
    faults: &mut Vec<Fault>,
) -> Option<f64> {
    let reading: Reading<'_, f64> = Reading::find(texts, key)?;
    if main == Some(metric) {
        let problem = format!("is for {}, the metric of the service already", metric.as_str());
        faults.push(reading.fault(FaultKind::Other, problem, format!("{} instead", keys::TARGET.name)));
        return None;
    }
    let want = format!("a number of at least {MIN_TARGET}, or 0 to be off");
    match reading.value {
        Err(why) => faults.push(reading.unreadable(why, want)),
        Ok(value) if !value.is_finite() => {
            faults.push(reading.fault(FaultKind::Invalid, "is not finite", want));
        }
        Ok(value) if value != 0.0 && value < MIN_TARGET => {
            faults.push(reading.fault(FaultKind::OutOfBounds, "is too small", want));
        }
        Ok(value) => return Some(value),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Reachability,
        fixtures::{refusal, spec, texts},
        parse,
    };

    /// Builds a signal from a total and the share of it to aim at.
    fn signal((metric, total, share): (Metric, f64, f64)) -> Signal {
        Signal { metric, target: total * share, total }
    }

    #[test]
    fn there_is_a_second_signal_where_it_is_asked_for() {
        for (pairs, want) in [
            (&[][..], None),
            (&[("metric", "rps")], None),
            (&[("target-rps", "200")], Some((Metric::Rps, 200.0, 0.7))),
            (
                &[("target-rps", "200"), ("target-utilization-percentage", "50")],
                Some((Metric::Rps, 200.0, 0.5)),
            ),
            (&[("target-rps", "0.01")], Some((Metric::Rps, 0.01, 1.0))), // the least target
            (&[("target-rps", "0")], None),
            (&[("target-rps", "1e300")], Some((Metric::Rps, 1e300, 0.7))),
            (&[("metric", "rps"), ("target-concurrency", "10")], Some((Metric::Concurrency, 10.0, 0.7))),
            (&[("metric", "rps"), ("target-concurrency", "0.0")], None),
            (&[("metric", "concurrency"), ("target-rps", "10")], Some((Metric::Rps, 10.0, 0.7))),
        ] {
            assert_eq!(spec(pairs).second, want.map(signal), "{pairs:?}");
        }
    }

    #[test]
    fn a_limit_of_requests_is_a_second_signal_by_default() {
        let limited = [("metric", "rps"), ("container-concurrency", "10")];
        for (further, want) in [
            (&[][..], Some((10.0, 0.7))),
            (&[("compatibility", "none")], Some((10.0, 0.7))),
            (&[("compatibility", "knative")], None),
            (&[("compatibility", "knative"), ("target-concurrency", "5")], Some((5.0, 0.7))),
            (&[("target-concurrency", "0")], None),
            (&[("target-concurrency", "4")], Some((4.0, 0.7))),
            (&[("target-concurrency", "40")], Some((10.0, 0.7))),
            (&[("target-utilization-percentage", "80")], Some((10.0, 0.8))),
        ] {
            let want = want.map(|(total, share)| signal((Metric::Concurrency, total, share)));
            assert_eq!(spec(&[&limited, further].concat()).second, want, "{further:?}");
        }
        assert_eq!(spec(&[("metric", "rps"), ("container-concurrency", "0")]).second, None);
        assert_eq!(spec(&[("container-concurrency", "10")]).second, None);
    }

    #[test]
    fn the_share_of_a_second_concurrency_is_the_clusters() {
        let annotations = texts(&[("metric", "rps"), ("target-concurrency", "10")]);
        let half = ClusterDefaults { utilization: 0.5, ..ClusterDefaults::default() };
        let spec = parse(&annotations, &half, Reachability::Reachable).unwrap().spec;
        assert_eq!(spec.second, Some(signal((Metric::Concurrency, 10.0, 0.5))));
        assert_eq!(spec.target, 140.0, "the share of rps is the same everywhere");
    }

    #[test]
    fn what_a_pod_can_take_at_once_does_not_depend_on_the_metric() {
        for (pairs, want) in [
            (&[][..], 100.0),
            (&[("target", "20")], 20.0),
            (&[("container-concurrency", "10")], 10.0),
            (&[("metric", "rps")], 100.0),
            (&[("metric", "rps"), ("target", "20")], 100.0),
            (&[("metric", "rps"), ("container-concurrency", "10")], 10.0),
            (&[("metric", "rps"), ("target-concurrency", "5")], 5.0),
            (&[("metric", "rps"), ("container-concurrency", "10"), ("target-concurrency", "0")], 10.0),
            (&[("target-rps", "5")], 100.0),
        ] {
            assert_eq!(spec(pairs).pod_concurrency, want, "{pairs:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_key_the_value_and_what_is_allowed() {
        for (pairs, want) in [
            (
                &[("target-concurrency", "5")][..],
                r#"ebb.dev/target-concurrency: "5" is for concurrency, the metric of the service already; want autoscaling.knative.dev/target instead"#,
            ),
            (
                &[("metric", "rps"), ("target-rps", "0")],
                r#"ebb.dev/target-rps: "0" is for rps, the metric of the service already; want autoscaling.knative.dev/target instead"#,
            ),
            (
                &[("target-rps", "0.009")],
                r#"ebb.dev/target-rps: "0.009" is too small; want a number of at least 0.01, or 0 to be off"#,
            ),
            (
                &[("target-rps", "-1")],
                r#"ebb.dev/target-rps: "-1" is too small; want a number of at least 0.01, or 0 to be off"#,
            ),
            (
                &[("target-rps", "many")],
                r#"ebb.dev/target-rps: "many" is not a number; want a number of at least 0.01, or 0 to be off"#,
            ),
            (
                &[("metric", "rps"), ("target-concurrency", "NaN")],
                r#"ebb.dev/target-concurrency: "NaN" is not finite; want a number of at least 0.01, or 0 to be off"#,
            ),
            (
                &[("metric", "cpu"), ("target-concurrency", "1"), ("target-rps", "1")],
                r#"autoscaling.knative.dev/metric: "cpu" is not a metric to scale by; want concurrency or rps"#,
            ),
        ] {
            assert_eq!(refusal(pairs), want);
        }
    }
}
