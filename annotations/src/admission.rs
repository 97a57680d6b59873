//! The rules that Ebb shares with the reference: what both refuse. Ebb's additional rules are in `strict`.

use super::{
    annotations::{Annotations, value_of},
    defaults::ClusterDefaults,
    duration::GoDuration,
    fault::{Fault, FaultKind},
    keys::{self, HPA_CLASS, KPA_CLASS},
    reading::Reading,
    syntax::Unreadable,
};

/// Classes with this suffix are the reference's own; any other belongs to a third party.
const OWN_CLASS_SUFFIX: &str = ".knative.dev";
/// The shortest stable window: at least three reports, whatever is lost.
pub(super) const MIN_WINDOW: GoDuration = GoDuration::from_secs(6);
/// The longest stable window, delay and retention.
pub(super) const MAX_DURATION: GoDuration = GoDuration::from_secs(3600);
/// The least target, in units of the metric; below it, one request would ask for more than 100 pods.
pub(super) const MIN_TARGET: f64 = 0.01;
/// The range of the panic threshold, in percent.
pub(super) const PANIC_THRESHOLD: (f64, f64) = (110.0, 1000.0);

/// Returns all faults by the shared rules.
pub(super) fn faults(annotations: &Annotations<'_>, defaults: &ClusterDefaults) -> Vec<Fault> {
    let mut faults = Vec::new();
    faults.extend(class(annotations));
    faults.extend(metric(annotations, defaults));
    faults.extend(aggregation_of_explicit_class(annotations));
    faults.extend(scale_bounds(annotations));
    faults.extend(scale_limit(annotations, defaults));
    faults.extend(initial_scale(annotations, defaults));
    faults.extend(activation_scale(annotations));
    faults.extend(numbers(annotations));
    faults.extend(durations(annotations));
    faults
}

fn class(annotations: &Annotations<'_>) -> Option<Fault> {
    let class = annotations.class.as_ref()?;
    let is_known = [KPA_CLASS, HPA_CLASS].contains(&class.text) || !class.text.ends_with(OWN_CLASS_SUFFIX);
    (!is_known).then(|| class.fault(FaultKind::Invalid, "is not a class", KPA_CLASS))
}

fn metric(annotations: &Annotations<'_>, defaults: &ClusterDefaults) -> Option<Fault> {
    let metric = annotations.metric.as_ref()?;
    let refused = match annotations.class_or(&defaults.class) {
        KPA_CLASS => !["concurrency", "rps"].contains(&metric.text),
        HPA_CLASS => metric.text.is_empty(),
        _ => false,
    };
    refused.then(|| metric.fault(FaultKind::Invalid, "is not a metric to scale by", "concurrency or rps"))
}

/// The reference checks the algorithm only if the class is annotated.
fn aggregation_of_explicit_class(annotations: &Annotations<'_>) -> Option<Fault> {
    let class = annotations.class.as_ref()?;
    if class.text == KPA_CLASS { aggregation(annotations) } else { None }
}

/// Returns the fault of an unknown aggregation algorithm.
pub(super) fn aggregation(annotations: &Annotations<'_>) -> Option<Fault> {
    let algorithm = annotations.aggregation.as_ref()?;
    let is_known = ["", "linear", "weighted-exponential", "weightedExponential"].contains(&algorithm.text);
    let want = "linear or weighted-exponential";
    (!is_known).then(|| algorithm.fault(FaultKind::Invalid, "is not an aggregation algorithm", want))
}

fn scale_bounds(annotations: &Annotations<'_>) -> Vec<Fault> {
    let mut faults: Vec<_> = [&annotations.min_scale, &annotations.max_scale]
        .into_iter()
        .flatten()
        .filter_map(not_a_scale)
        .collect();
    if let (Some(min), Some(max)) = (&annotations.min_scale, &annotations.max_scale) {
        let (least, most) = (scale_or_zero(Some(min)), scale_or_zero(Some(max)));
        if most != 0 && most < least {
            // The reference blames both settings, under their canonical keys.
            let problem = format!("is less than the min-scale {least}");
            let fault = max.fault(FaultKind::Other, problem, format!("0 (unlimited) or at least {least}"));
            faults.push(Fault { key: keys::MAX_SCALE.name.to_owned(), ..fault });
            let problem = format!("is more than the max-scale {most}");
            let fault = min.fault(FaultKind::Other, problem, format!("at most {most}"));
            faults.push(Fault { key: keys::MIN_SCALE.name.to_owned(), ..fault });
        }
    }
    faults
}

fn not_a_scale(scale: &Reading<'_, i32>) -> Option<Fault> {
    let want = format!("an integer from 0 to {}", i32::MAX);
    match scale.value {
        Err(Unreadable::OutOfRange) => Some(scale.fault(FaultKind::OutOfBounds, "does not fit", want)),
        Err(why @ Unreadable::Malformed) => Some(scale.unreadable(why, want)),
        Ok(value) if value < 0 => Some(scale.fault(FaultKind::OutOfBounds, "is negative", want)),
        Ok(_) => None,
    }
}

/// Returns a bound for comparison with another; an invalid bound counts as zero.
fn scale_or_zero(scale: Option<&Reading<'_, i32>>) -> i32 {
    value_of(scale).unwrap_or(0).max(0)
}

fn scale_limit(annotations: &Annotations<'_>, defaults: &ClusterDefaults) -> Option<Fault> {
    let (max, limit) = (annotations.max_scale.as_ref()?, defaults.max_scale_limit?.get());
    let most = scale_or_zero(Some(max)).unsigned_abs();
    let want = format!("an integer from 1 to {limit}, the cluster's max-scale-limit");
    if most > limit {
        return Some(max.fault(FaultKind::OutOfBounds, "is too large", want));
    }
    (most == 0).then(|| max.fault(FaultKind::Other, "counts as unlimited", want))
}

fn initial_scale(annotations: &Annotations<'_>, defaults: &ClusterDefaults) -> Option<Fault> {
    let initial = annotations.initial_scale.as_ref()?;
    let least = i64::from(!defaults.allow_zero_initial_scale);
    let want = format!("an integer of at least {least}");
    match initial.value {
        Err(why) => Some(initial.unreadable(why, want)),
        Ok(value) if value < least => Some(initial.fault(FaultKind::Invalid, "is too small", want)),
        Ok(_) => None,
    }
}

fn activation_scale(annotations: &Annotations<'_>) -> Option<Fault> {
    let activation = annotations.activation_scale.as_ref()?;
    let min = scale_or_zero(annotations.min_scale.as_ref());
    let max = scale_or_zero(annotations.max_scale.as_ref());
    let other = |problem: String, want: String| Some(activation.fault(FaultKind::Other, problem, want));
    match activation.value {
        Err(why) => Some(activation.unreadable(why, format!("an integer from 2 to {}", i32::MAX))),
        Ok(value) if min > value => {
            other(format!("is less than the min-scale {min}"), format!("at least {min}"))
        }
        Ok(value) if max != 0 && max < value => {
            other(format!("is more than the max-scale {max}"), format!("at most {max}"))
        }
        Ok(value) if value < 2 => other("is too small".to_owned(), "an integer of at least 2".to_owned()),
        Ok(_) => None,
    }
}

fn numbers(annotations: &Annotations<'_>) -> impl Iterator<Item = Fault> {
    let outside = |reading: &Option<Reading<'_, f64>>, (low, high): (f64, f64)| {
        reading.as_ref().and_then(|reading| reading.outside(low, high))
    };
    [
        annotations.target.as_ref().and_then(|target| target.below(MIN_TARGET)),
        outside(&annotations.target_utilization, (1.0, 100.0)),
        annotations.target_burst_capacity.as_ref().and_then(Reading::not_a_burst_capacity),
        outside(&annotations.panic_window, (1.0, 100.0)),
        outside(&annotations.panic_threshold, PANIC_THRESHOLD),
    ]
    .into_iter()
    .flatten()
}

fn durations(annotations: &Annotations<'_>) -> impl Iterator<Item = Fault> {
    let whole_seconds = |reading: &Option<Reading<'_, GoDuration>>, shortest: GoDuration| {
        reading.as_ref().and_then(|reading| reading.not_whole_seconds_within(shortest, MAX_DURATION))
    };
    let retention = annotations.pod_retention.as_ref();
    [
        whole_seconds(&annotations.window, MIN_WINDOW),
        whole_seconds(&annotations.scale_down_delay, GoDuration::ZERO),
        retention.and_then(|retention| retention.outside(GoDuration::ZERO, MAX_DURATION)),
    ]
    .into_iter()
    .flatten()
}
